/**
 * An index over long runs of rules: for a packet, the rules of a run that may match it, in their order. Made by
 * `build.ts`, held by the table's program, never changed. The packet's side of it is `candidates.ts`.
 *
 * Each run has a node: rules that are asked of every packet, and tables, each over one dimension. A table says for a
 * value of its dimension which rules to ask: none, one, a list, or another node that goes by other dimensions. A rule is
 * in one table of a node, the one that tells it apart best, there for all the values that it holds for. Where ranges
 * overlap, what they share is not repeated for each value: nodes without tables lead on to it.
 *
 *   node    always: reference   also: reference   end of the tables: offset   [tables] table
 *   table   0 dimension  1 first bound  2 shift  3 slots: count  4 bounds: count  5 bounds at  6 slots at
 *           7 reference for values below the first bound
 *   bounds  [count] bound, reference; ascending; an interval ends before the next one's bound, the last is open above
 *   slots   of the distance from the first bound >>> shift: the interval in which the slot begins; one more behind
 *   list    count, rules in ascending order
 *
 * A reference is 4 x (offset or rule) + NOTHING, RULE, LIST or NODE. A packet may meet a rule in several lists. All of it is one array of int32 words. What an index
 * knows of rules, and why it may leave one out, is in `conditions.ts`; memory is bounded by `build.ts`.
 */
import type { Host } from '../../host.js';
import type { Ranks } from './ranks.js';

/** Kinds of references. */
export const Reference = { NOTHING: 0, RULE: 1, LIST: 2, NODE: 3 } as const;

export interface Classifier {
  /** Nodes, tables and lists. */
  readonly words: Int32Array;
  /** [runs] reference of the run's node. */
  readonly roots: Int32Array;
  /** [runs] the record behind the run's last rule: the policy, or the chain's end. */
  readonly ends: Int32Array;
  readonly interfaces: InterfaceNumbers;
  /** IPv6 alone: ranks of source and destination. */
  readonly sources: Ranks | undefined;
  readonly destinations: Ranks | undefined;
}

const UNKNOWN = -2;
const OTHER = -1;

/** The number of an interface's name among those that rules ask for, remembered by index. */
export class InterfaceNumbers {
  readonly #host: Host;
  readonly #names: ReadonlyMap<string, number>;
  #numbers = new Int32Array(16).fill(UNKNOWN);

  constructor(host: Host, names: ReadonlyMap<string, number>) {
    this.#host = host;
    this.#names = names;
  }

  /** -1 for a name that no rule asks for. */
  of(index: number): number {
    const number = index < this.#numbers.length ? (this.#numbers[index] as number) : UNKNOWN;
    return number === UNKNOWN ? this.#ask(index) : number;
  }

  /** Forgets the answers: interfaces were made, removed or renamed. */
  forget(): void {
    this.#numbers.fill(UNKNOWN);
  }

  #ask(index: number): number {
    const name = this.#host.interfaceName(index);
    const number = this.#names.get(name) ?? OTHER;
    // An index that has no interface yet may get one.
    if (name === '' && index !== 0) return number;
    if (index >= this.#numbers.length) {
      const wider = new Int32Array(2 * index).fill(UNKNOWN);
      wider.set(this.#numbers);
      this.#numbers = wider;
    }
    this.#numbers[index] = number;
    return number;
  }
}
