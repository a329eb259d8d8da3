/**
 * Chains that the gateway keeps among the user's rules: what forwards and the policy compile to. Cold.
 *
 * They are ordinary chains, shown by `save` like all others; their names begin with CONNTIDE-. Whoever contributes gives
 * the text of chains and the jumps that lead to them. A jump goes to the head of its built-in chain, unless the user's
 * rules have one to the same chain already: then that one stays where it is, and decides when the chain is asked.
 *
 * Invariants: the user's own rules keep their order and counters; rules of ours whose text stays the same keep their
 * counters; a change is complete in both families or has not happened. Text with old chains of ours in it may be
 * restored: they are put back as they are now. `engine.restore`, and whatever else changes the engine's rules, comes through
 * here (`RulesKeeper`), so that no change of the user's can lose them.
 */
import type { Engine } from '../engine.js';
import type { ChainSpec, Family, RuleSpec, Ruleset, TableName, TableSpec } from '../rules/ast.js';
import type { KeptRules } from '../rules/compile-text.js';
import { restoreRuleset } from '../rules/restore.js';
import type { KeeperAdditions, RulesKeeper } from '../rules/rules.js';
import { formatRule } from '../rules/text/print-rule.js';

/** What the names of our chains begin with. */
export const MANAGED_PREFIX = 'CONNTIDE-';

/** A chain's rules, without `-A CHAIN`. */
export interface ChainText {
  readonly family: Family;
  readonly table: TableName;
  readonly name: string;
  readonly rules: readonly string[];
  /** The same rules as they would be read, by those who have many: reading is most of the work. */
  readonly specs?: readonly RuleSpec[];
}

/** `-A FROM -j TO`, `FROM` being a built-in chain. */
export interface ChainJump {
  readonly family: Family;
  readonly table: TableName;
  readonly from: string;
  readonly to: string;
}

export interface Contribution {
  readonly chains: readonly ChainText[];
  readonly jumps: readonly ChainJump[];
}

/** Contributors in the order in which their jumps stand. */
export type Contributor = 'policy' | 'forwards';
const CONTRIBUTORS: readonly Contributor[] = ['policy', 'forwards'];
const FAMILIES: readonly Family[] = [4, 6];
const TABLES: readonly TableName[] = ['raw', 'mangle', 'nat', 'filter', 'security'];
const NOTHING: Contribution = { chains: [], jumps: [] };

export class ManagedChains implements RulesKeeper {
  readonly #engine: Engine;
  #contributions: ReadonlyMap<Contributor, Contribution> = new Map();
  /** Jumps that we made, not the user: those go with their chain. */
  #jumps: ReadonlySet<string> = new Set();

  /** From now on every change of the engine's rules goes through here, whichever door it takes. */
  constructor(engine: Engine) {
    this.#engine = engine;
    for (const family of FAMILIES) engine.rules(family).keeper = this;
  }

  /** Puts a contributor's chains in the place of its former ones. Throws a ConfigurationError, and nothing has changed then. */
  set(contributor: Contributor, contribution: Contribution | undefined): void {
    const next = new Map(this.#contributions).set(contributor, contribution ?? NOTHING);
    const changes = FAMILIES.map((family): Change => {
      const tables = TABLES.filter(
        (table) => tableText(next, family, table) !== tableText(this.#contributions, family, table),
      );
      const before = this.#engine.rules(family).toRuleset();
      const base = { family, tables: before.tables.filter(({ name }) => tables.includes(name)) };
      return { base, tables, contributions: next };
    });
    this.#install(
      changes.filter(({ tables }) => tables.length > 0),
      new Set(this.#jumps),
    );
    this.#contributions = next;
  }

  /** Replaces the user's tables that `text` has, as `Engine.restore` does; our chains stay. */
  restore(family: Family, text: string, file?: string): void {
    this.#engine.rules(family).restore(text, file);
  }

  /** The same of a ruleset that was read. */
  replace(base: Ruleset): void {
    const { family } = base;
    const tables = base.tables.map(({ name }) => name);
    const jumps = new Set([...this.#jumps].filter((jump) => !isInOneOf(jump, family, tables)));
    this.#install([{ base, tables, contributions: this.#contributions }], jumps);
  }

  /** What is to be added to the tables of `text`; undefined if it names chains of ours, which must be merged with them. */
  additions(family: Family, text: string): KeeperAdditions | undefined {
    if (text.includes(MANAGED_PREFIX)) return undefined;
    const contributions = this.#contributions;
    const tables = new Map<TableName, KeptRules | undefined>();
    return {
      rulesFor: (table) => {
        if (!tables.has(table)) tables.set(table, this.#ours(contributions, family, table));
        return tables.get(table);
      },
      areCurrent: () => contributions === this.#contributions,
      taken: (names) => {
        const jumps = [...this.#jumps].filter((jump) => !isInOneOf(jump, family, names));
        for (const table of names) {
          for (const [chain, rules] of tables.get(table)?.heads ?? []) {
            for (const rule of rules) jumps.push(keyOfJump(family, table, chain, rule));
          }
        }
        this.#jumps = new Set(jumps);
      },
    };
  }

  /** Our rules in a table that has none of them. */
  #ours(
    contributions: ReadonlyMap<Contributor, Contribution>,
    family: Family,
    table: TableName,
  ): KeptRules | undefined {
    const text = tableText(contributions, family, table, 'unread');
    if (text === '') return undefined;
    const known = { sets: this.#engine.sets.names };
    const { tables } = withSpecs(restoreRuleset(text, { family, file: 'conntide', known }), contributions);
    const { chains } = tables[0] as TableSpec;
    const heads = chains.filter(({ policy, rules }) => policy !== undefined && rules.length > 0);
    return {
      heads: new Map(heads.map(({ name, rules }) => [name, rules])),
      chains: chains.filter(({ name }) => isManaged(name)),
    };
  }

  /** Takes the user's tables away, or one; those that have chains of ours stay with these alone. */
  remove(family: Family, table: TableName | undefined): void {
    const rules = this.#engine.rules(family);
    const gone = rules.toRuleset().tables.filter(({ name }) => table === undefined || name === table);
    const isOurs = ({ name }: TableSpec) => tableText(this.#contributions, family, name) !== '';
    this.replace({ family, tables: gone.filter(isOurs).map(withoutRules) });
    for (const one of gone) if (!isOurs(one)) rules.removeAsIs(one.name);
  }

  #install(changes: readonly Change[], jumps: Set<string>): void {
    const undo: (() => void)[] = [];
    try {
      for (const change of changes) {
        const rules = this.#engine.rules(change.base.family);
        const before = rules.toRuleset();
        rules.replaceAsIs(this.#merge(change, jumps));
        undo.push(() => {
          const had = new Set(before.tables.map(({ name }) => name));
          for (const { name } of rules.toRuleset().tables) if (!had.has(name)) rules.removeAsIs(name);
          rules.replaceAsIs(before);
        });
      }
    } catch (error) {
      for (const revert of undo) revert();
      throw error;
    }
    this.#jumps = jumps;
  }

  /** The user's tables with our chains in them. */
  #merge({ base, tables, contributions }: Change, jumps: Set<string>): Ruleset {
    const { family } = base;
    const text = tables.map((table) => tableText(contributions, family, table, 'unread')).join('');
    const known = { sets: this.#engine.sets.names };
    const ours = withSpecs(restoreRuleset(text, { family, file: 'conntide', known }), contributions);
    const counted = countersOf(this.#engine.rules(family).toRuleset());
    const merged = base.tables.map((table) => {
      const own = ours.tables.find(({ name }) => name === table.name);
      return mergeTable(table, own, family, counted, jumps);
    });
    const added = ours.tables
      .filter(({ name }) => base.tables.every((table) => table.name !== name))
      .map((own) => mergeTable(withoutRules(own), own, family, counted, jumps));
    return { family, tables: [...merged, ...added] };
  }
}

/** Tables to be exchanged: the user's part of them, and whose chains go there. */
interface Change {
  readonly base: Ruleset;
  readonly tables: readonly TableName[];
  readonly contributions: ReadonlyMap<Contributor, Contribution>;
}

/** What the contributions say of a table; '' if nothing. `unread`: without the rules that there are specs of. */
function tableText(
  contributions: ReadonlyMap<Contributor, Contribution>,
  family: Family,
  table: TableName,
  form: 'whole' | 'unread' = 'whole',
): string {
  const all = CONTRIBUTORS.map((name) => contributions.get(name) ?? NOTHING);
  const isHere = (one: { family: Family; table: TableName }) => one.family === family && one.table === table;
  const chains = all.flatMap((one) => one.chains).filter(isHere);
  if (chains.length === 0) return '';
  return [
    `*${table}`,
    ...chains.map(({ name }) => `:${name} - [0:0]`),
    ...all.flatMap((one) => one.jumps.filter(isHere)).map(({ from, to }) => `-A ${from} -j ${to}`),
    ...chains.flatMap(({ name, rules, specs }) =>
      form === 'unread' && specs !== undefined ? [] : rules.map((rule) => `-A ${name} ${rule}`),
    ),
    'COMMIT\n',
  ].join('\n');
}

/** The ruleset with the rules that there are specs of. */
function withSpecs(ruleset: Ruleset, contributions: ReadonlyMap<Contributor, Contribution>): Ruleset {
  const { family } = ruleset;
  const given = new Map<string, readonly RuleSpec[]>();
  for (const { chains } of contributions.values()) {
    for (const chain of chains) {
      if (chain.family === family && chain.specs !== undefined)
        given.set(`${chain.table} ${chain.name}`, chain.specs);
    }
  }
  const tables = ruleset.tables.map((table) => ({
    ...table,
    chains: table.chains.map((chain) => ({
      ...chain,
      rules: given.get(`${table.name} ${chain.name}`) ?? chain.rules,
    })),
  }));
  return { family, tables };
}

type Counted = ReadonlyMap<string, RuleSpec['counters']>;

/** Counters of our rules by table and text. */
function countersOf(ruleset: Ruleset): Counted {
  const counted = new Map<string, RuleSpec['counters']>();
  for (const table of ruleset.tables) {
    for (const chain of table.chains.filter(({ name }) => isManaged(name))) {
      for (const rule of chain.rules)
        counted.set(keyOf(table.name, chain.name, rule, ruleset.family), rule.counters);
    }
  }
  return counted;
}

function keyOf(table: TableName, chain: string, rule: RuleSpec, family: Family): string {
  return `${table} ${formatRule(chain, rule, family)}`;
}

function isManaged(name: string): boolean {
  return name.startsWith(MANAGED_PREFIX);
}

/** The built-in chains of a table, empty. */
function withoutRules(table: TableSpec): TableSpec {
  const chains = table.chains.filter(({ policy }) => policy !== undefined);
  return { ...table, chains: chains.map((chain) => ({ ...chain, rules: [] })) };
}

/** `jumps` is read and written: which jumps are ours. */
function mergeTable(
  table: TableSpec,
  ours: TableSpec | undefined,
  family: Family,
  counted: Counted,
  jumps: Set<string>,
): TableSpec {
  const managed = (ours?.chains ?? []).filter(({ name }) => isManaged(name));
  const names = new Set(managed.map(({ name }) => name));
  const orphans = new Set<string>();
  const chains: ChainSpec[] = table.chains
    .filter(({ name }) => !isManaged(name))
    .map((chain) => {
      const keyOf = (rule: RuleSpec) => keyOfJump(family, table.name, chain.name, rule);
      const before = chain.rules.filter((rule) => isPlain(rule) && jumps.has(keyOf(rule)));
      const kept = chain.rules.filter((rule) => !before.includes(rule));
      for (const rule of before) jumps.delete(keyOf(rule));
      for (const rule of kept) {
        const to = chainOf(rule);
        if (to !== undefined && isManaged(to) && !names.has(to)) orphans.add(to);
      }
      const there = new Set(kept.map(chainOf));
      const added = (ours?.chains.find(({ name }) => name === chain.name)?.rules ?? []).filter(
        (rule) => !there.has(chainOf(rule)),
      );
      for (const rule of added) jumps.add(keyOf(rule));
      const counted = added.map((rule) => before.find((old) => chainOf(old) === chainOf(rule)) ?? rule);
      return { ...chain, rules: [...counted, ...kept] };
    });
  for (const chain of managed) {
    const rules = chain.rules.map((rule): RuleSpec => {
      const counters =
        counted.size === 0 ? undefined : counted.get(keyOf(table.name, chain.name, rule, family));
      return counters === undefined ? rule : { ...rule, counters };
    });
    chains.push({ ...chain, rules });
  }
  // A rule of the user's that leads to a chain that we do not have finds it empty.
  for (const name of orphans) chains.push({ name, counters: { packets: 0, bytes: 0 }, rules: [] });
  const builtIn = chains.filter(({ policy }) => policy !== undefined);
  const own = chains.filter(({ policy }) => policy === undefined);
  return { ...table, chains: [...builtIn, ...own.sort((a, b) => (a.name < b.name ? -1 : 1))] };
}

/** What a jump of ours is known by. */
function keyOfJump(family: Family, table: TableName, chain: string, rule: RuleSpec): string {
  return `${family} ${table} ${chain} ${chainOf(rule)}`;
}

function isInOneOf(jump: string, family: Family, tables: readonly TableName[]): boolean {
  return tables.some((table) => jump.startsWith(`${family} ${table} `));
}

/** The chain that a rule leads to. */
function chainOf({ target }: RuleSpec): string | undefined {
  return target.kind === 'jump' || target.kind === 'goto' ? target.chain : undefined;
}

/** A jump without conditions, as we make them. */
function isPlain(rule: RuleSpec): boolean {
  return (
    rule.target.kind === 'jump' &&
    rule.matches.length === 0 &&
    rule.source === undefined &&
    rule.destination === undefined &&
    rule.inInterface === undefined &&
    rule.outInterface === undefined &&
    rule.protocol === undefined &&
    rule.fragment === undefined
  );
}
