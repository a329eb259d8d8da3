/**
 * Conditions on the network header and on what came with the packet: length, ttl, hl, dscp, tos, ecn, iprange, addrtype,
 * mark, pkttype, mac. Hot.
 */
import type { Host } from '../../host.js';
import type { Packet } from '../../wire/packet.js';
import {
  type AddressRangeCondition,
  AddressType,
  type AddrtypeMatch,
  type BitsCondition,
  type DscpMatch,
  type EcnMatch,
  type IprangeMatch,
  type LengthMatch,
  type MacMatch,
  type MarkMatch,
  type PkttypeMatch,
  type TosMatch,
  type TtlMatch,
} from '../ast.js';
import type { Match, RuleContext } from '../context.js';

/** TOS of IPv4, traffic class of IPv6. */
function trafficClass(packet: Packet): number {
  const at = packet.start;
  return packet.version === 4 ? packet.u8(at + 1) : (packet.u16(at) >>> 4) & 255;
}

export class PacketLengthMatch implements Match {
  readonly #low: number;
  readonly #high: number;
  readonly #negated: 0 | 1;

  constructor(spec: LengthMatch) {
    this.#low = spec.low;
    this.#high = spec.high;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    const bytes = packet.end - packet.start;
    return ((bytes >= this.#low && bytes <= this.#high ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

export class HopLimitMatch implements Match {
  readonly #compare: TtlMatch['compare'];
  readonly #value: number;

  constructor(spec: TtlMatch) {
    this.#compare = spec.compare;
    this.#value = spec.value;
  }

  matches(packet: Packet): 0 | 1 {
    const hops = packet.u8(packet.start + (packet.version === 4 ? 8 : 7));
    switch (this.#compare) {
      case 'eq':
        return hops === this.#value ? 1 : 0;
      case 'ne':
        return hops !== this.#value ? 1 : 0;
      case 'lt':
        return hops < this.#value ? 1 : 0;
      default:
        return hops > this.#value ? 1 : 0;
    }
  }
}

/** (traffic class & mask) == value: dscp and tos. */
export class TrafficClassMatch implements Match {
  readonly #value: number;
  readonly #mask: number;
  readonly #negated: 0 | 1;

  constructor(spec: DscpMatch | TosMatch) {
    this.#value = spec.kind === 'dscp' ? spec.value << 2 : spec.value;
    this.#mask = spec.kind === 'dscp' ? 0xfc : spec.mask;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    return (((trafficClass(packet) & this.#mask) === this.#value ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

const TCP_HEADER_BYTES = 20;
const TCP_ECE = 0x40;
const TCP_CWR = 0x80;

export class EcnBitsMatch implements Match {
  /** ECN bits of the IP header, -1: not asked. */
  readonly #ect: number;
  readonly #ectNegated: 0 | 1;
  /** Flags of the TCP header that are asked, and what they must be. */
  readonly #tcpMask: number;
  readonly #tcpFlags: number;

  constructor(spec: EcnMatch) {
    this.#ect = spec.ipEct?.value ?? -1;
    this.#ectNegated = spec.ipEct?.negated === true ? 1 : 0;
    this.#tcpMask = (spec.tcpEce === undefined ? 0 : TCP_ECE) | (spec.tcpCwr === undefined ? 0 : TCP_CWR);
    this.#tcpFlags = (spec.tcpEce === 'set' ? TCP_ECE : 0) | (spec.tcpCwr === 'set' ? TCP_CWR : 0);
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (this.#ect >= 0) {
      const same = (trafficClass(packet) & 3) === this.#ect ? 1 : 0;
      if (same === this.#ectNegated) return 0;
    }
    if (this.#tcpMask === 0) return 1;
    const at = context.transport;
    if (at + TCP_HEADER_BYTES > packet.end) return 0;
    return (packet.u8(at + 13) & this.#tcpMask) === this.#tcpFlags ? 1 : 0;
  }
}

/** Inclusive range of addresses of one end. */
class AddressRangeTest {
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  readonly #at: number;
  readonly #negated: 0 | 1;

  constructor(condition: AddressRangeCondition, at: number) {
    this.#low = Int32Array.from(condition.low);
    this.#high = Int32Array.from(condition.high);
    this.#at = at;
    this.#negated = condition.negated ? 1 : 0;
  }

  holds(addresses: Int32Array): 0 | 1 {
    const inside =
      isLess(addresses, this.#at, this.#low) === 1 || isGreater(addresses, this.#at, this.#high) === 1
        ? 0
        : 1;
    return (inside ^ this.#negated) as 0 | 1;
  }
}

function isLess(addresses: Int32Array, at: number, bound: Int32Array): 0 | 1 {
  for (let i = 0; i < 4; i++) {
    const word = addresses[at + i] as number;
    const limit = bound[i] as number;
    if (word !== limit) return word >>> 0 < limit >>> 0 ? 1 : 0;
  }
  return 0;
}

function isGreater(addresses: Int32Array, at: number, bound: Int32Array): 0 | 1 {
  for (let i = 0; i < 4; i++) {
    const word = addresses[at + i] as number;
    const limit = bound[i] as number;
    if (word !== limit) return word >>> 0 > limit >>> 0 ? 1 : 0;
  }
  return 0;
}

export class AddressRangeMatch implements Match {
  readonly #source: AddressRangeTest | undefined;
  readonly #destination: AddressRangeTest | undefined;

  constructor(spec: IprangeMatch) {
    this.#source = spec.source && new AddressRangeTest(spec.source, 0);
    this.#destination = spec.destination && new AddressRangeTest(spec.destination, 4);
  }

  matches(packet: Packet): 0 | 1 {
    if (this.#source !== undefined && this.#source.holds(packet.addresses) === 0) return 0;
    if (this.#destination !== undefined && this.#destination.holds(packet.addresses) === 0) return 0;
    return 1;
  }
}

const LIMIT_NONE = 0;
const LIMIT_IN = 1;
const LIMIT_OUT = 2;

const TYPE_UNSPEC = AddressType.UNSPEC;
const TYPE_UNICAST = AddressType.UNICAST;
const TYPE_LOCAL = AddressType.LOCAL;
const TYPE_ANYCAST = AddressType.ANYCAST;
const TYPE_MULTICAST = AddressType.MULTICAST;
const TYPE_UNREACHABLE = AddressType.UNREACHABLE;
const NO_WAY = AddressType.BLACKHOLE | AddressType.UNREACHABLE | AddressType.PROHIBIT;

export class AddressTypeMatch implements Match {
  readonly #host: Host;
  readonly #source: BitsCondition | undefined;
  readonly #destination: BitsCondition | undefined;
  readonly #limit: number;

  constructor(spec: AddrtypeMatch, host: Host) {
    this.#host = host;
    this.#source = spec.source;
    this.#destination = spec.destination;
    this.#limit =
      spec.limitInterface === undefined ? LIMIT_NONE : spec.limitInterface === 'in' ? LIMIT_IN : LIMIT_OUT;
  }

  matches(packet: Packet): 0 | 1 {
    const limit =
      this.#limit === LIMIT_IN ? packet.inInterface : this.#limit === LIMIT_OUT ? packet.outInterface : 0;
    if (this.#source !== undefined && this.#holds(packet, 0, this.#source, limit) === 0) return 0;
    if (this.#destination !== undefined && this.#holds(packet, 4, this.#destination, limit) === 0) return 0;
    return 1;
  }

  #holds(packet: Packet, at: number, condition: BitsCondition, limit: number): 0 | 1 {
    const is =
      packet.version === 4
        ? (condition.bits & (1 << this.#host.addressType(4, packet.addresses, at, limit))) === 0
          ? 0
          : 1
        : this.#holds6(packet.addresses, at, condition.bits, limit);
    return (is ^ (condition.negated ? 1 : 0)) as 0 | 1;
  }

  /**
   * IPv6: by the address's form first, all of the asked forms must be its own; then, for the types that only routing
   * knows, one of the asked must be.
   */
  #holds6(addresses: Int32Array, at: number, bits: number, limit: number): 0 | 1 {
    const first = addresses[at] as number;
    const isMulticast = first >>> 24 === 0xff;
    const low = (addresses[at + 1] as number) | first;
    const isZero = (low | (addresses[at + 2] as number) | (addresses[at + 3] as number)) === 0;
    const isMapped = low === 0 && addresses[at + 2] === 0xffff;
    if ((bits & TYPE_MULTICAST) !== 0 && !isMulticast) return 0;
    if ((bits & TYPE_UNICAST) !== 0 && (isMulticast || isZero || isMapped)) return 0;
    if ((bits & TYPE_UNSPEC) !== 0 && !isZero) return 0;
    if ((bits & (TYPE_LOCAL | TYPE_ANYCAST | TYPE_UNREACHABLE)) === 0) return 1;
    let type = 1 << this.#host.addressType(6, addresses, at, limit);
    if ((type & NO_WAY) !== 0) type = TYPE_UNREACHABLE;
    return (bits & (TYPE_LOCAL | TYPE_ANYCAST | TYPE_UNREACHABLE) & type) === 0 ? 0 : 1;
  }
}

export class PacketMarkMatch implements Match {
  readonly #value: number;
  readonly #mask: number;
  readonly #negated: 0 | 1;

  constructor(spec: MarkMatch) {
    this.#value = spec.value | 0;
    this.#mask = spec.mask | 0;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    return (((packet.mark & this.#mask) === this.#value ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

const PACKET_TYPES = { unicast: 0, broadcast: 1, multicast: 2, otherhost: 3 } as const;

export class PacketTypeMatch implements Match {
  readonly #type: number;
  readonly #negated: 0 | 1;

  constructor(spec: PkttypeMatch) {
    this.#type = PACKET_TYPES[spec.type];
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    return ((packet.packetType === this.#type ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

/** Packets without a link-layer source never match, negated or not. */
export class MacSourceMatch implements Match {
  readonly #high: number;
  readonly #low: number;
  readonly #negated: 0 | 1;

  constructor(spec: MacMatch) {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = spec.address;
    this.#high = (a << 24) | (b << 16) | (c << 8) | d;
    this.#low = (e << 8) | f;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    if (packet.hasMac === 0) return 0;
    const same = (packet.macHigh | 0) === this.#high && packet.macLow === this.#low ? 1 : 0;
    return (same ^ this.#negated) as 0 | 1;
  }
}
