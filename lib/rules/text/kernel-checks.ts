/**
 * What the kernel refuses when a table is handed to it: jumps that come back to where they came from, and matches
 * and targets in tables, hooks or rules where they have no meaning. Cold.
 *
 * A rule is checked for the hooks from which it can be reached. As in Linux, the walk from a hook ends in a chain at
 * a rule without conditions that gives a verdict: what stands behind it is not reached from that hook.
 */

import { ConfigurationError } from '../../errors.js';
import type { ChainTarget, Family, RuleSpec, TableSpec } from '../ast.js';
import { type Extension, Hook, type KernelContext, type KnownNames } from './grammar.js';
import { protocolName } from './names.js';
import { findMatch, findTarget } from './registry.js';

/** Rules checked between two interruptions. */
const SLICE = 256;

/** Refuses the first rule that the kernel would refuse. Yields where it may be interrupted. */
export function* checkTable(table: TableSpec, family: Family, known: KnownNames = {}): Generator<void, void> {
  const chains = yield* reachability(table);
  let checked = 0;
  for (const { name, rules } of table.chains) {
    const { hooks, reached } = chains.get(name)!;
    for (let i = 0; i < rules.length; i++) {
      if (++checked % SLICE === 0) yield;
      checkRule({ family, table: table.name, rule: rules[i]!, hooks: i < reached ? hooks : 0, known });
    }
  }
}

/** How packets come to a chain. */
interface Reach {
  readonly rules: readonly RuleSpec[];
  /** Rules that are reached if the chain is: those up to the first that always ends it. */
  readonly reached: number;
  /** Of these the ones that lead to other chains. */
  readonly calls: readonly number[];
  /** Bits of the hooks from which the chain is reached. */
  hooks: number;
}

function* reachability(table: TableSpec): Generator<void, ReadonlyMap<string, Reach>> {
  const chains = new Map<string, Reach>();
  for (const { name, rules } of table.chains) chains.set(name, yield* reachOf(rules));
  for (const { name, policy } of table.chains) {
    if (policy !== undefined) walk(name, Hook[name as keyof typeof Hook], chains);
  }
  return chains;
}

function* reachOf(rules: readonly RuleSpec[]): Generator<void, Reach> {
  const calls: number[] = [];
  for (let i = 0; i < rules.length; i++) {
    if (i % SLICE === SLICE - 1) yield;
    const rule = rules[i]!;
    const { kind } = rule.target;
    if (kind === 'jump' || kind === 'goto') calls.push(i);
    else if (endsChain(rule)) return { rules, reached: i + 1, calls, hooks: 0 };
  }
  return { rules, reached: rules.length, calls, hooks: 0 };
}

/** Marks what is reached from a hook. Refuses the first jump back to a chain that packets are in. */
function walk(start: string, hook: number, chains: ReadonlyMap<string, Reach>): void {
  const first = chains.get(start)!;
  first.hooks |= hook;
  const path = [{ name: start, chain: first, next: 0 }];
  const open = new Set([start]);
  const seen = new Set([start]);
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const call = top.chain.calls[top.next++];
    if (call === undefined) {
      open.delete(top.name);
      path.pop();
      continue;
    }
    const rule = top.chain.rules[call]!;
    const name = (rule.target as ChainTarget).chain;
    if (open.has(name)) refuse(rule, `chain ${name} leads back to itself`, 'chains without a loop');
    const chain = chains.get(name);
    if (chain === undefined) refuse(rule, `no chain ${name}`, 'a chain of this table');
    if (seen.has(name)) continue;
    seen.add(name);
    open.add(name);
    chain.hooks |= hook;
    path.push({ name, chain, next: 0 });
  }
}

function endsChain(rule: RuleSpec): boolean {
  const { kind } = rule.target;
  const verdict =
    kind === 'ACCEPT' ||
    kind === 'DROP' ||
    kind === 'RETURN' ||
    (kind === 'NFQUEUE' && 'verdict' in rule.target);
  return (
    verdict &&
    rule.matches.length === 0 &&
    rule.source === undefined &&
    rule.destination === undefined &&
    rule.inInterface === undefined &&
    rule.outInterface === undefined &&
    rule.protocol === undefined &&
    rule.fragment === undefined
  );
}

function checkRule(context: KernelContext): void {
  const { rule, family } = context;
  for (const match of rule.matches) {
    checkExtension(findMatch(match.kind, family), match, context);
  }
  const extension = findTarget(rule.target.kind, family);
  if (extension !== undefined) checkExtension(extension, rule.target, context);
}

function checkExtension<S>(extension: Extension<S> | undefined, spec: S, context: KernelContext): void {
  const { rule, table, hooks } = context;
  if (extension === undefined) refuse(rule, `unknown in IPv${context.family}`);
  const { name, protocols, tables } = extension;
  if (
    protocols !== undefined &&
    (rule.protocol?.negated !== false || !protocols.includes(rule.protocol.number))
  ) {
    refuse(rule, `${name} does not fit the rule's protocol`, `-p ${protocols.map(protocolName).join(', ')}`);
  }
  if (tables !== undefined && !tables.includes(table)) {
    refuse(rule, `${name} does not belong in table ${table}`, `table ${tables.join(', ')}`);
  }
  if (extension.hooks !== undefined && (hooks & ~extension.hooks) !== 0) {
    const allowed = extension.hooks;
    const names = Object.entries(Hook).filter(([, bit]) => (allowed & bit) !== 0);
    refuse(
      rule,
      `${name} is reached from a hook where it cannot work`,
      names.map(([hook]) => hook).join(', '),
    );
  }
  const objection = extension.check?.(spec, context);
  if (objection !== undefined) refuse(rule, objection);
}

function refuse(rule: RuleSpec, message: string, expected?: string): never {
  throw new ConfigurationError('conflict', message, {
    ...rule.place,
    ...(expected !== undefined && { expected }),
  });
}
