/**
 * NAT for helpers: expected connections are translated as their masters are, and packets get another payload.
 */
import type { Direction, EntryId } from '../conntrack/entries.js';
import type { Expectation } from '../conntrack/expectations.js';
import type { HelperTranslator } from '../conntrack/helpers/registry.js';
import type { ConntrackTable } from '../conntrack/table.js';
import type { Random } from '../random.js';
import { sumPseudoHeader, sumRange } from '../wire/checksum.js';
import { ChecksumState, type Packet } from '../wire/packet.js';
import { sealIpv4 } from '../wire/segment.js';
import type { Nat } from './nat.js';
import { Manip, NatRangeFlag, ScratchRange } from './range.js';
import { shiftSequence } from './sequence.js';

const TCP = 6;
const UDP = 17;
const IPV4_TOTAL_LENGTH = 2;
const IPV6_PAYLOAD_LENGTH = 4;
const IPV6_HEADER_BYTES = 40;
const MAX_BYTES = 0xffff;

export class HelperNat implements HelperTranslator {
  readonly #nat: Nat;
  readonly #random: Random;
  readonly #now: () => number;
  readonly #range = new ScratchRange();
  readonly #address = new Int32Array(4);

  /** `now` is the tracker's time. */
  constructor(nat: Nat, random: Random, now: () => number) {
    this.#nat = nat;
    this.#random = random;
    this.#now = now;
  }

  /**
   * Binds a new, unconfirmed connection: its source becomes what the master's peer is for the master's end, its
   * destination that end itself, at the port that was announced.
   */
  follow(table: ConntrackTable, entry: EntryId, expectation: Expectation): void {
    const bindings = this.#nat.bindings(table.version);
    const masters = expectation.table.entries;
    const { master } = expectation;
    const direction = (1 - expectation.direction) as Direction;
    const address = this.#address;
    const range = this.#range;
    for (let i = 0; i < 4; i++) address[i] = masters.destinationWord(master, direction, i);
    range.setAddress(address, undefined);
    bindings.setup(entry, range, Manip.SRC, this.#now());
    for (let i = 0; i < 4; i++) address[i] = masters.sourceWord(master, direction, i);
    range.setAddress(address, undefined);
    range.flags |= NatRangeFlag.PROTO_SPECIFIED;
    range.minPort = expectation.ownPort;
    range.maxPort = expectation.ownPort;
    bindings.setup(entry, range, Manip.DST, this.#now());
  }

  adjust(packet: Packet, table: ConntrackTable, entry: EntryId, direction: Direction): 0 | 1 {
    const offsets = table.extensions.of(entry)?.offsets;
    return offsets === undefined ? 1 : shiftSequence(packet, offsets, direction);
  }

  pick(first: number, size: number): number {
    return this.#random.pick(first, size);
  }

  /**
   * Puts `part` in the place of the packet's bytes `[from, to)`. The packet gets a buffer of its own, and its lengths and
   * checksums are computed anew.
   */
  replace(packet: Packet, from: number, to: number, part: Uint8Array): 0 | 1 {
    const { start, end, transport } = packet;
    const lengthBytes = end - start + part.length - (to - from);
    const countedBytes = packet.version === 4 ? lengthBytes : lengthBytes - IPV6_HEADER_BYTES;
    if (countedBytes > MAX_BYTES) return 0;
    const bytes = new Uint8Array(lengthBytes);
    bytes.set(packet.bytes.subarray(start, from));
    bytes.set(part, from - start);
    bytes.set(packet.bytes.subarray(to, end), from - start + part.length);
    packet.bytes = bytes;
    packet.start = 0;
    packet.end = lengthBytes;
    packet.transport = transport - start;
    // In one piece now: the boundaries of its fragments mean nothing any more.
    packet.fragmentLengths = undefined;
    if (packet.version === 4) {
      packet.setU16(IPV4_TOTAL_LENGTH, lengthBytes);
      sealIpv4(bytes, 0, packet.transport);
    } else packet.setU16(IPV6_PAYLOAD_LENGTH, countedBytes);
    sealTransport(packet);
    return 1;
  }
}

function sealTransport(packet: Packet): void {
  const { protocol, transport, end } = packet;
  if (protocol !== TCP && protocol !== UDP) return;
  const lengthBytes = end - transport;
  const at = transport + (protocol === TCP ? 16 : 6);
  if (protocol === UDP) {
    packet.setU16(transport + 4, lengthBytes);
    // No checksum is said by zero (RFC 768), and stays so.
    if (packet.u16(at) === 0 && packet.checksumState !== ChecksumState.PARTIAL) return;
  }
  const sum = sumPseudoHeader(packet.addresses, protocol, lengthBytes);
  if (packet.checksumState === ChecksumState.PARTIAL) {
    packet.setU16(at, sum);
    return;
  }
  packet.setU16(at, 0);
  const checksum = ~sumRange(packet.bytes, transport, end, sum) & 0xffff;
  packet.setU16(at, protocol === UDP && checksum === 0 ? 0xffff : checksum);
}
