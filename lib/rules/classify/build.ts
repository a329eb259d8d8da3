/**
 * Makes the index of a table's long runs of rules (`classifier.ts`). Cold, but in slices: `buildClassifier` yields where it
 * may be interrupted, after a fraction of a millisecond at ten thousand rules.
 *
 * A node is made so: in each dimension the bounds of the rules' ranges cut the values into intervals (`cut.ts`). A rule
 * goes to the dimension in which a packet that meets it meets the fewest others, for as few of the values as can be.
 * Dimensions that few rules want get no table, and rules that nothing tells apart are asked of every packet. Which of a
 * table's rules hold where is told by `segments.ts`; lists that stay long get a node of their own, in which the dimension
 * says nothing any more, so that there is an end to it.
 *
 * Memory: a rule is in at most `SPREAD` lists of a table on average (`segments.ts`), and in `MOST_COPIES` of the whole
 * index; in practice a few dozen bytes per rule.
 */
import type { Host } from '../../host.js';
import { type Classifier, InterfaceNumbers, Reference } from './classifier.js';
import { type Column, columnOf } from './columns.js';
import { type Conditions, DIMENSIONS } from './conditions.js';
import { Cut } from './cut.js';
import { IndexWords, SHORT_LIST } from './index-words.js';
import { type Ranks, rankRanges } from './ranks.js';
import { Segments } from './segments.js';

/** Rules at the head of a chain that are asked in turn: where the frequent ones stand. */
export const HEAD_RULES = 4;
/** Rules behind the head from which on a chain is indexed. */
export const LEAST_RUN = 16;
/** A table takes at least so many rules, and at least one in so many of the node's: of a run's, of other lists'. */
const LEAST_TABLE = 2;
const LEAST_SHARE_FIRST = 64;
const LEAST_SHARE = 8;
/** Rules may be in so many lists on average, and so many more in all; then lists stay as they are. */
const MOST_COPIES = 24;
const COPIES_SPARE = 4096;
/** Rules handled between two interruptions. */
const SLICE = 256;
/** Rows looked at between two interruptions. */
const PLACES = 4096;
/** Behind the dimensions: rules that none of them tells apart. */
const UNTOLD = DIMENSIONS;

/** A run of rules to be indexed: [from, to). */
export interface Run {
  readonly from: number;
  readonly to: number;
}

/** The runs of chains that are long enough; `firsts` has each chain's first rule, `count` what all of them have. */
export function longRuns(firsts: Int32Array, count: number): readonly Run[] {
  const runs: Run[] = [];
  for (const [i, first] of firsts.entries()) {
    const to = (firsts[i + 1] ?? count) - 1;
    if (to - first >= HEAD_RULES + LEAST_RUN) runs.push({ from: first + HEAD_RULES, to });
  }
  return runs;
}

/** The index of `runs`, ascending; places[row] is the rule of a row that `conditions` knows. */
export function* buildClassifier(
  conditions: Conditions,
  places: Int32Array,
  runs: readonly Run[],
  host: Host,
): Generator<void, Classifier> {
  const rules = yield* rulesInRuns(places, runs);
  let sources: Ranks | undefined;
  let destinations: Ranks | undefined;
  if (conditions.family === 6) {
    sources = yield* rankRanges(conditions.wide[0], conditions.ranges[0]!);
    destinations = yield* rankRanges(conditions.wide[1], conditions.ranges[1]!);
  }
  const columns: Column[] = [];
  for (const ranges of conditions.ranges) columns.push(yield* columnOf(ranges, rules, runs.at(-1)?.to ?? 0));
  const indexed = runs.reduce((sum, { from, to }) => sum + to - from, 0);
  const builder = new IndexBuilder(columns, indexed);
  const roots = new Int32Array(runs.length);
  for (const [i, { from, to }] of runs.entries()) roots[i] = yield* builder.run(from, to);
  return {
    words: builder.words.finished(),
    roots,
    ends: Int32Array.from(runs, ({ to }) => to),
    interfaces: new InterfaceNumbers(host, conditions.names),
    sources,
    destinations,
  };
}

/** [rows] the rule of each, -1 for those outside of the runs. */
function* rulesInRuns(places: Int32Array, runs: readonly Run[]): Generator<void, Int32Array> {
  const rules = new Int32Array(places.length).fill(-1);
  // Rows of one chain are mostly neighbours.
  let run = 0;
  for (let row = 0; row < places.length; row++) {
    const place = places[row]!;
    if (place < runs[run]!.from || place >= runs[run]!.to) run = runAt(runs, place);
    if (place >= runs[run]!.from && place < runs[run]!.to) rules[row] = place;
    if (row % PLACES === PLACES - 1) yield;
  }
  return rules;
}

/** The last run that begins at or before a rule, or the first. */
function runAt(runs: readonly Run[], rule: number): number {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (runs[middle]!.from <= rule) low = middle;
    else high = middle - 1;
  }
  return low;
}

class IndexBuilder {
  readonly words = new IndexWords();
  readonly #columns: readonly Column[];
  readonly #rules: number;
  readonly #segments = new Segments();
  readonly #cut = new Cut();
  /** [rules * dimensions] what each rule of the node under way costs in each dimension. */
  #costs = new Float64Array(0);
  /** [rules] the dimension that each goes to. */
  #choices = new Int8Array(0);
  /** Rules dealt with since the last interruption. */
  #work = 0;

  constructor(columns: readonly Column[], rules: number) {
    this.#columns = columns;
    this.#rules = rules;
  }

  /** Reference of the node for the rules [from, to). */
  *run(from: number, to: number): Generator<void, number> {
    const rules = new Int32Array(to - from);
    for (let i = 0; i < rules.length; i++) rules[i] = from + i;
    return yield* this.#node(rules, 0);
  }

  /** Of a node for `rules`, ascending, or of a list where that does; `spent`: bits of the dimensions that are used up. */
  *#node(rules: Int32Array, spent: number): Generator<void, number> {
    const isExhausted = this.#segments.copies > MOST_COPIES * this.#rules + COPIES_SPARE;
    if (rules.length <= SHORT_LIST || isExhausted) return this.words.list(rules, 0, rules.length);
    const shares = yield* this.#share(rules, spent);
    const untold = shares[UNTOLD]!;
    const always = this.words.list(untold, 0, untold.length);
    if (untold.length === rules.length) return always;
    const tables: number[] = [];
    for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
      if (shares[dimension]!.length === 0) continue;
      tables.push(...(yield* this.#table(dimension, shares[dimension]!, spent | (1 << dimension))));
    }
    return this.words.node(always, Reference.NOTHING, tables);
  }

  /** The rules by dimension; last those that are asked of every packet. */
  *#share(rules: Int32Array, spent: number): Generator<void, Int32Array[]> {
    const { length } = rules;
    if (this.#choices.length < length) {
      this.#choices = new Int8Array(length);
      this.#costs = new Float64Array(length * DIMENSIONS);
    }
    this.#costs.fill(Number.POSITIVE_INFINITY, 0, length * DIMENSIONS);
    for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
      if (((spent >>> dimension) & 1) === 1 || this.#columns[dimension]!.first.length === 0) continue;
      yield* this.#measure(dimension, rules);
      if (this.#cut.count === 0) continue;
      for (let from = 0; from < length; from += SLICE) {
        const to = Math.min(length, from + SLICE);
        this.#weigh(dimension, rules, from, to);
        if (this.#isLong(to - from)) yield;
      }
    }
    const counts = yield* this.#choose(length, spent === 0 ? LEAST_SHARE_FIRST : LEAST_SHARE);
    const shares = Array.from(counts, (count) => new Int32Array(count));
    counts.fill(0);
    for (let i = 0; i < length; i++) {
      const choice = this.#choices[i]!;
      shares[choice]![counts[choice]!++] = rules[i]!;
    }
    if (this.#isLong(length >> 3)) yield;
    return shares;
  }

  /** The dimension as the rules see it, in `#cut`. */
  *#measure(dimension: number, rules: Int32Array): Generator<void, void> {
    const cut = this.#cut;
    const { length } = rules;
    yield* this.#bounds(dimension, rules, length === this.#rules);
    if (cut.count === 0) return;
    for (let from = 0; from < length; from += SLICE) {
      const to = Math.min(length, from + SLICE);
      cut.load(rules, from, to);
      if (this.#isLong(to - from)) yield;
    }
    cut.sum();
  }

  *#bounds(dimension: number, rules: Int32Array, isWhole: boolean): Generator<void, void> {
    const cut = this.#cut;
    const { length } = rules;
    cut.begin(this.#columns[dimension]!, isWhole);
    for (let from = 0; from < length && !isWhole; from += SLICE) {
      const to = Math.min(length, from + SLICE);
      cut.gather(rules, from, to);
      if (this.#isLong((to - from) >> 1)) yield;
    }
    cut.close();
    if (this.#isLong(length >> 2)) yield;
  }

  #weigh(dimension: number, rules: Int32Array, from: number, to: number): void {
    const cut = this.#cut;
    const costs = this.#costs;
    for (let i = from; i < to; i++) costs[i * DIMENSIONS + dimension] = cut.cost(rules[i]!);
  }

  /** The cheapest dimension for each of `length` rules among those that enough of them want; how many chose each. */
  *#choose(length: number, share: number): Generator<void, Int32Array> {
    const least = Math.max(LEAST_TABLE, length / share);
    let counts = this.#cheapest(length, (1 << DIMENSIONS) - 1);
    if (this.#isLong(length >> 4)) yield;
    let kept = 0;
    for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
      if (counts[dimension]! >= least) kept |= 1 << dimension;
    }
    for (;;) {
      counts = this.#cheapest(length, kept);
      if (this.#isLong(length >> 4)) yield;
      if (counts[UNTOLD]! <= SHORT_LIST) return counts;
      const dimension = this.#wanted(length, kept);
      if (dimension === UNTOLD) return counts;
      kept |= 1 << dimension;
    }
  }

  /** Writes down for each rule the cheapest of the dimensions whose bits are in `kept`. */
  #cheapest(length: number, kept: number): Int32Array {
    const counts = new Int32Array(DIMENSIONS + 1);
    const costs = this.#costs;
    for (let i = 0; i < length; i++) {
      let choice = UNTOLD;
      let least = Number.POSITIVE_INFINITY;
      for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
        const cost = costs[i * DIMENSIONS + dimension]!;
        if (cost < least && ((kept >>> dimension) & 1) === 1) {
          least = cost;
          choice = dimension;
        }
      }
      this.#choices[i] = choice;
      counts[choice]!++;
    }
    return counts;
  }

  /** The dimension that most of the rules without one can have, if they are enough for a table. */
  #wanted(length: number, kept: number): number {
    const counts = new Int32Array(DIMENSIONS);
    for (let i = 0; i < length; i++) {
      if (this.#choices[i] !== UNTOLD) continue;
      for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
        if (this.#costs[i * DIMENSIONS + dimension]! < Number.POSITIVE_INFINITY) counts[dimension]!++;
      }
    }
    let wanted = UNTOLD;
    let most = LEAST_TABLE - 1;
    for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
      if (counts[dimension]! <= most || ((kept >>> dimension) & 1) === 1) continue;
      most = counts[dimension]!;
      wanted = dimension;
    }
    return wanted;
  }

  /** Writes a table for `rules`; gives its words for the node. */
  *#table(dimension: number, rules: Int32Array, spent: number): Generator<void, readonly number[]> {
    const { length } = rules;
    const column = this.#columns[dimension]!;
    const cut = this.#cut;
    const segments = this.#segments;
    yield* this.#bounds(dimension, rules, false);
    segments.begin(cut.count + 1);
    yield* this.#addTo(segments, column, rules);
    if (segments.isFull(length)) {
      segments.begin(cut.count + 1, segments.widest(length));
      yield* this.#addTo(segments, column, rules);
    }
    const bounds = new Int32Array(cut.count);
    for (let i = 0; i < bounds.length; i++) bounds[i] = column.bounds[cut.bounds[i]! - 1]!;
    const lists = segments.lists();
    if (this.#isLong(length >> 1)) yield;
    const { leaves, starts } = lists;
    const references = new Int32Array(leaves + bounds.length + 1);
    // Rules from a segment up to the root.
    const totals = new Int32Array(references.length);
    for (let s = 1; s < references.length; s++) {
      const from = starts[s]!;
      const to = starts[s + 1]!;
      const above = references[s >> 1]!;
      totals[s] = totals[s >> 1]! + to - from;
      if (from === to) {
        references[s] = above;
        continue;
      }
      if (totals[s]! <= SHORT_LIST) {
        references[s] = this.words.merged(lists.rules, starts, s);
      } else {
        const own =
          to - from <= SHORT_LIST
            ? this.words.list(lists.rules, from, to)
            : yield* this.#node(lists.rules.slice(from, to), spent);
        references[s] = above === Reference.NOTHING ? own : this.words.node(own, above, []);
      }
      if (this.#isLong(1)) yield;
    }
    const written = this.words.table(dimension, bounds, references.subarray(leaves));
    if (this.#isLong(length >> 2)) yield;
    return written;
  }

  *#addTo(segments: Segments, column: Column, rules: Int32Array): Generator<void, void> {
    for (let from = 0; from < rules.length; from += SLICE) {
      const to = Math.min(rules.length, from + SLICE);
      segments.add(column, this.#cut, rules, from, to);
      if (this.#isLong(to - from)) yield;
    }
  }

  /** Counts work; whether it is time to be interrupted. */
  #isLong(work: number): boolean {
    this.#work += work;
    if (this.#work < SLICE) return false;
    this.#work = 0;
    return true;
  }
}
