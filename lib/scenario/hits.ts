/**
 * Which rules counted packets, step by step, from the counters of the rulesets. Cold.
 *
 * A name is `4:table/CHAIN/2` for the second rule and `4:table/CHAIN/P` for the policy. Order: the tables as the rules'
 * text names them, built-in chains in hook order before the user's.
 */
import type { Ruleset } from '../rules/ast.js';

/** Reads the ruleset of one family with its counters as they are now. */
export type RulesetReader = () => Ruleset;

export class HitRecorder {
  readonly #readers: readonly RulesetReader[];
  #before = new Map<string, number>();

  constructor(readers: readonly RulesetReader[]) {
    this.#readers = readers;
    this.#before = this.#read();
  }

  /** Packets counted since the last call (or since this was made), by rule; rules without are left out. */
  delta(): Record<string, number> {
    const now = this.#read();
    const hits: Record<string, number> = {};
    for (const [name, packets] of now) {
      const more = packets - (this.#before.get(name) ?? 0);
      if (more !== 0) hits[name] = more;
    }
    this.#before = now;
    return hits;
  }

  #read(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const read of this.#readers) {
      const { family, tables } = read();
      for (const table of tables) {
        for (const chain of table.chains) {
          const name = `${family}:${table.name}/${chain.name}`;
          for (const [i, rule] of chain.rules.entries()) {
            counts.set(`${name}/${i + 1}`, rule.counters?.packets ?? 0);
          }
          if (chain.policy !== undefined) counts.set(`${name}/P`, chain.counters.packets);
        }
      }
    }
    return counts;
  }
}
