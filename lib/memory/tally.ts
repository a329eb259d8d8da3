/**
 * Whether a member of a set may have a hash: a fingerprint of a byte for each member, in groups. Hot.
 *
 * A group is four words: 15 places for fingerprints, 0 where there is none, and in the first byte how many members of the
 * group have no place. `has` says 1 of every hash that a member has, and of few others: those with a member's fingerprint in
 * their group, one in thirty of a group with eight, and all those of a group with a member without place. A full count stays
 * so for good: members that leave are then not told from those that stay, which costs time and no truth.
 *
 * Counters of four bits in as many bytes (a Bloom filter with one hash function) would say 1 of one in five.
 */
const GROUP_WORDS = 4;
const FULL = 255;
/** A one, and the highest bit, of each byte. */
const ONES = 0x01010101;
const HIGH = 0x80808080 | 0;

export class Tally {
  /** [groups * 4] */
  readonly #words: Int32Array;
  /** Groups to the number of hashes. */
  readonly #share: number;

  /** `groups` of 16 bytes: an integer from 1 to 2^27. */
  constructor(groups: number) {
    if (!Number.isInteger(groups) || groups < 1 || groups > 2 ** 27) {
      throw new RangeError(`number of groups ${groups} is not from 1 to 2^27`);
    }
    this.#words = new Int32Array(groups * GROUP_WORDS);
    this.#share = groups / 2 ** 32;
  }

  /** Group of a hash, by its high bits. */
  groupOf(hash: number): number {
    return ((hash >>> 0) * this.#share) | 0;
  }

  /** Whether a member may have this hash: 1 or 0. */
  has(hash: number): 0 | 1 {
    const words = this.#words;
    const at = this.groupOf(hash) * GROUP_WORDS;
    const pattern = Math.imul(printOf(hash), ONES);
    const first = words[at] as number;
    const found =
      zeros((first ^ pattern) | FULL) |
      zeros((words[at + 1] as number) ^ pattern) |
      zeros((words[at + 2] as number) ^ pattern) |
      zeros((words[at + 3] as number) ^ pattern) |
      (first & FULL);
    return found === 0 ? 0 : 1;
  }

  /** Reads a word of a hash's group, so that the group is under way. */
  touch(hash: number): number {
    return this.#words[this.groupOf(hash) * GROUP_WORDS] as number;
  }

  add(hash: number): void {
    const words = this.#words;
    const at = this.groupOf(hash) * GROUP_WORDS;
    const print = printOf(hash);
    for (let i = at; i < at + GROUP_WORDS; i++) {
      const word = words[i] as number;
      const free = zeros(i === at ? word | FULL : word);
      if (free === 0) continue;
      words[i] = word | (print << lowest(free));
      return;
    }
    const first = words[at] as number;
    if ((first & FULL) !== FULL) words[at] = first + 1;
  }

  /** A member with this hash, which was added, leaves. */
  remove(hash: number): void {
    const words = this.#words;
    const at = this.groupOf(hash) * GROUP_WORDS;
    const print = printOf(hash);
    const pattern = Math.imul(print, ONES);
    for (let i = at; i < at + GROUP_WORDS; i++) {
      const word = words[i] as number;
      const same = zeros(i === at ? (word ^ pattern) | FULL : word ^ pattern);
      if (same === 0) continue;
      words[i] = word ^ (print << lowest(same));
      return;
    }
    const first = words[at] as number;
    if ((first & FULL) !== FULL) words[at] = first - 1;
  }
}

/** A byte of a hash, by its low bits; never 0. */
function printOf(hash: number): number {
  return hash & 255 || 1;
}

/** Not 0 if a byte is 0: the highest bit of the first such one is set, and none below it. */
function zeros(word: number): number {
  return ((word - ONES) | 0) & ~word & HIGH;
}

/** Lowest bit of the first byte whose highest bit is set. */
function lowest(high: number): number {
  return 24 - Math.clz32(high & -high);
}
