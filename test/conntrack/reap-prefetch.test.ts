/**
 * A sweep that brings blocks of expired entries into the caches before it reaps them (`conntrack/reap-prefetch.ts`), against
 * one that takes entry after entry: the same ends, in the same order, and the same table afterwards.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Direction, type EntryId, SOURCE_NEXT, SOURCE_PREV } from '../../lib/conntrack/entries.js';
import { ReapPrefetch } from '../../lib/conntrack/reap-prefetch.js';
import { ConntrackTable, DestroyReason } from '../../lib/conntrack/table.js';
import { key } from './model.js';

/** Enough that a sweep asks ahead. */
const COUNT = 9000;
const NOW = 1000;

interface Side {
  readonly table: ConntrackTable;
  /** Slots and reasons, in the order of their ends. */
  readonly ended: string[];
}

/** `COUNT` connections; of them `isOver` says which have expired, and some take another one with them. */
function side(version: number, isOver: (i: number) => boolean, takes: number): Side {
  const table = new ConntrackTable(version, COUNT, 4096, 1);
  const { entries } = table;
  const ended: string[] = [];
  const made: EntryId[] = [];
  for (let i = 0; i < COUNT; i++) {
    const entry = table.take();
    // Some are connected to themselves.
    const port = i % 50 === 0 ? 80 : i;
    const to = i % 50 === 0 ? i : 2;
    const from = i % 50 === 0 ? i : 1;
    table.setKey(entry, Direction.ORIGINAL, key(version, from, to, port, 80));
    table.setKey(entry, Direction.REPLY, key(version, to, from, 80, port));
    entries.setExpires(entry, isOver(i) ? NOW - 1 : NOW + 90_000);
    table.link(entry);
    made.push(entry);
  }
  table.observe((_table, entry, reason) => {
    const slot = entries.slotOf(entry);
    ended.push(`${slot} ${reason}`);
    const other = made[(slot + 1) % COUNT] as EntryId;
    if (reason !== DestroyReason.TIMEOUT || takes === 0 || slot % takes !== 0) return;
    if (entries.deadlines.isWatched(entries.slotOf(other)) === 1) table.destroy(other, DestroyReason.DELETED);
  });
  return { table, ended };
}

describe.each([4, 6])('expired entries of IPv%i', (version) => {
  it('are reaped as one after the other', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.nat(),
        fc.constantFrom(0, 0, 2, 7),
        (share, seed, takes) => {
          const isOver = (i: number) => Math.imul(i + seed, 0x9e3779b1) >>> 29 < share;
          const quick = side(version, isOver, takes);
          const slow = side(version, isOver, takes);
          const said = new Int32Array(3);
          quick.table.sweep(0, COUNT, NOW, 1e9, said);
          for (let slot = 0; slot < COUNT; slot++) {
            const { entries } = slow.table;
            const entry = entries.entryOfSlot(slot);
            if (entries.deadlines.isWatched(slot) === 1 && entries.hasExpired(entry, NOW) === 1) {
              slow.table.destroy(entry, DestroyReason.TIMEOUT);
            }
          }
          expect(quick.ended.length).toBeGreaterThan(COUNT / 16);
          expect(quick.ended).toEqual(slow.ended);
          expect(said[1]).toBe(quick.ended.filter((one) => one.endsWith(` ${DestroyReason.TIMEOUT}`)).length);
          expect(
            Buffer.from(quick.table.buckets.lines.buffer).equals(
              Buffer.from(slow.table.buckets.lines.buffer),
            ),
          ).toBe(true);
          expect(quick.table.live).toBe(slow.table.live);
          for (let slot = 0; slot < COUNT; slot++) {
            expect(quick.table.entries.deadlines.isWatched(slot)).toBe(
              slow.table.entries.deadlines.isWatched(slot),
            );
          }
        },
      ),
      { numRuns: 6 },
    );
  });

  it('are only looked at ahead, wherever their links lead', () => {
    const { table } = side(version, () => false, 0);
    const { words, stride } = table.entries;
    // First of a list, last of it, in it, and never in one.
    const links = [-1, 0, stride, (COUNT - 1) * stride];
    const slots = new Int32Array(64);
    for (let i = 0; i < 64; i++) {
      slots[i] = (i * 131) % COUNT;
      words[(slots[i] as number) * stride + SOURCE_NEXT] = links[i % 4] as number;
      words[(slots[i] as number) * stride + SOURCE_PREV] = links[(i >> 2) % 4] as number;
    }
    const before = [Buffer.from(words.slice().buffer), Buffer.from(table.buckets.lines.slice().buffer)];
    const prefetch = new ReapPrefetch(64);
    for (const count of [0, 1, 63, 64]) prefetch.touch(table.entries, table.buckets, slots, count);
    expect(Buffer.from(words.slice().buffer).equals(before[0] as Buffer)).toBe(true);
    expect(Buffer.from(table.buckets.lines.slice().buffer).equals(before[1] as Buffer)).toBe(true);
    // All that was read was there.
    expect(Number.isInteger(prefetch.sink)).toBe(true);
  });
});
