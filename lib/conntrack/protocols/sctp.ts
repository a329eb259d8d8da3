/**
 * SCTP (RFC 9260): associations by their chunks (`sctp-states.ts`) and verification tags. Hot.
 *
 *   protocol word 0   0-7 state | 8 a HEARTBEAT came with a wrong tag | 9 from which direction
 *                     10, 11 an INIT of the original, reply direction is not completed yet
 *   protocol word 1   tag that packets of the original direction must carry
 *   protocol word 2   tag of the reply direction
 *
 * Each end chooses the tag of the packets to it, in its INIT or INIT ACK; an association that was not seen to begin
 * takes the tags from the first packets of each direction.
 */

import type { Packet } from '../../wire/packet.js';
import {
  firstSctpChunk,
  hasSctpHeader,
  nextSctpChunk,
  SctpChunk,
  sctpChunkLengthBytes,
  sctpTag,
  verifySctpChecksum,
} from '../../wire/sctp.js';
import { Change, Track, type TrackContext } from '../context.js';
import { type Direction, type Entries, type EntryId, Status } from '../entries.js';
import type { ConntrackTable } from '../table.js';
import { SCTP_INVALID, SCTP_TRANSITIONS, SctpState } from './sctp-states.js';

const TRANSITIONS = SCTP_TRANSITIONS;
const PREROUTING = 0;
const INVALID = Track.INVALID;
const ACCEPT = Track.ACCEPT;
const CONFIRMED = Status.CONFIRMED;
const ASSURED = Status.ASSURED;

const INIT = SctpChunk.INIT;
const INIT_ACK = SctpChunk.INIT_ACK;
const HEARTBEAT = SctpChunk.HEARTBEAT;
const HEARTBEAT_ACK = SctpChunk.HEARTBEAT_ACK;
const ABORT = SctpChunk.ABORT;
const SHUTDOWN_ACK = SctpChunk.SHUTDOWN_ACK;
const COOKIE_ECHO = SctpChunk.COOKIE_ECHO;
const COOKIE_ACK = SctpChunk.COOKIE_ACK;
const SHUTDOWN_COMPLETE = SctpChunk.SHUTDOWN_COMPLETE;

const NONE = SctpState.NONE;
const CLOSED = SctpState.CLOSED;
const ESTABLISHED = SctpState.ESTABLISHED;
const OUT_OF_TABLE = SCTP_INVALID;

const HAS_DATA = 1;
/** Chunks whose own rules take the place of the plain tag check (RFC 9260 section 8.5.1). */
const OWN_TAG_RULES =
  (1 << SctpChunk.INIT) |
  (1 << SctpChunk.HEARTBEAT) |
  (1 << SctpChunk.HEARTBEAT_ACK) |
  (1 << SctpChunk.ABORT) |
  (1 << SctpChunk.SHUTDOWN_ACK) |
  (1 << SctpChunk.COOKIE_ECHO) |
  (1 << SctpChunk.SHUTDOWN_COMPLETE);
/** Chunks that make a packet of no known association not worth an entry (section 8.4). */
const NEVER_FIRST = (1 << SctpChunk.ABORT) | (1 << SctpChunk.SHUTDOWN_COMPLETE) | (1 << SctpChunk.COOKIE_ACK);

/** Chunk flag T: the tag is the receiver's own, reflected (section 3.3.7). */
const FLAG_T = 1;

const HEARTBEAT_FAILED = 1 << 8;
const HEARTBEAT_REPLY = 1 << 9;
const INIT_SEEN = 10;
const INITS_SEEN = 3 << INIT_SEEN;

/** What a chunk does. */
const REFUSED = -1;
const PASSED = 0;
const COUNTED = 1;

/** Tracks an SCTP packet. */
export function trackSctp(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  hook: number,
): Track {
  if (hasSctpHeader(packet) === 0) return INVALID;
  if (hook === PREROUTING && context.settings.checksum === 1 && verifySctpChecksum(packet) === 0)
    return INVALID;
  const chunks = surveyChunks(packet);
  if (chunks < 0) return INVALID;
  const entries = table.entries;
  const isNew = (entries.status(entry) & CONFIRMED) === 0;
  if (isNew && ((chunks & NEVER_FIRST) !== 0 || begin(entries, entry, packet) === 0)) return INVALID;
  if ((chunks & OWN_TAG_RULES) === 0 && sctpTag(packet) !== tagOf(entries, entry, direction)) return INVALID;

  let isCounted = true;
  let after: number = NONE;
  for (let at = firstSctpChunk(packet); at >= 0; at = nextSctpChunk(packet, at)) {
    const type = packet.u8(at);
    const heartbeat = checkTag(entries, entry, direction, packet, at, type, chunks, isCounted);
    if (heartbeat === REFUSED) return INVALID;
    if (heartbeat === PASSED) {
      isCounted = false;
      continue;
    }
    const before = entries.state(entry);
    after = type > 15 ? before : (TRANSITIONS[(direction << 8) | (type << 4) | before] as number);
    if (after === OUT_OF_TABLE) return INVALID;
    if (type === INIT) {
      if (noteInit(entries, entry, direction, packet, at) === 0) return INVALID;
      // A repeated INIT does not keep an association that nobody answers.
      if (after === CLOSED && before === CLOSED && !isNew) isCounted = false;
    } else if (type === INIT_ACK) {
      if (noteInitAck(entries, entry, direction, packet, at) === 0) return INVALID;
    } else if (type === COOKIE_ACK) {
      entries.setProtocolWord(entry, 0, entries.protocolWord(entry, 0) & ~INITS_SEEN);
    }
    entries.setState(entry, after);
    if (after !== before) {
      context.changed(table, entry, Change.STATE);
      if (after === ESTABLISHED) context.mark(table, entry, ASSURED, Change.ASSURED);
    }
  }
  if (isCounted) {
    context.refresh(table, entry, direction, context.timeouts.sctp[after] as number, packet.lengthBytes);
  }
  return ACCEPT;
}

/**
 * Set of the chunk types below 32 in the packet, or -1 if chunks stand where they may not: INIT, INIT ACK and
 * SHUTDOWN COMPLETE stand alone, cookie chunks first, none is empty (RFC 9260 section 6.10), at least one is there.
 */
function surveyChunks(packet: Packet): number {
  let seen = 0;
  let mustBeAlone = false;
  const first = firstSctpChunk(packet);
  if (first < 0) return -1;
  for (let at = first; at >= 0; at = nextSctpChunk(packet, at)) {
    const type = packet.u8(at);
    if (type === INIT || type === INIT_ACK || type === SHUTDOWN_COMPLETE) mustBeAlone = true;
    if (at !== first && (mustBeAlone || type === COOKIE_ACK || type === COOKIE_ECHO)) return -1;
    if (sctpChunkLengthBytes(packet, at) === 0) return -1;
    if (type < 31) seen |= 1 << type;
  }
  return seen;
}

/** Sets up a new association by the first packet. Returns 1, or 0 if it cannot begin with it. */
function begin(entries: Entries, entry: EntryId, packet: Packet): 0 | 1 {
  for (let at = firstSctpChunk(packet); at >= 0; at = nextSctpChunk(packet, at)) {
    const type = packet.u8(at);
    if (type > 15) return 0;
    const first = TRANSITIONS[type << 4] as number;
    if (first === NONE || first === OUT_OF_TABLE) return 0;
    if (type === INIT) {
      if (hasInitTag(packet, at) === 0) return 0;
      setTag(entries, entry, 1, packet.i32(at + 4));
    } else if (type === HEARTBEAT) {
      setTag(entries, entry, 0, sctpTag(packet));
    } else if (type === SHUTDOWN_ACK) {
      // Out of the blue: its answer reflects the tag (RFC 9260 section 8.4).
      setTag(entries, entry, 1, sctpTag(packet));
    }
  }
  return 1;
}

/** Whether the packet's tag fits the chunk: COUNTED, REFUSED, or PASSED for a probe with the wrong tag. */
function checkTag(
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  at: number,
  type: number,
  chunks: number,
  isCounted: boolean,
): number {
  const tag = sctpTag(packet);
  const own = tagOf(entries, entry, direction);
  if (type === INIT) return tag === 0 ? COUNTED : REFUSED;
  if (type === ABORT || type === SHUTDOWN_COMPLETE) {
    const isReflected = (packet.u8(at + 1) & FLAG_T) !== 0;
    return tag === (isReflected ? tagOf(entries, entry, 1 - direction) : own) ? COUNTED : REFUSED;
  }
  if (type === COOKIE_ECHO) return tag === own ? COUNTED : REFUSED;
  if (type !== HEARTBEAT && type !== HEARTBEAT_ACK) return COUNTED;

  const memory = entries.protocolWord(entry, 0);
  if (own === 0) {
    setTag(entries, entry, direction, tag);
    return COUNTED;
  }
  if (tag === own) {
    entries.setProtocolWord(entry, 0, memory & ~HEARTBEAT_FAILED);
    return COUNTED;
  }
  if ((chunks & HAS_DATA) !== 0 || !isCounted) return REFUSED;
  if (type === HEARTBEAT) {
    // The peer may have restarted with new tags: the answer will tell.
    const from = direction === 1 ? HEARTBEAT_REPLY : 0;
    entries.setProtocolWord(entry, 0, (memory & ~HEARTBEAT_REPLY) | HEARTBEAT_FAILED | from);
    return PASSED;
  }
  if ((memory & HEARTBEAT_FAILED) === 0 || (memory & HEARTBEAT_REPLY) >>> 9 === direction) return REFUSED;
  entries.setProtocolWord(entry, 0, memory & ~HEARTBEAT_FAILED);
  setTag(entries, entry, direction, tag);
  setTag(entries, entry, 1 - direction, 0);
  return COUNTED;
}

/** Takes the tag of an INIT. Returns 0 if the chunk is cut short. */
function noteInit(entries: Entries, entry: EntryId, direction: Direction, packet: Packet, at: number): 0 | 1 {
  if (hasInitTag(packet, at) === 0) return 0;
  const tag = packet.i32(at + 4);
  // The tag that is known already: repeated, or forged by somebody who saw it.
  if (tag === tagOf(entries, entry, 1 - direction) && (entries.status(entry) & CONFIRMED) !== 0) return 1;
  const memory = entries.protocolWord(entry, 0);
  const ours = 1 << (INIT_SEEN + direction);
  const theirs = 1 << (INIT_SEEN + 1 - direction);
  const isSecondCollision = (memory & ours) !== 0 && (memory & theirs) !== 0;
  entries.setProtocolWord(entry, 0, (isSecondCollision ? memory & ~theirs : memory) | ours);
  setTag(entries, entry, 1 - direction, tag);
  return 1;
}

/** Takes the tag of an INIT ACK. Returns 0 if it is cut short or answers no INIT that we know. */
function noteInitAck(
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  at: number,
): 0 | 1 {
  if (hasInitTag(packet, at) === 0) return 0;
  const memory = entries.protocolWord(entry, 0);
  const isOurs = (memory & (1 << (INIT_SEEN + direction))) !== 0;
  const isTheirs = (memory & (1 << (INIT_SEEN + 1 - direction))) !== 0;
  const known = tagOf(entries, entry, 1 - direction);
  const offered = packet.i32(at + 4);
  if (known !== offered && ((!isTheirs && known !== 0) || (isOurs && isTheirs))) return 0;
  setTag(entries, entry, 1 - direction, offered);
  return 1;
}

/** Whether the fixed part of an INIT or INIT ACK is there (16 bytes behind the chunk header): 1 or 0. */
function hasInitTag(packet: Packet, at: number): 0 | 1 {
  return at + 20 <= packet.end ? 1 : 0;
}

function tagOf(entries: Entries, entry: EntryId, direction: number): number {
  return entries.protocolWord(entry, 1 + direction);
}

function setTag(entries: Entries, entry: EntryId, direction: number, tag: number): void {
  entries.setProtocolWord(entry, 1 + direction, tag);
}
