/**
 * Compiles a ruleset's typed objects into programs. Throws a ConfigurationError and leaves nothing behind, so that the
 * rules in force stay until the new ones are complete. Cold.
 *
 * What a rule may use in which table and hook is checked where the text is read; here only what the walk relies on:
 * chains exist, calls do not come back to themselves.
 */
import { ConfigurationError, type ErrorPlace } from '../errors.js';
import { Hook } from '../wire/verdict.js';
import type {
  AddressCondition,
  ChainSpec,
  Family,
  InterfaceCondition,
  MatchSpec,
  RuleSpec,
  Ruleset,
  TableName,
  TableSpec,
  TargetSpec,
} from './ast.js';
import { buildClassifier, longRuns } from './classify/build.js';
import type { Classifier } from './classify/classifier.js';
import type { Match, Target } from './context.js';
import type { RuleEnvironment, RulePlace } from './environment.js';
import { InterfaceTest } from './interfaces.js';
import { createMatch } from './matches/create.js';
import {
  Action,
  MOST_RUNS,
  NO_CHAIN,
  RULE_WORDS_4,
  RULE_WORDS_6,
  RUN_SHIFT,
  RuleFlag,
  type TableProgram,
} from './program.js';
import { isFlowPureMatch, isFlowPureTarget } from './purity.js';
import type { Release, SharedStates } from './shared.js';
import { createTarget } from './targets/create.js';

/** Table names by index. */
export const TABLE_NAMES: readonly TableName[] = ['raw', 'mangle', 'nat', 'filter', 'security'];

const HOOKS: ReadonlyMap<string, number> = new Map(Object.entries(Hook));

/** Rules compiled between two interruptions. */
const SLICE = 64;

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

export interface CompiledRuleset {
  readonly family: Family;
  readonly programs: readonly TableProgram[];
}

/**
 * Compiles in slices: yields where it may be interrupted. Whoever has the result lets go of what its programs share; so
 * does this, if it is ended before (`return` of the generator).
 */
export function* compileRuleset(
  ruleset: Ruleset,
  environment: RuleEnvironment,
  shared: SharedStates,
): Generator<void, CompiledRuleset> {
  const { family } = ruleset;
  const releases: Release[] = [];
  let isComplete = false;
  try {
    const programs: TableProgram[] = [];
    for (const table of ruleset.tables) {
      programs.push(yield* new TableCompiler(table, family, environment, shared, releases).compile());
    }
    isComplete = true;
    return { family, programs };
  } finally {
    if (!isComplete) for (const release of releases) release();
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

class TableCompiler {
  readonly #table: TableSpec;
  readonly #family: Family;
  readonly #environment: RuleEnvironment;
  readonly #shared: SharedStates;
  readonly #releases: Release[];
  readonly #stride: number;
  readonly #words: Int32Array;
  readonly #packets: Float64Array;
  readonly #bytes: Float64Array;
  readonly #isFlowPure: Uint8Array;
  readonly #impureFrom: Int32Array;
  readonly #matches: Match[] = [];
  readonly #targets: Target[] = [];
  readonly #interfaces: InterfaceTest[] = [];
  readonly #interfaceIndex = new Map<string, number>();
  readonly #places: RulePlace[] = [];
  #needsTracking: 0 | 1 = 0;
  #needsWhole: 0 | 1 = 0;
  /** First rule of each chain. */
  readonly #firsts = new Map<string, number>();

  constructor(
    table: TableSpec,
    family: Family,
    environment: RuleEnvironment,
    shared: SharedStates,
    releases: Release[],
  ) {
    this.#table = table;
    this.#family = family;
    this.#environment = environment;
    this.#shared = shared;
    this.#releases = releases;
    this.#stride = family === 4 ? RULE_WORDS_4 : RULE_WORDS_6;
    let rules = 0;
    for (const chain of table.chains) {
      this.#firsts.set(chain.name, rules);
      rules += chain.rules.length + 1;
    }
    this.#words = new Int32Array(rules * this.#stride);
    this.#packets = new Float64Array(rules);
    this.#bytes = new Float64Array(rules);
    this.#isFlowPure = new Uint8Array(rules);
    this.#impureFrom = new Int32Array(rules);
  }

  *compile(): Generator<void, TableProgram> {
    const starts = new Int32Array(5).fill(NO_CHAIN);
    const policies = new Int32Array(5).fill(NO_CHAIN);
    const depth = yield* callDepth(this.#table);
    const before = this.#releases.length;
    let rule = 0;
    for (const chain of this.#table.chains) {
      const first = rule;
      for (const spec of chain.rules) {
        this.#rule(rule++, spec, chain);
        if (rule % SLICE === 0) yield;
      }
      this.#chainEnd(rule, chain);
      const hook = chain.policy === undefined ? undefined : HOOKS.get(chain.name);
      if (hook !== undefined) {
        starts[hook] = first;
        policies[hook] = rule;
      }
      rule++;
    }
    const classifier = yield* this.#index();
    return {
      spec: this.#table,
      index: TABLE_NAMES.indexOf(this.#table.name),
      words: this.#words,
      interfaces: this.#interfaces,
      matches: this.#matches,
      targets: this.#targets,
      starts,
      policies,
      packets: this.#packets,
      bytes: this.#bytes,
      places: this.#places,
      isFlowPure: this.#isFlowPure,
      impureFrom: this.#impureFrom,
      classifier,
      needsTracking: this.#needsTracking,
      needsWhole: this.#needsWhole,
      releases: this.#releases.slice(before),
      depth,
    };
  }

  /** The index over the table's long runs, whose rules are marked as such. */
  *#index(): Generator<void, Classifier | undefined> {
    if (this.#environment.ruleIndex === 'none') return undefined;
    const runs = longRuns(this.#table, this.#firsts).slice(0, MOST_RUNS);
    if (runs.length === 0) return undefined;
    const { host } = this.#environment;
    const classifier = yield* buildClassifier(this.#table, this.#family, this.#firsts, runs, host);
    yield;
    for (const [run, { from, to }] of runs.entries()) {
      for (let rule = from; rule < to; rule++) {
        this.#words[rule * this.#stride]! |= RuleFlag.INDEXED | (run << RUN_SHIFT);
      }
    }
    return classifier;
  }

  #rule(index: number, spec: RuleSpec, chain: ChainSpec): void {
    const place: RulePlace = {
      table: this.#table.name,
      chain: chain.name,
      number: index - (this.#firsts.get(chain.name) as number) + 1,
    };
    const scope: RuleScope = {
      environment: this.#environment,
      family: this.#family,
      rule: spec,
      place,
      shared: this.#shared,
      releases: this.#releases,
    };
    const words = this.#words;
    const at = index * this.#stride;
    if (needsTracking(spec)) this.#needsTracking = 1;
    if (needsWhole(spec)) this.#needsWhole = 1;
    words[at] = this.#conditions(at, spec);
    words[at + 4] = this.#matches.length;
    let impureFrom = -1;
    for (const match of spec.matches) {
      const made = createMatch(match, scope);
      if (made === undefined) continue;
      if (impureFrom < 0 && !isFlowPureMatch(match)) impureFrom = this.#matches.length;
      this.#matches.push(made);
    }
    words[at + 5] = this.#matches.length;
    this.#impureFrom[index] = impureFrom < 0 ? this.#matches.length : impureFrom;
    this.#isFlowPure[index] = impureFrom < 0 && isFlowPureTarget(spec.target) ? 1 : 0;
    this.#target(at, spec.target, scope);
    this.#count(index, spec.counters ?? { packets: 0, bytes: 0 }, place);
  }

  #chainEnd(index: number, chain: ChainSpec): void {
    const action =
      chain.policy === undefined
        ? Action.RETURN
        : chain.policy === 'ACCEPT'
          ? Action.POLICY_ACCEPT
          : Action.POLICY_DROP;
    this.#words[index * this.#stride + 6] = action;
    this.#isFlowPure[index] = 1;
    this.#count(index, chain.policy === undefined ? { packets: 0, bytes: 0 } : chain.counters, {
      table: this.#table.name,
      chain: chain.name,
      number: chain.policy === undefined ? 'return' : 'policy',
    });
  }

  #count(index: number, counters: { packets: number; bytes: number }, place: RulePlace): void {
    this.#packets[index] = counters.packets;
    this.#bytes[index] = counters.bytes;
    this.#places[index] = place;
  }

  /** Writes the base conditions; returns the flags. */
  #conditions(at: number, spec: RuleSpec): number {
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
    const key = `${condition.name}${condition.wildcard ? '+' : ''}`;
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
        words[at + 7] = this.#firsts.get(spec.chain) as number;
        return;
      default: {
        const made = createTarget(spec, scope);
        words[at + 6] = made === undefined ? Action.NEXT : Action.TARGET;
        if (made !== undefined) words[at + 7] = this.#targets.push(made) - 1;
      }
    }
  }
}

/**
 * Most jumps that can be open at a time. Throws if a chain is called that does not exist or is built in, or if a chain
 * that a hook reaches calls itself, directly or not. Rules behind one that always ends the chain are not looked at, as
 * in Linux; nor are chains that no hook reaches.
 */
function* callDepth(table: TableSpec): Generator<void, number> {
  const chains = new Map(table.chains.map((chain) => [chain.name, chain]));
  const callers = new Map<string, readonly Call[]>();
  for (const chain of table.chains) {
    callers.set(chain.name, yield* callsOf(chain, chains));
  }
  const depths = new Map<string, number>();
  const open = new Set<string>();
  const visit = (name: string): number => {
    const known = depths.get(name);
    if (known !== undefined) return known;
    open.add(name);
    let depth = 0;
    for (const { to, opened, place } of callers.get(name) as readonly Call[]) {
      if (open.has(to)) {
        throw new ConfigurationError('conflict', 'chains call each other in a loop', { ...place, word: to });
      }
      depth = Math.max(depth, visit(to) + opened);
    }
    open.delete(name);
    depths.set(name, depth);
    return depth;
  };
  let deepest = 0;
  for (const { name, policy } of table.chains) {
    if (policy !== undefined) deepest = Math.max(deepest, visit(name));
  }
  return deepest;
}

/** A rule that leads to another chain; `opened`: 1 for a jump, 0 for a goto. */
interface Call {
  readonly to: string;
  readonly opened: 0 | 1;
  readonly place: ErrorPlace | undefined;
}

/** The chain's calls that can be reached. Throws if there is no such chain, reached or not. */
function* callsOf(
  { rules }: ChainSpec,
  chains: ReadonlyMap<string, ChainSpec>,
): Generator<void, readonly Call[]> {
  const calls: Call[] = [];
  let isOver = false;
  for (const [i, rule] of rules.entries()) {
    if (i % SLICE === 0) yield;
    const { target } = rule;
    if (target.kind === 'jump' || target.kind === 'goto') {
      const { place } = rule;
      const called = chains.get(target.chain);
      if (called === undefined || called.policy !== undefined) {
        throw new ConfigurationError('unknown', 'no such chain', {
          ...place,
          word: target.chain,
          expected: "a user's chain of the table",
        });
      }
      if (!isOver) calls.push({ to: target.chain, opened: target.kind === 'jump' ? 1 : 0, place });
    } else if (!isOver) {
      isOver = endsChain(rule);
    }
  }
  return calls;
}

/** A rule without any condition whose target is a verdict: nothing behind it is ever reached. */
function endsChain(rule: RuleSpec): boolean {
  const { kind } = rule.target;
  return (
    (kind === 'ACCEPT' || kind === 'DROP' || kind === 'RETURN' || isQueueVerdict(rule)) &&
    rule.matches.length === 0 &&
    rule.source === undefined &&
    rule.destination === undefined &&
    rule.inInterface === undefined &&
    rule.outInterface === undefined &&
    rule.protocol === undefined &&
    rule.fragment === undefined
  );
}

/** `-j QUEUE`, which is a verdict like ACCEPT to Linux. */
function isQueueVerdict({ target }: RuleSpec): boolean {
  return target.kind === 'NFQUEUE' && target.verdict !== undefined;
}
