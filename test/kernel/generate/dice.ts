/** Choices of the generator, all from one seed. */
import { SeededRandom } from '../../../lib/random.js';

export class Dice {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  /** An integer from 0 to `size` - 1. */
  below(size: number): number {
    return this.#random.pick(0, size);
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in `percent` of a hundred cases. */
  chance(percent: number): boolean {
    return this.below(1000) < percent * 10;
  }

  u32(): number {
    return this.#random.u32();
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** Of `[weight, value]` pairs. */
  weighted<T>(values: readonly (readonly [number, T])[]): T {
    let left = this.below(values.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, value] of values) {
      left -= weight;
      if (left < 0) return value;
    }
    return (values[0] as readonly [number, T])[1];
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}
