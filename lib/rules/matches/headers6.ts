/**
 * Conditions on IPv6 extension headers: ipv6header, frag, rt, hbh, dst, and ah of IPv6. Hot.
 *
 * A packet that ends before the header asked for could be found is dropped (hotdrop).
 */
import type { Packet } from '../../wire/packet.js';
import {
  type AhMatch,
  type FragMatch,
  Ipv6Header,
  type Ipv6headerMatch,
  type OptionsHeaderMatch,
  type RangeCondition,
  type RtMatch,
  type ValueCondition,
} from '../ast.js';
import type { Match, RuleContext } from '../context.js';
import { CUT_OFF, extensionBytes, findHeader6, isExtension } from '../headers6.js';

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const ESP = 50;
const AUTHENTICATION = 51;
const NO_NEXT = 59;
const DESTINATION = 60;

const IPV6_HEADER_BYTES = 40;

/** Offset of the first header of a type with `bytes` of it inside the packet, or -1; hotdrop if the packet is cut off. */
function locate(packet: Packet, context: RuleContext, type: number, bytes: number): number {
  const at = findHeader6(packet, type);
  if (at === CUT_OFF || (at >= 0 && at + bytes > packet.end)) {
    context.hotdrop = 1;
    return -1;
  }
  return at;
}

/** Length of the header at `at`; 0 and hotdrop if it leads out of the packet. */
function wholeBytes(packet: Packet, context: RuleContext, type: number, at: number): number {
  const bytes = extensionBytes(packet, type, at);
  if (at + bytes <= packet.end) return bytes;
  context.hotdrop = 1;
  return 0;
}

/** `value` unsigned. */
function inRange(condition: RangeCondition | undefined, value: number): boolean {
  if (condition === undefined) return true;
  return (value >= condition.low && value <= condition.high) !== condition.negated;
}

function isValue(condition: ValueCondition | undefined, value: number): boolean {
  return condition === undefined || (value === condition.value) !== condition.negated;
}

function headerBit(type: number): number {
  switch (type) {
    case HOP_BY_HOP:
      return Ipv6Header.HOP_BY_HOP;
    case ROUTING:
      return Ipv6Header.ROUTING;
    case FRAGMENT:
      return Ipv6Header.FRAGMENT;
    case AUTHENTICATION:
      return Ipv6Header.AH;
    default:
      return Ipv6Header.DESTINATION;
  }
}

export class HeaderSetMatch implements Match {
  readonly #bits: number;
  readonly #soft: boolean;
  readonly #negated: boolean;

  constructor(spec: Ipv6headerMatch) {
    this.#bits = spec.bits;
    this.#soft = spec.soft;
    this.#negated = spec.negated;
  }

  matches(packet: Packet): 0 | 1 {
    let at = packet.start + IPV6_HEADER_BYTES;
    let next = packet.u8(packet.start + 6);
    let found = 0;
    while (isExtension(next) === 1 || next === ESP) {
      if (next === NO_NEXT) {
        found |= Ipv6Header.NONE;
        break;
      }
      if (at + 2 > packet.end) return 0;
      if (next === ESP) {
        found |= Ipv6Header.ESP;
        break;
      }
      found |= headerBit(next);
      const bytes = extensionBytes(packet, next, at);
      next = packet.u8(at);
      at += bytes;
      if (at > packet.end) break;
    }
    if (next !== NO_NEXT && next !== ESP) found |= Ipv6Header.PROTOCOL;
    if (this.#soft) return (this.#negated ? found : ~found) & this.#bits ? 0 : 1;
    return (found === this.#bits) === this.#negated ? 0 : 1;
  }
}

export class FragmentHeaderMatch implements Match {
  readonly #spec: FragMatch;

  constructor(spec: FragMatch) {
    this.#spec = spec;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const at = locate(packet, context, FRAGMENT, 8);
    if (at < 0) return 0;
    const spec = this.#spec;
    const field = packet.u16(at + 2);
    if (!inRange(spec.id, packet.i32(at + 4) >>> 0)) return 0;
    if (spec.reserved && (packet.u8(at + 1) !== 0 || (field & 6) !== 0)) return 0;
    if (spec.first && (field & 0xfff8) !== 0) return 0;
    if (spec.more && (field & 1) === 0) return 0;
    if (spec.last && (field & 1) !== 0) return 0;
    return 1;
  }
}

export class RoutingHeaderMatch implements Match {
  readonly #spec: RtMatch;
  /** [addresses * 4] words. */
  readonly #addresses: Int32Array;

  constructor(spec: RtMatch) {
    this.#spec = spec;
    this.#addresses = Int32Array.from(spec.addresses.flat());
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const at = locate(packet, context, ROUTING, 4);
    if (at < 0) return 0;
    const bytes = wholeBytes(packet, context, ROUTING, at);
    if (bytes === 0) return 0;
    const spec = this.#spec;
    if (!inRange(spec.segmentsLeft, packet.u8(at + 3))) return 0;
    if (!isValue(spec.length, bytes) || !isValue(spec.type, packet.u8(at + 2))) return 0;
    if (spec.reserved && packet.i32(at + 4) !== 0) return 0;
    return this.#addresses.length === 0 ? 1 : this.#hasAddresses(packet, at + 8, (bytes - 8) >>> 4);
  }

  /** Compares with the `count` addresses from `at` on. */
  #hasAddresses(packet: Packet, at: number, count: number): 0 | 1 {
    const wanted = this.#addresses.length >>> 2;
    if (wanted > count || (!this.#spec.notStrict && wanted !== count)) return 0;
    let found = 0;
    for (let i = 0; i < count && found < wanted; i++) {
      if (this.#isAddress(packet, at + (i << 4), found << 2)) found++;
      else if (!this.#spec.notStrict) return 0;
    }
    return found === wanted ? 1 : 0;
  }

  #isAddress(packet: Packet, at: number, word: number): boolean {
    for (let i = 0; i < 4; i++) {
      if (packet.i32(at + (i << 2)) !== this.#addresses[word + i]) return false;
    }
    return true;
  }
}

const PAD1 = 0;

/** Options in the order in which they stand, from the first on. */
export class HeaderOptionsMatch implements Match {
  readonly #header: number;
  readonly #length: ValueCondition | undefined;
  /** Pairs type, length (-1 any). */
  readonly #options: Int32Array;

  constructor(spec: OptionsHeaderMatch) {
    this.#header = spec.kind === 'hbh' ? HOP_BY_HOP : DESTINATION;
    this.#length = spec.length;
    this.#options = Int32Array.from(spec.options.flatMap(({ type, length }) => [type, length ?? -1]));
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const at = locate(packet, context, this.#header, 2);
    if (at < 0) return 0;
    const bytes = wholeBytes(packet, context, this.#header, at);
    if (bytes === 0 || !isValue(this.#length, bytes)) return 0;
    return this.#hasOptions(packet, at + 2, at + bytes);
  }

  #hasOptions(packet: Packet, from: number, end: number): 0 | 1 {
    const options = this.#options;
    let at = from;
    for (let i = 0; i < options.length; i += 2) {
      if (at >= end || packet.u8(at) !== options[i]) return 0;
      let bytes = 1;
      if (options[i] !== PAD1) {
        if (at + 1 >= end) return 0;
        const length = packet.u8(at + 1);
        if (options[i + 1] !== -1 && options[i + 1] !== length) return 0;
        bytes = length + 2;
      }
      if (at + bytes > end && i + 2 < options.length) return 0;
      at += bytes;
    }
    return 1;
  }
}

/** `ah` of IPv6: anywhere among the extension headers. */
export class AuthenticationHeaderMatch implements Match {
  readonly #spec: AhMatch;

  constructor(spec: AhMatch) {
    this.#spec = spec;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const at = locate(packet, context, AUTHENTICATION, 12);
    if (at < 0) return 0;
    const spec = this.#spec;
    if (!inRange(spec.spi, packet.i32(at + 4) >>> 0)) return 0;
    if (!isValue(spec.length, extensionBytes(packet, AUTHENTICATION, at))) return 0;
    return spec.reserved && packet.u16(at + 2) !== 0 ? 0 : 1;
  }
}
