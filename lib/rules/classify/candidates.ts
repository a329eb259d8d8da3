/**
 * The rules that a packet is to be asked at, one after the other: the packet's side of a {@link Classifier}. Hot.
 *
 * One object per walk, which asks `next` in a run of rules for the first candidate not before a rule. Nothing is kept of
 * a packet that was changed (`forget`), and a run that is entered again, further up, is looked up again. Candidates are
 * not yet matches: their conditions are asked as ever.
 *
 * Packets whose transport header is missing or cut off, where conditions on ports would drop or pass over them, and those
 * that meet more lists than there is room for, are not looked up: the walk asks every rule then.
 */
import type { Packet } from '../../wire/packet.js';
import type { RuleContext } from '../context.js';
import { stateBit } from '../matches/connection.js';
import type { Classifier } from './classifier.js';
import type { Ranks } from './ranks.js';

// The layout of `classifier.ts`; kept here because imported bindings cost time.
const RULE = 1;
const LIST = 2;
const NODE = 3;
const TABLE_WORDS = 8;

const TCP = 6;
const UDP = 17;
const DCCP = 33;
const SCTP = 132;
const UDP_LITE = 136;
const NO_PORT = -1;
const SIGN = 0x80000000;

/** Lists that may have candidates of one packet at a time. */
const LISTS = 256;
const NO_RUN = -1;
const NOT_YET = -1;
/** Answer of {@link Candidates.next}: ask every rule. */
export const EVERY_RULE = -1;
/** Larger than every rule's number. */
const NO_RULE = 0x7fffffff;

export class Candidates {
  /** [dimensions] the packet's values. */
  readonly #keys = new Int32Array(8);
  #hasKeys: 0 | 1 = 0;
  #run = NO_RUN;
  /** Candidate that was given last. */
  #last = 0;
  /** Per list: its first candidate that was not given yet, and where the others stand. */
  readonly #heads = new Int32Array(LISTS);
  readonly #next = new Int32Array(LISTS);
  readonly #ends = new Int32Array(LISTS);
  #count = 0;
  #isFull = 0;

  /** The packet is another, or was changed. */
  forget(): void {
    this.#hasKeys = 0;
    this.#run = NO_RUN;
  }

  /** First rule of the run, not before `rule`, that may match; the run's end without one; or {@link EVERY_RULE}. */
  next(
    classifier: Classifier,
    run: number,
    rule: number,
    packet: Packet,
    context: RuleContext,
    inInterface: number,
    outInterface: number,
  ): number {
    if (run !== this.#run || rule <= this.#last) {
      if (this.#hasKeys === 0) {
        if (this.#read(classifier, packet, context, inInterface, outInterface) === 0) return EVERY_RULE;
        this.#hasKeys = 1;
      }
      this.#count = 0;
      this.#isFull = 0;
      this.#last = NOT_YET;
      this.#gather(classifier.words, classifier.roots[run] as number, rule);
      if (this.#isFull === 1) return EVERY_RULE;
      this.#run = run;
    }
    const heads = this.#heads;
    let first = NO_RULE;
    do {
      let at = 0;
      first = NO_RULE;
      for (let i = 0; i < this.#count; i++) {
        const head = heads[i] as number;
        if (head < first) {
          first = head;
          at = i;
        }
      }
      if (first === NO_RULE) {
        this.#last = classifier.ends[run] as number;
        return this.#last;
      }
      this.#advance(classifier.words, at);
      // A rule may be in several lists.
    } while (first === this.#last);
    this.#last = first;
    return first;
  }

  #advance(words: Int32Array, list: number): void {
    const next = this.#next[list] as number;
    if (next < (this.#ends[list] as number)) {
      this.#heads[list] = words[next] as number;
      this.#next[list] = next + 1;
      return;
    }
    const last = --this.#count;
    this.#heads[list] = this.#heads[last] as number;
    this.#next[list] = this.#next[last] as number;
    this.#ends[list] = this.#ends[last] as number;
  }

  /** Adds the lists that a reference leads to, without the rules before `from`. */
  #gather(words: Int32Array, reference: number, from: number): void {
    let at = reference >>> 2;
    while ((reference & 3) === NODE) {
      if (words[at] !== 0) this.#gather(words, words[at] as number, from);
      const end = words[at + 2] as number;
      for (let table = at + 3; table < end; table += TABLE_WORDS) {
        const found = this.#look(words, table);
        if (found !== 0) this.#gather(words, found, from);
      }
      reference = words[at + 1] as number;
      at = reference >>> 2;
    }
    if ((reference & 3) === RULE) {
      if (at >= from) this.#add(at, 0, 0);
    } else if ((reference & 3) === LIST) {
      const end = at + 1 + (words[at] as number);
      let next = at + 1;
      if ((words[next] as number) < from) next = firstFrom(words, next, end, from);
      if (next < end) this.#add(words[next] as number, next + 1, end);
    }
  }

  #add(head: number, next: number, end: number): void {
    const i = this.#count;
    if (i === LISTS) {
      this.#isFull = 1;
      return;
    }
    this.#heads[i] = head;
    this.#next[i] = next;
    this.#ends[i] = end;
    this.#count = i + 1;
  }

  /** The reference that a table has for the packet. */
  #look(words: Int32Array, table: number): number {
    const key = this.#keys[words[table] as number] as number;
    const first = words[table + 1] as number;
    if (key < first) return words[table + 7] as number;
    const bounds = words[table + 5] as number;
    const slot = (key - first) >>> (words[table + 2] as number);
    let low = (words[table + 4] as number) - 1;
    if (slot < (words[table + 3] as number)) {
      const from = (words[table + 6] as number) + slot;
      let high = words[from + 1] as number;
      low = words[from] as number;
      while (low < high) {
        const middle = (low + high + 1) >>> 1;
        if ((words[bounds + 2 * middle] as number) <= key) low = middle;
        else high = middle - 1;
      }
    }
    return words[bounds + 2 * low + 1] as number;
  }

  /** The packet's values; 0: it has none that may be relied on. */
  #read(
    classifier: Classifier,
    packet: Packet,
    context: RuleContext,
    inInterface: number,
    outInterface: number,
  ): 0 | 1 {
    const keys = this.#keys;
    const protocol = context.protocol;
    if (protocol < 0) return 0;
    const header = portHeaderBytes(protocol);
    if (header === 0) {
      keys[2] = NO_PORT;
      keys[3] = NO_PORT;
    } else {
      const at = context.transport;
      if (context.fragmentOffset !== 0 || at + header > packet.end) return 0;
      keys[2] = packet.u16(at);
      keys[3] = packet.u16(at + 2);
    }
    const addresses = packet.addresses;
    if (packet.version === 4) {
      keys[0] = (addresses[0] as number) ^ SIGN;
      keys[1] = (addresses[4] as number) ^ SIGN;
    } else {
      keys[0] = (classifier.sources as Ranks).of(addresses, 0);
      keys[1] = (classifier.destinations as Ranks).of(addresses, 4);
    }
    keys[4] = protocol;
    keys[5] = classifier.interfaces.of(inInterface);
    keys[6] = classifier.interfaces.of(outInterface);
    keys[7] = 31 - Math.clz32(stateBit(packet, context));
    return 1;
  }
}

/** Bytes that must be there for conditions on ports to be asked; 0 for protocols without ports. */
function portHeaderBytes(protocol: number): number {
  if (protocol === TCP) return 20;
  if (protocol === UDP || protocol === UDP_LITE) return 8;
  return protocol === SCTP || protocol === DCCP ? 12 : 0;
}

/** Where in `words[low, high)`, ascending, the numbers from `from` on begin. */
function firstFrom(words: Int32Array, low: number, high: number, from: number): number {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((words[middle] as number) < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
