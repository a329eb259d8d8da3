/**
 * Injected time. Everything that has to do with packets takes `nowMs` as an argument; a clock is asked only at
 * the edges (gateway, command line, background reaper).
 */

/** A source of time in milliseconds. Its zero is arbitrary; it never goes back. */
export interface Clock {
  /** Milliseconds, may have a fraction. */
  nowMs(): number;
}

/** The machine's monotonic clock. */
export const systemClock: Clock = { nowMs: () => performance.now() };

/** A clock that stands still until it is told to move: for tests, traces and captures. */
export class ManualClock implements Clock {
  #nowMs: number;

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  /** Moves forward by `ms`. */
  advance(ms: number): void {
    this.set(this.#nowMs + ms);
  }

  /** Moves to `nowMs`; a moment already past is refused. */
  set(nowMs: number): void {
    if (!(nowMs >= this.#nowMs)) throw new RangeError(`a clock does not go back: ${this.#nowMs} to ${nowMs}`);
    this.#nowMs = nowMs;
  }
}
