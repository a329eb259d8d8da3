/** The words of an index as they are written: lists, nodes and tables, laid out as `classifier.ts` says. Cold. */
import { Reference } from './classifier.js';

/** Lists up to this length are asked in turn. */
export const SHORT_LIST = 2;
/** Slots per interval of a table. */
const SLOTS = 2;

export class IndexWords {
  /** Offset 0 stays unused, so that a reference to something is never 0. */
  #words = new Int32Array(1024);
  #length = 4;
  readonly #few = new Int32Array(SHORT_LIST);

  /** Everything written. */
  finished(): Int32Array {
    return this.#words.slice(0, this.#length);
  }

  /** A list of rules[from, to), ascending; each is written once. */
  list(rules: Int32Array, from: number, to: number): number {
    if (from === to) return Reference.NOTHING;
    if (to - from === 1) return rules[from]! * 4 + Reference.RULE;
    const at = this.#reserve(1 + to - from);
    const words = this.#words;
    let count = 0;
    for (let i = from; i < to; i++) {
      if (count === 0 || words[at + count] !== rules[i]) words[at + ++count] = rules[i]!;
    }
    this.#length = at + 1 + count;
    words[at] = count;
    return at * 4 + Reference.LIST;
  }

  /** A list of the rules of a segment and of those above it: no more than {@link SHORT_LIST}. */
  merged(rules: Int32Array, starts: Int32Array, segment: number): number {
    const few = this.#few;
    let count = 0;
    for (let s = segment; s > 0; s >>= 1) {
      for (let i = starts[s]!; i < starts[s + 1]!; i++) {
        const rule = rules[i]!;
        let at = count++;
        for (; at > 0 && few[at - 1]! > rule; at--) few[at] = few[at - 1]!;
        few[at] = rule;
      }
    }
    return this.list(few, 0, count);
  }

  /** A node: what is asked of every packet, another reference, and the words of its tables. */
  node(always: number, also: number, tables: readonly number[]): number {
    const at = this.#reserve(3 + tables.length);
    const words = this.#words;
    words[at] = always;
    words[at + 1] = also;
    words[at + 2] = at + 3 + tables.length;
    for (let i = 0; i < tables.length; i++) words[at + 3 + i] = tables[i]!;
    return at * 4 + Reference.NODE;
  }

  /** Writes a table's bounds, references and slots; gives its words. `references` has one more, for values below. */
  table(dimension: number, bounds: Int32Array, references: Int32Array): readonly number[] {
    const at = this.#reserve(2 * bounds.length);
    let words = this.#words;
    const below = references[0]!;
    let before = below;
    let count = 0;
    for (let i = 0; i < bounds.length; i++) {
      const reference = references[i + 1]!;
      // One stays even if nothing is told apart.
      if (reference === before && (count > 0 || i + 1 < bounds.length)) continue;
      words[at + 2 * count] = bounds[i]!;
      words[at + 2 * count + 1] = before = reference;
      count++;
    }
    this.#length = at + 2 * count;
    const first = words[at]!;
    const distance = words[at + 2 * count - 2]! - first;
    let shift = 0;
    while (distance / 2 ** shift >= SLOTS * count && shift < 31) shift++;
    const slots = Math.floor(distance / 2 ** shift) + 1;
    const behind = this.#reserve(slots + 1);
    words = this.#words;
    let interval = 0;
    for (let slot = 0; slot <= slots; slot++) {
      const value = first + slot * 2 ** shift;
      while (interval + 1 < count && words[at + 2 * interval + 2]! <= value) interval++;
      words[behind + slot] = interval;
    }
    return [dimension, first, shift, slots, count, at, behind, below];
  }

  #reserve(words: number): number {
    const at = this.#length;
    this.#length += words;
    if (this.#length > this.#words.length) {
      const wider = new Int32Array(2 * this.#length);
      wider.set(this.#words);
      this.#words = wider;
    }
    return at;
  }
}
