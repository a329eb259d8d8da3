/**
 * The rules of one family: its tables, replaced as a whole, walked per packet, saved with their counters.
 *
 * Hot: `hasTable`, `needsTracking`, `traverse`, `replay`. The rest is configuration. Replacing is atomic: everything
 * is compiled before anything is exchanged, and tables that the new ruleset does not name stay as they are. A table
 * that was never named does not exist: packets pass it uncounted.
 */
import { ConfigurationError } from '../errors.js';
import type { Packet } from '../wire/packet.js';
import { Verdict } from '../wire/verdict.js';
import type { ChainSpec, CounterSpec, Family, RuleSpec, Ruleset, TableName, TableSpec } from './ast.js';
import { type CompiledRuleset, compileRuleset } from './compile.js';
import { compileText, type KeptRules } from './compile-text.js';
import type { RuleEnvironment, RulePlace } from './environment.js';
import { Action, NO_CHAIN, RULE_WORDS_4, RULE_WORDS_6, type TableProgram } from './program.js';
import { type RestoreOptions, readRuleset } from './restore.js';
import { saveRuleset } from './save.js';
import { SharedStates } from './shared.js';
import { finish, finishGradually, type Pacing } from './slices.js';
import { ZONE_FROM_MARK } from './targets/connection.js';
import { RuleWalk, type Walk } from './walk.js';

export type { LogRecord, RuleEnvironment, RulePlace, RulesObservers } from './environment.js';

const ACCEPT = Verdict.ACCEPT;
const NONE = NO_CHAIN;
/** Word of a rule that says what it does, see `program.ts`. */
const ACTION_WORD = 6;
const MARKED_ZONE = ZONE_FROM_MARK;
/** Numbers of rules in a recorded way, see `record.ts`. */
const TABLE_SHIFT = 24;
const RULE_MASK = 0xffffff;

/** Whoever has rules of its own among the user's: every change of the user's goes through it. */
export interface RulesKeeper {
  /** Puts the user's tables in place, its own rules in them, by `Rules.replaceAsIs`. Throws as that does. */
  replace(ruleset: Ruleset): void;
  /** Takes the user's part of a table away, or of all. */
  remove(family: Family, table: TableName | undefined): void;
  /** What is to be added to the tables of a text; undefined: the text must go through `replace`. */
  additions(family: Family, text: string): KeeperAdditions | undefined;
}

/** What a keeper adds to the tables of a text that is about to be put in place. */
export interface KeeperAdditions {
  /** The keeper's rules in a table, as they were when this was made. */
  readonly rulesFor: (table: TableName) => KeptRules | undefined;
  /** Whether they still are that. */
  readonly areCurrent: () => boolean;
  /** The tables are in place, with these rules in them. */
  readonly taken: (tables: readonly TableName[]) => void;
}

export class Rules {
  readonly family: Family;
  /** Whether a rule needs connections to be tracked: 1 or 0. */
  needsTracking: 0 | 1 = 0;
  /** Whether a rule needs packets that came in fragments put together: 1 or 0. */
  needsWhole: 0 | 1 = 0;
  /** [5] by hook: a bit per table (1 << index) that has a chain there. Borrowed. */
  readonly chains = new Int32Array(5);
  /** Another number (int32) after each change of rules, counters, interfaces, or of the way in which packets are walked. */
  generation = 0;
  /** Called before counters are read or rules change: whoever counts packets elsewhere (`replay`) then tells of them. */
  beforeReading: (() => void) | undefined = undefined;
  /** Undefined: the rules are the user's alone. */
  keeper: RulesKeeper | undefined = undefined;
  readonly #environment: RuleEnvironment;
  readonly #usualWalk: RuleWalk;
  #walk: Walk;
  readonly #shared: SharedStates;
  /** [5] The same bits of those chains that have no rules, and accept. */
  readonly #bare = new Int32Array(5);
  /** [5] by table index. */
  readonly #programs: (TableProgram | undefined)[] = [undefined, undefined, undefined, undefined, undefined];
  /** Tables in the order in which they were first named. */
  #order: readonly TableProgram[] = [];

  constructor(family: Family, environment: RuleEnvironment) {
    this.family = family;
    this.#environment = environment;
    this.#usualWalk = new RuleWalk(environment.tracker, environment.observers);
    this.#walk = this.#usualWalk;
    this.#shared = environment.shared ?? new SharedStates();
  }

  // ---- per packet ----

  /** 1 if the table exists. */
  hasTable(table: number): 0 | 1 {
    return this.#programs[table] === undefined ? 0 : 1;
  }

  /** What the table says to the packet at `hook`. ACCEPT if it has no chain there; DROP sets `packet.reason`. */
  traverse(table: number, hook: number, packet: Packet): Verdict {
    const program = this.#programs[table];
    if (program === undefined || program.starts[hook] === NONE) return ACCEPT;
    if (((this.#bare[hook] as number) & (1 << table)) !== 0 && this.#passBare(program, hook, packet) === 1)
      return ACCEPT;
    const verdict = this.#walk.run(program, hook, packet);
    if ((packet.template & MARKED_ZONE) !== 0) settleZone(packet);
    return verdict;
  }

  /** Counts the packet at the policy of a chain that has no rules: 1, or 0 if somebody wants to hear of it. */
  #passBare(program: TableProgram, hook: number, packet: Packet): 0 | 1 {
    const walk = this.#usualWalk;
    if (this.#walk !== walk || walk.record.isOpen === 1) return 0;
    if (packet.traced === 1 || this.#environment.observers.onRule !== undefined) return 0;
    const policy = program.policies[hook] as number;
    program.packets[policy] = (program.packets[policy] as number) + 1;
    program.bytes[policy] = (program.bytes[policy] as number) + packet.lengthBytes;
    return 1;
  }

  /** From now on the ways that packets take are written down, see `record.ts`. `into` is borrowed. Allocates nothing. */
  startRecording(into: Int32Array): void {
    this.#usualWalk.record.open(into);
    if (this.#walk !== this.#usualWalk) this.#usualWalk.record.spoil();
  }

  /** How many numbers of rules were written, or -1 if the way must not be repeated. */
  stopRecording(): number {
    return this.#usualWalk.record.close();
  }

  /**
   * Counts `packets` packets of together `bytes` bytes at the rules of `path[from, to)`, which was recorded when
   * `generation` was what it is now.
   */
  replay(path: Int32Array, from: number, to: number, packets: number, bytes: number): void {
    const programs = this.#programs;
    for (let i = from; i < to; i++) {
      const code = path[i] as number;
      const program = programs[code >> TABLE_SHIFT] as TableProgram;
      const rule = code & RULE_MASK;
      program.packets[rule] = (program.packets[rule] as number) + packets;
      program.bytes[rule] = (program.bytes[rule] as number) + bytes;
    }
  }

  // ---- configuration ----

  /** Puts the tables of `ruleset` in the place of those that there were. Throws a ConfigurationError before that. */
  replace(ruleset: Ruleset): void {
    if (this.keeper === undefined) this.replaceAsIs(ruleset);
    else this.keeper.replace(ruleset);
  }

  /** The same past the keeper: what it keeps in these tables and is not in `ruleset` is gone. */
  replaceAsIs(ruleset: Ruleset): void {
    this.#exchange(finish(this.#compile(ruleset)));
  }

  /**
   * The same with pauses, in which packets go on to meet the rules that there were; the tables are exchanged at once, when
   * the promise is about to resolve. Of two changes of a table the one that ends last stands. Rejects with a
   * ConfigurationError, and nothing has changed then. With a keeper all of it is done at the end, without pauses.
   */
  async replaceGradually(ruleset: Ruleset, pacing: Pacing): Promise<void> {
    if (this.keeper === undefined) this.#exchange(await finishGradually(this.#compile(ruleset), pacing));
    else this.keeper.replace(ruleset);
  }

  /** `replace` from iptables-save text; `file` is named in errors. */
  restore(text: string, file?: string): void {
    const additions = this.keeper?.additions(this.family, text);
    if (this.keeper === undefined) this.#exchange(finish(this.#take(text, file)));
    else if (this.#exchangeWith(additions, finish(this.#compileWith(additions, text, file)))) return;
    else this.keeper.replace(finish(this.#read(text, file)));
  }

  /**
   * `replaceGradually` from iptables-save text. A keeper's rules are compiled with it, unless they change meanwhile or the
   * keeper must replace the text's rules itself: what is left then is done without pauses.
   */
  async restoreGradually(text: string, pacing: Pacing, file?: string): Promise<void> {
    if (this.keeper === undefined) {
      this.#exchange(await finishGradually(this.#take(text, file), pacing));
      return;
    }
    const additions = this.keeper.additions(this.family, text);
    const compiled = await finishGradually(this.#compileWith(additions, text, file), pacing);
    if (this.#exchangeWith(additions, compiled)) return;
    this.keeper.replace(await finishGradually(this.#read(text, file), pacing));
  }

  /** Takes a table away, or all: what `iptables-restore` does not do, but unloading the module does. */
  remove(table?: TableName): void {
    if (this.keeper === undefined) this.removeAsIs(table);
    else this.keeper.remove(this.family, table);
  }

  /** The same past the keeper. */
  removeAsIs(table?: TableName): void {
    this.#install(this.#order.filter(({ source }) => table !== undefined && source.name !== table));
  }

  /** From now on packets take another way through the tables, one that tells of it (`explain/`); undefined: the usual one. */
  walkWith(walk: Walk | undefined): void {
    this.#walk = walk ?? this.#usualWalk;
    this.#changed();
  }

  /** Interfaces were made, removed or renamed: rules ask for their names again. */
  interfacesChanged(): void {
    for (const { interfaces, classifier } of this.#order) {
      for (const test of interfaces) test.forget();
      classifier?.interfaces.forget();
    }
    this.#changed();
  }

  #changed(): void {
    this.generation = (this.generation + 1) | 0;
  }

  *#read(text: string, file: string | undefined): Generator<void, Ruleset> {
    return yield* readRuleset(text, this.#options(file));
  }

  #options(file: string | undefined): RestoreOptions {
    const { family } = this;
    const known = { sets: this.#environment.sets?.names ?? new Set<string>() };
    return file === undefined ? { family, known } : { family, file, known };
  }

  /** The programs of a text. */
  *#take(text: string, file: string | undefined): Generator<void, CompiledRuleset> {
    const compiled = yield* compileText(text, this.#options(file), this.#environment, this.#shared);
    return compiled ?? (yield* this.#compile(yield* this.#read(text, file)));
  }

  *#compile(ruleset: Ruleset): Generator<void, CompiledRuleset> {
    if (ruleset.family !== this.family) {
      throw new ConfigurationError('conflict', `these are rules of IPv${ruleset.family}`, {
        expected: `rules of IPv${this.family}`,
      });
    }
    return yield* compileRuleset(ruleset, this.#environment, this.#shared);
  }

  /** The programs of a text with a keeper's rules; undefined if it must replace them itself. */
  *#compileWith(
    additions: KeeperAdditions | undefined,
    text: string,
    file: string | undefined,
  ): Generator<void, CompiledRuleset | undefined> {
    if (additions === undefined) return undefined;
    return yield* compileText(text, this.#options(file), this.#environment, this.#shared, additions.rulesFor);
  }

  /** Puts these programs in place, if what they were made of still holds; whether it did. */
  #exchangeWith(additions: KeeperAdditions | undefined, compiled: CompiledRuleset | undefined): boolean {
    if (additions === undefined || compiled === undefined) return false;
    const { programs } = compiled;
    if (!additions.areCurrent()) {
      for (const { releases } of programs) for (const release of releases) release();
      return false;
    }
    this.beforeReading?.();
    for (const program of programs) {
      const before = this.#programs[program.index];
      const kept = additions.rulesFor(program.source.name);
      if (before === undefined || kept === undefined) continue;
      for (const { name } of kept.chains) copyCounters(before, program, name);
    }
    this.#exchange(compiled);
    additions.taken(programs.map(({ source }) => source.name));
    return true;
  }

  #exchange({ programs }: CompiledRuleset): void {
    const order = [...this.#order];
    for (const program of programs) {
      const before = order.findIndex(({ index }) => index === program.index);
      if (before === -1) order.push(program);
      else order[before] = program;
    }
    this.#install(order);
  }

  #install(order: readonly TableProgram[]): void {
    this.beforeReading?.();
    for (const program of this.#order) {
      if (!order.includes(program)) for (const release of program.releases) release();
    }
    this.#order = order;
    this.#programs.fill(undefined);
    this.chains.fill(0);
    this.#bare.fill(0);
    let depth = 0;
    for (const program of order) {
      this.#programs[program.index] = program;
      const bit = 1 << program.index;
      for (const [hook, start] of program.starts.entries()) {
        if (start === NONE) continue;
        this.chains[hook] = (this.chains[hook] as number) | bit;
        if (isBare(program, hook, this.family)) this.#bare[hook] = (this.#bare[hook] as number) | bit;
      }
      depth = Math.max(depth, program.depth);
    }
    this.#usualWalk.reserve(depth);
    this.needsTracking = order.some((program) => program.needsTracking === 1) ? 1 : 0;
    this.needsWhole = order.some((program) => program.needsWhole === 1) ? 1 : 0;
    this.#changed();
  }

  // ---- reading ----

  /** The rules with their counters as they are now, in the order in which the tables were first named. */
  toRuleset(): Ruleset {
    this.beforeReading?.();
    return { family: this.family, tables: this.#order.map(countedTable) };
  }

  /** The same as iptables-save prints it; `with` puts counters before each rule. */
  save(counters: 'with' | 'without' = 'without'): string {
    return saveRuleset(this.toRuleset(), { counters });
  }

  /** Where a packet can be counted, and how often one was, table by table; the ends of users' chains are left out. */
  *counters(): Iterable<RulePlace & CounterSpec> {
    this.beforeReading?.();
    for (const { places, packets, bytes } of this.#order) {
      for (let i = 0; i < places.count; i++) {
        const place = places.at(i);
        if (place.number === 'return') continue;
        yield { ...place, packets: packets[i] as number, bytes: bytes[i] as number };
      }
    }
  }

  /** Sets counters to zero, of all tables or one (`iptables -Z`). */
  zero(table?: TableName): void {
    this.beforeReading?.();
    for (const { source, packets, bytes } of this.#order) {
      if (table !== undefined && source.name !== table) continue;
      packets.fill(0);
      bytes.fill(0);
    }
    this.#changed();
  }
}

/** Whether the chain at a hook has no rules, and accepts. */
function isBare({ starts, policies, words }: TableProgram, hook: number, family: Family): boolean {
  const stride = family === 4 ? RULE_WORDS_4 : RULE_WORDS_6;
  const policy = policies[hook] as number;
  return starts[hook] === policy && words[policy * stride + ACTION_WORD] === Action.POLICY_ACCEPT;
}

/** `CT --zone mark`: the zone is the mark as the raw table left it. */
function settleZone(packet: Packet): void {
  packet.template = (packet.template & ~(MARKED_ZONE | 0xffff)) | (packet.mark & 0xffff);
}

/** The counters of a chain that has the same rules in both programs. */
function copyCounters(from: TableProgram, to: TableProgram, chain: string): void {
  const old = from.places.rulesOf(chain);
  const own = to.places.rulesOf(chain);
  if (old === undefined || own === undefined || old.to - old.from !== own.to - own.from) return;
  to.packets.set(from.packets.subarray(old.from, old.to), own.from);
  to.bytes.set(from.bytes.subarray(old.from, old.to), own.from);
}

function countedTable({ source, packets, bytes }: TableProgram): TableSpec {
  const spec = source.table();
  let at = 0;
  const next = (): CounterSpec => ({ packets: packets[at] as number, bytes: bytes[at++] as number });
  const chains = spec.chains.map((chain): ChainSpec => {
    const rules = chain.rules.map((rule): RuleSpec => ({ ...rule, counters: next() }));
    const end = next();
    return { ...chain, rules, counters: chain.policy === undefined ? { packets: 0, bytes: 0 } : end };
  });
  return { ...spec, chains };
}
