/**
 * TCP segments that a gateway sends to one end of a connection in the name of the other: resets and keepalive probes. Cold.
 *
 * Their numbers are those that the tracker has seen: the sequence number is exactly what the end expects next, its highest
 * acknowledgement, as RFC 5961 section 3 wants of a RST. A probe's is one less (RFC 9293 section 3.8.4). Where a helper
 * changed the length of segments, the numbers are the end's, not its peer's.
 */
import type { Direction, EntryId } from '../../conntrack/entries.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { AddressType } from '../../host.js';
import { sumPseudoHeader } from '../../wire/checksum.js';
import { IPV4_DF } from '../../wire/ipv4.js';
import { makeIpv4, makeIpv6, put16, put32, sealTransport } from '../../wire/segment.js';
import { TcpFlag } from '../../wire/tcp.js';
import type { RouterCore } from '../core.js';

const TCP = 6;
const TCP_BYTES = 20;
const NO_OPTIONS = new Uint8Array(0);
/** Flag of a direction: its `tdMaxAck` is valid. */
const MAXACK_SET = 32;

/** Source and destination. */
const ends = new Int32Array(8);

/** Words of an end's address in `into[at..]`: the sender of a direction. */
export function senderOf(
  table: ConntrackTable,
  entry: EntryId,
  direction: Direction,
  into: Int32Array,
  at: number,
): void {
  for (let i = 0; i < 4; i++) into[at + i] = table.entries.sourceWord(entry, direction, i);
}

/** A RST that the sender of `direction` gets. */
export function makeReset(
  core: RouterCore,
  table: ConntrackTable,
  entry: EntryId,
  to: Direction,
): Uint8Array {
  const acknowledgement = table.entries.tdEnd(entry, to);
  return make(core, table, entry, to, {
    sequence: expectedBy(table, entry, to),
    acknowledgement,
    flags: TcpFlag.RST | TcpFlag.ACK,
    window: 0,
  });
}

/** A keepalive probe that the sender of `direction` gets: an empty ACK, its number one behind. */
export function makeProbe(
  core: RouterCore,
  table: ConntrackTable,
  entry: EntryId,
  to: Direction,
): Uint8Array {
  const { entries } = table;
  const peer = (1 - to) as Direction;
  return make(core, table, entry, to, {
    sequence: (expectedBy(table, entry, to) - 1) | 0,
    acknowledgement: acknowledged(table, entry, peer),
    flags: TcpFlag.ACK,
    window: Math.min(0xffff, entries.tdMaxWin(entry, peer) >>> entries.tdScale(entry, peer)),
  });
}

/** Number of the next byte that the sender of `direction` expects. */
function expectedBy(table: ConntrackTable, entry: EntryId, direction: Direction): number {
  const peer = (1 - direction) as Direction;
  const number = acknowledged(table, entry, direction);
  const offsets = table.extensions.of(entry)?.offsets;
  return offsets === undefined ? number : (number + offsets.sent(peer, (number - 1) | 0)) | 0;
}

/** Highest acknowledgement sent in `direction`; what its peer sent, if none was seen. */
function acknowledged(table: ConntrackTable, entry: EntryId, direction: Direction): number {
  const { entries } = table;
  if ((entries.tdFlags(entry, direction) & MAXACK_SET) !== 0) return entries.tdMaxAck(entry, direction);
  return entries.tdEnd(entry, (1 - direction) as Direction);
}

/**
 * Sends a segment made here by the route to its receiver, past the rules; false if that is no other host, or a program of
 * ours took the flow in the receiver's place (TPROXY).
 */
export function sendSegment(core: RouterCore, bytes: Uint8Array, version: number): boolean {
  const { routes, ports } = core;
  const at = version === 4 ? 12 : 8;
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 4; i++) {
    ends[i] = version === 6 || i === 0 ? view.getInt32(at + 4 * i) : 0;
    ends[4 + i] = version === 6 ? view.getInt32(24 + 4 * i) : i === 0 ? view.getInt32(16) : 0;
  }
  if (routes.find(version, ends, 4, 0) !== AddressType.UNICAST) return false;
  const tcp = bytes.length - TCP_BYTES;
  if (ports.flows.find(version, ends, view.getUint16(tcp), view.getUint16(tcp + 2)) !== undefined)
    return false;
  core.transmit(routes.interface, bytes, 0, bytes.length, 'generated', undefined);
  return true;
}

interface Fields {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
}

function make(
  core: RouterCore,
  table: ConntrackTable,
  entry: EntryId,
  to: Direction,
  fields: Fields,
): Uint8Array {
  const { entries, version } = table;
  const addresses = new Int32Array(8);
  for (let i = 0; i < 4; i++) {
    addresses[i] = entries.destinationWord(entry, to, i);
    addresses[4 + i] = entries.sourceWord(entry, to, i);
  }
  const ports = entries.ports(entries.tuple(entry, to));
  const bytes =
    version === 4
      ? makeIpv4(
          {
            tos: 0,
            id: 0,
            fragment: IPV4_DF,
            ttl: core.settings.ttl,
            protocol: TCP,
            source: addresses[0]!,
            destination: addresses[4]!,
          },
          NO_OPTIONS,
          TCP_BYTES,
        )
      : makeIpv6({ trafficClass: 0, next: TCP, hopLimit: core.settings.hopLimit, addresses }, TCP_BYTES);
  const at = bytes.length - TCP_BYTES;
  put16(bytes, at, ports & 0xffff);
  put16(bytes, at + 2, ports >>> 16);
  put32(bytes, at + 4, fields.sequence);
  put32(bytes, at + 8, fields.acknowledgement);
  bytes[at + 12] = 0x50;
  bytes[at + 13] = fields.flags;
  put16(bytes, at + 14, fields.window);
  sealTransport(bytes, at, at + 16, sumPseudoHeader(addresses, TCP, TCP_BYTES));
  return bytes;
}
