import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import xxhash from 'xxhash-wasm';
import { Direction, type EntryId, NIL, Status } from '../../lib/conntrack/entries.js';
import { restoreSnapshot, takeSnapshot } from '../../lib/conntrack/snapshot.js';
import { DestroyReason } from '../../lib/conntrack/table.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { ConfigurationError } from '../../lib/errors.js';
import { key } from './model.js';

const HEADER_BYTES = 28;
/** Nobody indexes these trackers' entries. */
const ignore = (): void => {};

function tracker(maxConnections = 100, startMs = 0): Tracker {
  const made = new Tracker({ maxConnections, buckets: 16, seed: 5 });
  made.begin(startMs);
  return made;
}

/** Adds a connection to port `port` of host 2, whose reply goes to port `natPort`. */
function add(to: Tracker, version: number, port: number, timeoutMs: number, natPort = port): EntryId {
  const table = to.table(version);
  const entry = table.take();
  table.setKey(entry, Direction.ORIGINAL, key(version, 1, 2, port, 80, 6 | (3 << 8)));
  table.setKey(entry, Direction.REPLY, key(version, 2, 9, 80, natPort, 6 | (3 << 8)));
  table.entries.setExpires(entry, (to.context.now + timeoutMs) | 0);
  table.entries.setBorn(entry, to.context.now);
  table.link(entry);
  return entry;
}

/** Everything about an entry that a snapshot must keep, times relative to now. */
function describeEntry(of: Tracker, version: number, entry: EntryId): unknown {
  const { entries } = of.table(version);
  return {
    status: entries.status(entry),
    remaining: (entries.expires(entry) - of.context.now) | 0,
    age: (of.context.now - entries.born(entry)) | 0,
    mark: entries.mark(entry),
    zone: [entries.zone(entry), entries.zoneDirection(entry)],
    masquerade: entries.masqueradeInterface(entry),
    protocol: [0, 1, 2, 3, 4].map((i) => entries.protocolWord(entry, i)),
    lines: [Direction.ORIGINAL, Direction.REPLY].map((direction) => {
      const words = new Int32Array(10);
      entries.getKey(entry, direction, words);
      return {
        key: [...words],
        tcp: [
          entries.tdEnd(entry, direction),
          entries.tdMaxEnd(entry, direction),
          entries.tdMaxWin(entry, direction),
          entries.tdMaxAck(entry, direction),
          entries.tdScale(entry, direction),
          entries.tdFlags(entry, direction),
        ],
        counters: [entries.packets(entry, direction), entries.bytes(entry, direction)],
      };
    }),
  };
}

function find(of: Tracker, version: number, port: number): EntryId {
  const table = of.table(version);
  const tuple = table.find(key(version, 1, 2, port, 80, 6 | (3 << 8)), of.context.now);
  return tuple === NIL ? (NIL as EntryId) : table.entries.entryOf(tuple);
}

async function refused(what: Promise<unknown>): Promise<ConfigurationError> {
  const error = await what.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConfigurationError);
  return error as ConfigurationError;
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

describe('a snapshot of connections', () => {
  test('restored entries keep every field, and the time that was left, in another clock (G7)', async () => {
    const word = fc.integer();
    const entryOf = fc.record({
      version: fc.constantFrom(4, 6),
      timeoutMs: fc.integer({ min: 1, max: 2_147_483_000 }),
      ageMs: fc.integer({ min: 0, max: 1_000_000 }),
      words: fc.array(word, { minLength: 20, maxLength: 20 }),
      status: fc.nat(511).map((bits) => bits & ~(Status.CONFIRMED | Status.SEQ_ADJUST)),
      counters: fc.array(fc.integer({ min: 0, max: 2 ** 44 - 1 }), { minLength: 4, maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(entryOf, { maxLength: 12 }),
        fc.integer({ min: 0, max: 2 ** 40 }),
        fc.integer({ min: 0, max: 2 ** 40 }),
        async (specs, savedAt, restoredAt) => {
          const from = tracker(100, savedAt - 1_000_000);
          from.begin(savedAt);
          const expected = specs.map(({ version, timeoutMs, ageMs, words, status, counters }, i) => {
            const entry = add(from, version, 1000 + i, timeoutMs);
            const { entries } = from.table(version);
            entries.setStatus(entry, status);
            entries.setBorn(entry, (from.context.now - ageMs) | 0);
            entries.setMark(entry, words[0]!);
            entries.setZone(entry, words[1]! & 0xffff, 2);
            entries.setMasqueradeInterface(entry, words[2]!);
            entries.setPolicy(entry, 1);
            for (let n = 0; n < 5; n++) entries.setProtocolWord(entry, n, words[4 + n]!);
            for (const d of [Direction.ORIGINAL, Direction.REPLY]) {
              entries.setTdEnd(entry, d, words[9 + d]!);
              entries.setTdMaxEnd(entry, d, words[11 + d]!);
              entries.setTdMaxWin(entry, d, words[13 + d]!);
              entries.setTdMaxAck(entry, d, words[15 + d]!);
              entries.setTdScale(entry, d, words[17 + d]! & 15);
              entries.setTdFlags(entry, d, words[17 + d]! >>> 24);
              entries.setCounters(entry, d, counters[d]!, counters[2 + d]!);
            }
            return describeEntry(from, version, entry);
          });
          const bytes = await takeSnapshot(from, savedAt);
          const into = tracker(100, restoredAt);
          expect(await restoreSnapshot(into, bytes, restoredAt, ignore)).toEqual({
            restored: specs.length,
            clashed: 0,
          });
          const got = specs.map(({ version }, i) =>
            describeEntry(into, version, find(into, version, 1000 + i)),
          );
          expect(got).toEqual(expected);
          for (const { version, i } of specs.map((spec, i) => ({ ...spec, i }))) {
            expect(into.table(version).entries.policy(find(into, version, 1000 + i))).toBe(0);
          }
          expect(into.count).toBe(specs.length);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('time stands still in the snapshot: 40 of 120 seconds used, an hour in a drawer, 80 left', async () => {
    const from = tracker();
    add(from, 4, 1, 120_000);
    const bytes = await takeSnapshot(from, 40_000);
    const into = tracker(100, 3_640_000);
    await restoreSnapshot(into, bytes, 3_640_000, ignore);
    into.begin(3_640_000 + 79_999);
    expect(find(into, 4, 1)).not.toBe(NIL);
    into.begin(3_640_000 + 80_000);
    expect(find(into, 4, 1)).toBe(NIL);
  });

  test('expired and unconfirmed entries stay behind', async () => {
    const from = tracker();
    add(from, 4, 1, 10);
    add(from, 4, 2, 11);
    from.table(4).take();
    const gone = add(from, 4, 3, 1000);
    from.table(4).destroy(gone, DestroyReason.DELETED);
    const into = tracker();
    expect(await restoreSnapshot(into, await takeSnapshot(from, 10), 0, ignore)).toEqual({
      restored: 1,
      clashed: 0,
    });
    expect(find(into, 4, 2)).not.toBe(NIL);
  });

  test('a live connection keeps its tuples: the saved rival is left out, the others come', async () => {
    const from = tracker();
    for (const port of [1, 2, 3]) add(from, 4, port, 1000);
    const into = tracker();
    const live = add(into, 4, 77, 1000, 2); // holds the reply tuple of the saved connection 2
    const told: EntryId[] = [];
    const result = await restoreSnapshot(into, await takeSnapshot(from, 0), 0, (_, entry) =>
      told.push(entry),
    );
    expect(result).toEqual({ restored: 2, clashed: 1 });
    expect(told).toEqual([find(into, 4, 1), find(into, 4, 3)]);
    expect(find(into, 4, 2)).toBe(NIL);
    expect(find(into, 4, 77)).toBe(live);
  });

  test('more connections than there is room for are refused as a whole', async () => {
    const from = tracker();
    for (const port of [1, 2, 3]) add(from, port === 2 ? 6 : 4, port, 1000);
    const into = tracker(3);
    add(into, 4, 77, 1000);
    const error = await refused(restoreSnapshot(into, await takeSnapshot(from, 0), 0, ignore));
    expect(error.place).toMatchObject({ word: '3', expected: 'at most 2' });
    expect(into.count).toBe(1);
  });

  test('any byte changed, and any length cut, is refused and changes nothing', async () => {
    const from = tracker();
    add(from, 4, 1, 1000);
    add(from, 6, 2, 1000);
    const bytes = await takeSnapshot(from, 0);
    const into = tracker();
    for (let at = 0; at < bytes.length; at++) {
      const bad = bytes.slice();
      bad[at]! ^= 0x10;
      await refused(restoreSnapshot(into, bad, 0, ignore));
    }
    for (let length = 0; length < bytes.length; length++) {
      await refused(restoreSnapshot(into, bytes.slice(0, length), 0, ignore));
    }
    expect(into.count).toBe(0);
    expect(await restoreSnapshot(into, bytes, 0, ignore)).toEqual({ restored: 2, clashed: 0 });
  });

  test('its XXH64 is the reference hash of what follows the header', async () => {
    const from = tracker();
    add(from, 4, 1, 1000);
    const bytes = await takeSnapshot(from, 0);
    const reference = (await xxhash()).h64Raw(bytes.subarray(HEADER_BYTES));
    expect(new DataView(bytes.buffer).getBigUint64(20, true)).toBe(reference);
    expect(new DataView(bytes.buffer).getUint32(16, true)).toBe(
      (await xxhash()).h32Raw(bytes.subarray(HEADER_BYTES)),
    );
  });

  test('without WASM it is taken and verified by XXH32 alone, and travels both ways', async () => {
    const from = tracker();
    add(from, 4, 1, 1000);
    const withWasm = await takeSnapshot(from, 0);
    vi.stubGlobal('WebAssembly', undefined);
    vi.resetModules();
    const bare = await import('../../lib/conntrack/snapshot.js');
    const without = await bare.takeSnapshot(from, 0);
    expect(new DataView(without.buffer).getUint32(8, true)).toBe(0);
    expect(without.slice(HEADER_BYTES)).toEqual(withWasm.slice(HEADER_BYTES));
    expect(await bare.restoreSnapshot(tracker(), withWasm, 0, ignore)).toEqual({ restored: 1, clashed: 0 });
    const bad = withWasm.slice();
    bad[40]! ^= 1;
    await expect(bare.restoreSnapshot(tracker(), bad, 0, ignore)).rejects.toThrow('damaged');
    vi.unstubAllGlobals();
    expect(await restoreSnapshot(tracker(), without, 0, ignore)).toEqual({ restored: 1, clashed: 0 });
  });
});
