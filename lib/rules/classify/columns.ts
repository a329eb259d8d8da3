/**
 * What the rules of a table say in one dimension, as small integers: the bounds of all their ranges cut the values into
 * intervals, numbered from 0, and a range is those from its first to its last. Cold, but integers only.
 *
 *   interval 0 lies below bounds[0]; interval i begins at bounds[i - 1]; the last one is open above
 */
import type { Ranges } from './conditions.js';

/** Ranges handled between two interruptions. */
const SLICE = 1024;
/** Largest value of every dimension: no interval begins behind it. */
const TOP = 0x7fffffff;
/** Least value of every dimension: no interval ends before it. */
const BOTTOM = -0x80000000;
/** Up to so many numbers are sorted in place. */
const FEW = 24;

export interface Column {
  /** [intervals - 1] ascending, each once. */
  readonly bounds: Int32Array;
  /** [rules + 1] the ranges of rule r are starts[r] to starts[r + 1]. */
  readonly starts: Int32Array;
  /** [ranges] intervals, both inclusive. */
  readonly first: Int32Array;
  readonly last: Int32Array;
}

/**
 * The column of `ranges`; rules[n] is the rule that they know by the number n, below `limit`, or -1 if it is left out.
 * Yields where it may be interrupted.
 */
export function* columnOf(ranges: Ranges, rules: Int32Array, limit: number): Generator<void, Column> {
  const { count } = ranges;
  const starts = new Int32Array(limit + 2);
  const ends = new Int32Array(2 * count);
  let found = 0;
  for (let from = 0; from < count; from += SLICE) {
    const to = Math.min(count, from + SLICE);
    for (let i = from; i < to; i++) {
      const rule = rules[ranges.rules[i]!]!;
      if (rule >= 0) starts[rule + 2]!++;
    }
    found = endsOf(ranges, rules, from, to, ends, found);
    yield;
  }
  for (let i = 2; i < starts.length; i++) starts[i]! += starts[i - 1]!;
  const bounds = ends.slice(0, ascending(ends, found));
  yield;
  const first = new Int32Array(starts[limit + 1]!);
  const last = new Int32Array(first.length);
  for (let from = 0; from < count; from += SLICE) {
    const to = Math.min(count, from + SLICE);
    for (let i = from; i < to; i++) {
      const rule = rules[ranges.rules[i]!]!;
      if (rule < 0) continue;
      const at = starts[rule + 1]!++;
      first[at] = upTo(bounds, bounds.length, ranges.low[i]!);
      last[at] = upTo(bounds, bounds.length, ranges.high[i]!);
    }
    yield;
  }
  return { bounds, starts, first, last };
}

/** Where intervals begin because of the ranges [from, to), appended to `into`; how many there are then. */
function endsOf(
  { rules: numbers, low, high }: Ranges,
  rules: Int32Array,
  from: number,
  to: number,
  into: Int32Array,
  count: number,
): number {
  for (let i = from; i < to; i++) {
    if (rules[numbers[i]!]! < 0) continue;
    if (low[i]! > BOTTOM) into[count++] = low[i]!;
    if (high[i]! < TOP) into[count++] = high[i]! + 1;
  }
  return count;
}

/** Sorts the first `count` of `numbers` and leaves each once; how many are left. */
export function ascending(numbers: Int32Array, count: number): number {
  if (count <= FEW) sortFew(numbers, count);
  else numbers.subarray(0, count).sort();
  let kept = 0;
  for (let i = 0; i < count; i++) {
    if (kept === 0 || numbers[i] !== numbers[kept - 1]) numbers[kept++] = numbers[i]!;
  }
  return kept;
}

function sortFew(numbers: Int32Array, count: number): void {
  for (let i = 1; i < count; i++) {
    const one = numbers[i]!;
    let at = i;
    for (; at > 0 && numbers[at - 1]! > one; at--) numbers[at] = numbers[at - 1]!;
    numbers[at] = one;
  }
}

/** How many of the first `count` of `bounds`, ascending, are not above a value. */
export function upTo(bounds: Int32Array, count: number, value: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (bounds[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
