/**
 * Targets that change the IP header, or complete a checksum: TTL, HL, DSCP, TOS, ECN, CHECKSUM. Hot.
 */
import { DropReason } from '../../counters.js';
import { adjustChecksum16, sumRange } from '../../wire/checksum.js';
import { ChecksumState, type Packet } from '../../wire/packet.js';
import { Verdict } from '../../wire/verdict.js';
import type { DscpTarget, EcnTarget, TosTarget, TtlTarget } from '../ast.js';
import { CONTINUE, type RuleContext, type Target } from '../context.js';

const ON = CONTINUE;
const DROP = Verdict.DROP;
const TRUNCATED = DropReason.TRUNCATED;
const PARTIAL = ChecksumState.PARTIAL;
const UNNECESSARY = ChecksumState.UNNECESSARY;

const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const TCP_HEADER_BYTES = 20;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const ICMPV6_CHECKSUM = 2;

/** Sets the 16-bit field of the IPv4 header at `offset` and adjusts the header's checksum. */
function setHeaderWord(packet: Packet, offset: number, word: number): void {
  const at = packet.start + offset;
  const checksum = packet.start + 10;
  packet.setU16(checksum, adjustChecksum16(packet.u16(checksum), packet.u16(at), word));
  packet.setU16(at, word);
}

/** Sets TOS or traffic class. */
function setTrafficClass(packet: Packet, value: number): void {
  const first = packet.u16(packet.start);
  if (packet.version === 4) setHeaderWord(packet, 0, (first & 0xff00) | value);
  else packet.setU16(packet.start, (first & 0xf00f) | (value << 4));
}

function trafficClass(packet: Packet): number {
  const first = packet.u16(packet.start);
  return packet.version === 4 ? first & 255 : (first >>> 4) & 255;
}

/** TTL and HL; stays within 0 to 255. */
export class HopLimitTarget implements Target {
  /** What the old value is multiplied with (0 or 1), and what is added. */
  readonly #keep: number;
  readonly #add: number;

  constructor(spec: TtlTarget) {
    this.#keep = spec.action === 'set' ? 0 : 1;
    this.#add = spec.action === 'dec' ? -spec.value : spec.value;
  }

  act(packet: Packet): number {
    const at = packet.start + (packet.version === 4 ? 8 : 7);
    const before = packet.u8(at);
    const hops = Math.min(255, Math.max(0, before * this.#keep + this.#add));
    if (hops === before) return ON;
    if (packet.version === 4) setHeaderWord(packet, 8, (hops << 8) | packet.u8(at + 1));
    else packet.bytes[at] = hops;
    return ON;
  }
}

/** DSCP and TOS. */
export class TrafficClassTarget implements Target {
  readonly #keep: number;
  readonly #value: number;

  constructor(spec: DscpTarget | TosTarget) {
    this.#keep = spec.kind === 'DSCP' ? 3 : ~spec.mask & 255;
    this.#value = spec.kind === 'DSCP' ? spec.value << 2 : spec.value;
  }

  act(packet: Packet): number {
    const before = trafficClass(packet);
    const value = (before & this.#keep) ^ this.#value;
    if (value !== before) setTrafficClass(packet, value);
    return ON;
  }
}

/** ECN bits of the IPv4 header, ECE and CWR of TCP. */
export class EcnBitsTarget implements Target {
  /** -1: left alone. */
  readonly #ip: number;
  readonly #tcpMask: number;
  readonly #tcpBits: number;

  constructor(spec: EcnTarget) {
    this.#ip = spec.ip ?? -1;
    this.#tcpMask = (spec.ece === undefined ? 0 : 0x40) | (spec.cwr === undefined ? 0 : 0x80);
    this.#tcpBits = (spec.ece === 1 ? 0x40 : 0) | (spec.cwr === 1 ? 0x80 : 0);
  }

  act(packet: Packet, context: RuleContext): number {
    if (this.#ip >= 0) {
      const before = trafficClass(packet);
      const value = (before & 0xfc) | this.#ip;
      if (value !== before) setTrafficClass(packet, value);
    }
    if (this.#tcpMask === 0 || packet.protocol !== TCP) return ON;
    const at = context.transport;
    if (at + TCP_HEADER_BYTES > packet.end) {
      packet.reason = TRUNCATED;
      return DROP;
    }
    const before = packet.u16(at + 12);
    const word = (before & ~this.#tcpMask) | this.#tcpBits;
    if (word === before) return ON;
    if (packet.checksumState !== PARTIAL) {
      const checksum = at + TCP_CHECKSUM;
      packet.setU16(checksum, adjustChecksum16(packet.u16(checksum), before, word));
    }
    packet.setU16(at + 12, word);
    return ON;
  }
}

/** Completes a checksum that was left to the network card. */
export class ChecksumTarget implements Target {
  act(packet: Packet): number {
    if (packet.checksumState !== PARTIAL) return ON;
    const offset = checksumOffset(packet.protocol);
    if (offset === 0 || packet.transport + offset + 2 > packet.end) return ON;
    // The field holds the pseudo header's sum already.
    const sum = sumRange(packet.bytes, packet.transport, packet.end, 0);
    const checksum = ~sum & 0xffff;
    packet.setU16(packet.transport + offset, checksum === 0 && packet.protocol === UDP ? 0xffff : checksum);
    packet.checksumState = UNNECESSARY;
    return ON;
  }
}

/** Offset of the checksum in the transport header, 0 if it has none that is left incomplete. */
function checksumOffset(protocol: number): number {
  switch (protocol) {
    case TCP:
      return TCP_CHECKSUM;
    case UDP:
      return UDP_CHECKSUM;
    case ICMPV6:
      return ICMPV6_CHECKSUM;
    default:
      return 0;
  }
}
