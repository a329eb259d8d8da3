/**
 * One dimension as the rules of a node see it: of a column's intervals only those bounds count at which a range of one of
 * these rules begins or ends. Made anew for each node and dimension by `begin`, `gather`, `close`, `load` and `sum`, in
 * which rules may be given in parts. Cold, but integers only; one object is used again and again.
 */
import { ascending, type Column, upTo } from './columns.js';

export class Cut {
  /** [count] bounds, as numbers of the column's intervals; interval 0 of the cut lies below bounds[0]. */
  bounds = new Int32Array(64);
  count = 0;
  #column!: Column;
  #isWhole = false;
  /** [count + 2] how many rules hold in the intervals below each, see {@link Cut.load}. */
  #loads = new Float64Array(66);

  /** Another dimension. `isWhole`: the rules are all that the column has. */
  begin(column: Column, isWhole: boolean): void {
    this.#column = column;
    this.#isWhole = isWhole;
    this.count = 0;
    if (isWhole) {
      this.count = column.bounds.length;
      if (this.bounds.length < this.count) this.bounds = new Int32Array(this.count);
      for (let i = 0; i < this.count; i++) this.bounds[i] = i + 1;
    }
  }

  /** Takes the bounds of rules[from, to); not of all rules, whose bounds are known. */
  gather(rules: Int32Array, from: number, to: number): void {
    const { starts, first, last, bounds: all } = this.#column;
    let { bounds, count } = this;
    for (let i = from; i < to; i++) {
      const end = starts[rules[i]! + 1]!;
      for (let r = starts[rules[i]!]!; r < end; r++) {
        if (count + 2 > bounds.length) {
          bounds = new Int32Array(2 * bounds.length);
          bounds.set(this.bounds);
          this.bounds = bounds;
        }
        if (first[r]! > 0) bounds[count++] = first[r]!;
        if (last[r]! < all.length) bounds[count++] = last[r]! + 1;
      }
    }
    this.count = count;
  }

  /** All bounds are there. */
  close(): void {
    if (!this.#isWhole) this.count = ascending(this.bounds, this.count);
    const needed = this.count + 2;
    if (this.#loads.length < needed) this.#loads = new Float64Array(2 * needed);
    else this.#loads.fill(0, 0, needed);
  }

  /** The cut's interval that a column's interval lies in. */
  of(interval: number): number {
    return this.#isWhole ? interval : upTo(this.bounds, this.count, interval);
  }

  /** Counts rules[from, to) where they hold. */
  load(rules: Int32Array, from: number, to: number): void {
    const loads = this.#loads;
    const { starts, first, last } = this.#column;
    for (let i = from; i < to; i++) {
      const end = starts[rules[i]! + 1]!;
      for (let r = starts[rules[i]!]!; r < end; r++) {
        loads[this.of(first[r]!)]!++;
        loads[this.of(last[r]!) + 1]!--;
      }
    }
  }

  /** All rules are counted: loads[i] becomes the sum of the rules in each interval below i. */
  sum(): void {
    const loads = this.#loads;
    let load = 0;
    let sum = 0;
    for (let i = 0; i <= this.count; i++) {
      load += loads[i]!;
      loads[i] = sum;
      sum += load;
    }
    loads[this.count + 1] = sum;
  }

  /**
   * How many rules of the node a packet will be asked about for the sake of this one, if every interval is as likely:
   * Infinity if the dimension says nothing of the rule.
   */
  cost(rule: number): number {
    const { starts, first, last } = this.#column;
    const loads = this.#loads;
    const end = starts[rule + 1]!;
    let cost = 0;
    let covered = 0;
    for (let r = starts[rule]!; r < end; r++) {
      const from = this.of(first[r]!);
      const to = this.of(last[r]!) + 1;
      cost += loads[to]! - loads[from]!;
      covered += to - from;
    }
    return covered === 0 || covered > this.count ? Number.POSITIVE_INFINITY : cost / (this.count + 1);
  }
}
