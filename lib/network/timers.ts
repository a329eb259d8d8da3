/**
 * Everything around a gateway that happens by time alone, behind one alarm. Cold.
 *
 * Each part says when it is due next and does what is due when told to. `advance` runs them in order of time, each at
 * its own moment, so that a test that jumps an hour sees what an hour would have brought. A part that has more to do
 * than it may at a time (the reaper) stays due, the others go on, and it has its turn at the next `advance`.
 */

/** A part that has something to do now and then. */
export interface Timed {
  /** When it is due next, ms; Infinity if nothing waits. */
  nextMs(): number;
  /** Does what is due at `nowMs`; afterwards `nextMs` is later, unless it is more than may be done at a time. */
  advance(nowMs: number): void;
}

export class Timers {
  /** Told of the moment before each step of `advance`. */
  onStep: ((nowMs: number) => void) | undefined = undefined;
  /** Told when something may be due earlier than was known. */
  onEarlier: ((atMs: number) => void) | undefined = undefined;
  #parts: readonly Timed[] = [];
  /** Parts that stayed due in this `advance`. */
  #aside: Timed[] = [];

  /** Adds a part; the returned function takes it away. */
  add(part: Timed): () => void {
    this.#parts = [...this.#parts, part];
    this.wake(part.nextMs());
    return () => {
      this.#parts = this.#parts.filter((one) => one !== part);
    };
  }

  /** A part is due at `atMs`, which may be earlier than it said before. */
  wake(atMs: number): void {
    this.onEarlier?.(atMs);
  }

  /** When the first part is due; Infinity if none is. */
  nextMs(): number {
    return this.#first()?.nextMs() ?? Number.POSITIVE_INFINITY;
  }

  /** Does all that is due up to `nowMs`, in order of time. */
  advance(nowMs: number): void {
    this.#aside = [];
    try {
      this.#advance(nowMs);
    } finally {
      this.#aside = [];
    }
  }

  #advance(nowMs: number): void {
    for (;;) {
      const part = this.#first();
      const dueMs = part?.nextMs() ?? Number.POSITIVE_INFINITY;
      if (part === undefined || dueMs > nowMs) return;
      this.onStep?.(dueMs);
      part.advance(dueMs);
      if (part.nextMs() <= dueMs) part.advance(nowMs);
      if (part.nextMs() <= dueMs) this.#aside.push(part);
    }
  }

  #first(): Timed | undefined {
    let first: Timed | undefined;
    let firstMs = Number.POSITIVE_INFINITY;
    for (const part of this.#parts) {
      const dueMs = part.nextMs();
      if (dueMs >= firstMs || this.#aside.includes(part)) continue;
      first = part;
      firstMs = dueMs;
    }
    return first;
  }
}
