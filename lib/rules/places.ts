/** Where the rules of a table stand, by number. Cold: a place is made when it is asked for. */
import type { TableName } from './ast.js';
import type { ChainHead } from './calls.js';
import type { RulePlace } from './environment.js';

export class RulePlaces {
  /** Rules and ends of chains. */
  readonly count: number;
  readonly #table: TableName;
  readonly #chains: readonly ChainHead[];
  /** [chains] number of each one's first rule, ascending. */
  readonly #firsts: Int32Array;

  constructor(table: TableName, chains: readonly ChainHead[], firsts: Int32Array, count: number) {
    this.count = count;
    this.#table = table;
    this.#chains = chains;
    this.#firsts = firsts;
  }

  /** The rules of a chain: [from, to), the end of the chain behind them. Undefined without such a chain. */
  rulesOf(chain: string): { readonly from: number; readonly to: number } | undefined {
    const index = this.#chains.findIndex(({ name }) => name === chain);
    if (index < 0) return undefined;
    return { from: this.#firsts[index] as number, to: (this.#firsts[index + 1] ?? this.count) - 1 };
  }

  at(rule: number): RulePlace {
    let low = 0;
    let high = this.#firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#firsts[middle] as number) <= rule) low = middle;
      else high = middle - 1;
    }
    const { name, policy } = this.#chains[low] as ChainHead;
    const behind = this.#firsts[low + 1] ?? this.count;
    const number =
      rule < behind - 1
        ? rule - (this.#firsts[low] as number) + 1
        : policy === undefined
          ? 'return'
          : 'policy';
    return { table: this.#table, chain: name, number };
  }
}
