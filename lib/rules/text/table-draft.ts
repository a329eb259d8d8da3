/**
 * A table while its lines are being read: the built-in chains are there from the start, commands change it, and
 * {@link TableDraft.finish} checks it and gives the finished table. Cold.
 */

import type { ChainSpec, CounterSpec, Family, Policy, RuleSpec, TableName, TableSpec } from '../ast.js';
import { CHAIN_NAME_MAX, type Command, RESERVED_CHAINS, type Verb } from './command.js';
import type { KnownNames } from './grammar.js';
import { checkTable } from './kernel-checks.js';
import { wholeNumber } from './numbers.js';
import { formatRule } from './print-rule.js';
import { findTarget } from './registry.js';
import type { Where } from './where.js';

const NO_COUNTERS: CounterSpec = { packets: 0, bytes: 0 };

/** Built-in chains in the order in which they are listed. */
export const BUILTIN_CHAINS: Readonly<Record<TableName, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
};

interface ChainDraft {
  name: string;
  policy: Policy | undefined;
  counters: CounterSpec;
  rules: RuleSpec[];
}

export class TableDraft {
  readonly #name: TableName;
  readonly #family: Family;
  readonly #chains = new Map<string, ChainDraft>();

  /** `before`: the same table as it was committed earlier in the text; its policies stay, its rules go. */
  constructor(name: TableName, family: Family, before: TableSpec | undefined) {
    this.#name = name;
    this.#family = family;
    for (const chain of BUILTIN_CHAINS[name]) {
      const known = before?.chains.find((other) => other.name === chain);
      const { policy = 'ACCEPT', counters = NO_COUNTERS } = known ?? {};
      this.#chains.set(chain, { name: chain, policy, counters, rules: [] });
    }
  }

  findChain(name: string): 'builtin' | 'user' | undefined {
    const chain = this.#chains.get(name);
    return chain && (chain.policy === undefined ? 'user' : 'builtin');
  }

  /** `:CHAIN POLICY [packets:bytes]`. */
  declare(name: Where, policy: Where, counters: CounterSpec | undefined): void {
    if (name.word === '' || name.word.length > CHAIN_NAME_MAX) {
      name.refuse('value', 'not a chain name', `1 to ${CHAIN_NAME_MAX} characters`);
    }
    const chain = this.#chains.get(name.word);
    if (chain?.policy === undefined) {
      if (policy.word !== '-') policy.refuse('conflict', 'only built-in chains have a policy', '-');
      this.#add(name);
    } else {
      if (policy.word !== '-') chain.policy = readPolicy(policy);
      if (counters !== undefined) chain.counters = counters;
    }
  }

  run(command: Command): void {
    switch (command.verb) {
      case 'new-chain':
        this.#create(command.chain);
        break;
      case 'delete-chain':
        this.#remove(command.chain);
        break;
      case 'rename-chain':
        this.#rename(command.chain, command.name);
        break;
      case 'policy':
        this.#setPolicy(command.chain, command.policy);
        break;
      case 'flush':
        for (const chain of this.#selected(command.chain)) chain.rules = [];
        break;
      case 'zero':
        this.#zero(command.chain, command.number);
        break;
      default:
        this.#change(command.verb, command.chain, command.number, command.rules);
    }
  }

  #zero(name: Where | undefined, number: Where | undefined): void {
    for (const chain of this.#selected(name)) {
      const only = number && this.#position(number, chain.rules.length);
      if (only === undefined) chain.counters = NO_COUNTERS;
      chain.rules = chain.rules.map((rule, index) =>
        only === undefined || index === only - 1 ? { ...rule, counters: NO_COUNTERS } : rule,
      );
    }
  }

  #position(number: Where, limit: number): number {
    return wholeNumber(number.word, 1, limit) ?? number.refuse('value', 'no such rule number', `1-${limit}`);
  }

  /** The finished table, as the kernel takes it. Yields where it may be interrupted. */
  *finish(known: KnownNames): Generator<void, TableSpec> {
    const all = [...this.#chains.values()];
    const own = all.filter(({ policy }) => policy === undefined).sort((a, b) => compareBytes(a.name, b.name));
    const chains = [...all.filter(({ policy }) => policy !== undefined), ...own].map(
      ({ name, policy, counters, rules }): ChainSpec => ({
        name,
        ...(policy !== undefined && { policy }),
        counters,
        rules,
      }),
    );
    const table = { name: this.#name, chains };
    yield* checkTable(table, this.#family, known);
    return table;
  }

  #add(name: Where): void {
    if (RESERVED_CHAINS.has(name.word)) name.refuse('conflict', 'a chain cannot have the name of a verdict');
    if (this.#chains.has(name.word)) name.refuse('conflict', 'the chain exists already');
    this.#chains.set(name.word, { name: name.word, policy: undefined, counters: NO_COUNTERS, rules: [] });
  }

  #create(name: Where): void {
    checkNewName(name, this.#family);
    this.#add(name);
  }

  #rename(name: Where, to: Where): void {
    const chain = this.#own(name);
    this.#add(to);
    this.#chains.delete(name.word);
    this.#chains.set(to.word, { ...chain, name: to.word });
    for (const other of this.#chains.values()) {
      other.rules = other.rules.map((rule) =>
        leadsTo(rule, name.word)
          ? { ...rule, target: { kind: rule.target.kind, chain: to.word } as const }
          : rule,
      ) as RuleSpec[];
    }
  }

  #remove(name: Where | undefined): void {
    const gone = name === undefined ? [...this.#chains.values()].filter(isOwn) : [this.#own(name)];
    for (const chain of gone) {
      const used = [...this.#chains.values()].some(({ rules }) =>
        rules.some((rule) => leadsTo(rule, chain.name)),
      );
      if (chain.rules.length > 0) name?.refuse('conflict', 'the chain has rules');
      if (used) name?.refuse('conflict', 'rules lead to the chain');
      if (chain.rules.length === 0 && !used) this.#chains.delete(chain.name);
    }
  }

  #setPolicy(name: Where, policy: Where): void {
    const chain = this.#find(name);
    if (chain.policy === undefined) name.refuse('conflict', 'only built-in chains have a policy');
    chain.policy = readPolicy(policy);
    if (this.#name === 'nat' && chain.policy === 'DROP')
      policy.refuse('conflict', 'nat is no table for filtering');
  }

  #change(verb: Verb, name: Where, number: Where | undefined, rules: readonly RuleSpec[]): void {
    const chain = this.#find(name);
    const limit = chain.rules.length + (verb === 'insert' ? 1 : 0);
    const position =
      number &&
      (wholeNumber(number.word, 1, limit) ?? number.refuse('value', 'no such rule number', `1-${limit}`));
    switch (verb) {
      case 'append':
        chain.rules.push(...rules);
        break;
      case 'insert':
        for (const rule of rules) chain.rules.splice((position ?? 1) - 1, 0, rule);
        break;
      case 'replace':
        if (position === undefined) name.refuse('syntax', 'which rule to replace', 'a rule number');
        if (rules.length > 1) name.refuse('conflict', 'one rule is replaced by one', 'a single address');
        chain.rules[position - 1] = rules[0]!;
        break;
      case 'delete':
        if (position !== undefined) chain.rules.splice(position - 1, 1);
        else for (const rule of rules) chain.rules.splice(this.#indexOf(chain, rule, name), 1);
        break;
      case 'check':
        for (const rule of rules) this.#indexOf(chain, rule, name);
    }
  }

  #indexOf(chain: ChainDraft, rule: RuleSpec, name: Where): number {
    const text = formatRule(chain.name, rule, this.#family);
    const index = chain.rules.findIndex((other) => formatRule(chain.name, other, this.#family) === text);
    return index < 0 ? name.refuse('unknown', 'the chain has no such rule') : index;
  }

  #find(name: Where): ChainDraft {
    const chain = this.#chains.get(name.word);
    return chain ?? name.refuse('unknown', 'no such chain', [...this.#chains.keys()].join(', '));
  }

  #own(name: Where): ChainDraft {
    const chain = this.#find(name);
    return chain.policy === undefined
      ? chain
      : name.refuse('conflict', 'built-in chains stay', 'a chain of your own');
  }

  #selected(name: Where | undefined): readonly ChainDraft[] {
    return name === undefined ? [...this.#chains.values()] : [this.#find(name)];
  }
}

function isOwn({ policy }: ChainDraft): boolean {
  return policy === undefined;
}

function leadsTo({ target }: RuleSpec, chain: string): boolean {
  return (target.kind === 'jump' || target.kind === 'goto') && target.chain === chain;
}

function readPolicy(policy: Where): Policy {
  const { word } = policy;
  return word === 'ACCEPT' || word === 'DROP'
    ? word
    : policy.refuse('value', 'not a policy', 'ACCEPT or DROP');
}

/** -N is stricter than a `:` line. */
function checkNewName(name: Where, family: Family): void {
  const { word } = name;
  if (word === '' || word.length > CHAIN_NAME_MAX || /^[-!]|[ \t\n]/.test(word)) {
    name.refuse(
      'value',
      'not a chain name',
      `1 to ${CHAIN_NAME_MAX} characters without blanks, not beginning with - or !`,
    );
  }
  if (findTarget(word, family) !== undefined)
    name.refuse('conflict', 'a chain cannot have the name of a target');
}

/** The order in which user chains are listed. */
function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
