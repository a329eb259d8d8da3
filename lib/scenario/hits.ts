/**
 * Which rules counted packets, step by step, from the counters of the rulesets. Cold.
 *
 * A name is `4:table/CHAIN/2` for the second rule and `4:table/CHAIN/P` for the policy. Order: the tables as the rules'
 * text names them, built-in chains in hook order before the user's.
 */
import type { Rules } from '../rules/rules.js';

export class HitRecorder {
  readonly #rules: readonly Rules[];
  #before: Map<string, number>;

  /** Watches the rules of some families, from now on. */
  constructor(rules: readonly Rules[]) {
    this.#rules = rules;
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
    for (const rules of this.#rules) {
      for (const { table, chain, number, packets } of rules.counters()) {
        const end = number === 'policy' ? 'P' : number;
        counts.set(`${rules.family}:${table}/${chain}/${end}`, packets);
      }
    }
    return counts;
  }
}
