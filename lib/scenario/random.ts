/**
 * The random source of a scenario: what a recording says chance decided, and a fixed sequence for the rest. Cold.
 *
 * At each step the recorded values of that step are on offer. A pick from a range takes the first of them that lies
 * in the range, once; a pick that none fits gets the next number of a sequence that is the same in every run. The
 * engine thus sees inputs and chance, never what is expected of it.
 */
import { type Random, SeededRandom } from '../random.js';
import type { RandomPick } from './trace.js';

export class TraceRandom implements Random {
  readonly #picks: readonly RandomPick[];
  readonly #fallback: SeededRandom;
  #offered: number[] = [];

  constructor(picks: readonly RandomPick[], seed = 1) {
    this.#picks = picks;
    this.#fallback = new SeededRandom(seed);
  }

  /** Puts the values of a step on offer; what the step before left over is gone. */
  beginStep(step: number): void {
    this.#offered = [];
    for (const pick of this.#picks) if (pick.step === step) this.#offered.push(pick.value);
  }

  u32(): number {
    return this.#fallback.u32();
  }

  pick(first: number, size: number): number {
    for (let i = 0; i < this.#offered.length; i++) {
      const value = this.#offered[i] as number;
      if (value >= first && value - first < size) {
        this.#offered.splice(i, 1);
        return value;
      }
    }
    return this.#fallback.pick(first, size);
  }
}
