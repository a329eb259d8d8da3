/**
 * The paths that packets of established flows take through the router: where they come in and go out, whether they are
 * translated, and which rules count them. Many flows share one; a record of a connection holds its number. Hot where
 * packets are counted.
 *
 * A reference is the number of a path in bits 0-15 (never 0) and the epoch in bits 16-31. Whatever a path was made from
 * may change: then `renew` begins another epoch, in which no reference of an earlier one holds.
 *
 * Packets are counted per path; `settle` adds them to the rules, for whoever wants to read their counters.
 */
import type { Rules } from '../../rules/rules.js';

/** Paths at a time; a router with more kinds of flows sends the rest the long way. */
const MOST_PATHS = 4096;
const EPOCHS = 0x10000;
const INDEX_MASK = 0xffff;
const WORDS = 4;

/** What stands at a path's place in `words`: interfaces by number, the largest packet in bytes, 1 or 0. */
export const PathWord = { IN: 0, OUT: 1, MTU: 2, TRANSLATES: 3 } as const;

export class Paths {
  /** [MOST_PATHS * WORDS] by place, which is the number of a path times WORDS. */
  readonly words = new Int32Array(MOST_PATHS * WORDS);
  /** Packets at a path's place, bytes behind them, since the rules were told. */
  readonly counts = new Float64Array(MOST_PATHS * WORDS);
  /** The running epoch, 1 to 65535, in bits 16-31. */
  epoch = 1 << 16;
  /** Packets that the rules were told of, ever. */
  settled = 0;
  readonly #rules: Rules;
  readonly #known = new Map<string, number>();
  readonly #rulePath: Int32Array[] = [];
  #count = 1;
  /** Number of the path that was asked for last: most connections of a time take one. */
  #last = 0;

  constructor(rules: Rules) {
    this.#rules = rules;
  }

  /** Whether there is no room for another path: 1 or 0. Nothing is learned then: to ask for one would allocate. */
  get isFull(): 0 | 1 {
    return this.#count === MOST_PATHS ? 1 : 0;
  }

  /**
   * Forgets all paths. Returns 1 when the epochs begin again: references of connections that were quiet since are then
   * ambiguous and must be wiped before the next packet.
   */
  renew(): 0 | 1 {
    this.#known.clear();
    this.#rulePath.length = 0;
    this.#count = 1;
    this.#last = 0;
    const next = (this.epoch >>> 16) + 1;
    this.epoch = (next === EPOCHS ? 1 : next) << 16;
    return next === EPOCHS ? 1 : 0;
  }

  /**
   * Reference to the path with these properties; `rules[0, count)` are the rules that count its packets, as
   * `Rules.stopRecording` left them. There is room for another one.
   */
  reference(
    inInterface: number,
    outInterface: number,
    translates: 0 | 1,
    mtu: number,
    rules: Int32Array,
    count: number,
  ): number {
    const last = this.#last;
    if (this.#isPath(last, inInterface, outInterface, translates, mtu, rules, count))
      return this.epoch | last;
    const path = rules.slice(0, count);
    const key = `${inInterface} ${outInterface} ${translates} ${mtu} ${path.join()}`;
    let index = this.#known.get(key);
    if (index === undefined) {
      index = this.#count++;
      this.#known.set(key, index);
      this.#rulePath[index] = path;
      this.words.set([inInterface, outInterface, mtu, translates], index * WORDS);
      this.counts.fill(0, index * WORDS, (index + 1) * WORDS);
    }
    this.#last = index;
    return this.epoch | index;
  }

  /** Whether the path of a number, if it is known, has these properties. */
  #isPath(
    index: number,
    inInterface: number,
    outInterface: number,
    translates: 0 | 1,
    mtu: number,
    rules: Int32Array,
    count: number,
  ): boolean {
    const at = index * WORDS;
    const path = this.#rulePath[index];
    if (path === undefined || path.length !== count) return false;
    for (let i = 0; i < count; i++) if (path[i] !== rules[i]) return false;
    return (
      this.words[at + PathWord.IN] === inInterface &&
      this.words[at + PathWord.OUT] === outInterface &&
      this.words[at + PathWord.MTU] === mtu &&
      this.words[at + PathWord.TRANSLATES] === translates
    );
  }

  /** Place of the path of a reference, 0 if the reference holds no more. */
  placeOf(reference: number): number {
    return ((reference ^ this.epoch) & ~INDEX_MASK) === 0 ? (reference & INDEX_MASK) * WORDS : 0;
  }

  /** Tells the rules of the packets that were counted. Must come before the rules change, too. */
  settle(): void {
    const { counts } = this;
    for (let index = 1; index < this.#count; index++) {
      const at = index * WORDS;
      const packets = counts[at] as number;
      if (packets === 0) continue;
      const path = this.#rulePath[index] as Int32Array;
      this.#rules.replay(path, 0, path.length, packets, counts[at + 1] as number);
      this.settled += packets;
      counts[at] = 0;
      counts[at + 1] = 0;
    }
  }
}
