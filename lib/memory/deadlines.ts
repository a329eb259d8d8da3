/**
 * Deadlines of slots, for sweeps: a lower bound of each slot's time in a column of its own, so that a sweep reads four
 * bytes of a slot whose time has surely not come, and its record only of the others. Hot.
 *
 * A time that moves later need not be told: the sweep finds the slot due, asks its record, and raises the bound. A
 * time that moves earlier must be (`lower`). Invariant: a watched slot's bound is not later than its time. 0 stands
 * for "not watched", so that a fresh column touches no pages; the time 0 is kept as -1, a bound as good. Times are
 * int32 milliseconds that wrap, and are compared by difference.
 */
export class Deadlines {
  /** [capacity] */
  readonly #bounds: Int32Array;
  /** Watched slots among those that `due` looked at last. */
  watched = 0;

  constructor(capacity: number) {
    this.#bounds = new Int32Array(capacity);
  }

  /** Watches a slot from now on, or raises its bound. */
  set(slot: number, at: number): void {
    this.#bounds[slot] = at === 0 ? -1 : at;
  }

  /** The time of a slot is `at` now, earlier than it was. */
  lower(slot: number, at: number): void {
    const bound = this.#bounds[slot] as number;
    if (bound !== 0 && ((at - bound) | 0) < 0) this.set(slot, at);
  }

  /** The slot is not watched any more. */
  clear(slot: number): void {
    this.#bounds[slot] = 0;
  }

  /** Whether a slot is watched: 1 or 0. */
  isWatched(slot: number): 0 | 1 {
    return this.#bounds[slot] !== 0 ? 1 : 0;
  }

  /**
   * Writes the slots in `[from, to)` whose bound has come at `now` to `into`, ascending; returns how many. `into` holds
   * at least `to - from`. Without branches: what is due is as good as random.
   */
  due(from: number, to: number, now: number, into: Int32Array): number {
    const bounds = this.#bounds;
    let watched = 0;
    let count = 0;
    for (let slot = from; slot < to; slot++) {
      const bound = bounds[slot] as number;
      const isWatched = (bound | -bound) >>> 31;
      watched += isWatched;
      const left = (bound - now) | 0;
      into[count] = slot;
      count += ((left | (left - 1)) >>> 31) & isWatched;
    }
    this.watched = watched;
    return count;
  }
}
