/**
 * Free slots of a fixed store: a stack of small integers. Hot.
 *
 * Invariants: `free + live = capacity`; a slot is either on the stack or live, never both, never twice. The stack's
 * pages are written only for slots that were given back: slots never used yet come from a counter.
 */
const NIL = -1;

export class Slots {
  readonly capacity: number;
  readonly #stack: Int32Array;
  #given = 0;
  #fresh = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#stack = new Int32Array(capacity);
  }

  /** Slots in use. */
  get live(): number {
    return this.#fresh - this.#given;
  }

  /** Slots ever used: every live slot is below this number. */
  get highWater(): number {
    return this.#fresh;
  }

  /** A free slot, now live, or NIL (-1) when all are taken. The slot last given back comes first. */
  take(): number {
    if (this.#given > 0) return this.#stack[--this.#given] as number;
    return this.#fresh < this.capacity ? this.#fresh++ : NIL;
  }

  /** Gives a live slot back. */
  give(slot: number): void {
    this.#stack[this.#given++] = slot;
  }

  /** All slots free again. */
  reset(): void {
    this.#given = 0;
    this.#fresh = 0;
  }
}
