/**
 * SNAT, DNAT, MASQUERADE, REDIRECT, NETMAP: a range made once per rule, handed to NAT with the first packet of each
 * connection that meets the rule. Hot on new connections only.
 */

import type { Nat } from '../../nat/nat.js';
import { Manip, type NatRange, NatRangeFlag } from '../../nat/range.js';
import type { Packet } from '../../wire/packet.js';
import { type Hook, Verdict } from '../../wire/verdict.js';
import type {
  AddressRange,
  MasqueradeTarget as MasqueradeSpec,
  NatTarget as NatSpec,
  NetmapTarget as NetmapSpec,
  NumberRange,
  RedirectTarget as RedirectSpec,
} from '../ast.js';
import type { RuleContext, Target } from '../context.js';
import type { RulePlace, RulesObservers } from '../environment.js';
import type { RuleScope } from '../rows.js';

const SRC = Manip.SRC;
const DST = Manip.DST;
const ACCEPT = Verdict.ACCEPT;

interface RangeParts {
  readonly addresses?: AddressRange | undefined;
  readonly ports?: NumberRange | undefined;
  readonly basePort?: number | undefined;
  readonly random?: boolean | undefined;
  readonly randomFully?: boolean | undefined;
  readonly persistent?: boolean | undefined;
}

function natRange(parts: RangeParts): NatRange {
  const { addresses, ports, basePort } = parts;
  const flags =
    (addresses === undefined ? 0 : NatRangeFlag.MAP_IPS) |
    (ports === undefined ? 0 : NatRangeFlag.PROTO_SPECIFIED) |
    (basePort === undefined ? 0 : NatRangeFlag.PROTO_OFFSET) |
    (parts.random === true ? NatRangeFlag.PROTO_RANDOM : 0) |
    (parts.randomFully === true ? NatRangeFlag.PROTO_RANDOM_FULLY : 0) |
    (parts.persistent === true ? NatRangeFlag.PERSISTENT : 0);
  return {
    flags,
    minAddress: Int32Array.from(addresses?.low ?? [0, 0, 0, 0]),
    maxAddress: Int32Array.from(addresses?.high ?? [0, 0, 0, 0]),
    minPort: ports?.low ?? 0,
    maxPort: ports?.high ?? 0,
    basePort: basePort ?? 0,
  };
}

export class SourceNatTarget implements Target {
  readonly #nat: Nat;
  readonly #range: NatRange;

  constructor(spec: NatSpec, nat: Nat) {
    this.#nat = nat;
    this.#range = natRange(spec);
  }

  act(packet: Packet): number {
    return this.#nat.setup(packet, this.#range, SRC);
  }
}

export class DestinationNatTarget implements Target {
  readonly #nat: Nat;
  readonly #range: NatRange;
  readonly #place: RulePlace;
  readonly #observers: RulesObservers;

  constructor(spec: NatSpec, scope: RuleScope) {
    this.#nat = scope.environment.nat;
    this.#observers = scope.environment.observers;
    this.#place = scope.place;
    this.#range = natRange(spec);
  }

  act(packet: Packet): number {
    const verdict = this.#nat.setup(packet, this.#range, DST);
    if (verdict === ACCEPT && this.#observers.onBind !== undefined) {
      this.#observers.onBind(this.#place, packet);
    }
    return verdict;
  }
}

export class MasqueradeTarget implements Target {
  readonly #nat: Nat;
  readonly #range: NatRange;

  constructor(spec: MasqueradeSpec, nat: Nat) {
    this.#nat = nat;
    this.#range = natRange(spec);
  }

  act(packet: Packet): number {
    return this.#nat.masquerade(packet, this.#range);
  }
}

export class RedirectTarget implements Target {
  readonly #nat: Nat;
  readonly #range: NatRange;

  constructor(spec: RedirectSpec, nat: Nat) {
    this.#nat = nat;
    this.#range = natRange(spec);
  }

  act(packet: Packet, context: RuleContext): number {
    return this.#nat.redirect(packet, context.hook as Hook, this.#range);
  }
}

export class NetmapTarget implements Target {
  readonly #nat: Nat;
  readonly #range: NatRange;

  constructor(spec: NetmapSpec, nat: Nat) {
    this.#nat = nat;
    const [a, b, c, d] = spec.words;
    const [ma, mb, mc, md] = spec.mask;
    this.#range = natRange({
      addresses: {
        low: [a & ma, b & mb, c & mc, d & md],
        high: [a | ~ma, b | ~mb, c | ~mc, d | ~md],
      },
    });
  }

  act(packet: Packet, context: RuleContext): number {
    return this.#nat.netmap(packet, context.hook as Hook, this.#range);
  }
}
