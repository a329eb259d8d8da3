import { describe, expect, test } from 'vitest';
import { Direction, NIL } from '../../lib/conntrack/entries.js';
import { ConntrackTable, DestroyReason } from '../../lib/conntrack/table.js';
import { key, Twin } from './model.js';

function twinOf(version: number, capacity: number, buckets: number): Twin {
  return new Twin(new ConntrackTable(version, capacity, buckets, 1), 0);
}

/** A confirmed connection from client port `port`, expiring at `timeoutMs`. */
function connect(twin: Twin, port: number, timeoutMs: number) {
  const version = twin.table.version;
  const entry = twin.take(key(version, 1, 2, port, 80), key(version, 2, 1, 80, port));
  if (entry === undefined) throw new Error('full');
  twin.confirm(entry, timeoutMs);
  return entry;
}

describe.each([4, 6])('IPv%i table', (version) => {
  test('reaping the head, the middle and the end of a chain on lookup does not lose the rest (G3)', () => {
    // One bucket: its chain is every tuple of every entry. Each subset of 6 entries expires in turn.
    for (let expired = 0; expired < 64; expired++) {
      const twin = twinOf(version, 6, 1);
      for (let i = 0; i < 6; i++) connect(twin, 1000 + i, (expired >> i) & 1 ? 10 : 1000);
      twin.now = 10;
      for (let i = 0; i < 6; i++) {
        const found = twin.findBoth(key(version, 1, 2, 1000 + i, 80));
        expect(found === NIL).toBe(((expired >> i) & 1) === 1);
        twin.findBoth(key(version, 2, 1, 80, 1000 + i));
        twin.check();
      }
      const reaped = expired.toString(2).replaceAll('0', '').length;
      expect(twin.table.live).toBe(6 - reaped);
      expect(twin.table.reapedOnLookup).toBe(reaped);
    }
  });

  test('a lookup for a key that is not there reaps all the expired that it meets, partners side by side', () => {
    const twin = twinOf(version, 100, 1);
    for (let i = 0; i < 100; i++) connect(twin, 1000 + i, 10);
    twin.now = 10;
    expect(twin.findBoth(key(version, 9, 9, 9, 9))).toBe(NIL);
    twin.check();
    // All of the bucket's list. Entries with both tuples in the line are met by those who look for them.
    expect(twin.table.buckets.list(0)).toBe(NIL);
    expect(twin.table.live).toBeLessThanOrEqual(7);
    for (let i = 0; i < 100; i++) expect(twin.findBoth(key(version, 2, 1, 80, 1000 + i))).toBe(NIL);
    twin.check();
    expect(twin.table.live).toBe(0);
    expect(twin.table.reapedOnLookup).toBe(100);
  });

  test.each([1, 2, 4096])(
    '4,000 expired connections in %i buckets: one sweep leaves nothing (G10)',
    (buckets) => {
      const table = new ConntrackTable(version, 4000, buckets, 1);
      const { entries } = table;
      for (let i = 0; i < 4000; i++) {
        const entry = table.take();
        table.setKey(entry, Direction.ORIGINAL, key(version, 1, 2, i, 80));
        table.setKey(entry, Direction.REPLY, key(version, 2, 1, 80, i));
        entries.setExpires(entry, 10);
        table.link(entry);
      }
      const plain = new ConntrackTable(version, 4000, buckets, 1);
      expect(plain.live).toBe(0);
      let destroyed = 0;
      table.observe(() => destroyed++);
      for (let slot = 0; slot < entries.slots.highWater; slot++) {
        const entry = entries.entryOfSlot(slot);
        if (entries.hasExpired(entry, 10) === 1) table.destroy(entry, DestroyReason.TIMEOUT);
      }
      expect(destroyed).toBe(4000);
      expect(table.live).toBe(0);
      expect(table.buckets.lines.every((word) => word === 0)).toBe(true);
    },
  );

  test('a self-connected tuple has one node, is found as reply, and reaping removes exactly it (G15)', () => {
    const twin = twinOf(version, 4, 1);
    connect(twin, 1000, 1000);
    const self = key(version, 5, 5, 7, 7);
    const entry = twin.take(self, self.slice())!;
    twin.confirm(entry, 10);
    connect(twin, 1001, 1000);
    twin.check();
    const found = twin.findBoth(self);
    expect(twin.table.entries.directionOf(found)).toBe(Direction.REPLY);
    twin.now = 10;
    expect(twin.findBoth(self)).toBe(NIL);
    twin.check();
    expect(twin.table.live).toBe(2);
    expect(twin.findBoth(key(version, 1, 2, 1000, 80))).not.toBe(NIL);
    expect(twin.findBoth(key(version, 2, 1, 80, 1001))).not.toBe(NIL);
  });

  test('source = destination with different ports has two nodes', () => {
    const twin = twinOf(version, 4, 1);
    const entry = twin.take(key(version, 5, 5, 7, 8), key(version, 5, 5, 8, 7))!;
    twin.confirm(entry, 10);
    twin.check();
    expect(twin.table.entries.directionOf(twin.findBoth(key(version, 5, 5, 8, 7)))).toBe(Direction.REPLY);
  });

  test('an unconfirmed entry is not found, and a full store gives NIL until one is given back', () => {
    const twin = twinOf(version, 2, 4);
    const first = twin.take(key(version, 1, 2, 1, 80), key(version, 2, 1, 80, 1))!;
    expect(twin.findBoth(first.original)).toBe(NIL);
    connect(twin, 2, 1000);
    expect(twin.take(key(version, 1, 2, 3, 80), key(version, 2, 1, 80, 3))).toBeUndefined();
    twin.leave(first, DestroyReason.DISCARDED);
    expect(connect(twin, 3, 1000).id).toBe(first.id);
    twin.check();
  });

  test('a record used again has another generation and nothing of its former life', () => {
    const twin = twinOf(version, 1, 1);
    const { entries } = twin.table;
    const first = connect(twin, 1, 1000);
    const generation = entries.generation(first.id);
    entries.setMark(first.id, 7);
    entries.account(first.id, Direction.REPLY, 100);
    entries.setTdFlags(first.id, Direction.REPLY, 255);
    twin.leave(first, DestroyReason.DELETED);
    const second = connect(twin, 2, 1000);
    expect(second.id).toBe(first.id);
    expect(entries.generation(second.id)).not.toBe(generation);
    expect(entries.mark(second.id)).toBe(0);
    expect(entries.packets(second.id, Direction.REPLY)).toBe(0);
    expect(entries.bytes(second.id, Direction.REPLY)).toBe(0);
    expect(entries.tdFlags(second.id, Direction.REPLY)).toBe(0);
    twin.check();
  });

  test('every observer is told once, in order, of every entry that leaves', () => {
    const twin = twinOf(version, 2, 1);
    const told: string[] = [];
    twin.table.observe((_, entry, reason) => told.push(`a ${entry} ${reason}`));
    twin.table.observe((_, entry, reason) => told.push(`b ${entry} ${reason}`));
    const entry = connect(twin, 1, 1000);
    expect(told).toEqual([]);
    twin.leave(entry, DestroyReason.FLUSHED);
    expect(told).toEqual([`a ${entry.id} 2`, `b ${entry.id} 2`]);
  });
});

test.each([
  [0, 1],
  [1, 1],
  [3, 4],
  [4, 4],
  [65_537, 131_072],
])('%i buckets asked for are %i', (asked, got) => {
  expect(new ConntrackTable(4, 1, asked, 0).bucketCount).toBe(got);
});

test('another seed puts keys in other buckets', () => {
  const keys = Array.from({ length: 64 }, (_, i) => key(4, 1, 2, i, 80));
  const buckets = (seed: number) => {
    const table = new ConntrackTable(4, 1, 1024, seed);
    return keys.map((words) => table.bucketOf(table.hashKey(words)));
  };
  expect(buckets(1)).toEqual(buckets(1));
  expect(buckets(1).filter((bucket, i) => bucket === buckets(2)[i]).length).toBeLessThan(5);
});
