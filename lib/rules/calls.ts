/**
 * Which chains lead to which. Rules behind one that always ends the chain are not looked at, as in Linux; nor are chains
 * that no hook reaches. Cold.
 */
import { ConfigurationError, type ErrorPlace } from '../errors.js';
import type { Policy, RuleSpec } from './ast.js';

/** A rule that leads to another chain. */
export interface Call {
  readonly to: string;
  /** 1 for a jump, 0 for a goto. */
  readonly opened: 0 | 1;
  readonly place: ErrorPlace | undefined;
}

/** The calls of a chain, whose rules are added in their order. */
export class ChainCalls {
  /** Rules up to the first that always ends the chain. */
  reached = 0;
  /** Calls of these rules, and of those behind them. */
  readonly calls: Call[] = [];
  readonly unreached: Call[] = [];
  #isOver = false;

  /** Whether rules that are added are reached. */
  get isOver(): boolean {
    return this.#isOver;
  }

  add(rule: RuleSpec): void {
    const { target, place } = rule;
    if (target.kind === 'jump' || target.kind === 'goto') {
      const call: Call = { to: target.chain, opened: target.kind === 'jump' ? 1 : 0, place };
      (this.#isOver ? this.unreached : this.calls).push(call);
    }
    if (this.#isOver) return;
    this.reached++;
    this.#isOver = endsChain(rule);
  }
}

/** A chain's name, and its policy if it is built in. */
export interface ChainHead {
  readonly name: string;
  readonly policy?: Policy;
}

/**
 * Most jumps that can be open at a time. Throws if a chain is called that does not exist or is built in, reached or not,
 * or if a chain that a hook reaches calls itself, directly or not.
 */
export function callDepth(chains: readonly ChainHead[], calls: ReadonlyMap<string, ChainCalls>): number {
  const own = new Set(chains.filter(({ policy }) => policy === undefined).map(({ name }) => name));
  for (const { name } of chains) {
    const of = calls.get(name);
    const first = [...(of?.calls ?? []), ...(of?.unreached ?? [])].find(({ to }) => !own.has(to));
    if (first === undefined) continue;
    throw new ConfigurationError('unknown', 'no such chain', {
      ...first.place,
      word: first.to,
      expected: "a user's chain of the table",
    });
  }
  const depths = new Map<string, number>();
  const open = new Set<string>();
  const visit = (name: string): number => {
    const known = depths.get(name);
    if (known !== undefined) return known;
    open.add(name);
    let depth = 0;
    for (const { to, opened, place } of calls.get(name)?.calls ?? []) {
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
  for (const { name, policy } of chains) {
    if (policy !== undefined) deepest = Math.max(deepest, visit(name));
  }
  return deepest;
}

/** A rule without any condition whose target is a verdict: nothing behind it is ever reached. */
export function endsChain(rule: RuleSpec): boolean {
  const { target } = rule;
  const { kind } = target;
  // `-j QUEUE` is a verdict like ACCEPT to Linux.
  const isVerdict =
    kind === 'ACCEPT' ||
    kind === 'DROP' ||
    kind === 'RETURN' ||
    (kind === 'NFQUEUE' && target.verdict !== undefined);
  return (
    isVerdict &&
    rule.matches.length === 0 &&
    rule.source === undefined &&
    rule.destination === undefined &&
    rule.inInterface === undefined &&
    rule.outInterface === undefined &&
    rule.protocol === undefined &&
    rule.fragment === undefined
  );
}
