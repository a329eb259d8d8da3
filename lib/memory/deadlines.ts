/**
 * Deadlines of slots, for sweeps: a lower bound of each slot's time in a column of its own, so that a sweep reads two
 * bytes of a slot whose time has surely not come, and its record only of the others. Hot.
 *
 * A time that moves later need not be told: the sweep finds the slot due, asks its record, and raises the bound. A
 * time that moves earlier must be (`lower`). Invariant: a watched slot is due no later than its time, and about two
 * seconds (a unit) before its bound's. Times are int32 milliseconds that wrap, and are compared by difference.
 *
 * A bound is a number of units that wraps after 37 hours; 0 stands for "not watched", so that a fresh column touches no
 * pages, and the unit 0 is kept as the one before. So that no bound can be taken for one of another round, none is set
 * further ahead than HORIZON, and when no sweep came for so long, all slots are due.
 */

/** A unit is 2^11 ms. */
const UNIT_BITS = 11;
const UNIT_MASK = 0xffff;
/** A quarter of the round, ms: more than 9 hours. */
const HORIZON = 1 << (16 + UNIT_BITS - 2);

export class Deadlines {
  /** [capacity] */
  readonly #bounds: Uint16Array;
  /** Time of the last sweep. */
  #now = 0;
  /** Watched slots among those that `due` looked at last. */
  watched = 0;

  constructor(capacity: number) {
    this.#bounds = new Uint16Array(capacity);
  }

  /** Watches a slot from now on, or raises its bound. */
  set(slot: number, at: number): void {
    this.#bounds[slot] = this.#boundOf(at);
  }

  /** The time of a slot is `at` now, earlier than it was. */
  lower(slot: number, at: number): void {
    const bound = this.#bounds[slot] as number;
    if (bound === 0) return;
    const earlier = this.#boundOf(at);
    if (isEarlier(earlier, bound) === 1) this.#bounds[slot] = earlier;
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
    if (now !== this.#now) this.#pass(now);
    const bounds = this.#bounds;
    const unit = now >> UNIT_BITS;
    let watched = 0;
    let count = 0;
    for (let slot = from; slot < to; slot++) {
      const bound = bounds[slot] as number;
      const isWatched = -bound >>> 31;
      watched += isWatched;
      into[count] = slot;
      // The sign of (bound - unit - 1) in 16 bits: not later than this unit.
      count += ((bound - unit - 1) >>> 15) & 1 & isWatched;
    }
    this.watched = watched;
    return count;
  }

  /** Time passes. Bounds that were left alone for too long tell nothing any more. */
  #pass(now: number): void {
    const passed = (now - this.#now) >>> 0;
    this.#now = now;
    if (passed <= HORIZON) return;
    const bounds = this.#bounds;
    const bound = this.#boundOf(now);
    for (let slot = 0; slot < bounds.length; slot++) if (bounds[slot] !== 0) bounds[slot] = bound;
  }

  #boundOf(at: number): number {
    const ahead = (at - this.#now) | 0;
    const time = ahead < 0 ? this.#now : ahead > HORIZON ? this.#now + HORIZON : at;
    return (time >> UNIT_BITS) & UNIT_MASK || UNIT_MASK;
  }
}

/** Whether a bound is earlier than another one of the same round: 1 or 0. */
function isEarlier(bound: number, other: number): 0 | 1 {
  return (((bound - other) >>> 15) & 1) as 0 | 1;
}
