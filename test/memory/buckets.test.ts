/** Buckets against a map from node to hash, and their lines word by word. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { Buckets, PLACES } from '../../lib/memory/buckets.js';

const LINE = 16;
const NODES = 64;
const NEXT = 1;
const PREV = 2;

/** Few hashes far apart and near each other, so that buckets overflow and tags meet. */
const hashes = fc.constantFrom(0, 1, 2, 3, -1, -2, 0x7fffffff, -0x80000000, 0x40000000, 0x3fffffff);

describe('buckets', () => {
  it('hold exactly the nodes that are linked, each in the bucket of its hash, found by its tag', () => {
    const steps = fc.array(fc.record({ node: fc.nat(NODES - 1), hash: hashes }), { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), steps, (most, all) => {
        const buckets = new Buckets(new Int32Array(NODES * LINE).fill(7), most, NEXT, PREV);
        const twin = new Map<number, number>();
        for (const { node: n, hash } of all) {
          const node = n * LINE;
          const linked = twin.get(node);
          if (linked === undefined) {
            buckets.link(hash, node);
            twin.set(node, hash);
          } else {
            buckets.unlink(linked, node);
            twin.delete(node);
          }
          check(buckets, twin);
        }
        for (const [node, hash] of twin) buckets.unlink(hash, node);
        expect(buckets.lines.every((word) => word === 0)).toBe(true);
      }),
    );
  });

  it('have 15 nodes in the line, and the oldest behind it', () => {
    const buckets = new Buckets(new Int32Array(NODES * LINE), 1, NEXT, PREV);
    const nodes = () => [...buckets.nodes(0)].map((node) => node / LINE);
    for (let n = 0; n < 20; n++) buckets.link(n, n * LINE);
    expect(buckets.lines.slice(0, PLACES).every((word) => word !== 0)).toBe(true);
    expect(buckets.list(0)).toBe(4 * LINE);
    expect(nodes()).toEqual([19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    buckets.unlink(17, 17 * LINE);
    buckets.unlink(3, 3 * LINE);
    buckets.unlink(5, 5 * LINE);
    expect(nodes()).toEqual([19, 18, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 4, 2, 1, 0]);
    // Places that came free are for new ones.
    buckets.link(50, 50 * LINE);
    expect(nodes()).toEqual([50, 19, 18, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 4, 2, 1, 0]);
    expect(buckets.list(0)).toBe(4 * LINE);
  });
});

/** `twin` has the nodes in the order in which they were linked. */
function check(buckets: Buckets, twin: ReadonlyMap<number, number>): void {
  const order = [...twin.keys()];
  const seen = new Set<number>();
  for (let line = 0; line < buckets.lines.length; line += LINE) {
    let before = order.length;
    for (const node of buckets.nodes(line)) {
      expect(order.indexOf(node), 'newer nodes come first').toBeLessThan(before);
      before = order.indexOf(node);
      expect(seen.has(node)).toBe(false);
      seen.add(node);
      expect(buckets.lineOf(twin.get(node)!)).toBe(line);
    }
    const words = [...buckets.lines.slice(line, line + PLACES)];
    const end = words.indexOf(0);
    if (end >= 0)
      expect(
        words.slice(end).every((word) => word === 0),
        'no gaps',
      ).toBe(true);
    for (const word of words.filter((word) => word !== 0)) {
      const hash = twin.get(buckets.nodeOf(word))!;
      expect((word ^ buckets.tagged(hash)) >>> buckets.idBits, "the tag is the hash's").toBe(0);
    }
  }
  expect(seen).toEqual(new Set(twin.keys()));
}

test.each([
  [1, 1],
  [31, 31],
  [32, 32],
  [33, 32],
  [65, 64],
  [160_000, 155_648],
])('at most %i buckets are %i', (most, count) => {
  const buckets = new Buckets(new Int32Array(LINE), most, NEXT, PREV);
  expect(buckets.count).toBe(count);
  // Every hash has one, the first and the last too, and a higher hash none before a lower one's.
  const lines = [0, 1, 0x3fffffff, 0x7fffffff, -0x80000000, -2, -1].map(
    (hash) => buckets.lineOf(hash) / LINE,
  );
  expect(lines[0]).toBe(0);
  expect(lines.at(-1)).toBe(count - 1);
  expect(lines).toEqual([...lines].sort((a, b) => a - b));
});

test('hashes are spread evenly', () => {
  const buckets = new Buckets(new Int32Array(LINE), 47, NEXT, PREV);
  const counts = new Array<number>(buckets.count).fill(0);
  for (let n = 0; n < 2 ** 16; n++) counts[buckets.lineOf(n << 16) / LINE]!++;
  const mean = 2 ** 16 / buckets.count;
  for (const count of counts) expect(Math.abs(count - mean)).toBeLessThan(0.15 * mean);
});

test.each([0, -1, 1.5, Number.NaN, 2 ** 23 + 1])('%d buckets are refused', (most) => {
  expect(() => new Buckets(new Int32Array(LINE), most, NEXT, PREV)).toThrow(RangeError);
});
