import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Chains } from '../../lib/memory/chains.js';

const STRIDE = 3;
const NODES = 10;

function nodesOf(chains: Chains, bucket: number): number[] {
  const nodes: number[] = [];
  let prev = -1;
  for (let node = chains.head(bucket); node !== -1; node = chains.next(node)) {
    expect(nodes.length, 'a chain has an end').toBeLessThanOrEqual(NODES);
    expect(chains.prev(node), 'prev is the node that came before').toBe(prev);
    nodes.push(node);
    prev = node;
  }
  return nodes;
}

describe('chains', () => {
  test('against arrays: every bucket lists what was linked and not unlinked, last linked first', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4),
        fc.array(fc.tuple(fc.nat(NODES - 1), fc.nat(3), fc.boolean()), { maxLength: 200 }),
        (bucketCount, steps) => {
          const chains = new Chains(new Int32Array(NODES * STRIDE).fill(7), bucketCount, 1, 2);
          const twin: number[][] = Array.from({ length: bucketCount }, () => []);
          for (const [index, hash, isChecked] of steps) {
            const node = index * STRIDE;
            const holder = twin.findIndex((nodes) => nodes.includes(node));
            if (holder === -1) {
              const bucket = chains.bucketOf(hash);
              chains.link(bucket, node);
              twin[bucket]!.unshift(node);
            } else {
              chains.unlink(holder, node);
              twin[holder]!.splice(twin[holder]!.indexOf(node), 1);
            }
            // Whoever looks has the link that waits written; so not after each step.
            for (let bucket = 0; isChecked && bucket < bucketCount; bucket++) {
              expect(nodesOf(chains, bucket)).toEqual(twin[bucket]);
            }
          }
          for (let bucket = 0; bucket < bucketCount; bucket++) {
            expect(nodesOf(chains, bucket)).toEqual(twin[bucket]);
          }
          chains.reset();
          for (let bucket = 0; bucket < bucketCount; bucket++) expect(nodesOf(chains, bucket)).toEqual([]);
        },
      ),
    );
  });

  test('one link waits to be written, and it is known where: behind whom there is somebody', () => {
    const words = new Int32Array(NODES * STRIDE).fill(7);
    const chains = new Chains(words, 2, 1, 2);
    chains.link(0, 3);
    expect(chains.untoldAt).toBe(0);
    chains.link(0, 6);
    expect([chains.untoldAt, words[3 + 2]]).toEqual([3 + 2, -1]);
    chains.link(1, 9);
    expect([chains.untoldAt, words[3 + 2]]).toEqual([0, 6]);
    chains.link(1, 12);
    expect(chains.untoldAt).toBe(9 + 2);
    chains.unlink(1, 9);
    expect([chains.untoldAt, nodesOf(chains, 1)]).toEqual([0, [12]]);
    chains.link(1, 9);
    chains.unlink(1, 9);
    chains.link(0, 9);
    chains.reset();
    chains.link(0, 3);
    expect(words[6 + 2]).toBe(-1);
    expect(nodesOf(chains, 0)).toEqual([3]);
  });

  test('the bucket of a hash is below the count, for negative hashes too', () => {
    const chains = new Chains(new Int32Array(3), 8, 1, 2);
    expect([-1, 0, 7, 8, 9, 0x7fffffff, -0x80000000].map((hash) => chains.bucketOf(hash))).toEqual([
      7, 0, 7, 0, 1, 7, 0,
    ]);
  });

  test.each([0, 3, 6, -8, 1.5])('a bucket count of %s is refused', (count) => {
    expect(() => new Chains(new Int32Array(3), count, 1, 2)).toThrow(RangeError);
  });
});
