/**
 * Hash buckets of nodes that live in somebody else's words array. Hot.
 *
 * A bucket is an intrusive list, newest node first, whose front is unrolled into a cache line of 16 words: the line names
 * up to 15 nodes, each with a tag of its hash, so that a lookup reads the one node that it is for, and of a key that is
 * absent none at all. Older nodes are linked to each other by words of their own; the first of them is in the line's last
 * word. At the size that `capacity.ts` gives a table few nodes ever are.
 *
 *   word 0-14   ~(tag << idBits | node / 16), the newest in word 0, without gaps; 0: nobody
 *   word 15     ~node, the first that has no place in the line; 0: there is none
 *
 * Everything is stored inverted, so that a fresh (all zero) array means "all empty" and an idle table touches no pages.
 * Buckets are chosen by the hash's high bits, tags are its low bits. Invariants: a linked node is in its bucket once, in the
 * line or behind it; a node is in front of those that were linked before it; lists are acyclic; behind the line, `prev` of a
 * node is the node whose `next` it is, NIL for the first.
 */
import { allocateLines, LINE_WORDS } from './lines.js';

/** End of a list, no node. */
const NIL = -1;
/** Places for nodes in a line. */
export const PLACES = LINE_WORDS - 1;
/** A node's offset is a multiple of 2^4: tuples are lines of a record. */
const NODE_SHIFT = 4;
/** Fraction bits of the bucket's number before it is cut off. */
const FRACTION_BITS = 8;
const MANTISSA_BITS = 5;

export class Buckets {
  /** Buckets there are: five significant bits and zeros. */
  readonly count: number;
  /** [count * 16], as in the picture above. Lookups read it, and nobody but this file writes it. */
  readonly lines: Int32Array;
  /** Bits of a word that name the node; the others are the tag. */
  readonly idBits: number;
  readonly #words: Int32Array;
  readonly #nextAt: number;
  readonly #prevAt: number;
  readonly #idMask: number;
  /** `count` = mantissa * 2^n; the hash is shifted so that n + FRACTION_BITS bits of it stay. */
  readonly #mantissa: number;
  readonly #shift: number;

  /**
   * Nodes are offsets into `words`, multiples of 16; `words[node + nextAt]` and `words[node + prevAt]` are theirs for the
   * links. `most` is how many buckets there may be at most: from 1 to 2^23, rounded down to five significant bits.
   */
  constructor(words: Int32Array, most: number, nextAt: number, prevAt: number) {
    if (!Number.isInteger(most) || most < 1 || most > 2 ** 23) {
      throw new RangeError(`bucket count ${most} is not from 1 to ${2 ** 23}`);
    }
    const exponent = Math.max(0, 32 - Math.clz32(most) - MANTISSA_BITS);
    this.#mantissa = most >>> exponent;
    this.#shift = 32 - FRACTION_BITS - exponent;
    this.count = this.#mantissa << exponent;
    this.lines = allocateLines(this.count);
    // One name more than there are nodes: a word of ones would be stored as 0.
    this.idBits = 32 - Math.clz32(words.length >>> NODE_SHIFT);
    this.#idMask = ~(-1 << this.idBits);
    this.#words = words;
    this.#nextAt = nextAt;
    this.#prevAt = prevAt;
  }

  /** First word of the line of a hash's bucket. */
  lineOf(hash: number): number {
    // `| 0`: `imul` takes a field that is not known to be an integer for a float, and turns it back.
    return (Math.imul(hash >>> this.#shift, this.#mantissa | 0) >>> FRACTION_BITS) << 4;
  }

  /** What {@link lines} has for a node of this hash, but for the bits that name the node. */
  tagged(hash: number): number {
    return ~(hash << this.idBits);
  }

  /** Node that a word of a line names; the word is not 0. */
  nodeOf(word: number): number {
    return (~word & this.#idMask) << NODE_SHIFT;
  }

  /** First node behind the line at `line`, or NIL (-1). */
  list(line: number): number {
    return ~(this.lines[line + PLACES] as number);
  }

  /** Node behind another one that is behind its line, or NIL. */
  next(node: number): number {
    return this.#words[node + this.#nextAt] as number;
  }

  /** Puts a node in front of its hash's bucket. */
  link(hash: number, node: number): void {
    const lines = this.lines;
    const line = this.lineOf(hash);
    let word = ~((hash << this.idBits) | (node >>> NODE_SHIFT));
    for (let at = line; at < line + PLACES; at++) {
      const next = lines[at] as number;
      lines[at] = word;
      if (next === 0) return;
      word = next;
    }
    // The oldest has no place any more.
    const words = this.#words;
    const oldest = this.nodeOf(word);
    const first = this.list(line);
    words[oldest + this.#nextAt] = first;
    words[oldest + this.#prevAt] = NIL;
    if (first !== NIL) words[first + this.#prevAt] = oldest;
    lines[line + PLACES] = ~oldest;
  }

  /** Takes a linked node out of its hash's bucket. */
  unlink(hash: number, node: number): void {
    const lines = this.lines;
    const line = this.lineOf(hash);
    const last = line + PLACES - 1;
    const word = ~((hash << this.idBits) | (node >>> NODE_SHIFT));
    let at = line;
    while (lines[at] !== word) {
      if (at === last || lines[at] === 0) {
        this.#unlist(line, node);
        return;
      }
      at++;
    }
    for (; at < last && lines[at] !== 0; at++) lines[at] = lines[at + 1] as number;
    lines[at] = 0;
  }

  #unlist(line: number, node: number): void {
    const words = this.#words;
    const next = words[node + this.#nextAt] as number;
    const prev = words[node + this.#prevAt] as number;
    if (prev === NIL) this.lines[line + PLACES] = ~next;
    else words[prev + this.#nextAt] = next;
    if (next !== NIL) words[next + this.#prevAt] = prev;
  }

  /** The nodes of the bucket whose line is at `line`, for tests. */
  *nodes(line: number): Iterable<number> {
    for (let at = line; at < line + PLACES; at++) {
      const word = this.lines[at] as number;
      if (word === 0) break;
      yield this.nodeOf(word);
    }
    for (let node = this.list(line); node !== NIL; node = this.next(node)) yield node;
  }
}
