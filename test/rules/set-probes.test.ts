/** What a lookup in a large set costs, counted: elements that are compared, and keys that are looked for. */
import { describe, expect, test, vi } from 'vitest';
import { RuleContext } from '../../lib/rules/context.js';
import { HashSet, type HashSetOptions, maskPrefix } from '../../lib/rules/sets/hash-set.js';
import { SetQuery, testSet } from '../../lib/rules/sets/set.js';
import { view } from './acl.js';

const ELEMENTS = 100_000;
const FIELDS = { packets: 0, bytes: 0, timeoutSeconds: undefined };
/** A comparison that holds reads the element's key as often as it has words. */
const KEY_WORDS = 6;

/** Elements in 10.0.0.0/8 and fd00::/8, for networks with the prefix lengths in turn. */
function filled(type: HashSetOptions['type'], family: 4 | 6, prefixes: readonly number[]): HashSet {
  const set = new HashSet({
    type,
    family,
    hashsize: 1024,
    maxelem: ELEMENTS,
    forceadd: false,
    mask: undefined,
    maskText: undefined,
    timeoutSeconds: undefined,
    counters: false,
    comment: false,
    skbinfo: false,
  } as unknown as HashSetOptions);
  const key = new Int32Array(KEY_WORDS);
  for (let i = 0; i < ELEMENTS; i++) {
    key.fill(0);
    if (family === 4) key[0] = (10 << 24) | (i * 64);
    else key.set([0xfd000000 | 0, i, 0, i]);
    if (type.startsWith('hash:net')) maskPrefix(key, prefixes[i % prefixes.length]!);
    if (type.endsWith('port')) key[5] = (17 << 16) | 53;
    set.insert(key, FIELDS, true, 0);
  }
  return set;
}

/** Most and mean comparisons, and most keys that were looked for, over packets inside and outside. */
function cost(set: HashSet, packets: readonly string[]): { compared: number; mean: number; looked: number } {
  let reads = 0;
  for (const element of set.elements()) {
    const { key } = element;
    Object.defineProperty(element, 'key', {
      get: () => {
        reads++;
        return key;
      },
    });
  }
  const find = vi.spyOn(set, 'find');
  const query = new SetQuery();
  query.dimensions = set.dimensions;
  query.context = new RuleContext();
  const worst = { compared: 0, mean: 0, looked: 0 };
  for (const notation of packets) {
    reads = 0;
    find.mockClear();
    query.packet = view(notation);
    testSet(set, query);
    worst.compared = Math.max(worst.compared, reads / KEY_WORDS);
    worst.mean += reads / KEY_WORDS / packets.length;
    worst.looked = Math.max(worst.looked, find.mock.calls.length);
  }
  return worst;
}

const inside4 = Array.from({ length: 500 }, (_, i) => `udp 10.9.9.9:1 > 10.${i % 90}.${(i * 7) & 255}.64:53`);
const outside4 = Array.from({ length: 500 }, (_, i) => `udp 10.9.9.9:1 > 192.0.${i & 255}.${i >> 1}:53`);
const packets6 = Array.from({ length: 500 }, (_, i) => {
  const n = (i * 100).toString(16);
  return `udp [fd00::1]:1 > [fd00:0:0:${n}::${n}]:53`;
});

describe(`in a set of ${ELEMENTS} elements`, () => {
  test.each(['hash:ip', 'hash:ip,port'] as const)(
    '%s: one key is looked for, and one element compared',
    (type) => {
      const { compared, mean, looked } = cost(filled(type, 4, [32]), [...inside4, ...outside4]);
      expect(looked).toBe(1);
      expect(compared).toBeLessThanOrEqual(3);
      expect(mean).toBeLessThan(1.1);
    },
  );

  test.each(['hash:net', 'hash:net,port'] as const)('%s: one key per prefix length that there is', (type) => {
    const few = cost(filled(type, 4, [24, 26, 32]), [...inside4, ...outside4]);
    expect(few.looked).toBe(3);
    expect(few.compared).toBeLessThanOrEqual(3);
    const all = cost(
      filled(
        type,
        4,
        Array.from({ length: 32 }, (_, i) => i + 1),
      ),
      [...inside4, ...outside4],
    );
    expect(all.looked).toBe(32);
    expect(all.compared).toBeLessThanOrEqual(3);
  });

  test('IPv6 the same', () => {
    const single = cost(filled('hash:ip', 6, [128]), packets6);
    expect(single.looked).toBe(1);
    expect(single.compared).toBeLessThanOrEqual(3);
    const networks = cost(filled('hash:net', 6, [48, 64, 128]), packets6);
    expect(networks.looked).toBeLessThanOrEqual(3);
    expect(networks.compared).toBeLessThanOrEqual(3);
  });
});
