/**
 * Conditions on transport headers: tcp, udp, icmp, icmp6, multiport, tcpmss. Hot.
 *
 * Later fragments have no transport header and match none of these. A packet that is too short for the header that a
 * condition reads is dropped (hotdrop), and so is an IPv4 TCP fragment that would overwrite the flags (RFC 1858).
 */

import type { Packet } from '../../wire/packet.js';
import type { IcmpMatch, MultiportMatch, RangeCondition, TcpMatch, TcpmssMatch, UdpMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';

const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
const OPTION_MSS = 2;

/** Inclusive range of 16-bit numbers, perhaps negated. */
class Range16 {
  readonly low: number;
  readonly high: number;
  readonly negated: 0 | 1;

  constructor(condition: RangeCondition) {
    this.low = condition.low;
    this.high = condition.high;
    this.negated = condition.negated ? 1 : 0;
  }

  holds(value: number): 0 | 1 {
    return ((value >= this.low && value <= this.high ? 1 : 0) ^ this.negated) as 0 | 1;
  }
}

const ANY_PORT = new Range16({ low: 0, high: 65535, negated: false });

/** One for all rules that do not ask: long rulesets have many. */
function portsOf(condition: RangeCondition | undefined): Range16 {
  return condition === undefined ? ANY_PORT : new Range16(condition);
}

export class TcpHeaderMatch implements Match {
  readonly #source: Range16;
  readonly #destination: Range16;
  readonly #flagMask: number;
  readonly #flags: number;
  readonly #flagsNegated: 0 | 1;
  /** Kind of a TCP option, 0 for none asked. */
  readonly #option: number;
  readonly #optionNegated: 0 | 1;

  constructor(spec: TcpMatch) {
    this.#source = portsOf(spec.sourcePorts);
    this.#destination = portsOf(spec.destinationPorts);
    this.#flagMask = spec.flags?.mask ?? 0;
    this.#flags = spec.flags?.value ?? 0;
    this.#flagsNegated = spec.flags?.negated === true ? 1 : 0;
    this.#option = spec.option?.value ?? 0;
    this.#optionNegated = spec.option?.negated === true ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (context.fragmentOffset !== 0) {
      if (context.fragmentOffset === 1) context.hotdrop = 1;
      return 0;
    }
    const at = context.transport;
    if (at + TCP_HEADER_BYTES > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    if (this.#source.holds(packet.u16(at)) === 0) return 0;
    if (this.#destination.holds(packet.u16(at + 2)) === 0) return 0;
    const same = (packet.u8(at + 13) & this.#flagMask) === this.#flags ? 1 : 0;
    if (same === this.#flagsNegated) return 0;
    return this.#option === 0 ? 1 : this.#hasOption(packet, context, at);
  }

  #hasOption(packet: Packet, context: RuleContext, at: number): 0 | 1 {
    const headerBytes = (packet.u8(at + 12) >>> 4) << 2;
    const end = at + headerBytes;
    if (headerBytes < TCP_HEADER_BYTES || end > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    let i = at + TCP_HEADER_BYTES;
    while (i < end) {
      const kind = packet.u8(i);
      if (kind === this.#option) return (1 - this.#optionNegated) as 0 | 1;
      if (kind < 2) i++;
      else i += i + 1 < end ? packet.u8(i + 1) || 1 : 1;
    }
    return this.#optionNegated;
  }
}

/** Also for UDP-Lite. */
export class UdpHeaderMatch implements Match {
  readonly #source: Range16;
  readonly #destination: Range16;

  constructor(spec: UdpMatch) {
    this.#source = portsOf(spec.sourcePorts);
    this.#destination = portsOf(spec.destinationPorts);
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (context.fragmentOffset !== 0) return 0;
    const at = context.transport;
    if (at + UDP_HEADER_BYTES > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    return this.#source.holds(packet.u16(at)) === 1 && this.#destination.holds(packet.u16(at + 2)) === 1
      ? 1
      : 0;
  }
}

/** `icmp` and `icmp6`; type 255 of `icmp` stands for every type. */
export class IcmpTypeMatch implements Match {
  readonly #any: boolean;
  readonly #type: number;
  readonly #codes: Range16;
  readonly #negated: 0 | 1;

  constructor(spec: IcmpMatch) {
    this.#any = spec.kind === 'icmp' && spec.type === 255;
    this.#type = spec.type;
    this.#codes = new Range16({ low: spec.codeLow, high: spec.codeHigh, negated: false });
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (context.fragmentOffset !== 0) return 0;
    const at = context.transport;
    if (at + ICMP_HEADER_BYTES > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    const same = this.#any || (packet.u8(at) === this.#type && this.#codes.holds(packet.u8(at + 1)) === 1);
    return ((same ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

export class PortListMatch implements Match {
  /** Pairs low, high. */
  readonly #ranges: Int32Array;
  readonly #source: boolean;
  readonly #destination: boolean;
  readonly #negated: 0 | 1;

  constructor(spec: MultiportMatch) {
    this.#ranges = Int32Array.from(spec.ranges.flatMap(({ low, high }) => [low, high]));
    this.#source = spec.side !== 'destination';
    this.#destination = spec.side !== 'source';
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (context.fragmentOffset !== 0) return 0;
    const at = context.transport;
    if (at + 4 > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    const source = packet.u16(at);
    const destination = packet.u16(at + 2);
    const ranges = this.#ranges;
    for (let i = 0; i < ranges.length; i += 2) {
      const low = ranges[i] as number;
      const high = ranges[i + 1] as number;
      if (
        (this.#source && source >= low && source <= high) ||
        (this.#destination && destination >= low && destination <= high)
      ) {
        return (1 - this.#negated) as 0 | 1;
      }
    }
    return this.#negated;
  }
}

/** The MSS option's value; a packet without the option is outside every range. */
export class MssMatch implements Match {
  readonly #range: Range16;

  constructor(spec: TcpmssMatch) {
    this.#range = new Range16(spec);
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const at = context.transport;
    if (at + TCP_HEADER_BYTES > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    const end = at + ((packet.u8(at + 12) >>> 4) << 2);
    if (end < at + TCP_HEADER_BYTES || end > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    let i = at + TCP_HEADER_BYTES;
    while (i < end) {
      const kind = packet.u8(i);
      if (kind === OPTION_MSS && end - i >= 4 && packet.u8(i + 1) === 4) {
        return this.#range.holds(packet.u16(i + 2));
      }
      if (kind < 2) i++;
      else i += i + 1 < end ? packet.u8(i + 1) || 1 : 1;
    }
    return this.#range.negated;
  }
}
