import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Tally } from '../../lib/memory/tally.js';

/** Hashes that share counters, and some that do not. */
const hash = fc.oneof(fc.integer(), fc.constantFrom(0, 1, 2, -1, -2, 0x7fffffff, -0x80000000, 0x40000000));

test.each([2, 16, 4096])('%i counters never deny a member, and know an empty set', (count) => {
  fc.assert(
    fc.property(fc.array(fc.record({ hash, leaves: fc.boolean() }), { maxLength: 60 }), (steps) => {
      const tally = new Tally(count);
      const members: number[] = [];
      const most = new Map<number, number>();
      const counterOf = (one: number) => (one >>> 0) >>> (32 - Math.log2(count));
      for (const one of steps) {
        if (one.leaves && members.length > 0) tally.remove(members.pop()!);
        else {
          members.push(one.hash);
          tally.add(one.hash);
        }
        for (const counter of new Set(members.map(counterOf))) {
          const there = members.filter((member) => counterOf(member) === counter).length;
          most.set(counter, Math.max(most.get(counter) ?? 0, there));
        }
        for (const member of members) expect(tally.has(member)).toBe(1);
      }
      while (members.length > 0) tally.remove(members.pop()!);
      for (const { hash } of steps) {
        const wasFull = (most.get(counterOf(hash)) ?? 0) >= 15;
        expect(tally.has(hash)).toBe(wasFull ? 1 : 0);
      }
    }),
  );
});

test('a full counter stays so, and its neighbour is another one', () => {
  const tally = new Tally(16);
  for (let n = 0; n < 40; n++) tally.add(0);
  for (let n = 0; n < 40; n++) tally.remove(0);
  expect([tally.has(0), tally.has(1 << 28), tally.has(2 << 28)]).toEqual([1, 0, 0]);
});

test.each([0, 1, 3, 2 ** 32])('%i counters are refused', (count) => {
  expect(() => new Tally(count)).toThrow(RangeError);
});
