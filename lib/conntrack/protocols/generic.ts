/**
 * Any other protocol: a flow is a pair of addresses; whatever passes between them keeps it. Never ASSURED. Hot.
 */

import type { Packet } from '../../wire/packet.js';
import { Track, type TrackContext } from '../context.js';
import type { Direction, EntryId } from '../entries.js';
import type { ConntrackTable } from '../table.js';

/** Tracks a packet of a protocol without a module of its own. */
export function trackGeneric(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  _hook: number,
): Track {
  context.refresh(table, entry, direction, context.timeouts.generic[0] as number, packet.lengthBytes);
  return Track.ACCEPT;
}
