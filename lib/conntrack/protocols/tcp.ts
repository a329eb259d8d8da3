/**
 * TCP: judges a segment by the state table (`tcp-states.ts`) and the windows (`tcp-window.ts`), moves the
 * connection, and decides how long it may be idle. Hot.
 *
 * A segment has one of four fates: it moves the connection (ACCEPT, refreshed and counted); it is let through
 * without being believed (ACCEPT, neither refreshed nor counted) because the ends may know better than we; it is
 * INVALID; or it begins a new connection in place of a closed one (REPEAT).
 *
 * RFC 5961: a SYN on a live connection is let through, and what answers it decides: a SYN/ACK resynchronises the
 * entry, a RST closes it, a challenge ACK changes nothing. A RST must hit the peer's highest acknowledgement exactly
 * to close an established connection; near misses only shorten its life until the next segment.
 */

import type { Packet } from '../../wire/packet.js';
import {
  hasTcpHeader,
  TCP_HAS_SACK_PERMITTED,
  TCP_HAS_WINDOW_SCALE,
  tcpAcknowledgement,
  tcpEnd,
  tcpFlags,
  tcpSequence,
  tcpSynOptions,
  tcpWindow,
} from '../../wire/tcp.js';
import { verifyChecksum } from '../../wire/transport.js';
import { Change, Track, type TrackContext } from '../context.js';
import { Direction, type Entries, type EntryId, Status } from '../entries.js';
import { type ConntrackTable, DestroyReason } from '../table.js';
import {
  last,
  lastAcknowledgement,
  lastEnd,
  lastFlags,
  lastScale,
  lastWindow,
  retransmissions,
  setLast,
  setLastAcknowledgement,
  setLastEnd,
  setLastFlags,
  setLastScale,
  setLastSequence,
  setLastWindow,
  TcpFlags,
} from './tcp-memory.js';
import { TCP_FLAG_CLASSES, TCP_TRANSITIONS, TcpClass, TcpState } from './tcp-states.js';
import { checkWindow, openWindow, pickUpWindow } from './tcp-window.js';

/** Copies: imported bindings are slow on the packet path. */
const TRANSITIONS = TCP_TRANSITIONS;
const FLAG_CLASSES = TCP_FLAG_CLASSES;

const TCP = 6;
const PREROUTING = 0;
const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;

const INVALID = Track.INVALID;
const DROP = Track.DROP;
const ACCEPT = Track.ACCEPT;

const NONE = TcpClass.NONE;
const SYN = TcpClass.SYN;
const SYNACK = TcpClass.SYNACK;
const FIN = TcpClass.FIN;
const ACK = TcpClass.ACK;
const RST = TcpClass.RST;

const SYN_SENT = TcpState.SYN_SENT;
const SYN_RECV = TcpState.SYN_RECV;
const ESTABLISHED = TcpState.ESTABLISHED;
const FIN_WAIT = TcpState.FIN_WAIT;
const LAST_ACK = TcpState.LAST_ACK;
const TIME_WAIT = TcpState.TIME_WAIT;
const CLOSE = TcpState.CLOSE;
const SYN_SENT2 = TcpState.SYN_SENT2;
const IGNORE = 14;
const OUT_OF_TABLE = 15;

/** Indices of `Timeouts.tcp` that are no states. */
const TIMEOUT_MAX_RETRANS = 10;
const TIMEOUT_UNACKNOWLEDGED = 11;

const SEEN_REPLY = Status.SEEN_REPLY;
const ASSURED = Status.ASSURED;
const CONFIRMED = Status.CONFIRMED;
const FIXED_TIMEOUT = Status.FIXED_TIMEOUT;
const SEQ_ADJUST = Status.SEQ_ADJUST;

const WINDOW_SCALE = TcpFlags.WINDOW_SCALE;
const SACK_PERMITTED = TcpFlags.SACK_PERMITTED;
const BE_LIBERAL = TcpFlags.BE_LIBERAL;
const CLOSE_INIT = TcpFlags.CLOSE_INIT;
const DATA_UNACKNOWLEDGED = TcpFlags.DATA_UNACKNOWLEDGED;
const MAXACK_SET = TcpFlags.MAXACK_SET;
const EXPECT_CHALLENGE_ACK = TcpFlags.EXPECT_CHALLENGE_ACK;
const SIMULTANEOUS_OPEN = TcpFlags.SIMULTANEOUS_OPEN;

/** An out-of-window FIN or RST shortens only lives longer than this, ms. */
const HOPELESS_MS = 120_000;

/** What becomes of a RST before its window is looked at. */
const RST_INVALID = 0;
const RST_CHECK_WINDOW = 1;
const RST_TRUSTED = 2;
const RST_INEXACT = 3;

/** Tracks a TCP segment; see {@link Track} and `context.ts` for the terms. */
export function trackTcp(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  hook: number,
): Track {
  if (hasTcpHeader(packet) === 0) return INVALID;
  if (hook === PREROUTING && context.settings.checksum === 1 && verifyChecksum(packet, TCP) === 0)
    return INVALID;
  const flagClass = FLAG_CLASSES[tcpFlags(packet) & 63] as number;
  if (flagClass === NONE) return INVALID;

  const entries = table.entries;
  if ((entries.status(entry) & CONFIRMED) === 0 && begin(context, entries, entry, packet, flagClass) === 0)
    return INVALID;

  let before = entries.state(entry);
  let after = TRANSITIONS[(direction << 7) | (flagClass << 4) | before] as number;
  let isTrusted = false;

  if (after === OUT_OF_TABLE) return INVALID;
  if (after === SYN_SENT && before >= TIME_WAIT) {
    if (before === TIME_WAIT && context.timeWait !== undefined) {
      if (context.timeWait.admits(context, table, entry, direction, packet) === 0) return DROP;
      table.destroy(entry, DestroyReason.REOPENED);
      return Track.REPEAT;
    }
    if (mayReopen(entries, entry, direction)) {
      table.destroy(entry, DestroyReason.REOPENED);
      return Track.REPEAT;
    }
    after = IGNORE;
  }
  if (after === IGNORE) {
    if (flagClass !== SYNACK || !answersIgnoredSyn(entries, entry, direction, packet)) {
      letThrough(entries, entry, direction, packet, flagClass, before);
      return ACCEPT;
    }
    resynchronise(entries, entry, direction);
    before = SYN_SENT;
    after = SYN_RECV;
  } else if (after === TIME_WAIT) {
    if (before === LAST_ACK && flagClass === ACK && isChallengeAck(entries, entry, direction)) {
      setLastFlags(entries, entry, lastFlags(entries, entry) & ~EXPECT_CHALLENGE_ACK);
      return ACCEPT;
    }
  } else if (after === SYN_SENT2) {
    setLastFlags(entries, entry, lastFlags(entries, entry) | SIMULTANEOUS_OPEN);
  } else if (after === SYN_RECV) {
    if (direction === REPLY && flagClass === ACK && (lastFlags(entries, entry) & SIMULTANEOUS_OPEN) !== 0) {
      after = ESTABLISHED;
    }
  } else if (flagClass === RST) {
    const judged = judgeReset(context, entries, entry, direction, packet, before);
    if (judged === RST_INVALID) return INVALID;
    isTrusted = judged === RST_TRUSTED;
    if (judged === RST_INEXACT) {
      after = before;
      isTrusted = answersLetThrough(entries, entry, direction, packet, before);
    }
  }

  if (!isTrusted) {
    const shifted =
      (entries.status(entry) & SEQ_ADJUST) === 0
        ? 0
        : shiftOfAcknowledgement(table, entry, direction, packet);
    const inWindow = checkWindow(context, entries, entry, direction, packet, flagClass, shifted);
    if (inWindow === 0) return ACCEPT;
    if (inWindow < 0) {
      noteHopeless(context, entries, entry, direction, flagClass);
      return INVALID;
    }
  }
  setLast(entries, entry, flagClass, direction);
  entries.setState(entry, after);
  if (after !== before && after === FIN_WAIT) {
    entries.setTdFlags(entry, direction, entries.tdFlags(entry, direction) | CLOSE_INIT);
  }
  return settle(context, table, entry, direction, packet, flagClass, before, after);
}

/** How far an acknowledgement is off what the other side sent, because a helper changed the length of its segments. */
function shiftOfAcknowledgement(
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
): number {
  const offsets = table.extensions.of(entry)?.offsets;
  return offsets === undefined
    ? 0
    : offsets.sent((1 - direction) as Direction, (tcpAcknowledgement(packet) - 1) | 0);
}

/** Sets up a new connection. Returns 1, or 0 if it cannot begin with this segment. */
function begin(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  packet: Packet,
  flagClass: number,
): 0 | 1 {
  const first = TRANSITIONS[flagClass << 4] as number;
  if (first >= IGNORE) return 0;
  if (first === SYN_SENT) openWindow(entries, entry, packet);
  else if (context.settings.tcpLoose === 0) return 0;
  else pickUpWindow(entries, entry, packet);
  return 1;
}

/**
 * Whether a SYN on a closed connection begins a new one: only if the close was seen (a FIN), or if the SYN's own
 * sender reset the connection just before. A SYN in doubt is let through like one on a live connection.
 */
function mayReopen(entries: Entries, entry: EntryId, direction: Direction): boolean {
  const seen = entries.tdFlags(entry, ORIGINAL) | entries.tdFlags(entry, REPLY);
  return (seen & CLOSE_INIT) !== 0 || last(entries, entry) === (RST | (direction << 3));
}

/** Whether a SYN/ACK acknowledges exactly the SYN that was let through just before. */
function answersIgnoredSyn(entries: Entries, entry: EntryId, direction: Direction, packet: Packet): boolean {
  return (
    last(entries, entry) === (SYN | ((1 - direction) << 3)) &&
    tcpAcknowledgement(packet) === lastEnd(entries, entry)
  );
}

/** Begins both windows anew from the remembered SYN; the SYN/ACK's own side is filled by the window check. */
function resynchronise(entries: Entries, entry: EntryId, direction: Direction): void {
  const opener = (1 - direction) as Direction;
  const end = lastEnd(entries, entry);
  const window = lastWindow(entries, entry);
  const flags = lastFlags(entries, entry) & ~EXPECT_CHALLENGE_ACK;
  setLastFlags(entries, entry, flags);
  entries.setTdEnd(entry, opener, end);
  entries.setTdMaxEnd(entry, opener, end);
  entries.setTdMaxWin(entry, opener, window === 0 ? 1 : window);
  entries.setTdScale(entry, opener, lastScale(entries, entry));
  entries.setTdFlags(entry, opener, flags);
  entries.setTdEnd(entry, direction, 0);
  entries.setTdMaxEnd(entry, direction, 0);
  entries.setTdMaxWin(entry, direction, 0);
  entries.setTdMaxAck(entry, direction, 0);
  entries.setTdScale(entry, direction, 0);
  entries.setTdFlags(entry, direction, entries.tdFlags(entry, direction) & BE_LIBERAL);
}

/** Remembers a segment that passes without being believed, and of a SYN what it offers. */
function letThrough(
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  flagClass: number,
  state: number,
): void {
  setLast(entries, entry, flagClass, direction);
  setLastSequence(entries, entry, tcpSequence(packet));
  setLastEnd(entries, entry, tcpEnd(packet));
  setLastWindow(entries, entry, tcpWindow(packet));
  if (flagClass === SYN && direction === ORIGINAL) {
    const offered = tcpSynOptions(packet);
    setLastScale(entries, entry, offered & 15);
    setLastFlags(
      entries,
      entry,
      ((offered & TCP_HAS_WINDOW_SCALE) === 0 ? 0 : WINDOW_SCALE) |
        ((offered & TCP_HAS_SACK_PERMITTED) === 0 ? 0 : SACK_PERMITTED) |
        (state === LAST_ACK ? EXPECT_CHALLENGE_ACK : 0),
    );
  }
  if (flagClass === ACK && direction === REPLY && state === SYN_SENT) {
    setLastAcknowledgement(entries, entry, tcpAcknowledgement(packet));
  }
}

/** Whether an ACK in LAST_ACK answers a SYN that was let through rather than the last FIN. */
function isChallengeAck(entries: Entries, entry: EntryId, direction: Direction): boolean {
  return (
    last(entries, entry) === (SYN | ((1 - direction) << 3)) &&
    (lastFlags(entries, entry) & EXPECT_CHALLENGE_ACK) !== 0
  );
}

/** Judges a RST by its sequence number alone. */
function judgeReset(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  state: number,
): number {
  // In a closing connection the ports may be in use again already; our numbers are no measure any more.
  if (state >= FIN_WAIT && state <= CLOSE) return RST_TRUSTED;
  const peer = (1 - direction) as Direction;
  const lastSeen = last(entries, entry);
  if ((entries.tdFlags(entry, peer) & MAXACK_SET) !== 0 && (lastSeen & 7) !== SYN) {
    const sequence = tcpSequence(packet);
    const expected = entries.tdMaxAck(entry, peer);
    const isEstablished = state === ESTABLISHED && (entries.status(entry) & ASSURED) !== 0;
    // Sequence 0 outside of an established connection: answers a SYN that was let through.
    if (sequence === 0 && !isEstablished) return RST_CHECK_WINDOW;
    if (((sequence - expected) | 0) < 0 && context.settings.tcpIgnoreInvalidRst === 0) return RST_INVALID;
    if (!isEstablished || sequence === expected) return RST_CHECK_WINDOW;
    // Exact as well if it follows directly on the sender's last segment.
    if (lastSeen === (ACK | (direction << 3)) && sequence === lastEnd(entries, entry))
      return RST_CHECK_WINDOW;
    return RST_INEXACT;
  }
  return answersLetThrough(entries, entry, direction, packet, state) ? RST_TRUSTED : RST_CHECK_WINDOW;
}

/** Whether a RST is the answer to a SYN or ACK that passed without being believed; then no window is asked. */
function answersLetThrough(
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  state: number,
): boolean {
  const status = entries.status(entry);
  const lastSeen = last(entries, entry);
  const isSynOfPeer = lastSeen === (SYN | ((1 - direction) << 3));
  if (
    (((status & SEEN_REPLY) !== 0 && isSynOfPeer) || ((status & ASSURED) === 0 && (lastSeen & 7) === ACK)) &&
    tcpAcknowledgement(packet) === lastEnd(entries, entry)
  ) {
    return true;
  }
  return (
    state === SYN_SENT &&
    lastSeen === (ACK | (REPLY << 3)) &&
    tcpSequence(packet) === lastAcknowledgement(entries, entry)
  );
}

/**
 * An assured connection whose sides both sent a FIN or RST that is out of window is probably dead while we believe
 * it alive: its life is shortened as if data were unacknowledged.
 */
function noteHopeless(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  flagClass: number,
): void {
  if (flagClass !== FIN && flagClass !== RST) return;
  if ((entries.status(entry) & (ASSURED | FIXED_TIMEOUT)) !== ASSURED) return;
  const lastSeen = last(entries, entry);
  const lastClass = lastSeen & 7;
  if (lastSeen >>> 3 === direction || (lastClass !== FIN && lastClass !== RST)) {
    setLast(entries, entry, flagClass, direction);
    return;
  }
  const remaining = (entries.expires(entry) - context.now) | 0;
  const shortened = context.timeouts.tcp[TIMEOUT_UNACKNOWLEDGED] as number;
  if (remaining >= HOPELESS_MS && remaining > shortened) {
    entries.setExpires(entry, (context.now + shortened) | 0);
  }
}

/** How long the connection may be idle after a segment, ms. */
function idleTime(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  flagClass: number,
  state: number,
): number {
  const timeouts = context.timeouts.tcp;
  const ofState = timeouts[state] as number;
  const retransmitted = timeouts[TIMEOUT_MAX_RETRANS] as number;
  if (ofState > retransmitted && retransmissions(entries, entry) >= context.settings.tcpMaxRetrans)
    return retransmitted;
  if (flagClass === RST) return timeouts[CLOSE] as number;
  const unacknowledged = timeouts[TIMEOUT_UNACKNOWLEDGED] as number;
  const flags = entries.tdFlags(entry, ORIGINAL) | entries.tdFlags(entry, REPLY);
  if (ofState > unacknowledged && (flags & DATA_UNACKNOWLEDGED) !== 0) return unacknowledged;
  if (ofState > retransmitted && lastWindow(entries, entry) === 0) return retransmitted;
  return ofState;
}

/** Timeout, ASSURED and counters after a valid segment. */
function settle(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  flagClass: number,
  before: number,
  after: number,
): Track {
  const entries = table.entries;
  const status = entries.status(entry);
  let timeoutMs = idleTime(context, entries, entry, flagClass, after);
  if (after !== before) context.changed(table, entry, Change.STATE);
  if ((status & SEEN_REPLY) === 0) {
    if (flagClass === RST) {
      // Refused or given up before there was a connection: nothing is left to remember.
      if (context.settings.accounting === 1) entries.account(entry, direction, packet.lengthBytes);
      table.destroy(entry, DestroyReason.RST);
      return ACCEPT;
    }
    // A client that repeats its SYN for ever does not keep the entry (and its NAT mapping) for ever.
    if (flagClass === SYN && before === SYN_SENT) return ACCEPT;
    const unacknowledged = context.timeouts.tcp[TIMEOUT_UNACKNOWLEDGED] as number;
    if (after === ESTABLISHED && timeoutMs > unacknowledged) timeoutMs = unacknowledged;
  } else if (
    (status & ASSURED) === 0 &&
    after === ESTABLISHED &&
    (before === SYN_RECV || before === ESTABLISHED)
  ) {
    context.mark(table, entry, ASSURED, Change.ASSURED);
  }
  if (context.timeWait !== undefined) context.timeWait.see(context, table, entry, direction, packet);
  context.refresh(table, entry, direction, timeoutMs, packet.lengthBytes);
  return ACCEPT;
}
