/**
 * Expectations: connections that a helper has announced. The first packet of one is RELATED, and belongs to the
 * connection that announced it, its master. Cold but for `count` and `find`, which new connections meet.
 *
 * Life: announced -> used by the connection that fits, or given up (its time is over, the master is gone, the master
 * announces another and may have no more). Invariants: an expectation is in its bucket, in its master's list and in
 * `count`, or in none of them; the master's record is therefore valid. Two masters never expect the same packet.
 */
import { Direction, type EntryId, Status } from './entries.js';
import type { Helper } from './helpers/helper.js';
import type { ConntrackTable } from './table.js';
import { KEY_KIND, KEY_PORTS, KEY_WORDS } from './tuples.js';

const BUCKETS = 1024;
const DEFAULT_MAXIMUM = 4096;

/** What came of announcing a connection. */
export const Announced = {
  DONE: 0,
  /** Another master expects a packet that would fit both. */
  CLASH: 1,
  /** There are as many expectations as there may be. */
  FULL: 2,
} as const;
export type Announced = (typeof Announced)[keyof typeof Announced];

/** Why an expectation ended. */
export type ExpectationEnd = 'used' | 'timeout' | 'replaced' | 'master-gone' | 'deleted';

export class Expectation {
  readonly table: ConntrackTable;
  readonly master: EntryId;
  /** [KEY_WORDS] the tuple of its first packet; KIND has protocol and zone. */
  readonly key: Int32Array;
  /** 1: any source address will do. */
  readonly anySource: 0 | 1;
  /** 1: any source port will do. */
  readonly anySourcePort: 0 | 1;
  /** Helper of the connection that comes of it. */
  readonly helper: Helper | undefined;
  /** 1: NAT translates the connection as it does its master. */
  follows: 0 | 1 = 0;
  /** With `follows`: direction of the master that the connection runs in, and the port behind the translation. */
  direction: Direction = Direction.REPLY;
  ownPort = 0;
  /** 1: stays after it was used. */
  readonly isPermanent: 0 | 1;
  /** End in the tracker's int32 milliseconds. */
  expires = 0;
  /** Next of its bucket. */
  next: Expectation | undefined = undefined;

  constructor(
    table: ConntrackTable,
    master: EntryId,
    key: Int32Array,
    options: {
      readonly anySource?: 0 | 1;
      readonly anySourcePort?: 0 | 1;
      readonly isPermanent?: 0 | 1;
      readonly helper?: Helper | undefined;
    },
  ) {
    this.table = table;
    this.master = master;
    this.key = key;
    this.anySource = options.anySource ?? 0;
    this.anySourcePort = options.anySourcePort ?? 0;
    this.isPermanent = options.isPermanent ?? 0;
    this.helper = options.helper;
  }

  /** Whether the first packet of a connection with `key` (in zone `zone`) is the expected one. */
  fits(version: number, key: Int32Array, zone: number): boolean {
    const kind = (key[KEY_KIND] as number) & 255;
    return (
      this.table.version === version && (kind | (zone << 8)) === this.key[KEY_KIND] && this.#meets(key, 0, 0)
    );
  }

  /** Whether some packet fits both. */
  clashesWith(other: Expectation): boolean {
    return (
      this.table === other.table &&
      this.key[KEY_KIND] === other.key[KEY_KIND] &&
      this.#meets(other.key, other.anySource, other.anySourcePort)
    );
  }

  /** Whether both announce the very same for the same master. */
  repeats(other: Expectation): boolean {
    return (
      this.master === other.master &&
      this.anySource === other.anySource &&
      this.anySourcePort === other.anySourcePort &&
      this.clashesWith(other)
    );
  }

  /** Whether destinations are equal, and sources where neither side takes any. */
  #meets(key: Int32Array, anySource: 0 | 1, anySourcePort: 0 | 1): boolean {
    const mine = this.key;
    const ports = (mine[KEY_PORTS] as number) ^ (key[KEY_PORTS] as number);
    if ((ports & 0xffff) !== 0) return false;
    if (ports >>> 16 !== 0 && (this.anySourcePort | anySourcePort) === 0) return false;
    for (let i = (this.anySource | anySource) === 0 ? 0 : 4; i < 8; i++) if (mine[i] !== key[i]) return false;
    return true;
  }
}

export class Expectations {
  /** Expectations pending, those that were not found to be over yet included. */
  count = 0;
  /** Most of them (nf_conntrack_expect_max). */
  maximum = DEFAULT_MAXIMUM;
  /** Told of each expectation that was announced, and of each that ended; set only while somebody listens. */
  onAnnounced: ((expectation: Expectation) => void) | undefined = undefined;
  onEnded: ((expectation: Expectation, end: ExpectationEnd) => void) | undefined = undefined;
  readonly #buckets: (Expectation | undefined)[] = new Array(BUCKETS).fill(undefined);

  /** Takes part in the life of a table's connections: with a master its expectations end. */
  watch(table: ConntrackTable): void {
    table.observe((_table, entry) => {
      if (table.entries.extension(entry) === 0) return;
      const pending = table.extensions.of(entry)?.expectations ?? [];
      while (pending.length > 0) this.#end(pending[0] as Expectation, 'master-gone');
    });
  }

  /**
   * The expectation that a new connection's first packet with `key` fulfils, or undefined. It ends with that, unless it
   * is permanent. Masters that were not confirmed yet expect nothing: the other end cannot know of it.
   */
  find(version: number, key: Int32Array, zone: number, now: number): Expectation | undefined {
    let found = this.#buckets[bucketOf(key)];
    while (found !== undefined) {
      const next: Expectation | undefined = found.next;
      if (((found.expires - now) | 0) <= 0) this.#end(found, 'timeout');
      else if (found.fits(version, key, zone)) break;
      found = next;
    }
    if (found === undefined) return undefined;
    const { entries } = found.table;
    if ((entries.status(found.master) & (Status.CONFIRMED | Status.DYING)) !== Status.CONFIRMED)
      return undefined;
    if (entries.hasExpired(found.master, now) === 1) return undefined;
    if (found.isPermanent === 0) this.#end(found, 'used');
    return found;
  }

  /**
   * Announces a connection for `timeoutMs`. A repeat of what the master announced before takes its place; if the master
   * has `most` of them (0: no limit), its oldest goes.
   */
  announce(expectation: Expectation, most: number, timeoutMs: number, now: number): Announced {
    let other = this.#buckets[bucketOf(expectation.key)];
    while (other !== undefined) {
      const next: Expectation | undefined = other.next;
      if (((other.expires - now) | 0) <= 0) this.#end(other, 'timeout');
      else if (expectation.repeats(other)) {
        this.#end(other, 'replaced');
        break;
      } else if (other.clashesWith(expectation)) return Announced.CLASH;
      other = next;
    }
    const pending = expectation.table.extensions.extend(expectation.master).expectations;
    if (most > 0) {
      while (pending.length >= most) this.#end(pending[0] as Expectation, 'replaced');
    }
    if (this.count >= this.maximum) this.sweep(now);
    if (this.count >= this.maximum) return Announced.FULL;
    expectation.expires = (now + timeoutMs) | 0;
    const bucket = bucketOf(expectation.key);
    expectation.next = this.#buckets[bucket];
    this.#buckets[bucket] = expectation;
    pending.push(expectation);
    this.count++;
    this.onAnnounced?.(expectation);
    return Announced.DONE;
  }

  /** Takes an expectation back. */
  withdraw(expectation: Expectation): void {
    this.#end(expectation, 'deleted');
  }

  /** Ends those whose time is over. */
  sweep(now: number): void {
    if (this.count === 0) return;
    for (const expectation of this.list()) {
      if (((expectation.expires - now) | 0) <= 0) this.#end(expectation, 'timeout');
    }
  }

  /** All that are pending. */
  list(): Expectation[] {
    const all: Expectation[] = [];
    for (const head of this.#buckets) {
      for (let one = head; one !== undefined; one = one.next) all.push(one);
    }
    return all;
  }

  #end(expectation: Expectation, end: ExpectationEnd): void {
    const bucket = bucketOf(expectation.key);
    let at = this.#buckets[bucket];
    if (at === expectation) this.#buckets[bucket] = expectation.next;
    else {
      while (at !== undefined && at.next !== expectation) at = at.next;
      if (at === undefined) return;
      at.next = expectation.next;
    }
    expectation.next = undefined;
    const pending = expectation.table.extensions.of(expectation.master)?.expectations;
    const index = pending?.indexOf(expectation) ?? -1;
    if (index >= 0) pending?.splice(index, 1);
    this.count--;
    this.onEnded?.(expectation, end);
  }
}

/** An array of an expectation's tuple. */
export function expectationKey(): Int32Array {
  return new Int32Array(KEY_WORDS);
}

/** By destination address and port, which expectations always name. */
function bucketOf(key: Int32Array): number {
  let mixed = ((key[KEY_PORTS] as number) & 0xffff) ^ (((key[KEY_KIND] as number) & 255) << 16);
  for (let i = 4; i < 8; i++) mixed = Math.imul(mixed ^ (key[i] as number), 0x9e3779b1) ^ (mixed >>> 15);
  return (mixed ^ (mixed >>> 16)) & (BUCKETS - 1);
}
