import { totalmem } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  bucketLines,
  defaultBuckets,
  maxCapacity,
  movedGroups,
  sourceBuckets,
} from '../../lib/conntrack/capacity.js';
import { Direction, Entries } from '../../lib/conntrack/entries.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { KEY_WORDS } from '../../lib/conntrack/tuples.js';
import { ConfigurationError } from '../../lib/errors.js';
import { Buckets } from '../../lib/memory/buckets.js';

/** The largest stores are 8 GiB of address space, which small machines refuse though none of it is touched. */
const canReserve = totalmem() > 12 * 2 ** 30;

describe('the number of connections', () => {
  test.each([
    [4, 44_739_242],
    [6, 33_554_432],
  ])('of IPv%i is bounded by int32 ids', (version, most) => {
    expect(maxCapacity(version)).toBe(most);
    const stride = new Entries(version, 1).stride;
    expect(most * stride).toBeLessThanOrEqual(2 ** 31);
    expect((most + 1) * stride).toBeGreaterThan(2 ** 31);
  });

  test.each([0, -1, 1.5, Number.NaN, 44_739_243])('%d is refused with a typed error', (count) => {
    for (const make of [() => new Tracker({ maxConnections: count }), () => new Entries(4, count)]) {
      expect(make).toThrow(ConfigurationError);
      expect(make).toThrow(/number of IPv4 connections out of range/);
    }
    expect(() => new Entries(6, count)).toThrow(/number of IPv6 connections out of range/);
  });

  test.runIf(canReserve)('may be more than an IPv6 table can hold: that one is as large as can be', () => {
    // Nothing is touched: the arrays are address space only.
    const tracker = new Tracker({ maxConnections: 40_000_000, buckets: 1024 });
    expect(tracker.table(4).entries.slots.capacity).toBe(40_000_000);
    expect(tracker.table(6).entries.slots.capacity).toBe(33_554_432);
  });

  test.runIf(canReserve)('has its last ids where they can be used', () => {
    for (const version of [4, 6]) {
      const entries = new Entries(version, maxCapacity(version));
      const last = entries.entryOfSlot(maxCapacity(version) - 1);
      const key = new Int32Array(KEY_WORDS).fill(0);
      key.set([1, 2, 3, 4], version === 4 ? 6 : 0);
      entries.setKey(last, Direction.ORIGINAL, key, -5);
      const original = entries.tuple(last, Direction.ORIGINAL);
      expect(original).toBe(original | 0);
      expect(entries.tuple(last, Direction.REPLY)).toBeGreaterThan(original);
      expect(entries.slotOf(last)).toBe(maxCapacity(version) - 1);
      expect(entries.entryOf(original)).toBe(last);
      expect(entries.hash(original)).toBe(-5);
      expect(entries.matchesKey(original, key)).toBe(1);
    }
  });
});

test('buckets are as many as Linux has, and cost no connection more than 14 bytes with those of sources', () => {
  for (const capacity of [
    16_384, 20_000, 24_576, 24_577, 100_000, 262_144, 1_000_000, 1_048_576, 10_485_760, 44_739_242,
  ]) {
    const buckets = defaultBuckets(capacity);
    expect(Number.isInteger(Math.log2(buckets))).toBe(true);
    expect(buckets).toBeGreaterThanOrEqual(capacity);
    expect(buckets).toBeLessThan(2 * capacity);
    const { count } = new Buckets(new Int32Array(16), bucketLines(capacity, buckets), 1, 2);
    expect(64 * count).toBeLessThanOrEqual(11 * capacity);
    expect(16 * movedGroups(capacity)).toBeLessThanOrEqual(2 * Math.max(capacity, 16_384));
    // A full table whose ports were all changed has eight to a group, of 15 places.
    expect(8.01 * movedGroups(capacity)).toBeGreaterThanOrEqual(capacity);
    // 15 places each: most of a full table's tuples have one.
    expect(15 * count).toBeGreaterThanOrEqual(2 * capacity);
    expect(4 * sourceBuckets(capacity)).toBeLessThanOrEqual(Math.max(capacity, 65_536));
  }
  expect(defaultBuckets(1)).toBe(16_384);
  expect(new Tracker({ maxConnections: 262_144 }).bucketCount).toBe(262_144);
});
