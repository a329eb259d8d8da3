/**
 * The slow twin of the connection table: a list of plain objects, and the invariants that the real table must hold
 * after every step.
 */
import { expect } from 'vitest';
import { Direction, type EntryId, NIL, Status, type TupleId } from '../../lib/conntrack/entries.js';
import { type ConntrackTable, DestroyReason } from '../../lib/conntrack/table.js';
import { KEY_WORDS } from '../../lib/conntrack/tuples.js';

export const KEY_TCP = 6;

/** A key from small numbers; the same numbers give the same key. */
export function key(
  version: number,
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
  kind = KEY_TCP,
): Int32Array {
  const words = new Int32Array(KEY_WORDS);
  if (version === 4) {
    words[0] = 0x0a000000 + source;
    words[4] = 0x0a000000 + destination;
  } else {
    words.set([0xfd000000 | 0, source, 0, source + 1], 0);
    words.set([0xfd000000 | 0, destination, 0, destination + 1], 4);
  }
  words[8] = (sourcePort << 16) | destinationPort;
  words[9] = kind;
  return words;
}

export interface TwinEntry {
  readonly id: EntryId;
  readonly original: Int32Array;
  readonly reply: Int32Array;
  confirmed: boolean;
  expires: number;
}

export class Twin {
  readonly table: ConntrackTable;
  readonly entries: TwinEntry[] = [];
  now: number;
  /** Set while the twin itself asks for a removal: what is expected to leave, and why. */
  #leaving: { id: EntryId; reason: DestroyReason } | undefined;

  constructor(table: ConntrackTable, now: number) {
    this.table = table;
    this.now = now;
    table.observe((_, id, reason) => this.#onDestroy(id, reason));
  }

  #onDestroy(id: EntryId, reason: DestroyReason): void {
    const index = this.entries.findIndex((entry) => entry.id === id);
    expect(index, 'only what lives is destroyed').toBeGreaterThanOrEqual(0);
    const entry = this.entries[index]!;
    if (this.#leaving !== undefined) {
      expect({ id, reason }).toEqual(this.#leaving);
    } else {
      expect(reason).toBe(DestroyReason.TIMEOUT);
      expect(entry.confirmed && this.hasExpired(entry), 'a lookup reaps only what has expired').toBe(true);
    }
    expect(this.readKeys(id), 'an observer can still read the entry').toEqual([entry.original, entry.reply]);
    this.entries.splice(index, 1);
  }

  hasExpired(entry: TwinEntry): boolean {
    return ((entry.expires - this.now) | 0) <= 0;
  }

  /** The twin's answer to a lookup. */
  find(wanted: Int32Array): { id: EntryId; direction: Direction } | undefined {
    for (const entry of this.entries) {
      if (!entry.confirmed || this.hasExpired(entry)) continue;
      if (same(entry.reply, wanted)) return { id: entry.id, direction: Direction.REPLY };
      if (same(entry.original, wanted)) return { id: entry.id, direction: Direction.ORIGINAL };
    }
    return undefined;
  }

  /** Looks a key up in both and compares; returns the tuple found. */
  findBoth(wanted: Int32Array): TupleId {
    const expected = this.find(wanted);
    const found = this.table.find(wanted, this.now);
    if (expected === undefined) {
      expect(found).toBe(NIL);
    } else {
      const entries = this.table.entries;
      expect(found).toBeGreaterThanOrEqual(0);
      expect(entries.entryOf(found)).toBe(expected.id);
      expect(entries.directionOf(found)).toBe(expected.direction);
    }
    return found;
  }

  /** Takes a record for a connection; undefined when both say that the store is full. */
  take(original: Int32Array, reply: Int32Array): TwinEntry | undefined {
    const id = this.table.take();
    if (this.entries.length === this.table.entries.slots.capacity) {
      expect(id).toBe(NIL);
      return undefined;
    }
    expect(id).toBeGreaterThanOrEqual(0);
    this.table.setKey(id, Direction.ORIGINAL, original);
    this.table.setKey(id, Direction.REPLY, reply);
    const entry = { id, original, reply, confirmed: false, expires: 0 };
    this.entries.push(entry);
    return entry;
  }

  /** Links an entry as the tracker does: only if neither key is taken; otherwise the record is given back. */
  confirm(entry: TwinEntry, timeoutMs: number): void {
    if (this.findBoth(entry.original) !== NIL || this.findBoth(entry.reply) !== NIL) {
      this.leave(entry, DestroyReason.DISCARDED);
      return;
    }
    entry.expires = (this.now + timeoutMs) | 0;
    entry.confirmed = true;
    this.table.entries.setExpires(entry.id, entry.expires);
    this.table.link(entry.id);
  }

  refresh(entry: TwinEntry, timeoutMs: number): void {
    entry.expires = (this.now + timeoutMs) | 0;
    this.table.entries.setExpires(entry.id, entry.expires);
  }

  leave(entry: TwinEntry, reason: DestroyReason): void {
    this.#leaving = { id: entry.id, reason };
    if (reason === DestroyReason.DISCARDED) this.table.discard(entry.id);
    else this.table.destroy(entry.id, reason);
    this.#leaving = undefined;
    expect(this.entries).not.toContain(entry);
    const status = this.table.entries.status(entry.id);
    expect(status & (Status.DYING | Status.CONFIRMED), 'its status tells that it is gone').toBe(Status.DYING);
  }

  readKeys(id: EntryId): [Int32Array, Int32Array] {
    const entries = this.table.entries;
    const keys: [Int32Array, Int32Array] = [new Int32Array(KEY_WORDS), new Int32Array(KEY_WORDS)];
    entries.getKey(id, Direction.ORIGINAL, keys[0]);
    entries.getKey(id, Direction.REPLY, keys[1]);
    return keys;
  }

  /** Walks the whole table and holds it to STYLE's invariants. */
  check(): void {
    const { entries, buckets } = this.table;
    const linked = new Set<number>();
    for (let line = 0; line < buckets.lines.length; line += 16) {
      for (const node of buckets.nodes(line)) {
        expect(linked.has(node), 'lists are acyclic, and buckets share no node').toBe(false);
        linked.add(node);
        expect(buckets.lineOf(entries.hash(node as TupleId)), 'a node is in its bucket').toBe(line);
      }
    }
    const expected = new Set<number>();
    for (const entry of this.entries) {
      const original = entries.tuple(entry.id, Direction.ORIGINAL);
      const reply = entries.tuple(entry.id, Direction.REPLY);
      expect([entries.entryOf(original), entries.entryOf(reply)], 'both tuples share the entry').toEqual([
        entry.id,
        entry.id,
      ]);
      expect([entries.directionOf(original), entries.directionOf(reply)]).toEqual([0, 1]);
      expect(this.readKeys(entry.id)).toEqual([entry.original, entry.reply]);
      expect((entries.status(entry.id) & Status.CONFIRMED) !== 0).toBe(entry.confirmed);
      if (!entry.confirmed) continue;
      expected.add(reply);
      if (!same(entry.original, entry.reply)) expected.add(original);
    }
    expect(linked, 'linked iff confirmed, both tuples together').toEqual(expected);
    expect(this.table.live).toBe(this.entries.length);
  }
}

export function same(a: Int32Array, b: Int32Array): boolean {
  return a.every((word, i) => word === b[i]);
}
