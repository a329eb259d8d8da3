/**
 * The connection table of one family: entries in hash buckets, found by key, reaped when met expired. Hot.
 *
 * Invariants: a tuple is linked iff its entry is CONFIRMED; both tuples of an entry enter and leave together (one
 * node only when they are equal); a bucket's nodes all belong to it; free + live = capacity. An expired entry is never
 * returned. A lookup meets the nodes that the bucket's line has by the tag of its key, and all that are behind the line. To
 * unlink one entry may take two nodes out of the bucket that a walk is in, and moves others; so walks begin again then.
 *
 * Keys come from guests, and XXH32 has keys that collide whatever its seed is. A lookup that meets more nodes than
 * chance puts there therefore changes the hash, once and for all: from then on entries are linked by HalfSipHash with a
 * fresh secret, and the reaper moves those that are there already (`rekey`), a slice at a time. Until it is through, a
 * lookup that finds nothing looks by the old hash too; each entry keeps the hash by which it is linked. Callers notice
 * nothing: they go on passing the hash of `hashKey`.
 */
import { Buckets, PLACES } from '../memory/buckets.js';
import { hash4 } from '../memory/hash.js';
import { LINE_WORDS } from '../memory/lines.js';
import { halfSipHash } from '../memory/siphash.js';
import { unpredictableSeed } from '../random.js';
import { bucketLines, CACHED_CONNECTIONS } from './capacity.js';
import {
  Direction,
  Entries,
  type EntryId,
  NIL,
  Status,
  TUPLE_NEXT,
  TUPLE_PREV,
  type TupleId,
} from './entries.js';
import { Extensions } from './extensions.js';
import { ReapPrefetch } from './reap-prefetch.js';
import { hashKey4, hashKey6, KEY_WORDS, writeKey4 } from './tuples.js';

/** Why an entry left the table. Names for events in `events.ts`. */
export const DestroyReason = {
  TIMEOUT: 0,
  DELETED: 1,
  FLUSHED: 2,
  EARLY_DROP: 3,
  REOPENED: 4,
  RST: 5,
  ADDRESS_GONE: 6,
  NAT_EVICTED: 7,
  REPLACED: 8,
  RULE_CHANGED: 9,
  INACTIVE: 10,
  /** Never confirmed: the packet that began it was dropped. Observers see it, listeners of events do not. */
  DISCARDED: 11,
} as const;
export type DestroyReason = (typeof DestroyReason)[keyof typeof DestroyReason];

/**
 * Told before an entry's record is given back; it may read the entry, and must not touch the table. An entry that
 * was never confirmed comes with the reason DISCARDED.
 */
export type DestroyObserver = (table: ConntrackTable, entry: EntryId, reason: DestroyReason) => void;

/** Asks memory for what will be asked about connections soon. It changes nothing. */
export interface Foresight {
  /** Connections there must be for one that begins to be worth it: fewer are in the caches anyway. */
  least: number;
  /** The IPv4 connection with this tuple, in zone 0, is about to begin. */
  touch(source: number, destination: number, ports: number, kind: number): void;
  /** The entries of `slots[0, count)` are about to end: at most SWEEP_BLOCK. */
  touchEnds(slots: Int32Array, count: number): void;
}

/** Slots that a sweep looks at in one go. */
export const SWEEP_BLOCK = 64;
const BLOCK = SWEEP_BLOCK;
/** So few due slots of a block are not worth to be prepared for. */
const FEW = 4;
const SMALL = CACHED_CONNECTIONS;
/** Work of a sweep, in slots passed by (2 ns): a record looked at, a connection reaped (measured at a million). */
const LOOK = 12;
const REAP = 256;
/** The same of an entry moved to the buckets of another hash. */
const MOVE = 400;

/** How tuples are linked: by XXH32; partly by HalfSipHash; all by HalfSipHash. */
const PLAIN = 0;
const MOVING = 1;
const KEYED = 2;

/** Most nodes to be met that are taken for chance: these, and as many times the mean of a full table's bucket. */
const MET_BASE = 16;
const MET_MEANS = 3;

export class ConntrackTable {
  readonly version: number;
  /** Buckets as Linux counts them (nf_conntrack_buckets): as many as early drop knows. A power of two. */
  readonly bucketCount: number;
  readonly entries: Entries;
  readonly buckets: Buckets;
  /** What few entries have beside their record. */
  readonly extensions: Extensions;
  /** Nodes that a lookup may meet by chance. */
  readonly mostMet: number;
  /** The hash without these low bits, and one more, is the number of its bucket as Linux counts them. */
  readonly #bucketShift: number;
  readonly #seed: number;
  /** How often an entry was linked, and never 0: what was absent is absent as long as it stays the same. Wraps. */
  links = 1;
  /** Told when an entry was linked; set only while somebody needs it. */
  onLink: ((entry: EntryId) => void) | undefined = undefined;
  /** Set if somebody knows beforehand what connections will ask for. */
  foresight: Foresight | undefined = undefined;
  /** Told when the state of an entry's protocol has changed; set only while somebody needs it. */
  onState: ((entry: EntryId) => void) | undefined = undefined;
  /** Entries reaped because a lookup met them. */
  reapedOnLookup = 0;
  #observers: readonly DestroyObserver[] = [];
  /** Slots of a block whose deadline has come. */
  readonly #due = new Int32Array(BLOCK);
  readonly #prefetch = new ReapPrefetch(BLOCK);
  readonly #drawSecret: () => number;
  #mode = PLAIN;
  /** Secret of HalfSipHash, and the slot that `rekey` got to. */
  #key0 = 0;
  #key1 = 0;
  #movedSlots = 0;
  readonly #key = new Int32Array(KEY_WORDS);

  /**
   * `bucketCount` is rounded up to a power of two; these are Linux's buckets, of which a line of {@link buckets} holds
   * several. `seed` is the hash secret; `drawSecret` gives the one that takes its place when it is attacked, 32 bits a
   * call.
   */
  constructor(
    version: number,
    capacity: number,
    bucketCount: number,
    seed: number,
    drawSecret: () => number = unpredictableSeed,
  ) {
    this.version = version;
    this.entries = new Entries(version, capacity);
    this.extensions = new Extensions(this.entries);
    const bits = Math.min(31, Math.ceil(Math.log2(Math.max(1, bucketCount))));
    this.bucketCount = 2 ** bits;
    this.#bucketShift = 31 - bits;
    this.buckets = new Buckets(
      this.entries.words,
      bucketLines(capacity, this.bucketCount),
      TUPLE_NEXT,
      TUPLE_PREV,
    );
    this.#seed = seed | 0;
    this.#drawSecret = drawSecret;
    this.mostMet = MET_BASE + Math.ceil((MET_MEANS * 2 * capacity) / this.buckets.count);
  }

  /** Adds an observer of destroyed entries. */
  observe(observer: DestroyObserver): void {
    this.#observers = [...this.#observers, observer];
  }

  /** Records taken: confirmed entries and those not confirmed yet. */
  get live(): number {
    return this.entries.slots.live;
  }

  /** Hash of a key that lookups ask for. How a confirmed entry is linked is the table's business. */
  hashKey(key: Int32Array): number {
    return this.version === 4 ? hashKey4(key, this.#seed) : hashKey6(key, this.#seed);
  }

  /**
   * Hash by which the tuple of a key is linked, for the flow cache, which looks for tuples without `find`. While entries are
   * moved some are linked by another one.
   */
  linkedHash(key: Int32Array): number {
    return this.#mode === KEYED ? this.#keyedHash(key) : this.hashKey(key);
  }

  /** `hashKey` of an IPv4 key by its words. */
  hashWords4(source: number, destination: number, ports: number, kind: number): number {
    return hash4(source, destination, ports, kind, this.#seed);
  }

  /** `linkedHash` of an IPv4 key by its words. */
  linkedHash4(source: number, destination: number, ports: number, kind: number): number {
    if (this.#mode !== KEYED) return this.hashWords4(source, destination, ports, kind);
    return this.#keyedHash(writeKey4(this.#key, source, destination, ports, kind));
  }

  /** Whether {@link linkedHash} is not the plain hash with {@link seed} any more. */
  get isKeyed(): boolean {
    return this.#mode === KEYED;
  }

  /** Secret of the plain hash. */
  get seed(): number {
    return this.#seed;
  }

  /** Tuple whose key is `key`, or NIL. Entries met expired at `now` are reaped on the way. */
  find(key: Int32Array, now: number): TupleId {
    return this.findHashed(key, this.hashKey(key), now);
  }

  /** The same for a hash already computed. */
  findHashed(key: Int32Array, hash: number, now: number): TupleId {
    if (this.#mode === PLAIN) return this.#search(key, hash, now);
    const found = this.#search(key, this.#keyedHash(key), now);
    return found === NIL && this.#mode === MOVING ? this.#search(key, hash, now) : found;
  }

  #search(key: Int32Array, hash: number, now: number): TupleId {
    const entries = this.entries;
    for (;;) {
      const node = this.#meet(key, hash, now);
      if (node === NIL) return node;
      const entry = entries.entryOf(node);
      if (entries.hasExpired(entry, now) === 0) return node;
      this.reapedOnLookup++;
      this.destroy(entry, DestroyReason.TIMEOUT);
    }
  }

  /** The tuple of `key`, or one met on the way to it that has expired; NIL if there is neither. */
  #meet(key: Int32Array, hash: number, now: number): TupleId {
    const buckets = this.buckets;
    const lines = buckets.lines;
    const line = buckets.lineOf(hash);
    const tagged = buckets.tagged(hash);
    const idBits = buckets.idBits;
    let met = 0;
    let found = NIL as TupleId;
    for (let at = line; at < line + PLACES; at++) {
      const word = lines[at] as number;
      if (word === 0) break;
      if ((word ^ tagged) >>> idBits !== 0) continue;
      const node = buckets.nodeOf(word) as TupleId;
      if (this.#isMet(node, key, hash, now) === 0) met++;
      else {
        found = node;
        break;
      }
    }
    if (found === NIL) {
      for (let node = buckets.list(line) as TupleId; node !== NIL; node = buckets.next(node) as TupleId) {
        met++;
        if (this.#isMet(node, key, hash, now) === 0) continue;
        found = node;
        break;
      }
    }
    if (met > this.mostMet) this.beginRekey();
    return found;
  }

  /** Whether a lookup stops at a node: it is the tuple of `key`, or has expired. 1 or 0. */
  #isMet(node: TupleId, key: Int32Array, hash: number, now: number): 0 | 1 {
    const entries = this.entries;
    if (entries.hasExpired(entries.entryOf(node), now) === 1) return 1;
    return entries.hash(node) === hash ? entries.matchesKey(node, key) : 0;
  }

  // ---- early drop ----

  /** Bucket of a hash as Linux counts them, from 0 to `bucketCount` - 1. */
  bucketOf(hash: number): number {
    return (hash >>> 1) >>> this.#bucketShift;
  }

  /** Evicts the bucket's entries that are not ASSURED, and reaps its expired ones; returns how many were evicted. */
  evictUnassured(bucket: number, now: number): number {
    const buckets = this.buckets;
    const hashes = 2 ** (this.#bucketShift + 1);
    const first = Math.imul(bucket, hashes);
    const end = buckets.lineOf(first + hashes - 1);
    let evicted = 0;
    // A bucket's hashes follow each other, and so do their lines: it is one, or two.
    for (let line = buckets.lineOf(first); line <= end; line += LINE_WORDS) {
      let victim = this.#victimIn(line, bucket, now);
      while (victim !== NIL) {
        const isExpired = this.entries.hasExpired(victim, now) === 1;
        this.destroy(victim, isExpired ? DestroyReason.TIMEOUT : DestroyReason.EARLY_DROP);
        if (!isExpired) evicted++;
        victim = this.#victimIn(line, bucket, now);
      }
    }
    return evicted;
  }

  /** An entry with a tuple of the bucket in a line, expired or not ASSURED; NIL if there is none. */
  #victimIn(line: number, bucket: number, now: number): EntryId {
    const buckets = this.buckets;
    for (let at = line; at < line + PLACES; at++) {
      const word = buckets.lines[at] as number;
      if (word === 0) break;
      const node = buckets.nodeOf(word) as TupleId;
      if (this.#isVictim(node, bucket, now) === 1) return this.entries.entryOf(node);
    }
    for (let node = buckets.list(line) as TupleId; node !== NIL; node = buckets.next(node) as TupleId) {
      if (this.#isVictim(node, bucket, now) === 1) return this.entries.entryOf(node);
    }
    return NIL as EntryId;
  }

  #isVictim(node: TupleId, bucket: number, now: number): 0 | 1 {
    const entries = this.entries;
    if (this.bucketOf(entries.hash(node)) !== bucket) return 0;
    const entry = entries.entryOf(node);
    return entries.hasExpired(entry, now) === 1 || (entries.status(entry) & Status.ASSURED) === 0 ? 1 : 0;
  }

  // ---- sweeping ----

  /**
   * Reaps the expired entries among the records from `fromSlot` on, until it is at `toSlot` or has done `work`: a slot is
   * 1, a record looked at LOOK, a reaped one REAP. Writes to `into` how many entries it examined (word 0) and reaped
   * (word 1), what work is left (word 2), and returns the slot to go on from. Entries are met once each, whatever their
   * tuples.
   */
  sweep(fromSlot: number, toSlot: number, now: number, work: number, into: Int32Array): number {
    const entries = this.entries;
    const deadlines = entries.deadlines;
    const due = this.#due;
    const end = Math.min(toSlot, entries.slots.highWater);
    let slot = fromSlot;
    let examined = 0;
    let reaped = 0;
    let left = work;
    while (slot < end && left > 0) {
      const next = Math.min(slot + BLOCK, end);
      const count = deadlines.due(slot, next, now, due);
      examined += deadlines.watched;
      if (count > FEW && entries.slots.live >= SMALL) {
        this.#prefetch.touch(entries, this.buckets, due, count);
        if (this.foresight !== undefined) this.foresight.touchEnds(due, count);
      }
      let gone = 0;
      for (let i = 0; i < count; i++) gone += this.#examine(due[i] as number, now);
      left -= next - slot + count * LOOK + gone * REAP;
      reaped += gone;
      slot = next;
    }
    into[0] = examined;
    into[1] = reaped;
    into[2] = left;
    return slot < end ? slot : toSlot;
  }

  /** Reaps the entry of a slot whose deadline has come, or gives it its true deadline; returns how many it reaped. */
  #examine(slot: number, now: number): 0 | 1 {
    const entries = this.entries;
    // What is told of an entry's end may end another one.
    if (entries.deadlines.isWatched(slot) === 0) return 0;
    const entry = entries.entryOfSlot(slot);
    if (entries.hasExpired(entry, now) === 0) {
      entries.deadlines.set(slot, entries.expires(entry));
      return 0;
    }
    this.destroy(entry, DestroyReason.TIMEOUT);
    return 1;
  }

  /** A new record, unconfirmed, or NIL when the store is full. */
  take(): EntryId {
    return this.entries.take();
  }

  /** Sets the key of one direction, hashed. The entry must be unconfirmed. */
  setKey(entry: EntryId, direction: Direction, key: Int32Array): void {
    this.entries.setKey(entry, direction, key, this.hashKey(key));
  }

  /** Links both tuples and marks the entry CONFIRMED. */
  link(entry: EntryId): void {
    const entries = this.entries;
    if (this.#mode !== PLAIN) this.#setKeyedHashes(entry);
    this.#linkTuples(entry);
    this.links = (this.links + 1) | 0 || 1;
    entries.setStatus(entry, Status.CONFIRMED);
    entries.deadlines.set(entries.slotOf(entry), entries.expires(entry));
    if (this.onLink !== undefined) this.onLink(entry);
  }

  #linkTuples(entry: EntryId): void {
    const entries = this.entries;
    const original = entries.tuple(entry, Direction.ORIGINAL);
    const reply = entries.tuple(entry, Direction.REPLY);
    if (this.#isSelfConnected(entry) === 0) this.buckets.link(entries.hash(original), original);
    this.buckets.link(entries.hash(reply), reply);
  }

  /** Unlinks a confirmed entry, tells the observers, gives the record back. */
  destroy(entry: EntryId, reason: DestroyReason): void {
    this.#unlinkTuples(entry);
    this.#release(entry, reason);
  }

  #unlinkTuples(entry: EntryId): void {
    const entries = this.entries;
    if (this.#isSelfConnected(entry) === 0) {
      const original = entries.tuple(entry, Direction.ORIGINAL);
      this.buckets.unlink(entries.hash(original), original);
    }
    const reply = entries.tuple(entry, Direction.REPLY);
    this.buckets.unlink(entries.hash(reply), reply);
  }

  /** Gives back a record that was never confirmed. */
  discard(entry: EntryId): void {
    this.#release(entry, DestroyReason.DISCARDED);
  }

  // ---- crafted keys ----

  /** Whether entries still have to be moved to the buckets of another hash: 1 or 0. */
  get isRekeying(): 0 | 1 {
    return this.#mode === MOVING ? 1 : 0;
  }

  /** Whether the hash was changed because a lookup met more nodes than chance puts there: 1 or 0. */
  get isRekeyed(): 0 | 1 {
    return this.#mode === PLAIN ? 0 : 1;
  }

  /** Changes the hash from the plain one to a keyed one with a fresh secret. Does nothing if that was done. */
  beginRekey(): void {
    if (this.#mode !== PLAIN) return;
    this.#key0 = this.#drawSecret() | 0;
    this.#key1 = this.#drawSecret() | 0;
    this.#movedSlots = 0;
    this.#mode = MOVING;
  }

  /** Moves entries to the buckets of the new hash, `work` of it as in `sweep`; returns what is left of that. */
  rekey(work: number): number {
    const entries = this.entries;
    let left = work;
    let slot = this.#movedSlots;
    for (; slot < entries.slots.highWater && left > 0; slot++) {
      left--;
      if (entries.deadlines.isWatched(slot) === 0) continue;
      const entry = entries.entryOfSlot(slot);
      this.#unlinkTuples(entry);
      this.#setKeyedHashes(entry);
      this.#linkTuples(entry);
      left -= MOVE;
    }
    this.#movedSlots = slot;
    if (slot >= entries.slots.highWater) this.#mode = KEYED;
    return left;
  }

  #setKeyedHashes(entry: EntryId): void {
    const entries = this.entries;
    const key = this.#key;
    for (let direction: Direction = Direction.ORIGINAL; direction <= Direction.REPLY; direction++) {
      entries.getKey(entry, direction as Direction, key);
      entries.setHash(entries.tuple(entry, direction as Direction), this.#keyedHash(key));
    }
  }

  #keyedHash(key: Int32Array): number {
    return halfSipHash(key, 0, KEY_WORDS, this.#key0, this.#key1);
  }

  #release(entry: EntryId, reason: DestroyReason): void {
    this.entries.setStatus(entry, Status.DYING);
    for (let i = 0; i < this.#observers.length; i++) {
      (this.#observers[i] as DestroyObserver)(this, entry, reason);
    }
    this.entries.clearStatus(entry, Status.CONFIRMED);
    if (this.entries.extension(entry) !== 0) this.extensions.release(entry);
    this.entries.give(entry);
  }

  /**
   * 1 when both directions have one key (source = destination): the entry then has one node, the reply's, as what
   * Linux finds of such a pair is the reply.
   */
  #isSelfConnected(entry: EntryId): 0 | 1 {
    const entries = this.entries;
    const original = entries.tuple(entry, Direction.ORIGINAL);
    const reply = entries.tuple(entry, Direction.REPLY);
    if (entries.hash(original) !== entries.hash(reply) || entries.ports(original) !== entries.ports(reply))
      return 0;
    for (let i = 0; i < 4; i++) {
      if (
        entries.sourceWord(entry, Direction.ORIGINAL, i) !== entries.sourceWord(entry, Direction.REPLY, i) ||
        entries.destinationWord(entry, Direction.ORIGINAL, i) !==
          entries.destinationWord(entry, Direction.REPLY, i)
      ) {
        return 0;
      }
    }
    return 1;
  }
}
