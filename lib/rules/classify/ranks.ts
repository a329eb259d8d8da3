/**
 * IPv6 addresses as small integers: the rank of an address among the bounds of all rules' prefixes and ranges. Two
 * addresses with the same rank are inside and outside of the same ranges.
 *
 * Made cold, asked hot. `bounds` is [count * 4] words in host order, ascending as unsigned numbers.
 */
import type { Ranges, WideRanges } from './conditions.js';

const WORDS = 4;
const DIGIT_BITS = 11;
const DIGITS = 3;

export class Ranks {
  readonly bounds: Int32Array;
  readonly count: number;

  constructor(bounds: Int32Array) {
    this.bounds = bounds;
    this.count = bounds.length / WORDS;
  }

  /** How many bounds are not above the address in `words[at..at+3]`. */
  of(words: Int32Array | readonly number[], at: number): number {
    const bounds = this.bounds;
    const a = (words[at] as number) >>> 0;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const bound = (bounds[middle * WORDS] as number) >>> 0;
      let isBelow = a < bound ? 1 : 0;
      for (let i = 1; a === bound && i < WORDS; i++) {
        const x = (words[at + i] as number) >>> 0;
        const y = (bounds[middle * WORDS + i] as number) >>> 0;
        if (x === y) continue;
        isBelow = x < y ? 1 : 0;
        break;
      }
      if (isBelow === 1) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** The ranks of the ranges' bounds; the ranges are added to `into` in ranks. Yields where it may be interrupted. */
export function* rankRanges(ranges: WideRanges, into: Ranges): Generator<void, Ranks> {
  const { rules, low, high } = ranges;
  const all = new Int32Array(2 * rules.length * WORDS);
  let count = 0;
  for (let i = 0; i < rules.length; i++) {
    for (let w = 0; w < WORDS; w++) all[count * WORDS + w] = low[i * WORDS + w] as number;
    count++;
    if (successor(high, i * WORDS, all, count * WORDS)) count++;
  }
  yield;
  const ranks = new Ranks(yield* ascending(all, count));
  for (let i = 0; i < rules.length; i++) {
    const from = ranks.of(low, i * WORDS);
    const to = ranks.of(high, i * WORDS);
    into.add(rules[i] as number, from, to);
    if ((i & 1023) === 1023) yield;
  }
  return ranks;
}

/** Writes the address behind the one at `from`; false if that is the last. */
function successor(words: readonly number[], from: number, into: Int32Array, at: number): boolean {
  let carry = 1;
  for (let i = WORDS - 1; i >= 0; i--) {
    const word = ((words[from + i] as number) + carry) | 0;
    into[at + i] = word;
    carry = carry === 1 && word === 0 ? 1 : 0;
  }
  return carry === 0;
}

/** `count` addresses in ascending order, each once: sorted digit by digit, from the lowest. */
function* ascending(all: Int32Array, count: number): Generator<void, Int32Array> {
  let order = Int32Array.from({ length: count }, (_, i) => i);
  let next = new Int32Array(count);
  const starts = new Int32Array((1 << DIGIT_BITS) + 1);
  for (let word = WORDS - 1; word >= 0; word--) {
    for (let digit = 0; digit < DIGITS; digit++) {
      const shift = digit * DIGIT_BITS;
      const mask = (1 << DIGIT_BITS) - 1;
      starts.fill(0);
      for (let i = 0; i < count; i++) {
        const value = ((all[i * WORDS + word] as number) >>> shift) & mask;
        starts[value + 1] = (starts[value + 1] as number) + 1;
      }
      for (let i = 1; i < starts.length; i++) {
        starts[i] = (starts[i] as number) + (starts[i - 1] as number);
      }
      for (let i = 0; i < count; i++) {
        const at = order[i] as number;
        const value = ((all[at * WORDS + word] as number) >>> shift) & mask;
        const place = starts[value] as number;
        starts[value] = place + 1;
        next[place] = at;
      }
      [order, next] = [next, order];
    }
    yield;
  }
  const sorted = new Int32Array(count * WORDS);
  let kept = 0;
  for (const at of order) {
    let isSame = kept > 0;
    for (let w = 0; w < WORDS && isSame; w++) {
      isSame = sorted[(kept - 1) * WORDS + w] === all[at * WORDS + w];
    }
    if (isSame) continue;
    for (let w = 0; w < WORDS; w++) sorted[kept * WORDS + w] = all[at * WORDS + w] as number;
    kept++;
  }
  return sorted.slice(0, kept * WORDS);
}
