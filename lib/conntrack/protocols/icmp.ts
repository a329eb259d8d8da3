/**
 * ICMP and ICMPv6 queries: a flow per identifier, begun by the asking types only (RFC 792, RFC 950; RFC 4443 section 4,
 * RFC 4620). Never ASSURED. Errors, checksums and neighbour discovery are `icmp-error.ts`. Hot.
 *
 * Either protocol over the other's IP version is INVALID.
 */
import type { Packet } from '../../wire/packet.js';
import { Track, type TrackContext } from '../context.js';
import { type Direction, Direction as Directions, type Entries, type EntryId } from '../entries.js';
import type { ConntrackTable } from '../table.js';

const ORIGINAL = Directions.ORIGINAL;

const ECHO_REQUEST = 8;
const TIMESTAMP_REQUEST = 13;
const INFORMATION_REQUEST = 15;
const ADDRESS_MASK_REQUEST = 17;

const ECHO_REQUEST_6 = 128;
const NODE_INFORMATION_QUERY = 139;

/** Type of the packet that began the flow. */
function firstType(entries: Entries, entry: EntryId): number {
  return (entries.ports(entries.tuple(entry, ORIGINAL)) >>> 8) & 255;
}

/** Tracks an ICMP query or its answer. */
export function trackIcmp(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  _hook: number,
): Track {
  const type = firstType(table.entries, entry);
  if (
    packet.version !== 4 ||
    (type !== ECHO_REQUEST &&
      type !== TIMESTAMP_REQUEST &&
      type !== INFORMATION_REQUEST &&
      type !== ADDRESS_MASK_REQUEST)
  ) {
    return Track.INVALID;
  }
  context.refresh(table, entry, direction, context.timeouts.icmp[0] as number, packet.lengthBytes);
  return Track.ACCEPT;
}

/** Tracks an ICMPv6 query or its answer. */
export function trackIcmpv6(
  context: TrackContext,
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
  _hook: number,
): Track {
  const type = firstType(table.entries, entry);
  if (packet.version !== 6 || (type !== ECHO_REQUEST_6 && type !== NODE_INFORMATION_QUERY)) {
    return Track.INVALID;
  }
  context.refresh(table, entry, direction, context.timeouts.icmpv6[0] as number, packet.lengthBytes);
  return Track.ACCEPT;
}
