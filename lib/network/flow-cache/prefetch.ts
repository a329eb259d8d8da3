/**
 * Brings the records of packets that are about to come into the processor's caches, many at a time. Hot.
 *
 * A packet of a large table waits for memory twice, the second time for an address that the first wait has told: its
 * bucket, its record. Done for one packet after the other these waits add up; done step by step for a whole batch, the
 * processor waits for many of them at once. Nothing is decided or written here: what a touch finds may be wrong by the
 * time that the packet comes, and costs time only. What it found is a guess for the packet, too.
 */
import { CACHED_CONNECTIONS } from '../../conntrack/capacity.js';
import { NIL as NOBODY, type TupleId } from '../../conntrack/entries.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { KEY_KIND, KEY_WORDS } from '../../conntrack/tuples.js';
import { PLACES as ALL_PLACES, type Buckets } from '../../memory/buckets.js';

const KIND = KEY_KIND;
const PLACES = ALL_PLACES;
const NIL = NOBODY;

const TCP = 6;
const UDP = 17;
const PLAIN4 = 0x45;
/** Offsets that are taken, as in `forward4.ts`. */
const OFFSETS = 0x3fffffff;
/** Words of a line, and of the records of both families. */
const LINE = 16;
const RECORD4 = 48;
const RECORD6 = 64;

/** Packets at a time: their lines fit the second level cache with room to spare. */
export const PREFETCH_PACKETS = 128;
const SMALL = CACHED_CONNECTIONS;

export class Prefetch {
  readonly #hashes = new Int32Array(PREFETCH_PACKETS);
  readonly #nodes = new Int32Array(PREFETCH_PACKETS);
  readonly #key = new Int32Array(KEY_WORDS);
  /** The table's `links` when the tuples were looked for. */
  #links = 0;
  /** What was read goes here, so that no compiler thinks it useless. */
  sink = 0;

  /**
   * Touches what the packets of `packets[from, to)` will look for, at most PREFETCH_PACKETS of them, each IP packet at
   * `start` of its bytes. Returns 0, with nothing done, if the table is small.
   */
  touch(
    table: ConntrackTable,
    packets: readonly Uint8Array[],
    from: number,
    to: number,
    start: number,
  ): 0 | 1 {
    if (table.live < SMALL) return 0;
    const words = table.entries.words;
    const hashes = this.#hashes;
    const nodes = this.#nodes;
    const count = to - from;
    const isWide = table.version === 6;
    for (let i = 0; i < count; i++) {
      const bytes = packets[from + i] as Uint8Array;
      hashes[i] = isWide ? this.#hash6(table, bytes, start) : this.#hash4(table, bytes, start);
    }
    // Each loop waits for memory once, for all packets; so each must be short, and depend on no load of its own.
    const { buckets } = table;
    let sink = touchLines(buckets, hashes, nodes, count);
    findNodes(buckets, hashes, nodes, count);
    sink ^= touchRecords(words, nodes, count, isWide);
    this.sink = sink;
    this.#links = table.links;
    return 1;
  }

  /**
   * Tuple that probably has the key of the packet that came as number `place`, or NIL. If it has, and its entry is
   * CONFIRMED, it is what a lookup would find: none was linked since.
   */
  tupleAt(place: number, table: ConntrackTable): TupleId {
    return (table.links === this.#links ? (this.#nodes[place] as number) : NIL) as TupleId;
  }

  /** Hash of a packet with ports behind its header; 0 of another one. */
  #hash6(table: ConntrackTable, bytes: Uint8Array, start: number): number {
    if (bytes.length < start + 44 || (bytes[start] as number) >>> 4 !== 6) return 0;
    const protocol = bytes[start + 6] as number;
    if (protocol !== UDP && protocol !== TCP) return 0;
    const key = this.#key;
    for (let i = 0; i < 9; i++) key[i] = i32(bytes, start + 8 + (i << 2));
    key[KIND] = protocol;
    return table.linkedHash(key);
  }

  /** The same of an IPv4 packet without options. */
  #hash4(table: ConntrackTable, bytes: Uint8Array, at: number): number {
    const start = at & OFFSETS;
    if (bytes.length < at + 24 || bytes[start] !== PLAIN4 || start !== at) return 0;
    const protocol = bytes[start + 9] as number;
    if (protocol !== UDP && protocol !== TCP) return 0;
    const source = i32(bytes, start + 12);
    const destination = i32(bytes, start + 16);
    const ports = i32(bytes, start + 20);
    return table.linkedHash4(source, destination, ports, protocol);
  }
}

/** Reads a word of each hash's bucket, and writes where its line is to `into`. */
function touchLines(buckets: Buckets, hashes: Int32Array, into: Int32Array, count: number): number {
  const { lines } = buckets;
  let sink = 0;
  for (let i = 0; i < count; i++) {
    const line = buckets.lineOf(hashes[i] as number);
    into[i] = line;
    sink ^= lines[line] as number;
  }
  return sink;
}

/** Writes the first node with each hash's tag, or NIL, in the place of where its bucket's line is. */
function findNodes(buckets: Buckets, hashes: Int32Array, nodes: Int32Array, count: number): void {
  const { lines, idBits } = buckets;
  for (let i = 0; i < count; i++) {
    const tagged = buckets.tagged(hashes[i] as number);
    const line = nodes[i] as number;
    let node = NIL;
    for (let at = line; at < line + PLACES; at++) {
      const word = lines[at] as number;
      if (word === 0) break;
      if ((word ^ tagged) >>> idBits !== 0) continue;
      node = buckets.nodeOf(word);
      break;
    }
    nodes[i] = node;
  }
}

/** Reads a word of each line of each node's record; in the place of NIL, of the first record. */
function touchRecords(words: Int32Array, nodes: Int32Array, count: number, isWide: boolean): number {
  let sink = 0;
  for (let i = 0; i < count; i++) {
    const node = (nodes[i] as number) & ~((nodes[i] as number) >> 31);
    const entry = isWide ? node & ~(RECORD6 - 1) : node - (node % RECORD4);
    sink ^=
      (words[entry] as number) ^ (words[entry + LINE] as number) ^ (words[entry + LINE + LINE] as number);
    if (isWide) sink ^= words[entry + RECORD6 - LINE] as number;
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
