/**
 * A connection as an object for people and programs: a copy of an entry at one moment. Cold.
 */
import { formatAddress } from '../wire/address.js';
import { Direction, type EntryId, Status } from './entries.js';
import { protocolName, stateName } from './protocols/names.js';
import type { ConntrackTable } from './table.js';
import { hasPorts, KEY_WORDS } from './tuples.js';

/** One direction of a connection. Which of the optional fields are there is the protocol's. */
export interface Tuple {
  /** Address as text. */
  readonly source: string;
  readonly destination: string;
  /** TCP, UDP, UDP-Lite, SCTP. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** ICMP and ICMPv6 queries. */
  readonly type?: number;
  readonly code?: number;
  readonly id?: number;
  /** Enhanced GRE. */
  readonly sourceKey?: number;
  readonly destinationKey?: number;
}

/** Packets and bytes (of IP packets) of one direction. */
export interface Counts {
  readonly packets: number;
  readonly bytes: number;
}

/** An entry of the table, copied. */
export interface Connection {
  /** Number that no other entry of its family has, or had. */
  readonly id: number;
  readonly family: 4 | 6;
  /** Protocol number. */
  readonly protocol: number;
  /** As `conntrack -L` prints it: `tcp`, `udp`, ...; `unknown` for a protocol that conntrack has no module for. */
  readonly protocolName: string;
  /** State of the protocol's machine (`ESTABLISHED`), for protocols that have one. */
  readonly state?: string;
  /** What is left of its time, ms; 0 when expired and not reaped yet. */
  readonly remainingMs: number;
  /** Time since its first packet, ms. */
  readonly ageMs: number;
  readonly original: Tuple;
  readonly reply: Tuple;
  /** IPS_* bits; see `Status`. */
  readonly status: number;
  readonly seenReply: boolean;
  readonly assured: boolean;
  /** Unsigned 32 bits. */
  readonly mark: number;
  readonly zone: number;
  /** Directions that the zone is meant for. */
  readonly zoneDirection: 'both' | 'original' | 'reply';
  /** Helper that reads it. */
  readonly helper?: string;
  /** Labels (0-127) that rules put on it, ascending; left out if there are none. */
  readonly labels?: readonly number[];
  readonly originalCounts: Counts;
  readonly replyCounts: Counts;
}

const ICMP = 1;
const GRE = 47;
const ICMPV6 = 58;
const ZONE_DIRECTIONS = ['both', 'original', 'reply'] as const;

/** Copies an entry; `now` is the tracker's int32 time. */
export function readConnection(table: ConntrackTable, entry: EntryId, now: number): Connection {
  const entries = table.entries;
  const protocol = entries.protocol(entry);
  const status = entries.status(entry);
  const state = stateName(protocol, entries.state(entry));
  const extension = table.extensions.of(entry);
  const helper = extension?.helper;
  const labels = extension?.labelNumbers() ?? [];
  return {
    id: entries.generation(entry) >>> 0,
    family: table.version as 4 | 6,
    protocol,
    protocolName: protocolName(protocol),
    ...(state === undefined ? {} : { state }),
    remainingMs: Math.max(0, (entries.expires(entry) - now) | 0),
    ageMs: (now - entries.born(entry)) | 0,
    original: readTuple(table, entry, Direction.ORIGINAL),
    reply: readTuple(table, entry, Direction.REPLY),
    status,
    seenReply: (status & Status.SEEN_REPLY) !== 0,
    assured: (status & Status.ASSURED) !== 0,
    mark: entries.mark(entry) >>> 0,
    zone: entries.zone(entry),
    zoneDirection: ZONE_DIRECTIONS[entries.zoneDirection(entry)] as 'both' | 'original' | 'reply',
    ...(helper === undefined ? {} : { helper: helper.name }),
    ...(labels.length === 0 ? {} : { labels }),
    originalCounts: readCounts(table, entry, Direction.ORIGINAL),
    replyCounts: readCounts(table, entry, Direction.REPLY),
  };
}

function readCounts(table: ConntrackTable, entry: EntryId, direction: Direction): Counts {
  return {
    packets: table.entries.packets(entry, direction),
    bytes: table.entries.bytes(entry, direction),
  };
}

/** Copies one tuple of an entry. */
export function readTuple(table: ConntrackTable, entry: EntryId, direction: Direction): Tuple {
  const key = new Int32Array(KEY_WORDS);
  table.entries.getKey(entry, direction, key);
  const protocol = table.entries.protocol(entry);
  const ports = key[8] as number;
  return {
    source: formatAddress(key, table.version),
    destination: formatAddress(key, table.version, 4),
    ...readPorts(protocol, ports),
  };
}

function readPorts(protocol: number, ports: number): Partial<Tuple> {
  if (hasPorts(protocol) === 1) return { sourcePort: ports >>> 16, destinationPort: ports & 0xffff };
  if (protocol === ICMP || protocol === ICMPV6) {
    return { type: (ports >>> 8) & 255, code: ports & 255, id: ports >>> 16 };
  }
  if (protocol === GRE) return { sourceKey: ports >>> 16, destinationKey: ports & 0xffff };
  return {};
}
