/**
 * Which rules of a table hold where, without a copy for each interval: the intervals are the leaves of a binary tree, and
 * a rule is in the lists of those segments of the tree that together are its ranges, at most two per level. So a packet's
 * rules are those on the way from its interval up to the root. Cold, but integers only; one object is used again and
 * again.
 *
 *   segment 1 is the root, 2 s and 2 s + 1 are the halves of s, leaf i is segment leaves + i
 *
 * Where rules would be in too many lists, those with the most segments are put into one or two that have all of their
 * intervals and more.
 */
import type { Column } from './columns.js';
import type { Cut } from './cut.js';

/** A rule may be in this many lists of a table on average, and a table may hold so many more in all. */
const SPREAD = 8;
const SPREAD_SPARE = 256;
/** Segments that a range can be: two for each level of the tree. */
const MOST_PIECES = 64;

/** The rules of segment s are rules[starts[s]] to rules[starts[s + 1] - 1], ascending. */
export interface SegmentLists {
  readonly leaves: number;
  /** [2 * leaves + 1] */
  readonly starts: Int32Array;
  readonly rules: Int32Array;
}

export class Segments {
  /** Rules in all lists that were ever given. */
  copies = 0;
  #leaves = 1;
  /** Ranges that are more segments than this are put into one or two. */
  #most = MOST_PIECES;
  /** Segment and rule in turn. */
  #pairs = new Int32Array(1024);
  #count = 0;
  /** [pieces] how many ranges are so many segments. */
  readonly #spreads = new Int32Array(MOST_PIECES + 1);

  /** Another table of so many intervals; with `most` segments per range, or one or two wide ones. */
  begin(intervals: number, most = MOST_PIECES): void {
    this.#leaves = 1;
    while (this.#leaves < intervals) this.#leaves *= 2;
    this.#most = most;
    this.#count = 0;
    this.#spreads.fill(0);
  }

  /** Adds rules[from, to), which come in ascending order. */
  add(column: Column, cut: Cut, rules: Int32Array, from: number, to: number): void {
    const { starts, first, last } = column;
    for (let i = from; i < to; i++) {
      const rule = rules[i]!;
      const end = starts[rule + 1]!;
      for (let r = starts[rule]!; r < end; r++) this.#range(rule, cut.of(first[r]!), cut.of(last[r]!));
    }
  }

  /** Whether the lists of `rules` rules have become too long. */
  isFull(rules: number): boolean {
    return this.#most === MOST_PIECES && this.#count > SPREAD * rules + SPREAD_SPARE;
  }

  /** How many segments a range may be, if the lists of `rules` rules shall not be too long. */
  widest(rules: number): number {
    let room = SPREAD * rules + SPREAD_SPARE;
    for (let pieces = 1; pieces <= MOST_PIECES; pieces++) room -= 2 * this.#spreads[pieces]!;
    let most = 2;
    for (; most < MOST_PIECES; most++) {
      room -= (most - 1) * this.#spreads[most + 1]!;
      if (room < 0) break;
    }
    return most;
  }

  /** The lists of what was added. Owned by the caller. */
  lists(): SegmentLists {
    const pairs = this.#pairs;
    const end = 2 * this.#count;
    const starts = new Int32Array(2 * this.#leaves + 2);
    for (let i = 0; i < end; i += 2) starts[pairs[i]! + 2]!++;
    for (let s = 2; s < starts.length; s++) starts[s]! += starts[s - 1]!;
    const rules = new Int32Array(this.#count);
    for (let i = 0; i < end; i += 2) rules[starts[pairs[i]! + 1]!++] = pairs[i + 1]!;
    this.copies += this.#count;
    return { leaves: this.#leaves, starts, rules };
  }

  #range(rule: number, first: number, last: number): void {
    const before = this.#count;
    let low = first + this.#leaves;
    let high = last + this.#leaves + 1;
    for (; low < high; low >>= 1, high >>= 1) {
      if ((low & 1) === 1) this.#put(low++, rule);
      if ((high & 1) === 1) this.#put(--high, rule);
    }
    const pieces = this.#count - before;
    this.#spreads[pieces]!++;
    if (pieces <= this.#most) return;
    this.#count = before;
    this.#wide(rule, first + this.#leaves, last + this.#leaves);
  }

  /** The range from one leaf to another, in two segments at most. */
  #wide(rule: number, low: number, high: number): void {
    const levels = 32 - Math.clz32(low ^ high);
    // The halves of the least segment that has both.
    const left = (low >> levels) * 2;
    this.#put(least(low, ((left + 1) << (levels - 1)) - 1), rule);
    this.#put(least((left + 1) << (levels - 1), high), rule);
  }

  #put(segment: number, rule: number): void {
    if (2 * this.#count === this.#pairs.length) {
      const wider = new Int32Array(2 * this.#pairs.length);
      wider.set(this.#pairs);
      this.#pairs = wider;
    }
    this.#pairs[2 * this.#count] = segment;
    this.#pairs[2 * this.#count + 1] = rule;
    this.#count++;
  }
}

/** The least segment that has both leaves. */
function least(low: number, high: number): number {
  return low >> (32 - Math.clz32(low ^ high));
}
