/**
 * UDP (RFC 768): a flow lives as long as an unanswered question until it proves to be a stream, answered and still
 * active two seconds after its birth; then it is ASSURED and lives longer. UDP-Lite (RFC 3828): a replied flow is a
 * stream at once. Hot.
 *
 *   protocol word 1   when the flow may become a stream, the tracker's int32 milliseconds
 */

import type { Packet } from '../../wire/packet.js';
import { verifyChecksum, verifyPartialChecksum } from '../../wire/transport.js';
import { hasUdpHeader, hasUdpLength, udpChecksum, udpLiteCoverageBytes } from '../../wire/udp.js';
import { Change, Track, type TrackContext } from '../context.js';
import { type Direction, type EntryId, Status } from '../entries.js';
import { Word } from '../layout.js';
import type { ConntrackTable } from '../table.js';

const UDP = 17;
const EXPIRES = Word.EXPIRES;
const PACKETS = Word.PACKETS;
const BYTES = Word.BYTES;
const STREAM_AFTER_WORD = Word.STREAM_AFTER;
const PREROUTING = 0;
const STREAM_AFTER = 1;
const UNREPLIED = 0;
const STREAM = 1;
const SEEN_REPLY = Status.SEEN_REPLY;
const ASSURED = Status.ASSURED;
const CONFIRMED = Status.CONFIRMED;
const NAT_CLASH = Status.NAT_CLASH;

/** Age from which on a replied flow counts as a stream, ms. */
const STREAM_AGE_MS = 2000;

/**
 * What `trackUdp` writes of a sound datagram that begins a connection, whose record is fresh. `bytes` is the length of its
 * IP packet.
 */
export function beginUdp(context: TrackContext, words: Int32Array, entry: EntryId, bytes: number): void {
  words[entry + STREAM_AFTER_WORD] = (context.now + STREAM_AGE_MS) | 0;
  words[entry + EXPIRES] = context.timeouts.udp[UNREPLIED] as number;
  if (context.settings.accounting === 0) return;
  words[entry + PACKETS] = 1;
  words[entry + BYTES] = bytes;
}

/** Tracks a UDP datagram. */
export function trackUdp(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  hook: number,
): Track {
  if (hasUdpHeader(packet) === 0 || hasUdpLength(packet) === 0) return Track.INVALID;
  if (
    udpChecksum(packet) !== 0 &&
    hook === PREROUTING &&
    context.settings.checksum === 1 &&
    verifyChecksum(packet, UDP) === 0
  ) {
    return Track.INVALID;
  }
  const entries = table.entries;
  const timeouts = context.timeouts.udp;
  const status = entries.status(entry);
  if ((status & CONFIRMED) === 0)
    entries.setProtocolWord(entry, STREAM_AFTER, (context.now + STREAM_AGE_MS) | 0);
  const isStream =
    (status & SEEN_REPLY) !== 0 && ((context.now - entries.protocolWord(entry, STREAM_AFTER)) | 0) > 0;
  const timeoutMs = timeouts[isStream ? STREAM : UNREPLIED] as number;
  context.refresh(table, entry, direction, timeoutMs, packet.lengthBytes);
  // The loser of a clash is a second entry for a flow that has one: it shall go soon.
  if (isStream && (status & NAT_CLASH) === 0) context.mark(table, entry, ASSURED, Change.ASSURED);
  return Track.ACCEPT;
}

/**
 * Tracks a UDP-Lite datagram. Linux verifies with UDP's number in the pseudo header, so datagrams that follow RFC 3828
 * section 3.2 are INVALID while checksums are verified (nf_conntrack_checksum); so they are here.
 */
export function trackUdpLite(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  hook: number,
): Track {
  if (hasUdpHeader(packet) === 0) return Track.INVALID;
  const coverageBytes = udpLiteCoverageBytes(packet);
  if (coverageBytes < 0 || udpChecksum(packet) === 0) return Track.INVALID;
  if (
    hook === PREROUTING &&
    context.settings.checksum === 1 &&
    verifyPartialChecksum(packet, UDP, coverageBytes) === 0
  ) {
    return Track.INVALID;
  }
  const timeouts = context.timeouts.udp;
  if ((table.entries.status(entry) & SEEN_REPLY) === 0) {
    context.refresh(table, entry, direction, timeouts[UNREPLIED] as number, packet.lengthBytes);
  } else {
    context.refresh(table, entry, direction, timeouts[STREAM] as number, packet.lengthBytes);
    context.mark(table, entry, ASSURED, Change.ASSURED);
  }
  return Track.ACCEPT;
}
