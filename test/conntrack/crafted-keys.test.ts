/**
 * Keys that a hostile guest crafts so that they meet in one chain.
 *
 * XXH32 takes 16-byte blocks in four lanes: a lane's accumulator `v` becomes `rotl(v + word * P2, 13) * P1`, each lane
 * for itself. IPv6 tuples have two blocks, and words 2 and 6 share a lane. Adding `d / P2` to word 2 adds `d` before the
 * rotation and, if the low 19 bits do not overflow, `d * 2^13 * P1` behind it; taking that over P2 from word 6 undoes
 * it. What the seed is does not matter, but for the overflow, which is rare for small `d`.
 */
import { describe, expect, test, vi } from 'vitest';
import { Direction, NIL } from '../../lib/conntrack/entries.js';
import { Reaper } from '../../lib/conntrack/reaper.js';
import { ConntrackTable, DestroyReason } from '../../lib/conntrack/table.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { hashKey4, hashKey6, invertKey, KEY_WORDS } from '../../lib/conntrack/tuples.js';
import { createGateway } from '../../lib/network/gateway.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { formatAddress } from '../../lib/wire/address.js';

const P1 = 0x9e3779b1 | 0;
const P2 = 0x85ebca77 | 0;
const UDP = 17;

/** x with a * x = 1 mod 2^32, for odd a. */
function inverse(a: number): number {
  let x = a;
  for (let i = 0; i < 5; i++) x = Math.imul(x, (2 - Math.imul(a, x)) | 0);
  return x;
}

/** Key `d` of the collision: one guest with a /64 of its own, its peer in another one. */
function crafted(d: number): Int32Array {
  const key = Int32Array.of(0xfd000000 | 0, 1, 0, 2, 0x20010db8, 0, 0, 7, (40_000 << 16) | 53, UDP);
  key[2] = Math.imul(d, inverse(P2));
  key[6] = -Math.imul(Math.imul(d << 13, P1), inverse(P2));
  return key;
}

const SEEDS = [0, 1, 0x5eed, -1, 0x7fffffff, 123_456_789];

describe('crafted IPv6 keys', () => {
  test('meet in one hash, nearly all of them, whatever the seed is', () => {
    for (const seed of SEEDS) {
      const counts = new Map<number, number>();
      for (let d = 0; d < 1000; d++) {
        const hash = hashKey6(crafted(d), seed);
        counts.set(hash, (counts.get(hash) ?? 0) + 1);
      }
      expect(Math.max(...counts.values())).toBeGreaterThan(900);
    }
  });
});

/** IPv4 keys that meet in one bucket, by somebody who knows the seed; `buckets` is a power of two. */
function guessed(count: number, seed: number, buckets: number): Int32Array[] {
  const keys: Int32Array[] = [];
  for (let n = 0; keys.length < count; n++) {
    const key = new Int32Array(KEY_WORDS);
    key[0] = 0x0a000002;
    key[4] = 0xc6336400 | (n >>> 16);
    key[8] = ((n & 0xffff) << 16) | 53;
    key[9] = UDP;
    if (hashKey4(key, seed) >>> (32 - Math.log2(buckets)) === 0) keys.push(key);
  }
  return keys;
}

const CAPACITY = 4096;
const KEYS = 600;

function connect(table: ConntrackTable, key: Int32Array): number {
  const entry = table.take();
  const reply = new Int32Array(KEY_WORDS);
  invertKey(reply, key);
  table.setKey(entry, Direction.ORIGINAL, key);
  table.setKey(entry, Direction.REPLY, reply);
  table.entries.setExpires(entry, 1_000_000);
  table.link(entry);
  return entry;
}

describe.each([
  { version: 6, keys: Array.from({ length: KEYS }, (_, d) => crafted(d)), seed: 0x5eed },
  { version: 4, keys: guessed(KEYS, 7, CAPACITY), seed: 7 },
])('an IPv$version table under attack', ({ version, keys, seed }) => {
  function attacked(use: (table: ConntrackTable, key: Int32Array, steps: () => number) => void) {
    const table = new ConntrackTable(version, CAPACITY, CAPACITY, seed, () => 0x1234567);
    const met = vi.spyOn(table.entries, 'hasExpired');
    const steps = () => met.mock.calls.length;
    for (const key of keys) use(table, key, steps);
    return { table, steps };
  }

  test('bounds the nodes that a lookup walks over, while keys come and ever after', () => {
    let worst = 0;
    const { table, steps } = attacked((table, key, steps) => {
      const before = steps();
      // As tracking does it: looked for, then linked.
      expect(table.find(key, 0)).toBe(NIL);
      worst = Math.max(worst, steps() - before);
      connect(table, key);
    });
    expect(table.isRekeyed).toBe(1);
    expect(table.isRekeying).toBe(1);
    expect(worst).toBeGreaterThan(table.mostMet - 5);
    expect(worst).toBeLessThan(2 * table.mostMet);
    for (const key of keys) {
      const before = steps();
      expect(table.find(key, 0)).toBeGreaterThanOrEqual(0);
      expect(steps() - before).toBeLessThan(2 * table.mostMet);
    }
    while (table.isRekeying === 1) table.rekey(1000);
    worst = 0;
    for (const key of keys) {
      const before = steps();
      expect(table.find(key, 0)).toBeGreaterThanOrEqual(0);
      worst = Math.max(worst, steps() - before);
    }
    expect(worst).toBeLessThan(12);
  });

  test('moves its entries in small steps, and finds all of them at every step', () => {
    const { table } = attacked((table, key) => {
      table.find(key, 0);
      connect(table, key);
    });
    let steps = 0;
    for (; table.isRekeying === 1; steps++) {
      table.rekey(20_000);
      for (const key of keys) {
        const found = table.find(key, 0);
        expect(found).toBeGreaterThanOrEqual(0);
        expect(table.entries.matchesKey(found, key)).toBe(1);
      }
    }
    expect(steps).toBeGreaterThan(5);
    for (const key of keys) {
      table.destroy(table.entries.entryOf(table.find(key, 0)), DestroyReason.DELETED);
      expect(table.find(key, 0)).toBe(NIL);
    }
    expect(table.live).toBe(0);
    expect(table.buckets.lines.every((word) => word === 0)).toBe(true);
  });
});

test('the reaper moves the entries, in its slices, before it goes on with its passes', () => {
  const tracker = new Tracker({ maxConnections: CAPACITY, buckets: CAPACITY, seed: 1 });
  const reaper = new Reaper(tracker);
  tracker.begin(0);
  const table = tracker.table(6);
  reaper.start(0);
  for (let d = 0; d < 3000; d++) connect(table, crafted(d));
  table.find(crafted(5000), 0);
  expect(table.isRekeying).toBe(1);
  reaper.advance(4_999);
  expect(table.isRekeying).toBe(1);
  reaper.advance(5_000);
  expect(reaper.nextMs, 'there is more to do').toBe(5_000);
  reaper.finish(5_000);
  expect(table.isRekeying).toBe(0);
  expect(reaper.report().passes).toBe(1);
});

test('ordinary tables keep their hash: chains of chance are shorter', () => {
  const table = new ConntrackTable(4, 60_000, 16_384, 99);
  const key = new Int32Array(KEY_WORDS);
  for (let n = 0; n < 60_000; n++) {
    key[0] = 0x0a000000 + (n >>> 12);
    key[4] = 0x01010101;
    key[8] = ((n & 4095) << 16) | 443;
    key[9] = 6;
    table.find(key, 0);
    connect(table, key);
  }
  expect(table.isRekeyed).toBe(0);
});

test('a guest that floods a gateway with crafted packets pays for short chains only', () => {
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['fd00:0:0:1::1/64'] },
      { name: 'wan', addresses: ['2001:db8::1/64'] },
    ],
    routes: ['-6 default via 2001:db8::fe'],
    tracking: 'always',
    maxConnections: CAPACITY,
    seed: 3,
    clock: { nowMs: () => 0 },
  });
  const table = gateway.engine.tracker.table(6);
  const met = vi.spyOn(table.entries, 'hasExpired');
  let worst = 0;
  for (let round = 0; round < 2; round++) {
    for (let d = 0; d < KEYS; d++) {
      const key = crafted(d);
      const from = formatAddress(key.slice(0, 4), 6);
      const to = formatAddress(key.slice(4, 8), 6);
      const before = met.mock.calls.length;
      gateway.interfaces[0]!.receive(parsePacket(`udp [${from}]:40000 > [${to}]:53 data 00`));
      worst = Math.max(worst, met.mock.calls.length - before);
    }
  }
  expect(table.live).toBe(KEYS);
  expect(table.isRekeyed).toBe(1);
  expect(worst).toBeLessThan(3 * table.mostMet);
  gateway.close();
});
