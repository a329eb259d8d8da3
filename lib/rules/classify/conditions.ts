/**
 * What an index may know of rules: for each rule and dimension the values for which the rule can hold, as ranges of
 * integers. Cold.
 *
 * A dimension that says nothing of a rule has no range for it: the rule holds for all values, or it is not known. Ranges
 * may be wider than the rule's condition, never narrower. A condition counts only if every condition that is asked before
 * it is plain: one that leaves no trace (no memory, no counters, no lots) and cannot drop the packet. So a rule that
 * is left out by its ranges is one whose conditions would have been asked in vain, without anybody noticing.
 *
 *   SOURCE, DESTINATION    IPv4: the address, sign bit turned, so that int32 order is address order
 *                          IPv6: rank of the address among the bounds of all rules (`ranks.ts`)
 *   SOURCE_PORT, DESTINATION_PORT      of protocols that have ports, -1 for others
 *   PROTOCOL               0-255
 *   IN, OUT                number of the interface's name among those that rules ask for, -1 for others
 *   STATE                  log2 of the CtState bit
 */
import type {
  AddressCondition,
  AddressRangeCondition,
  AddressWords,
  Family,
  MatchSpec,
  RangeCondition,
  RuleSpec,
} from '../ast.js';
import { CtState } from '../ast.js';

export const Dimension = {
  SOURCE: 0,
  DESTINATION: 1,
  SOURCE_PORT: 2,
  DESTINATION_PORT: 3,
  PROTOCOL: 4,
  IN: 5,
  OUT: 6,
  STATE: 7,
} as const;
export type Dimension = (typeof Dimension)[keyof typeof Dimension];
export const DIMENSIONS = 8;

/** Protocols that have ports in the first four bytes: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);

/** Matches that have no memory and cannot drop a packet whose transport header is complete. */
const PLAIN: ReadonlySet<MatchSpec['kind']> = new Set([
  'comment',
  'conntrack',
  'state',
  'connmark',
  'mark',
  'length',
  'iprange',
  'addrtype',
  'ttl',
  'hl',
  'dscp',
  'tos',
  'pkttype',
  'mac',
  'owner',
  'udp',
  'multiport',
]);

const STATES = CtState.INVALID | CtState.ESTABLISHED | CtState.RELATED | CtState.NEW | CtState.UNTRACKED;
const STATE_COUNT = 5;

/** Ranges of one dimension: those of a rule stand together, in the order of the rules. */
export class Ranges {
  count = 0;
  /** [count] rule of each range; there is room for more. */
  rules = new Int32Array(64);
  /** [count] inclusive ends. */
  low = new Int32Array(64);
  high = new Int32Array(64);

  add(rule: number, low: number, high: number): void {
    if (this.count === this.rules.length) {
      this.rules = widened(this.rules);
      this.low = widened(this.low);
      this.high = widened(this.high);
    }
    this.rules[this.count] = rule;
    this.low[this.count] = low;
    this.high[this.count] = high;
    this.count++;
  }
}

function widened(words: Int32Array): Int32Array<ArrayBuffer> {
  const wider = new Int32Array(2 * words.length);
  wider.set(words);
  return wider;
}

/** The same for IPv6 addresses: four words in host order for each end. */
export class WideRanges {
  readonly rules: number[] = [];
  readonly low: number[] = [];
  readonly high: number[] = [];

  add(rule: number, low: readonly number[], high: readonly number[]): void {
    this.rules.push(rule);
    for (let i = 0; i < 4; i++) {
      this.low.push(low[i] as number);
      this.high.push(high[i] as number);
    }
  }
}

/** Gathers the conditions of rules; each is given a number of its own. */
export class Conditions {
  readonly ranges: readonly Ranges[] = Array.from({ length: DIMENSIONS }, () => new Ranges());
  /** Source and destination of IPv6. */
  readonly wide: readonly [WideRanges, WideRanges] = [new WideRanges(), new WideRanges()];
  /** Numbers of the names of interfaces that rules ask for. */
  readonly names = new Map<string, number>();
  readonly family: Family;

  constructor(family: Family) {
    this.family = family;
  }

  add(rule: number, spec: RuleSpec): void {
    const { protocol, inInterface, outInterface } = spec;
    let hasSource = this.#prefix(Dimension.SOURCE, rule, spec.source);
    let hasDestination = this.#prefix(Dimension.DESTINATION, rule, spec.destination);
    if (protocol !== undefined && !protocol.negated) {
      this.#range(Dimension.PROTOCOL).add(rule, protocol.number, protocol.number);
    }
    if (inInterface !== undefined && !inInterface.negated && !inInterface.wildcard) {
      this.#name(Dimension.IN, rule, inInterface.name);
    }
    if (outInterface !== undefined && !outInterface.negated && !outInterface.wildcard) {
      this.#name(Dimension.OUT, rule, outInterface.name);
    }
    const hasPorts = protocol !== undefined && !protocol.negated && WITH_PORTS.has(protocol.number);
    const taken = { source: false, destination: false, state: false };
    for (const match of spec.matches) {
      switch (match.kind) {
        case 'tcp':
        case 'udp':
        case 'sctp':
        case 'dccp':
        case 'multiport':
          if (!hasPorts) return;
          this.#ports(rule, match, taken);
          break;
        case 'iprange':
          if (!hasSource) hasSource = this.#between(Dimension.SOURCE, rule, match.source);
          if (!hasDestination) hasDestination = this.#between(Dimension.DESTINATION, rule, match.destination);
          break;
        case 'conntrack':
          if (match.state) this.#states(rule, match.state, taken);
          break;
        case 'state':
          this.#states(rule, match, taken);
          break;
      }
      if (!isPlain(match)) return;
    }
  }

  #range(dimension: Dimension): Ranges {
    return this.ranges[dimension] as Ranges;
  }

  /** Returns whether the dimension has a range of the rule now. */
  #prefix(dimension: 0 | 1, rule: number, condition: AddressCondition | undefined): boolean {
    if (condition === undefined || condition.negated) return false;
    const { words, mask } = condition;
    if (this.family === 4) {
      const bits = leading(mask[0]);
      this.#range(dimension).add(rule, turned(words[0] & bits), turned(words[0] | ~bits));
      return true;
    }
    // A mask with holes is looked at up to the first.
    const prefix: number[] = [];
    let isWhole = true;
    for (const word of mask as readonly number[]) {
      prefix.push(isWhole ? leading(word) : 0);
      isWhole &&= word === -1;
    }
    this.#addresses(
      dimension,
      rule,
      words.map((word, i) => word & (prefix[i] as number)),
      words.map((word, i) => word | ~(prefix[i] as number)),
    );
    return true;
  }

  #between(dimension: 0 | 1, rule: number, condition: AddressRangeCondition | undefined): boolean {
    if (condition === undefined || condition.negated) return false;
    this.#addresses(dimension, rule, condition.low, condition.high);
    return true;
  }

  #addresses(
    dimension: 0 | 1,
    rule: number,
    low: AddressWords | readonly number[],
    high: AddressWords | readonly number[],
  ): void {
    if (this.family === 6) this.wide[dimension].add(rule, low, high);
    else this.#range(dimension).add(rule, turned(low[0] as number), turned(high[0] as number));
  }

  #name(dimension: Dimension, rule: number, name: string): void {
    let number = this.names.get(name);
    if (number === undefined) this.names.set(name, (number = this.names.size));
    this.#range(dimension).add(rule, number, number);
  }

  #ports(rule: number, match: MatchSpec, taken: { source: boolean; destination: boolean }): void {
    const sources = this.#range(Dimension.SOURCE_PORT);
    const destinations = this.#range(Dimension.DESTINATION_PORT);
    if (match.kind === 'multiport') {
      if (match.negated) return;
      if (match.side === 'source' && !taken.source) {
        for (const { low, high } of match.ranges) sources.add(rule, low, high);
        taken.source = true;
      }
      if (match.side === 'destination' && !taken.destination) {
        for (const { low, high } of match.ranges) destinations.add(rule, low, high);
        taken.destination = true;
      }
      return;
    }
    const { sourcePorts, destinationPorts } = match as PortsSpec;
    if (sourcePorts !== undefined && !sourcePorts.negated && !taken.source) {
      sources.add(rule, sourcePorts.low, sourcePorts.high);
      taken.source = true;
    }
    if (destinationPorts !== undefined && !destinationPorts.negated && !taken.destination) {
      destinations.add(rule, destinationPorts.low, destinationPorts.high);
      taken.destination = true;
    }
  }

  #states(
    rule: number,
    { bits, negated }: { bits: number; negated: boolean },
    taken: { state: boolean },
  ): void {
    if (taken.state || (bits & ~STATES) !== 0) return;
    taken.state = true;
    const held = negated ? ~bits & STATES : bits;
    for (let i = 0; i < STATE_COUNT; i++) {
      if (((held >>> i) & 1) === 1) this.#range(Dimension.STATE).add(rule, i, i);
    }
    // A condition that never holds: a value that no packet has.
    if (held === 0) this.#range(Dimension.STATE).add(rule, STATE_COUNT, STATE_COUNT);
  }
}

interface PortsSpec {
  readonly sourcePorts?: RangeCondition;
  readonly destinationPorts?: RangeCondition;
}

/** Whether conditions behind this one may be known. */
function isPlain(match: MatchSpec): boolean {
  switch (match.kind) {
    case 'tcp':
      return match.option === undefined;
    case 'sctp':
      return match.chunks === undefined;
    case 'dccp':
      return match.option === undefined;
    default:
      return PLAIN.has(match.kind);
  }
}

/** The ones at the head of a mask. */
function leading(mask: number): number {
  const ones = Math.clz32(~mask);
  return ones === 0 ? 0 : -1 << (32 - ones);
}

/** An IPv4 address so that int32 order is address order. */
function turned(word: number): number {
  return word ^ 0x80000000;
}
