/**
 * What a set is to the rules that name it, and the question that they ask. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { RuleContext } from '../context.js';
import { type LookupOptions, PLAIN_LOOKUP, type SetElement } from './element.js';

/** Answers of {@link PacketSet.test}. */
export const NO = 0;
export const YES = 1;
/** The element found is an exception (nomatch). */
export const EXCEPTION = -1;

/** One packet's question to a set; one object per rule, filled anew. */
export class SetQuery {
  packet!: Packet;
  context!: RuleContext;
  /** Dimensions given, and which of them are the packet's source: bit n for dimension n, from 0. */
  dimensions = 0;
  sources = 0;
  options: LookupOptions = PLAIN_LOOKUP;
  /** The element that decided a YES; undefined for sets without elements of their own. */
  found: SetElement | undefined = undefined;

  /** Offset in the packet's address words of dimension `n`'s end. */
  addressAt(n: number): number {
    return (this.sources & (1 << n)) === 0 ? 4 : 0;
  }

  get nowMs(): number {
    return this.context.nowMs;
  }
}

/** How a rule adds a packet to a set. */
export interface AddOptions {
  /** What is there already is written anew. */
  readonly exist: boolean;
  /** Seconds; undefined: the set's own. */
  readonly timeoutSeconds: number | undefined;
}

export interface PacketSet {
  readonly dimensions: number;
  /** 0: both. */
  readonly family: 0 | 4 | 6;
  /** Whether elements may be exceptions. */
  readonly hasExceptions: boolean;
  test(query: SetQuery): number;
  /** Adds or removes the packet; false if it cannot be, or it was (not) there. */
  add(query: SetQuery, options: AddOptions): boolean;
  remove(query: SetQuery): boolean;
}

/** A set under its name: what rules keep, while the set behind it may be exchanged. */
export class SetHandle {
  name: string;
  set: PacketSet;
  /** Rules and lists that use it. */
  users = 0;

  constructor(name: string, set: PacketSet) {
    this.name = name;
    this.set = set;
  }
}

/** Whether the set can be asked this way: 1 or 0. */
function isFor(set: PacketSet, query: SetQuery): boolean {
  return query.dimensions >= set.dimensions && (set.family === 0 || set.family === query.packet.version);
}

/** Whether the packet is in the set, exceptions and all: 1 or 0. */
export function testSet(set: PacketSet, query: SetQuery): 0 | 1 {
  query.found = undefined;
  if (!isFor(set, query)) return 0;
  let answer = set.test(query);
  if (query.options.returnsNomatch && set.hasExceptions) answer = -answer;
  return answer > 0 ? 1 : 0;
}

export function addToSet(set: PacketSet, query: SetQuery, options: AddOptions): boolean {
  return isFor(set, query) && set.add(query, options);
}

export function removeFromSet(set: PacketSet, query: SetQuery): boolean {
  return isFor(set, query) && set.remove(query);
}
