/**
 * What the kernel refuses when a table is handed to it: jumps that come back to where they came from, and matches
 * and targets in tables, hooks or rules where they have no meaning. Cold.
 *
 * A rule is checked for the hooks from which it can be reached. As in Linux, the walk from a hook ends in a chain at
 * a rule without conditions that gives a verdict: what stands behind it is not reached from that hook.
 */

import { ConfigurationError } from '../../errors.js';
import type { ChainSpec, Family, RuleSpec, TableSpec } from '../ast.js';
import { type Extension, Hook, type KernelContext, type KnownNames } from './grammar.js';
import { protocolName } from './names.js';
import { findMatch, findTarget } from './registry.js';

/** Rules checked between two interruptions. */
const SLICE = 256;

/** Refuses the first rule that the kernel would refuse. Yields where it may be interrupted. */
export function* checkTable(table: TableSpec, family: Family, known: KnownNames = {}): Generator<void, void> {
  const hooks = yield* reachability(table);
  let checked = 0;
  for (const chain of table.chains) {
    for (const rule of chain.rules) {
      if (++checked % SLICE === 0) yield;
      checkRule({ family, table: table.name, rule, hooks: hooks.get(rule) ?? 0, known });
    }
  }
}

/** For each rule the hooks it can be reached from, as bits; unreachable ones are missing. */
function* reachability(table: TableSpec): Generator<void, ReadonlyMap<RuleSpec, number>> {
  const chains = new Map(table.chains.map((chain) => [chain.name, chain]));
  const hooks = new Map<RuleSpec, number>();
  for (const chain of table.chains) {
    if (chain.policy !== undefined) yield* walk(chain, Hook[chain.name as keyof typeof Hook], chains, hooks);
  }
  return hooks;
}

function* walk(
  start: ChainSpec,
  hook: number,
  chains: ReadonlyMap<string, ChainSpec>,
  hooks: Map<RuleSpec, number>,
): Generator<void, void> {
  const path = [{ chain: start, index: 0 }];
  const open = new Set([start.name]);
  const seen = new Set([start.name]);
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const rule = top.chain.rules[top.index++];
    if (rule === undefined) {
      open.delete(top.chain.name);
      path.pop();
      continue;
    }
    if (top.index % SLICE === 0) yield;
    hooks.set(rule, (hooks.get(rule) ?? 0) | hook);
    const { target } = rule;
    if (target.kind === 'jump' || target.kind === 'goto') {
      if (open.has(target.chain))
        refuse(rule, `chain ${target.chain} leads back to itself`, 'chains without a loop');
      const next = chains.get(target.chain);
      if (next === undefined) refuse(rule, `no chain ${target.chain}`, 'a chain of this table');
      if (!seen.has(target.chain)) {
        seen.add(target.chain);
        open.add(target.chain);
        path.push({ chain: next, index: 0 });
      }
    } else if (endsChain(rule)) {
      top.index = top.chain.rules.length;
    }
  }
}

function endsChain({ target, matches, ...conditions }: RuleSpec): boolean {
  const { kind } = target;
  const verdict =
    kind === 'ACCEPT' || kind === 'DROP' || kind === 'RETURN' || (kind === 'NFQUEUE' && 'verdict' in target);
  const { source, destination, inInterface, outInterface, protocol, fragment } = conditions;
  return (
    verdict &&
    matches.length === 0 &&
    (source ?? destination ?? inInterface ?? outInterface ?? protocol ?? fragment) === undefined
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
