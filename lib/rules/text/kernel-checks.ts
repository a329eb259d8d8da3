/**
 * What the kernel refuses when a table is handed to it: jumps that come back to where they came from, and matches
 * and targets in tables, hooks or rules where they have no meaning. Cold.
 *
 * A rule is checked for the hooks from which it can be reached. As in Linux, the walk from a hook ends in a chain at
 * a rule without conditions that gives a verdict: what stands behind it is not reached from that hook.
 */

import { ConfigurationError, type ErrorPlace } from '../../errors.js';
import type { Family, RuleSpec, TableName, TableSpec } from '../ast.js';
import { ChainCalls, type ChainHead } from '../calls.js';
import { type Extension, Hook, type KernelContext, type KnownNames } from './grammar.js';
import { protocolName } from './names.js';
import { findMatch, findTarget } from './registry.js';

/** Rules checked between two interruptions. */
const SLICE = 256;
const ALL_HOOKS = Hook.PREROUTING | Hook.INPUT | Hook.FORWARD | Hook.OUTPUT | Hook.POSTROUTING;

/** Refuses the first rule that the kernel would refuse. Yields where it may be interrupted. */
export function* checkTable(table: TableSpec, family: Family, known: KnownNames = {}): Generator<void, void> {
  const calls = new Map<string, ChainCalls>();
  for (const { name, rules } of table.chains) calls.set(name, yield* callsOf(rules));
  const hooks = hooksOf(table.chains, calls);
  let checked = 0;
  for (const { name, rules } of table.chains) {
    const reachable = hooks.get(name) ?? 0;
    const { reached } = calls.get(name)!;
    for (let i = 0; i < rules.length; i++) {
      if (++checked % SLICE === 0) yield;
      checkRule({ family, table: table.name, rule: rules[i]!, hooks: i < reached ? reachable : 0, known });
    }
  }
}

function* callsOf(rules: readonly RuleSpec[]): Generator<void, ChainCalls> {
  const calls = new ChainCalls();
  for (let i = 0; i < rules.length && !calls.isOver; i++) {
    calls.add(rules[i]!);
    if (i % SLICE === SLICE - 1) yield;
  }
  return calls;
}

/** The hooks from which each chain is reached, as bits. Refuses a jump back to a chain that packets are in. */
export function hooksOf(
  chains: readonly ChainHead[],
  calls: ReadonlyMap<string, ChainCalls>,
): ReadonlyMap<string, number> {
  const hooks = new Map(chains.map(({ name }) => [name, 0]));
  for (const { name, policy } of chains) {
    if (policy !== undefined) walk(name, Hook[name as keyof typeof Hook], calls, hooks);
  }
  return hooks;
}

/** Marks what is reached from a hook. */
function walk(
  start: string,
  hook: number,
  calls: ReadonlyMap<string, ChainCalls>,
  hooks: Map<string, number>,
): void {
  const path = [{ name: start, next: 0 }];
  const open = new Set([start]);
  const seen = new Set([start]);
  hooks.set(start, hooks.get(start)! | hook);
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const call = calls.get(top.name)?.calls[top.next++];
    if (call === undefined) {
      open.delete(top.name);
      path.pop();
      continue;
    }
    const { to, place } = call;
    if (open.has(to)) refuse(place, `chain ${to} leads back to itself`, 'chains without a loop');
    const before = hooks.get(to);
    if (before === undefined) refuse(place, `no chain ${to}`, 'a chain of this table');
    if (seen.has(to)) continue;
    seen.add(to);
    open.add(to);
    hooks.set(to, before | hook);
    path.push({ name: to, next: 0 });
  }
}

/** Bits of the hooks from which a rule may be reached. Refuses a rule that the kernel would refuse anywhere. */
export function allowedHooks(rule: RuleSpec, table: TableName, family: Family, known: KnownNames): number {
  checkRule({ family, table, rule, hooks: 0, known });
  const anywhere: KernelContext = { family, table, rule, hooks: ALL_HOOKS, known };
  let allowed = ALL_HOOKS;
  for (const match of rule.matches) {
    allowed &= hooksAllowedBy(findMatch(match.kind, family), match, anywhere);
  }
  const extension = findTarget(rule.target.kind, family);
  return extension === undefined ? allowed : allowed & hooksAllowedBy(extension, rule.target, anywhere);
}

function hooksAllowedBy<S>(extension: Extension<S> | undefined, spec: S, anywhere: KernelContext): number {
  const { hooks: allowed = ALL_HOOKS, check } = extension ?? {};
  if (check?.(spec, anywhere) === undefined) return allowed;
  let checked = 0;
  for (let hook = 1; hook < ALL_HOOKS; hook <<= 1) {
    if (check(spec, { ...anywhere, hooks: hook }) === undefined) checked |= hook;
  }
  return allowed & checked;
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
  if (extension === undefined) refuse(rule.place, `unknown in IPv${context.family}`);
  const { name, protocols, tables } = extension;
  if (
    protocols !== undefined &&
    (rule.protocol?.negated !== false || !protocols.includes(rule.protocol.number))
  ) {
    refuse(
      rule.place,
      `${name} does not fit the rule's protocol`,
      `-p ${protocols.map(protocolName).join(', ')}`,
    );
  }
  if (tables !== undefined && !tables.includes(table)) {
    refuse(rule.place, `${name} does not belong in table ${table}`, `table ${tables.join(', ')}`);
  }
  if (extension.hooks !== undefined && (hooks & ~extension.hooks) !== 0) {
    const allowed = extension.hooks;
    const names = Object.entries(Hook).filter(([, bit]) => (allowed & bit) !== 0);
    refuse(
      rule.place,
      `${name} is reached from a hook where it cannot work`,
      names.map(([hook]) => hook).join(', '),
    );
  }
  const objection = extension.check?.(spec, context);
  if (objection !== undefined) refuse(rule.place, objection);
}

function refuse(place: ErrorPlace | undefined, message: string, expected?: string): never {
  throw new ConfigurationError('conflict', message, {
    ...place,
    ...(expected !== undefined && { expected }),
  });
}
