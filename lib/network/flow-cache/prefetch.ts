/**
 * Brings the records of packets that are about to come into the processor's caches, many at a time. Hot.
 *
 * A packet of a large table waits for memory three times, each time for an address that the wait before has told: bucket,
 * tuple, the rest of the record. Done for one packet after the other these waits add up; done step by step for a whole
 * batch, the processor waits for many of them at once. Nothing is decided or written here: what a touch finds may be
 * wrong by the time that the packet comes, and costs time only.
 */

import { Word } from '../../conntrack/layout.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { KEY_KIND, KEY_PORTS, KEY_WORDS } from '../../conntrack/tuples.js';

const HASH = Word.HASH;
const NEXT = Word.NEXT;
const FLAGS = Word.FLAGS;
const STATUS = Word.STATUS;
const WIDE = Word.WIDE;
const PORTS = KEY_PORTS;
const KIND = KEY_KIND;

const TCP = 6;
const UDP = 17;
const PLAIN4 = 0x45;
const REPLY_LINE = 16;
/** Nodes that a chain is followed by: with as many buckets as connections most are found by then. */
const HOPS = 3;

/** Packets at a time: their lines fit the second level cache with room to spare. */
export const PREFETCH_PACKETS = 128;
/** Connections whose records fit the caches anyway. */
const SMALL = 8192;

export class Prefetch {
  readonly #hashes = new Int32Array(PREFETCH_PACKETS);
  readonly #nodes = new Int32Array(PREFETCH_PACKETS);
  readonly #key = new Int32Array(KEY_WORDS);
  /** What was read goes here, so that no compiler thinks it useless. */
  sink = 0;

  /**
   * Touches what the packets of `packets[from, to)` will look for, at most PREFETCH_PACKETS of them, each IP packet at
   * `start` of its bytes.
   */
  touch(
    table: ConntrackTable,
    packets: readonly Uint8Array[],
    from: number,
    to: number,
    start: number,
  ): void {
    if (table.live < SMALL) return;
    const words = table.entries.words;
    const hashes = this.#hashes;
    const nodes = this.#nodes;
    const count = to - from;
    const isWide = table.version === 6;
    for (let i = 0; i < count; i++) {
      const bytes = packets[from + i] as Uint8Array;
      const isKnown = isWide ? this.#read6(bytes, start) : this.#read4(bytes, start);
      hashes[i] = isKnown === 1 ? table.linkedHash(this.#key) : 0;
    }
    // Each loop waits for memory once, for all packets; so each must be short, and depend on no load of its own.
    table.chains.heads(hashes, nodes, count);
    let sink = touchNodes(words, nodes, count);
    for (let hop = 0; hop < HOPS; hop++) {
      follow(words, hashes, nodes, count);
      sink ^= touchNodes(words, nodes, count);
    }
    this.sink = sink ^ touchRest(words, nodes, count, isWide ? WIDE : STATUS);
  }

  /** Reads the key of a plain IPv4 packet with ports; returns 0 for another one. */
  #read4(bytes: Uint8Array, start: number): 0 | 1 {
    if (bytes.length < start + 24 || bytes[start] !== PLAIN4) return 0;
    const protocol = bytes[start + 9] as number;
    if (protocol !== UDP && protocol !== TCP) return 0;
    const key = this.#key;
    key[0] = i32(bytes, start + 12);
    key[4] = i32(bytes, start + 16);
    key[PORTS] = i32(bytes, start + 20);
    key[KIND] = protocol;
    return 1;
  }

  #read6(bytes: Uint8Array, start: number): 0 | 1 {
    if (bytes.length < start + 44 || (bytes[start] as number) >>> 4 !== 6) return 0;
    const protocol = bytes[start + 6] as number;
    if (protocol !== UDP && protocol !== TCP) return 0;
    const key = this.#key;
    for (let i = 0; i < 9; i++) key[i] = i32(bytes, start + 8 + (i << 2));
    key[KIND] = protocol;
    return 1;
  }
}

/** Reads a word of each node; in the place of NIL one of the first record. */
function touchNodes(words: Int32Array, nodes: Int32Array, count: number): number {
  let sink = 0;
  for (let i = 0; i < count; i++) {
    const node = nodes[i] as number;
    sink ^= words[node & ~(node >> 31)] as number;
  }
  return sink;
}

/** Goes on to the next node where the hash is another one. */
function follow(words: Int32Array, hashes: Int32Array, nodes: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const node = nodes[i] as number;
    if (node >= 0 && words[node + HASH] !== hashes[i]) nodes[i] = words[node + NEXT] as number;
  }
}

/** Reads a word of the other lines of each node's record: the other direction's, the shared one, and that at `last`. */
function touchRest(words: Int32Array, nodes: Int32Array, count: number, last: number): number {
  let sink = 0;
  for (let i = 0; i < count; i++) {
    const node = (nodes[i] as number) & ~((nodes[i] as number) >> 31);
    const reply = ((words[node + FLAGS] as number) >>> 31) << 4;
    const entry = node - reply;
    sink ^=
      (words[entry + STATUS] as number) ^
      (words[entry + REPLY_LINE - reply] as number) ^
      (words[entry + last] as number);
  }
  return sink;
}

function i32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
