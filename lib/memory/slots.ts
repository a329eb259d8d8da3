/**
 * Free slots of a fixed store of records: a list threaded through the free records themselves. Hot.
 *
 * Invariants: `free + live = capacity`; a slot is either on the list or live, never both, never twice. A free record's
 * link is the one word that is written; slots never used yet come from a counter, so that their pages stay untouched.
 */
const NIL = -1;

export class Slots {
  readonly capacity: number;
  readonly #words: Int32Array;
  readonly #stride: number;
  readonly #linkAt: number;
  #first = NIL;
  #given = 0;
  #fresh = 0;

  /** Records of `stride` words lie in `words`; word `linkAt` of a record is free for the link while its slot is. */
  constructor(words: Int32Array, stride: number, linkAt: number) {
    this.capacity = (words.length / stride) | 0;
    this.#words = words;
    this.#stride = stride;
    this.#linkAt = linkAt;
  }

  /** Slots in use. */
  get live(): number {
    return this.#fresh - this.#given;
  }

  /** Slots ever used: every live slot is below this number. */
  get highWater(): number {
    return this.#fresh;
  }

  /** Slot that `take` will take if it was used before, or NIL. */
  get next(): number {
    return this.#first;
  }

  /** A free slot, now live, or NIL (-1) when all are taken. The slot last given back comes first. */
  take(): number {
    const slot = this.#first;
    if (slot !== NIL) {
      this.#first = this.#words[slot * this.#stride + this.#linkAt] as number;
      this.#given--;
      return slot;
    }
    return this.#fresh < this.capacity ? this.#fresh++ : NIL;
  }

  /** Gives a live slot back. */
  give(slot: number): void {
    this.#words[slot * this.#stride + this.#linkAt] = this.#first;
    this.#first = slot;
    this.#given++;
  }

  /** All slots free again. */
  reset(): void {
    this.#first = NIL;
    this.#given = 0;
    this.#fresh = 0;
  }
}
