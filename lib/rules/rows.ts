/**
 * The rules of a table as they are compiled: each becomes a row of integers, with its matches and its target, when it is
 * added, in whatever order the chains' rules come; `finish` puts the chains one behind the other. Nothing is kept of the
 * typed rules, so a long text leaves little behind. Cold.
 *
 * Whoever has the rows lets go of what they share (`releases`), if they do not become a program.
 */
import { Hook } from '../wire/verdict.js';
import type {
  AddressCondition,
  CounterSpec,
  Family,
  InterfaceCondition,
  MatchSpec,
  RuleSpec,
  TableName,
  TargetSpec,
} from './ast.js';
import { ChainCalls, type ChainHead, callDepth } from './calls.js';
import { buildClassifier, longRuns } from './classify/build.js';
import type { Classifier } from './classify/classifier.js';
import { Conditions } from './classify/conditions.js';
import type { Match, Target } from './context.js';
import type { RuleEnvironment, RulePlace } from './environment.js';
import { InterfaceTest } from './interfaces.js';
import { createMatch } from './matches/create.js';
import { RulePlaces } from './places.js';
import {
  Action,
  MOST_RUNS,
  NO_CHAIN,
  RULE_WORDS_4,
  RULE_WORDS_6,
  RUN_SHIFT,
  RuleFlag,
  type TableProgram,
  type TableSource,
} from './program.js';
import { isFlowPureMatch, isFlowPureTarget } from './purity.js';
import type { Release, SharedStates } from './shared.js';
import { createTarget } from './targets/create.js';

/** Table names by index. */
export const TABLE_NAMES: readonly TableName[] = ['raw', 'mangle', 'nat', 'filter', 'security'];

const HOOKS: ReadonlyMap<string, number> = new Map(Object.entries(Hook));

/** Rows put in their place between two interruptions. */
const SLICE = 1024;
/** Rows that there is room for at first. */
const FIRST_ROOM = 16;

/** Matches and targets that switch connection tracking on for their family, wherever in a table they stand. */
const TRACKING_MATCHES: ReadonlySet<MatchSpec['kind']> = new Set([
  'conntrack',
  'state',
  'connmark',
  'connbytes',
  'connlimit',
  'helper',
  'connlabel',
]);
const TRACKING_TARGETS: ReadonlySet<TargetSpec['kind']> = new Set([
  'SNAT',
  'DNAT',
  'MASQUERADE',
  'REDIRECT',
  'NETMAP',
  'CONNMARK',
]);

/** Where the matches and targets of a rule are made for. */
export interface RuleScope {
  readonly environment: RuleEnvironment;
  readonly family: Family;
  readonly rule: RuleSpec;
  readonly place: RulePlace;
  readonly shared: SharedStates;
  /** How to let go of what is shared is added here as it is taken into use. */
  readonly releases: Release[];
}

/** A chain of the finished table. */
export interface ChainFrame extends ChainHead {
  readonly counters: CounterSpec;
}

class ChainRows {
  readonly calls = new ChainCalls();
  count = 0;
  /** Where in the table its next row is put. */
  next = 0;
}

export class TableRows {
  readonly #name: TableName;
  readonly #family: Family;
  readonly #environment: RuleEnvironment;
  readonly #shared: SharedStates;
  readonly #releases: Release[];
  readonly #before: number;
  readonly #stride: number;
  /** Undefined: there is no index. */
  readonly #conditions: Conditions | undefined;
  readonly #chains = new Map<string, ChainRows>();
  readonly #matches: Match[] = [];
  readonly #targets: Target[] = [];
  readonly #interfaces: InterfaceTest[] = [];
  readonly #interfaceIndex = new Map<string, number>();
  #needsTracking: 0 | 1 = 0;
  #needsWhole: 0 | 1 = 0;
  #count = 0;
  /** [rows * stride]; the operand of jumps is a number of `#names`. */
  #words: Int32Array;
  #packets = new Float64Array(FIRST_ROOM);
  #bytes = new Float64Array(FIRST_ROOM);
  #isFlowPure = new Uint8Array(FIRST_ROOM);
  #impureFrom = new Int32Array(FIRST_ROOM);
  /** [rows] the chain, a number of `#names`. */
  #chainOf = new Int32Array(FIRST_ROOM);
  /** Names of chains that have rules or are led to. */
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(
    name: TableName,
    family: Family,
    environment: RuleEnvironment,
    shared: SharedStates,
    releases: Release[],
  ) {
    this.#name = name;
    this.#family = family;
    this.#environment = environment;
    this.#shared = shared;
    this.#releases = releases;
    this.#before = releases.length;
    this.#stride = family === 4 ? RULE_WORDS_4 : RULE_WORDS_6;
    this.#words = new Int32Array(FIRST_ROOM * this.#stride);
    this.#conditions = environment.ruleIndex === 'none' ? undefined : new Conditions(family);
  }

  /** Adds a rule behind those of its chain. Throws a ConfigurationError if something in it cannot be had here. */
  add(spec: RuleSpec, chain: string): void {
    if (this.#count === this.#packets.length) this.#widen();
    const row = this.#count++;
    const number = this.#numberOf(chain);
    const rows = this.#rowsOf(chain);
    rows.count++;
    rows.calls.add(spec);
    this.#chainOf[row] = number;
    if (needsTracking(spec)) this.#needsTracking = 1;
    if (needsWhole(spec)) this.#needsWhole = 1;
    const scope: RuleScope = {
      environment: this.#environment,
      family: this.#family,
      rule: spec,
      place: { table: this.#name, chain, number: rows.count },
      shared: this.#shared,
      releases: this.#releases,
    };
    const at = row * this.#stride;
    const words = this.#words;
    words[at] = this.#base(at, spec);
    words[at + 4] = this.#matches.length;
    let impureFrom = -1;
    for (const match of spec.matches) {
      const made = createMatch(match, scope);
      if (made === undefined) continue;
      if (impureFrom < 0 && !isFlowPureMatch(match)) impureFrom = this.#matches.length;
      this.#matches.push(made);
    }
    words[at + 5] = this.#matches.length;
    this.#impureFrom[row] = impureFrom < 0 ? this.#matches.length : impureFrom;
    this.#isFlowPure[row] = impureFrom < 0 && isFlowPureTarget(spec.target) ? 1 : 0;
    this.#target(at, spec.target, scope);
    if (spec.counters !== undefined) {
      this.#packets[row] = spec.counters.packets;
      this.#bytes[row] = spec.counters.bytes;
    }
    this.#conditions?.add(row, spec);
  }

  /** The chains' calls, by name; chains without rules may be missing. */
  calls(chain: string): ChainCalls | undefined {
    return this.#chains.get(chain)?.calls;
  }

  /**
   * The program of the table, whose chains are in their order; all that have rows are there. Throws a ConfigurationError
   * if jumps lead nowhere or back. Yields where it may be interrupted.
   */
  *finish(chains: readonly ChainFrame[], source: TableSource): Generator<void, TableProgram> {
    const calls = new Map([...this.#chains].map(([name, rows]) => [name, rows.calls]));
    const depth = callDepth(chains, calls);
    const starts = new Int32Array(5).fill(NO_CHAIN);
    const policies = new Int32Array(5).fill(NO_CHAIN);
    const firsts = new Int32Array(chains.length);
    let count = 0;
    for (const [i, { name, policy }] of chains.entries()) {
      const rows = this.#rowsOf(name);
      firsts[i] = rows.next = count;
      count += rows.count + 1;
      const hook = policy === undefined ? undefined : HOOKS.get(name);
      if (hook === undefined) continue;
      starts[hook] = firsts[i]!;
      policies[hook] = count - 1;
    }
    const places = yield* this.#arrange(count);
    for (const [i, { policy, counters }] of chains.entries()) {
      const end = (firsts[i + 1] ?? count) - 1;
      this.#isFlowPure[end] = 1;
      this.#words[end * this.#stride + 6] = endAction(policy);
      if (policy === undefined) continue;
      this.#packets[end] = counters.packets;
      this.#bytes[end] = counters.bytes;
    }
    const classifier = yield* this.#index(firsts, count, places);
    // One literal: what is read per packet must have one hidden class.
    return {
      source,
      index: TABLE_NAMES.indexOf(this.#name),
      words: this.#words,
      interfaces: this.#interfaces,
      matches: this.#matches,
      targets: this.#targets,
      starts,
      policies,
      packets: this.#packets,
      bytes: this.#bytes,
      places: new RulePlaces(this.#name, chains, firsts, count),
      isFlowPure: this.#isFlowPure,
      impureFrom: this.#impureFrom,
      classifier,
      needsTracking: this.#needsTracking,
      needsWhole: this.#needsWhole,
      releases: this.#releases.slice(this.#before),
      depth,
    };
  }

  /** Puts rows where their chains stand; the place of each. */
  *#arrange(count: number): Generator<void, Int32Array> {
    const stride = this.#stride;
    const rows = this.#names.map((name) => this.#rowsOf(name));
    const firsts = rows.map(({ next }) => next);
    const places = new Int32Array(this.#count);
    const words = new Int32Array(count * stride);
    const packets = new Float64Array(count);
    const bytes = new Float64Array(count);
    const isFlowPure = new Uint8Array(count);
    const impureFrom = new Int32Array(count);
    for (let row = 0; row < this.#count; row++) {
      const place = rows[this.#chainOf[row]!]!.next++;
      places[row] = place;
      const from = row * stride;
      const to = place * stride;
      for (let i = 0; i < stride; i++) words[to + i] = this.#words[from + i]!;
      const action = words[to + 6]!;
      if (action === Action.JUMP || action === Action.GOTO) words[to + 7] = firsts[words[to + 7]!]!;
      packets[place] = this.#packets[row]!;
      bytes[place] = this.#bytes[row]!;
      isFlowPure[place] = this.#isFlowPure[row]!;
      impureFrom[place] = this.#impureFrom[row]!;
      if (row % SLICE === SLICE - 1) yield;
    }
    this.#words = words;
    this.#packets = packets;
    this.#bytes = bytes;
    this.#isFlowPure = isFlowPure;
    this.#impureFrom = impureFrom;
    return places;
  }

  /** The index over the table's long runs, whose rules are marked as such. */
  *#index(firsts: Int32Array, count: number, places: Int32Array): Generator<void, Classifier | undefined> {
    if (this.#conditions === undefined) return undefined;
    const runs = longRuns(firsts, count).slice(0, MOST_RUNS);
    if (runs.length === 0) return undefined;
    const { host } = this.#environment;
    const classifier = yield* buildClassifier(this.#conditions, places, runs, host);
    for (const [run, { from, to }] of runs.entries()) {
      for (let rule = from; rule < to; rule++) {
        this.#words[rule * this.#stride]! |= RuleFlag.INDEXED | (run << RUN_SHIFT);
      }
    }
    return classifier;
  }

  #rowsOf(chain: string): ChainRows {
    let rows = this.#chains.get(chain);
    if (rows === undefined) this.#chains.set(chain, (rows = new ChainRows()));
    return rows;
  }

  #numberOf(chain: string): number {
    let number = this.#numbers.get(chain);
    if (number === undefined) this.#numbers.set(chain, (number = this.#names.push(chain) - 1));
    return number;
  }

  #widen(): void {
    const room = 2 * this.#packets.length;
    this.#words = widened(this.#words, new Int32Array(room * this.#stride));
    this.#packets = widened(this.#packets, new Float64Array(room));
    this.#bytes = widened(this.#bytes, new Float64Array(room));
    this.#isFlowPure = widened(this.#isFlowPure, new Uint8Array(room));
    this.#impureFrom = widened(this.#impureFrom, new Int32Array(room));
    this.#chainOf = widened(this.#chainOf, new Int32Array(room));
  }

  /** Writes the base conditions; returns the flags. */
  #base(at: number, spec: RuleSpec): number {
    const words = this.#words;
    let flags = 0;
    const { protocol, inInterface, outInterface } = spec;
    if (spec.source !== undefined) {
      flags |= RuleFlag.SOURCE | (spec.source.negated ? RuleFlag.SOURCE_NEGATED : 0);
      this.#address(at + 8, spec.source);
    }
    if (spec.destination !== undefined) {
      flags |= RuleFlag.DESTINATION | (spec.destination.negated ? RuleFlag.DESTINATION_NEGATED : 0);
      this.#address(at + (this.#family === 4 ? 10 : 16), spec.destination);
    }
    if (protocol !== undefined) {
      flags |= RuleFlag.PROTOCOL | (protocol.negated ? RuleFlag.PROTOCOL_NEGATED : 0);
      words[at + 1] = protocol.number;
    }
    if (inInterface !== undefined) {
      flags |= RuleFlag.IN | (inInterface.negated ? RuleFlag.IN_NEGATED : 0);
      words[at + 2] = this.#interfaceTest(inInterface);
    }
    if (outInterface !== undefined) {
      flags |= RuleFlag.OUT | (outInterface.negated ? RuleFlag.OUT_NEGATED : 0);
      words[at + 3] = this.#interfaceTest(outInterface);
    }
    if (spec.fragment === 'fragment') flags |= RuleFlag.FRAGMENT;
    if (spec.fragment === 'not-fragment') flags |= RuleFlag.NOT_FRAGMENT;
    return flags;
  }

  #address(at: number, condition: AddressCondition): void {
    const length = this.#family === 4 ? 1 : 4;
    for (let i = 0; i < length; i++) {
      this.#words[at + i] = condition.words[i] as number;
      this.#words[at + length + i] = condition.mask[i] as number;
    }
  }

  /** Index of the test for a condition; rules with the same names share one. */
  #interfaceTest(condition: InterfaceCondition): number {
    const key = condition.wildcard ? `${condition.name}+` : condition.name;
    let index = this.#interfaceIndex.get(key);
    if (index === undefined) {
      index = this.#interfaces.push(new InterfaceTest(this.#environment.host, condition)) - 1;
      this.#interfaceIndex.set(key, index);
    }
    return index;
  }

  #target(at: number, spec: TargetSpec, scope: RuleScope): void {
    const words = this.#words;
    switch (spec.kind) {
      case 'none':
        words[at + 6] = Action.NEXT;
        return;
      case 'ACCEPT':
        words[at + 6] = Action.ACCEPT;
        return;
      case 'DROP':
        words[at + 6] = Action.DROP;
        return;
      case 'RETURN':
        words[at + 6] = Action.RETURN;
        return;
      case 'jump':
      case 'goto':
        words[at + 6] = spec.kind === 'jump' ? Action.JUMP : Action.GOTO;
        words[at + 7] = this.#numberOf(spec.chain);
        return;
      default: {
        const made = createTarget(spec, scope);
        words[at + 6] = made === undefined ? Action.NEXT : Action.TARGET;
        if (made !== undefined) words[at + 7] = this.#targets.push(made) - 1;
      }
    }
  }
}

/** Whether connections must be tracked for a rule. */
function needsTracking({ matches, target }: RuleSpec): boolean {
  return (
    matches.some(({ kind }) => TRACKING_MATCHES.has(kind)) ||
    TRACKING_TARGETS.has(target.kind) ||
    (target.kind === 'CT' && !target.notrack)
  );
}

/** Whether a rule needs whole packets: fragments are put together before it, tracked or not. */
function needsWhole({ matches, target }: RuleSpec): boolean {
  return target.kind === 'TPROXY' || matches.some(({ kind }) => kind === 'socket');
}

/** What the record behind a chain's rules does. */
function endAction(policy: ChainHead['policy']): number {
  if (policy === undefined) return Action.RETURN;
  return policy === 'ACCEPT' ? Action.POLICY_ACCEPT : Action.POLICY_DROP;
}

function widened<T extends Int32Array | Float64Array | Uint8Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
