/**
 * How many members of a set may have a hash: a counting Bloom filter with one hash function. Hot.
 *
 * Counters of four bits, chosen by the hash's high bits. `has` says 1 of every hash that a member has, and of few others.
 * A counter that is full stays so for good: members of its hashes that leave are then not told from those that stay, which
 * costs time and no truth.
 */
const FULL = 15;

export class Tally {
  /** Two counters to a byte. */
  readonly #counters: Uint8Array;
  readonly #shift: number;

  /** `count` counters: a power of two from 2 to 2^31. */
  constructor(count: number) {
    if (!Number.isInteger(Math.log2(count)) || count < 2 || count > 2 ** 31) {
      throw new RangeError(`number of counters ${count} is not a power of two from 2 to 2^31`);
    }
    this.#counters = new Uint8Array(count / 2);
    this.#shift = 32 - Math.log2(count);
  }

  /** Whether a member may have this hash: 1 or 0. */
  has(hash: number): 0 | 1 {
    const at = hash >>> this.#shift;
    const bits = (at & 1) << 2;
    return (((this.#counters[at >>> 1] as number) >>> bits) & FULL) === 0 ? 0 : 1;
  }

  add(hash: number): void {
    const at = hash >>> this.#shift;
    const bits = (at & 1) << 2;
    const byte = this.#counters[at >>> 1] as number;
    if (((byte >>> bits) & FULL) !== FULL) this.#counters[at >>> 1] = byte + (1 << bits);
  }

  /** A member with this hash, which was added, leaves. */
  remove(hash: number): void {
    const at = hash >>> this.#shift;
    const bits = (at & 1) << 2;
    const byte = this.#counters[at >>> 1] as number;
    if (((byte >>> bits) & FULL) !== FULL) this.#counters[at >>> 1] = byte - (1 << bits);
  }
}
