/**
 * Text in the format of iptables-restore to programs, line by line: each rule is read, checked and compiled, and nothing is
 * kept of its typed form. Ten thousand rules would be many objects that live for a while, which is what garbage collection
 * takes long for; so packets wait less while rules are replaced. Cold.
 *
 * The long way (`restore.ts`, then `compile.ts`) is the twin, and is taken where this one cannot tell: for commands that
 * change rules that are there already, and for texts that are refused, because only it knows which refusal comes first.
 * Whoever asks for the typed rules later has them read again.
 *
 * Where somebody keeps rules among the user's (`RulesKeeper`), theirs are added to each table of the text.
 */
import { ConfigurationError } from '../errors.js';
import type { ChainSpec, CounterSpec, Family, RuleSpec, Ruleset, TableName, TableSpec } from './ast.js';
import type { ChainCalls } from './calls.js';
import type { CompiledRuleset } from './compile.js';
import type { RuleEnvironment } from './environment.js';
import type { TableProgram } from './program.js';
import { type RestoreOptions, readTables, restoreRuleset, type TableReader } from './restore.js';
import { TableRows } from './rows.js';
import type { Release, SharedStates } from './shared.js';
import type { Command } from './text/command.js';
import type { KnownNames } from './text/grammar.js';
import { allowedHooks, hooksOf } from './text/kernel-checks.js';
import { TableDraft } from './text/table-draft.js';
import type { Where } from './text/where.js';

/** What is added to a table of the text. */
export interface KeptRules {
  /** By built-in chain: what stands before the text's rules. */
  readonly heads: ReadonlyMap<string, readonly RuleSpec[]>;
  /** Chains of its own, which the text does not name. */
  readonly chains: readonly ChainSpec[];
}

/** Rules compiled between two interruptions. */
const SLICE = 64;
/** Commands that only add. */
const ADDING: ReadonlySet<Command['verb']> = new Set(['append', 'new-chain', 'policy']);
const ALL_HOOKS = -1;

/** The text cannot be compiled as it is read. */
class Unsuited extends Error {}

/**
 * The programs of the text's tables; undefined where the long way must be taken. Yields where it may be interrupted.
 * Whoever has the result lets go of what its programs share; so does this, if it is ended before.
 */
export function* compileText(
  text: string,
  options: RestoreOptions,
  environment: RuleEnvironment,
  shared: SharedStates,
  keptFor: (name: TableName) => KeptRules | undefined = () => undefined,
): Generator<void, CompiledRuleset | undefined> {
  const { family, known = {} } = options;
  const source = new TextSource(text, options);
  const releases: Release[] = [];
  const open = (name: TableName, before: TableProgram | undefined): TableReader<TableProgram> => {
    if (before !== undefined) throw new Unsuited();
    const rows = new TableRows(name, family, environment, shared, releases);
    const kept = keptFor(name) ?? NOTHING_KEPT;
    return new RowReader(name, { family, known, kept, rows, table: () => source.table(name, kept) });
  };
  let isComplete = false;
  try {
    const programs = yield* readTables(text, options, open);
    isComplete = true;
    return { family, programs };
  } catch (error) {
    if (error instanceof Unsuited || error instanceof ConfigurationError) return undefined;
    throw error;
  } finally {
    if (!isComplete) for (const release of releases) release();
  }
}

const NOTHING_KEPT: KeptRules = { heads: new Map(), chains: [] };

interface RowReaderOptions {
  readonly family: Family;
  readonly known: KnownNames;
  readonly kept: KeptRules;
  readonly rows: TableRows;
  /** The typed rules, read again. */
  readonly table: () => TableSpec;
}

/** A table whose rules become rows at once. */
class RowReader implements TableReader<TableProgram> {
  readonly #name: TableName;
  readonly #options: RowReaderOptions;
  readonly #rows: TableRows;
  /** The chains, without rules. */
  readonly #draft: TableDraft;
  /** By chain: bits of the hooks from which all of its rules may be reached. */
  readonly #allowed = new Map<string, number>();

  constructor(name: TableName, options: RowReaderOptions) {
    this.#name = name;
    this.#options = options;
    this.#rows = options.rows;
    this.#draft = new TableDraft(name, options.family, undefined);
    for (const [chain, rules] of options.kept.heads) {
      for (const rule of rules) this.#rows.add(rule, chain);
    }
  }

  findChain(name: string): 'builtin' | 'user' | undefined {
    return this.#draft.findChain(name);
  }

  declare(name: Where, policy: Where, counters: CounterSpec | undefined): void {
    this.#draft.declare(name, policy, counters);
  }

  run(command: Command): void {
    if (!ADDING.has(command.verb)) throw new Unsuited();
    if (!('rules' in command)) {
      this.#draft.run(command);
      return;
    }
    const chain = command.chain.word;
    if (this.#draft.findChain(chain) === undefined) throw new Unsuited();
    const { family, known } = this.#options;
    for (const rule of command.rules) {
      // Rules behind the first that ends the chain are reached from nowhere.
      const isOver = this.#rows.calls(chain)?.isOver === true;
      const allowed = allowedHooks(rule, this.#name, family, known);
      if (!isOver) this.#allowed.set(chain, (this.#allowed.get(chain) ?? ALL_HOOKS) & allowed);
      this.#rows.add(rule, chain);
    }
  }

  *finish(known: KnownNames): Generator<void, TableProgram> {
    const { kept, table } = this.#options;
    const { name, chains: own } = yield* this.#draft.finish(known);
    let done = 0;
    for (const chain of kept.chains) {
      for (const rule of chain.rules) {
        this.#rows.add(rule, chain.name);
        if (++done % SLICE === 0) yield;
      }
    }
    const chains = withKept(own, kept);
    const calls = new Map<string, ChainCalls>();
    for (const chain of chains) {
      const own = this.#rows.calls(chain.name);
      if (own !== undefined) calls.set(chain.name, own);
    }
    for (const [chain, hooks] of hooksOf(chains, calls)) {
      if ((hooks & ~(this.#allowed.get(chain) ?? ALL_HOOKS)) !== 0) throw new Unsuited();
    }
    return yield* this.#rows.finish(chains, { name, table });
  }
}

/** The text that rules came from, and these as typed objects when somebody asks. */
class TextSource {
  readonly #text: string;
  readonly #options: RestoreOptions;
  #ruleset: Ruleset | undefined;

  constructor(text: string, { family, file }: RestoreOptions) {
    this.#text = text;
    // What is known may be gone by then; it was there when the rules were taken.
    this.#options = file === undefined ? { family } : { family, file };
  }

  table(name: TableName, kept: KeptRules): TableSpec {
    this.#ruleset ??= restoreRuleset(this.#text, this.#options);
    const table = this.#ruleset.tables.find((one) => one.name === name) as TableSpec;
    if (kept === NOTHING_KEPT) return table;
    const chains = table.chains.map((chain): ChainSpec => {
      const head = kept.heads.get(chain.name);
      return head === undefined ? chain : { ...chain, rules: [...head, ...chain.rules] };
    });
    return { name, chains: withKept(chains, kept) };
  }
}

/** A table's chains and those that are kept there: the built-in ones first, the others by name. */
function withKept(chains: readonly ChainSpec[], kept: KeptRules): readonly ChainSpec[] {
  if (kept.chains.length === 0) return chains;
  const own = [...chains.filter(({ policy }) => policy === undefined), ...kept.chains];
  own.sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...chains.filter(({ policy }) => policy !== undefined), ...own];
}
