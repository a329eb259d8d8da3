/**
 * Makes the index of a table's long runs of rules (`classifier.ts`). Cold, but in slices: `buildClassifier` yields where it
 * may be interrupted, after about a millisecond of work at ten thousand rules.
 *
 * A node is made so: in each dimension the bounds of the rules' ranges cut the values into intervals. A rule goes to the
 * dimension in which it meets the fewest others, for as few of the values as can be. Rules that hold for too many
 * intervals of theirs are kept for another round of tables, where only the bounds of their like count, and in the end for
 * tables of a few wide intervals; rules that nothing tells apart are asked of every packet. An interval that keeps a long list gets a node of its own, in which the
 * dimension says nothing any more, so that there is an end to it.
 *
 * Memory: the lists of a table hold at most `SPREAD` times as many rules as the table (and some), on each of at most
 * `DIMENSIONS` levels; in practice a few dozen bytes per rule.
 */
import type { Host } from '../../host.js';
import type { Family, TableSpec } from '../ast.js';
import { type Classifier, InterfaceNumbers, Reference } from './classifier.js';
import { Conditions, DIMENSIONS, type Ranges } from './conditions.js';
import { type Ranks, rankRanges } from './ranks.js';

/** Rules at the head of a chain that are asked in turn: where the frequent ones stand. */
export const HEAD_RULES = 4;
/** Rules behind the head from which on a chain is indexed. */
export const LEAST_RUN = 16;
/** Lists up to this length are asked in turn. */
const SHORT_LIST = 8;
/** Tables for fewer rules do not pay. */
const LEAST_TABLE = 4;
/** A rule may be in this many lists of a table on average, and a table may hold so many more in all. */
const SPREAD = 4;
const SPREAD_SPARE = 256;
/** Rounds of tables in a node: those before the last go by all bounds, the last by a few. */
const ROUNDS = 3;
/** Intervals of a table of the last round: rules may be in each of them. */
const COARSE_INTERVALS = 16;
/** A table takes at least one in so many of the rules that are left; in the first round, in the others. */
const LEAST_SHARE_FIRST = 64;
const LEAST_SHARE = 8;
/** Nodes inside one another, behind which a list stays as it is. */
const DEEPEST = 10;
/** Slots per interval. */
const SLOTS = 2;
/** Rules handled between two interruptions. */
const SLICE = 256;
/** Above the values of every dimension. */
const TOP = 2 ** 31;

/** A run of rules to be indexed: [from, to). */
export interface Run {
  readonly from: number;
  readonly to: number;
}

/** The runs of a table that are long enough; `firsts` has the number of each chain's first rule. */
export function longRuns(table: TableSpec, firsts: ReadonlyMap<string, number>): readonly Run[] {
  return table.chains
    .filter(({ rules }) => rules.length >= HEAD_RULES + LEAST_RUN)
    .map(({ name, rules }) => {
      const first = firsts.get(name) as number;
      return { from: first + HEAD_RULES, to: first + rules.length };
    });
}

/** The index of `runs`, which are in the order of the table. */
export function* buildClassifier(
  table: TableSpec,
  family: Family,
  firsts: ReadonlyMap<string, number>,
  runs: readonly Run[],
  host: Host,
): Generator<void, Classifier> {
  const conditions = new Conditions(family);
  let done = 0;
  for (const { name, rules } of table.chains) {
    const first = firsts.get(name) as number;
    if (rules.length < HEAD_RULES + LEAST_RUN) continue;
    for (let i = HEAD_RULES; i < rules.length; i++) {
      conditions.add(first + i, rules[i]!);
      if (++done % SLICE === 0) yield;
    }
  }
  let sources: Ranks | undefined;
  let destinations: Ranks | undefined;
  if (family === 6) {
    sources = yield* rankRanges(conditions.wide[0], conditions.ranges[0]!);
    destinations = yield* rankRanges(conditions.wide[1], conditions.ranges[1]!);
  }
  const builder = new IndexBuilder(conditions.ranges, runs.at(-1)?.to ?? 0);
  const roots = new Int32Array(runs.length);
  for (const [i, { from, to }] of runs.entries()) {
    const rules = Int32Array.from({ length: to - from }, (_, n) => from + n);
    roots[i] = yield* builder.node(rules);
  }
  return {
    words: builder.words(),
    roots,
    ends: Int32Array.from(runs, ({ to }) => to),
    interfaces: new InterfaceNumbers(host, conditions.names),
    sources,
    destinations,
  };
}

/** Ranges of one dimension by rule. */
interface Column {
  /** [rules + 1] first range of each. */
  readonly starts: Int32Array;
  readonly low: Float64Array;
  readonly high: Float64Array;
}

/** Values that a node is asked for, by dimension: [low, high]. */
type Box = readonly { readonly low: number; readonly high: number }[];

const EVERYTHING: Box = Array.from({ length: DIMENSIONS }, () => ({ low: -TOP, high: TOP - 1 }));

/** A table to be written. */
interface TablePlan {
  readonly dimension: number;
  readonly rules: Int32Array;
  readonly isCoarse: boolean;
}

/** What a dimension says of the rules of a node. */
interface Cut {
  readonly bounds: Float64Array;
  /** [bounds] rules that hold in the interval. */
  readonly loads: Float64Array;
}

class IndexBuilder {
  readonly #columns: readonly Column[];
  /** Offset 0 stays unused, so that a reference to something is never 0. */
  #words = new Int32Array(1024);
  #length = 4;
  /** Rules dealt with since the last interruption. */
  #work = 0;

  constructor(ranges: readonly Ranges[], rules: number) {
    this.#columns = ranges.map((one) => columnOf(one, rules));
  }

  words(): Int32Array {
    return this.#words.slice(0, this.#length);
  }

  /** Reference of a node for `rules`, ascending; of a list or a rule where that does. */
  *node(rules: Int32Array, box: Box = EVERYTHING, depth = 0): Generator<void, number> {
    let rest = rules;
    const tables: TablePlan[] = [];
    for (let round = 0; round < ROUNDS && rest.length > SHORT_LIST && depth < DEEPEST; round++) {
      const isCoarse = round === ROUNDS - 1;
      const shares = yield* this.#share(rest, box, isCoarse);
      const left = shares.pop() as number[];
      const least = Math.max(LEAST_TABLE, rest.length / (round === 0 ? LEAST_SHARE_FIRST : LEAST_SHARE));
      for (const [dimension, share] of shares.entries()) {
        if (share.length >= least) tables.push({ dimension, rules: Int32Array.from(share), isCoarse });
        else left.push(...share);
      }
      // The same rules would be shared the same way again.
      if (left.length === rest.length) round = Math.max(round, ROUNDS - 2);
      rest = Int32Array.from(left).sort();
    }
    const always = this.#list(rest);
    if (tables.length === 0) return always;
    const written: number[] = [];
    for (const plan of tables) written.push(...(yield* this.#table(plan, box, depth)));
    const at = this.#reserve(2 + written.length);
    this.#words[at] = always;
    this.#words[at + 1] = tables.length;
    this.#words.set(written, at + 2);
    return at * 4 + Reference.NODE;
  }

  /** Rules by the dimension that tells each apart best; last those for which none is good. */
  *#share(rules: Int32Array, box: Box, isCoarse: boolean): Generator<void, number[][]> {
    const costs = new Float64Array(rules.length).fill(Number.POSITIVE_INFINITY);
    const choices = new Int8Array(rules.length).fill(-1);
    const covers = new Int32Array(rules.length);
    for (let dimension = 0; dimension < DIMENSIONS; dimension++) {
      const cut = yield* this.#cut(dimension, rules, box, isCoarse);
      if (cut === undefined) continue;
      const { bounds, loads } = cut;
      const { starts, low, high } = this.#columns[dimension]!;
      const side = box[dimension]!;
      const widest = isCoarse ? bounds.length - 1 : bounds.length / 2;
      for (let i = 0; i < rules.length; i++) {
        if (this.#isLong(1)) yield;
        const rule = rules[i]!;
        const to = starts[rule + 1]!;
        let cover = 0;
        let load = 0;
        for (let r = starts[rule]!; r < to; r++) {
          if (high[r]! < side.low || low[r]! > side.high) continue;
          const first = intervalOf(bounds, Math.max(low[r]!, side.low));
          const last = intervalOf(bounds, Math.min(high[r]!, side.high));
          cover += last - first + 1;
          // Wide ranges are looked at here and there.
          const step = 1 + ((last - first) >>> 3);
          for (let n = first; n <= last; n += step) load = Math.max(load, loads[n]!);
        }
        if (starts[rule] === to || cover > widest) continue;
        const cost = (load * cover) / bounds.length;
        if (cost < costs[i]!) {
          costs[i] = cost;
          choices[i] = dimension;
          covers[i] = cover;
        }
      }
    }
    if (this.#isLong(rules.length)) yield;
    return this.#withinBudget(rules, choices, covers, isCoarse ? COARSE_INTERVALS : SPREAD);
  }

  /** Shares by dimension, and what would spread too far for its table, or is told apart by nothing. */
  #withinBudget(rules: Int32Array, choices: Int8Array, covers: Int32Array, spread: number): number[][] {
    const shares: number[][] = Array.from({ length: DIMENSIONS + 1 }, () => []);
    const sums = new Float64Array(DIMENSIONS);
    const counts = new Int32Array(DIMENSIONS);
    // Narrow rules first, each number a cover and a place.
    const order = Float64Array.from(covers, (cover, i) => cover * rules.length + i).sort();
    const isTaken = new Uint8Array(rules.length);
    for (const number of order) {
      const i = number % rules.length;
      const dimension = choices[i]!;
      if (dimension < 0) continue;
      const sum = sums[dimension]! + covers[i]!;
      if (sum > spread * (counts[dimension]! + 1) + SPREAD_SPARE) continue;
      sums[dimension] = sum;
      counts[dimension]!++;
      isTaken[i] = 1;
    }
    for (let i = 0; i < rules.length; i++) {
      shares[isTaken[i] === 1 ? choices[i]! : DIMENSIONS]!.push(rules[i]!);
    }
    return shares;
  }

  /** The intervals that the rules' ranges cut the box into; undefined if there is nothing to tell apart. */
  *#cut(dimension: number, rules: Int32Array, box: Box, isCoarse: boolean): Generator<void, Cut | undefined> {
    const { starts, low, high } = this.#columns[dimension]!;
    const side = box[dimension]!;
    const ends: number[] = [];
    for (const rule of rules) {
      const to = starts[rule + 1]!;
      for (let r = starts[rule]!; r < to; r++) {
        if (low[r]! > side.low && low[r]! <= side.high) ends.push(low[r]!);
        if (high[r]! >= side.low && high[r]! < side.high) ends.push(high[r]! + 1);
      }
    }
    if (this.#isLong(ends.length >> 2)) yield;
    if (ends.length === 0) return undefined;
    const all = ascending(ends, side.low);
    const bounds = isCoarse ? someOf(all, COARSE_INTERVALS) : all;
    if (this.#isLong(ends.length >> 2)) yield;
    const loads = new Float64Array(bounds.length + 1);
    for (const rule of rules) {
      if (this.#isLong(1)) yield;
      const to = starts[rule + 1]!;
      for (let r = starts[rule]!; r < to; r++) {
        if (high[r]! < side.low || low[r]! > side.high) continue;
        loads[intervalOf(bounds, Math.max(low[r]!, side.low))]!++;
        loads[intervalOf(bounds, Math.min(high[r]!, side.high)) + 1]!--;
      }
    }
    for (let i = 1; i < loads.length; i++) loads[i]! += loads[i - 1]!;
    return { bounds, loads };
  }

  /** Writes a table's bounds, references and slots; gives its words for the node. */
  *#table({ dimension, rules, isCoarse }: TablePlan, box: Box, depth: number): Generator<void, number[]> {
    const { high } = box[dimension]!;
    const { bounds } = (yield* this.#cut(dimension, rules, box, isCoarse)) as Cut;
    const { starts, lists } = yield* this.#spread(dimension, rules, bounds, box);
    const kept: number[] = [];
    const references: number[] = [];
    const nodes = new Map<string, number>();
    for (let i = 0; i < bounds.length; i++) {
      const list = lists.slice(starts[i]!, starts[i + 1]!);
      const key = list.length < 2 ? '' : list.join();
      let reference = nodes.get(key);
      if (reference === undefined) {
        const inner = { low: bounds[i]!, high: (bounds[i + 1] ?? high + 1) - 1 };
        reference =
          list.length <= SHORT_LIST
            ? this.#list(list)
            : yield* this.node(
                list,
                box.map((side, d) => (d === dimension ? inner : side)),
                depth + 1,
              );
        if (key !== '') nodes.set(key, reference);
      }
      if (reference !== references.at(-1)) {
        kept.push(bounds[i]!);
        references.push(reference);
      }
      if (this.#isLong(1 + list.length)) yield;
    }
    // Slots are counted from the first value that the rules tell apart.
    kept.shift();
    const below = references.shift()!;
    const { shift, starts: slots } = slotsOf(kept);
    const at = this.#reserve(2 * kept.length + slots.length);
    const behind = at + 2 * kept.length;
    for (let i = 0; i < kept.length; i++) {
      this.#words[at + 2 * i] = kept[i]!;
      this.#words[at + 2 * i + 1] = references[i]!;
    }
    this.#words.set(slots, behind);
    return [dimension, kept[0]!, shift, slots.length - 1, kept.length, at, behind, below];
  }

  /** The rules that hold in each interval: those of interval i are lists[starts[i], starts[i + 1]). */
  *#spread(
    dimension: number,
    rules: Int32Array,
    bounds: Float64Array,
    box: Box,
  ): Generator<void, { starts: Int32Array; lists: Int32Array }> {
    const column = this.#columns[dimension]!;
    const side = box[dimension]!;
    // Interval and rule in turn.
    const pairs: number[] = [];
    const latest = new Int32Array(bounds.length).fill(-1);
    const starts = new Int32Array(bounds.length + 2);
    for (const rule of rules) {
      if (this.#isLong(1)) yield;
      const to = column.starts[rule + 1]!;
      for (let r = column.starts[rule]!; r < to; r++) {
        if (column.high[r]! < side.low || column.low[r]! > side.high) continue;
        const last = intervalOf(bounds, Math.min(column.high[r]!, side.high));
        for (let i = intervalOf(bounds, Math.max(column.low[r]!, side.low)); i <= last; i++) {
          if (latest[i] === rule) continue;
          latest[i] = rule;
          starts[i + 2]!++;
          pairs.push(i, rule);
        }
      }
    }
    for (let i = 2; i < starts.length; i++) starts[i]! += starts[i - 1]!;
    const lists = new Int32Array(pairs.length / 2);
    for (let i = 0; i < pairs.length; i += 2) lists[starts[pairs[i]! + 1]!++] = pairs[i + 1]!;
    return { starts, lists };
  }

  #list(rules: Int32Array): number {
    if (rules.length === 0) return Reference.NOTHING;
    if (rules.length === 1) return rules[0]! * 4 + Reference.RULE;
    const at = this.#reserve(1 + rules.length);
    this.#words[at] = rules.length;
    this.#words.set(rules, at + 1);
    return at * 4 + Reference.LIST;
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

  /** Counts work; whether it is time to be interrupted. */
  #isLong(work: number): boolean {
    this.#work += work;
    if (this.#work < SLICE) return false;
    this.#work = 0;
    return true;
  }
}

function columnOf({ rules, low, high }: Ranges, count: number): Column {
  const starts = new Int32Array(count + 2);
  for (const rule of rules) starts[rule + 1]!++;
  for (let i = 1; i < starts.length; i++) starts[i]! += starts[i - 1]!;
  return { starts, low: Float64Array.from(low), high: Float64Array.from(high) };
}

/** The numbers in ascending order, each once, `first` before them all. */
function ascending(numbers: readonly number[], first: number): Float64Array {
  const sorted = Float64Array.from(numbers).sort();
  const unique = new Float64Array(sorted.length + 1);
  unique[0] = first;
  let count = 1;
  for (const number of sorted) {
    if (number !== unique[count - 1]) unique[count++] = number;
  }
  return unique.subarray(0, count);
}

/**
 * At most `count` of the bounds: the first two and the last, between which the rules' ranges lie, and others as evenly as
 * can be.
 */
function someOf(bounds: Float64Array, count: number): Float64Array {
  if (bounds.length <= count) return bounds;
  const step = (bounds.length - 2) / (count - 2);
  return Float64Array.from({ length: count }, (_, i) =>
    i === 0 ? bounds[0]! : bounds[1 + Math.floor((i - 1) * step)]!,
  );
}

/** Last interval that begins at or below a value, which is not below the first. */
function intervalOf(bounds: Float64Array, value: number): number {
  let low = 0;
  let high = bounds.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (bounds[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** For equal parts of the values from the first to the last bound: the interval in which each begins. */
function slotsOf(bounds: readonly number[]): { shift: number; starts: number[] } {
  const first = bounds[0]!;
  const distance = bounds.at(-1)! - first;
  let shift = 0;
  while (distance / 2 ** shift >= SLOTS * bounds.length && shift < 31) shift++;
  const count = Math.floor(distance / 2 ** shift) + 1;
  const starts: number[] = [];
  let interval = 0;
  for (let slot = 0; slot <= count; slot++) {
    const value = first + slot * 2 ** shift;
    while (interval + 1 < bounds.length && bounds[interval + 1]! <= value) interval++;
    starts.push(interval);
  }
  return { shift, starts };
}
