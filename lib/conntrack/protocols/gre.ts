/**
 * GRE: a flow is a pair of addresses (plain GRE) or call ids (enhanced GRE, RFC 2637), a stream once it is answered.
 * The timeouts are those of the moment when it began. Hot.
 *
 *   protocol word 1   timeout while unreplied, ms
 *   protocol word 2   timeout as a stream, ms
 */

import type { Packet } from '../../wire/packet.js';
import { Change, Track, type TrackContext } from '../context.js';
import { type Direction, type EntryId, Status } from '../entries.js';
import type { ConntrackTable } from '../table.js';

const UNREPLIED_MS = 1;
const STREAM_MS = 2;
const SEEN_REPLY = Status.SEEN_REPLY;
const ASSURED = Status.ASSURED;
const CONFIRMED = Status.CONFIRMED;
const NAT_CLASH = Status.NAT_CLASH;

/** Tracks a GRE packet. */
export function trackGre(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  _hook: number,
): Track {
  const entries = table.entries;
  const status = entries.status(entry);
  if ((status & CONFIRMED) === 0) {
    entries.setProtocolWord(entry, UNREPLIED_MS, context.timeouts.gre[0] as number);
    entries.setProtocolWord(entry, STREAM_MS, context.timeouts.gre[1] as number);
  }
  if ((status & SEEN_REPLY) === 0) {
    context.refresh(table, entry, direction, entries.protocolWord(entry, UNREPLIED_MS), packet.lengthBytes);
    return Track.ACCEPT;
  }
  context.refresh(table, entry, direction, entries.protocolWord(entry, STREAM_MS), packet.lengthBytes);
  if ((status & NAT_CLASH) === 0) context.mark(table, entry, ASSURED, Change.ASSURED);
  return Track.ACCEPT;
}
