/**
 * Window tracking: whether a segment can belong to the connection, judged by what both sides have sent, acknowledged
 * and allowed so far. Hot.
 *
 * After G. van Rooij, "Real stateful TCP packet filtering in IP Filter" (2001). For a segment [sequence, end) with
 * acknowledgement and window, sent by S to R:
 *
 *   I    sequence <= S.maxEnd                       not beyond what R has allowed
 *   II   end      >= S.end - R.maxWin               not older than R's largest window
 *   III  ack      <= R.end                          only what R has sent
 *   IV   ack      >= R.end - max(S.maxWin, 66000)   not too old
 *
 * I and III broken: INVALID. II and IV broken (old duplicates), or I alone broken by less than a window: IGNORED.
 * Two numbers 2^31 apart are each before the other, as in Linux: comparisons are all of the form `(a - b) | 0` < 0.
 * A sender marked BE_LIBERAL, or the setting, turns both into VALID without learning from the segment.
 */

import type { Packet } from '../../wire/packet.js';
import {
  hasTcpOptions,
  TCP_HAS_SACK_PERMITTED,
  TCP_HAS_WINDOW_SCALE,
  tcpAcknowledgement,
  tcpEnd,
  tcpFlags,
  tcpHighestSack,
  tcpSequence,
  tcpSynOptions,
  tcpWindow,
} from '../../wire/tcp.js';
import type { TrackContext } from '../context.js';
import { Direction, type Entries, type EntryId } from '../entries.js';
import {
  last,
  lastAcknowledgement,
  lastEnd,
  lastSequence,
  lastWindow,
  retransmissions,
  setLastAcknowledgement,
  setLastDirection,
  setLastEnd,
  setLastSequence,
  setLastWindow,
  setRetransmissions,
} from './tcp-memory.js';

/** What window tracking says of a segment. */
export const InWindow = {
  /** Not of this connection. */
  NO: -1,
  /** Let it pass, believe nothing of it. */
  IGNORED: 0,
  YES: 1,
} as const;
export type InWindow = (typeof InWindow)[keyof typeof InWindow];

const NO = -1;
const IGNORED = 0;
const YES = 1;

const SYN = 2;
const RST = 4;
const ACK = 16;

const WINDOW_SCALE = 1;
const SACK_PERMITTED = 2;
const BE_LIBERAL = 8;
const DATA_UNACKNOWLEDGED = 16;
const MAXACK_SET = 32;

const CLASS_ACK = 4;

const SYN_SENT = 1;
const SYN_RECV = 2;

const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;

/** Least room, in bytes, that an old acknowledgement is given (bound IV). */
const MIN_ACK_WINDOW = 66_000;

/** Starts a direction's window with its SYN or SYN/ACK. */
function beginSender(entries: Entries, entry: EntryId, sender: Direction, packet: Packet): void {
  const end = tcpEnd(packet);
  const window = tcpWindow(packet);
  entries.setTdEnd(entry, sender, end);
  entries.setTdMaxEnd(entry, sender, end);
  entries.setTdMaxWin(entry, sender, window === 0 ? 1 : window);
  takeOptions(entries, entry, sender, packet);
}

/** Takes over scale and SACK from a SYN's options; a SYN without any option changes nothing. */
function takeOptions(entries: Entries, entry: EntryId, sender: Direction, packet: Packet): void {
  if (hasTcpOptions(packet) === 0) return;
  const offered = tcpSynOptions(packet);
  entries.setTdScale(entry, sender, offered & 255);
  entries.setTdFlags(
    entry,
    sender,
    (entries.tdFlags(entry, sender) & BE_LIBERAL) |
      ((offered & TCP_HAS_WINDOW_SCALE) === 0 ? 0 : WINDOW_SCALE) |
      ((offered & TCP_HAS_SACK_PERMITTED) === 0 ? 0 : SACK_PERMITTED),
  );
}

/** Window of a new connection that begins with a SYN. */
export function openWindow(entries: Entries, entry: EntryId, packet: Packet): void {
  beginSender(entries, entry, ORIGINAL, packet);
}

/** Window of a connection picked up in the middle: nothing is known of its scale, so it is not held to it. */
export function pickUpWindow(entries: Entries, entry: EntryId, packet: Packet): void {
  const end = tcpEnd(packet);
  const window = tcpWindow(packet);
  const maxWindow = window === 0 ? 1 : window;
  entries.setTdEnd(entry, ORIGINAL, end);
  entries.setTdMaxWin(entry, ORIGINAL, maxWindow);
  entries.setTdMaxEnd(entry, ORIGINAL, (end + maxWindow) | 0);
  entries.setTdFlags(entry, ORIGINAL, SACK_PERMITTED | BE_LIBERAL);
  entries.setTdFlags(entry, REPLY, SACK_PERMITTED | BE_LIBERAL);
}

/** Starts the window of a direction by its SYN or SYN/ACK; scaling holds only if both sides offer it (RFC 7323). */
function beginAnswer(
  entries: Entries,
  entry: EntryId,
  sender: Direction,
  receiver: Direction,
  packet: Packet,
): void {
  beginSender(entries, entry, sender, packet);
  if (sender === ORIGINAL) return;
  if ((entries.tdFlags(entry, sender) & entries.tdFlags(entry, receiver) & WINDOW_SCALE) === 0) {
    entries.setTdScale(entry, sender, 0);
    entries.setTdScale(entry, receiver, 0);
  }
}

/**
 * Judges a segment of `flagClass` sent in `direction`; what it tells of both sides is learned when it is valid. The
 * entry is still in the state before the segment. `shifted` is taken off its acknowledgements.
 */
export function checkWindow(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  flagClass: number,
  shifted: number,
): InWindow {
  const sender = direction;
  const receiver = (1 - direction) as Direction;
  const state = entries.state(entry);
  const flags = tcpFlags(packet);
  const windowField = tcpWindow(packet);
  let sequence = tcpSequence(packet);
  let end = tcpEnd(packet);
  let ack = tcpAcknowledgement(packet);
  let sack = ack;
  if ((entries.tdFlags(entry, receiver) & SACK_PERMITTED) !== 0) sack = tcpHighestSack(packet, ack);
  ack = (ack - shifted) | 0;
  sack = (sack - shifted) | 0;

  if (entries.tdMaxWin(entry, sender) === 0) {
    if ((flags & SYN) !== 0) {
      beginAnswer(entries, entry, sender, receiver, packet);
      if ((flags & ACK) === 0) return YES;
    } else {
      const scaled = windowField << entries.tdScale(entry, sender);
      const maxWindow = scaled === 0 ? 1 : scaled;
      entries.setTdEnd(entry, sender, end);
      entries.setTdMaxWin(entry, sender, maxWindow);
      entries.setTdMaxEnd(entry, sender, (end + maxWindow) | 0);
      const receiverEnd = entries.tdEnd(entry, receiver);
      if (entries.tdMaxWin(entry, receiver) === 0) {
        entries.setTdEnd(entry, receiver, sack);
        entries.setTdMaxEnd(entry, receiver, sack);
      } else if (sack === ((receiverEnd + 1) | 0)) {
        // The answer to a keepalive, whose probe we did not count.
        entries.setTdEnd(entry, receiver, sack);
      }
    }
  } else if (
    (flags & SYN) !== 0 &&
    ((entries.tdEnd(entry, sender) - end) | 0) < 0 &&
    (state === SYN_SENT || state === SYN_RECV)
  ) {
    // A SYN or SYN/ACK with a higher sequence number: the sender began anew.
    beginAnswer(entries, entry, sender, receiver, packet);
    if (direction === REPLY && (flags & ACK) === 0) return YES;
  }

  const receiverEnd = entries.tdEnd(entry, receiver);
  if ((flags & ACK) === 0 || ((flags & RST) !== 0 && ack === 0)) {
    // Without an acknowledgement (some stacks set the bit in a RST and leave the field zero) that part is fine.
    ack = receiverEnd;
    sack = receiverEnd;
  }
  if ((flags & RST) !== 0 && sequence === 0 && state === SYN_SENT) {
    // A refused SYN: the RST has no sequence number of its own (RFC 9293 section 3.10.7.1).
    sequence = entries.tdEnd(entry, sender);
    end = sequence;
  }

  const senderEnd = entries.tdEnd(entry, sender);
  const senderMaxEnd = entries.tdMaxEnd(entry, sender);
  const receiverMaxWin = entries.tdMaxWin(entry, receiver);
  const ackWindow = entries.tdMaxWin(entry, sender) >>> 0;
  const oldestAck = receiverEnd - Math.max(ackWindow, MIN_ACK_WINDOW) - 1;
  const isRecentAck = ((oldestAck - sack) | 0) < 0;
  const isAckOfSeen = ((sack - (receiverEnd + 1)) | 0) < 0;
  const isRecent = receiverMaxWin === 0 || ((senderEnd - receiverMaxWin - 1 - end) | 0) < 0;

  if (((sequence - (senderMaxEnd + 1)) | 0) >= 0) {
    const overshot = (end - senderMaxEnd + 1) >>> 0;
    if (receiverMaxWin !== 0 && isRecent && isRecentAck && isAckOfSeen && overshot <= receiverMaxWin >>> 0) {
      // A sender that goes slightly beyond its window may have its data accepted, so it counts as sent.
      entries.setTdEnd(entry, sender, end);
      entries.setTdFlags(entry, sender, entries.tdFlags(entry, sender) | DATA_UNACKNOWLEDGED);
      return unlessLiberal(context, entries, entry, sender, IGNORED);
    }
    return unlessLiberal(context, entries, entry, sender, NO);
  }
  if (!isAckOfSeen) return unlessLiberal(context, entries, entry, sender, NO);
  if (!isRecent || !isRecentAck) return unlessLiberal(context, entries, entry, sender, IGNORED);

  learn(entries, entry, direction, packet, flagClass, sequence, end, ack, sack);
  return YES;
}

function unlessLiberal(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  sender: Direction,
  otherwise: InWindow,
): InWindow {
  if (context.settings.tcpBeLiberal === 1) return YES;
  return (entries.tdFlags(entry, sender) & BE_LIBERAL) !== 0 ? YES : otherwise;
}

/** Takes a valid segment into both sides' windows and counts retransmissions. */
function learn(
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  flagClass: number,
  sequence: number,
  end: number,
  ack: number,
  sack: number,
): void {
  const sender = direction;
  const receiver = (1 - direction) as Direction;
  const flags = tcpFlags(packet);
  const windowField = tcpWindow(packet);
  // The window of a SYN is never scaled (RFC 7323 section 2.2).
  const window = (flags & SYN) === 0 ? windowField << entries.tdScale(entry, sender) : windowField;

  const reach = (window + ((sack - ack) | 0)) >>> 0;
  if (entries.tdMaxWin(entry, sender) >>> 0 < reach) entries.setTdMaxWin(entry, sender, reach | 0);
  let senderFlags = entries.tdFlags(entry, sender);
  if (((entries.tdEnd(entry, sender) - end) | 0) < 0) {
    entries.setTdEnd(entry, sender, end);
    senderFlags |= DATA_UNACKNOWLEDGED;
  }
  if ((flags & ACK) !== 0) {
    if ((senderFlags & MAXACK_SET) === 0) {
      entries.setTdMaxAck(entry, sender, ack);
      senderFlags |= MAXACK_SET;
    } else if (((entries.tdMaxAck(entry, sender) - ack) | 0) < 0) {
      entries.setTdMaxAck(entry, sender, ack);
    }
  }
  entries.setTdFlags(entry, sender, senderFlags);

  const receiverMaxWin = entries.tdMaxWin(entry, receiver);
  const behind = (entries.tdMaxEnd(entry, sender) - end) | 0;
  if (receiverMaxWin !== 0 && behind < 0) entries.setTdMaxWin(entry, receiver, (receiverMaxWin - behind) | 0);
  const allowed = (sack + window) | 0;
  if (((entries.tdMaxEnd(entry, receiver) - 1 - allowed) | 0) < 0) {
    // A closed window still admits one byte: the probe.
    entries.setTdMaxEnd(entry, receiver, window === 0 ? (allowed + 1) | 0 : allowed);
  }
  if (ack === entries.tdEnd(entry, receiver)) {
    entries.setTdFlags(entry, receiver, entries.tdFlags(entry, receiver) & ~DATA_UNACKNOWLEDGED);
  }

  if (flagClass !== CLASS_ACK) return;
  if (
    last(entries, entry) >>> 3 === direction &&
    lastSequence(entries, entry) === sequence &&
    lastAcknowledgement(entries, entry) === ack &&
    lastEnd(entries, entry) === end &&
    lastWindow(entries, entry) === windowField
  ) {
    setRetransmissions(entries, entry, retransmissions(entries, entry) + 1);
  } else {
    setLastDirection(entries, entry, direction);
    setLastSequence(entries, entry, sequence);
    setLastAcknowledgement(entries, entry, ack);
    setLastEnd(entries, entry, end);
    setLastWindow(entries, entry, windowField);
    setRetransmissions(entries, entry, 0);
  }
}
