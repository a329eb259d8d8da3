import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Tally } from '../../lib/memory/tally.js';

/** Hashes that share groups and fingerprints, and some that do not. */
const hash = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, 1, 2, 255, 256, 257, -1, -2, 0x7fffffff, -0x80000000, 0x40000000),
  fc.nat(40),
);
const step = fc.record({ hash, leaves: fc.nat(2).map((n) => n === 0), which: fc.nat() });

const print = (one: number) => one & 255 || 1;

test.each([1, 2, 7, 4096])('%i groups never deny a member, and know an empty set', (groups) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const tally = new Tally(groups);
      const members: number[] = [];
      for (const one of steps) {
        if (one.leaves && members.length > 0) {
          tally.remove(members.splice(one.which % members.length, 1)[0] as number);
        } else {
          members.push(one.hash);
          tally.add(one.hash);
        }
        for (const member of members) expect(tally.has(member)).toBe(1);
      }
      while (members.length > 0) tally.remove(members.pop() as number);
      for (const { hash } of steps) expect(tally.has(hash)).toBe(0);
    }),
  );
});

test.each([1, 5])(
  'of %i groups, those with places left say 1 of the fingerprints in them and no others',
  (groups) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 15 }), fc.array(hash), (steps, others) => {
        const tally = new Tally(groups);
        const members: number[] = [];
        for (const one of steps) {
          if (one.leaves && members.length > 0) {
            tally.remove(members.splice(one.which % members.length, 1)[0] as number);
          } else {
            members.push(one.hash);
            tally.add(one.hash);
          }
          for (const other of others) {
            const isThere = members.some(
              (member) => tally.groupOf(member) === tally.groupOf(other) && print(member) === print(other),
            );
            expect(tally.has(other)).toBe(isThere ? 1 : 0);
          }
        }
      }),
    );
  },
);

test('a group is chosen by all of a hash, and each is', () => {
  const tally = new Tally(1000);
  const met = new Set<number>();
  for (let i = 0; i < 100_000; i++) met.add(tally.groupOf(Math.imul(i, 0x9e3779b1)));
  expect(met.size).toBe(1000);
  expect([tally.groupOf(0), tally.groupOf(-1)]).toEqual([0, 999]);
});

test('with eight to a group, few hashes that no member has are taken for one', () => {
  const tally = new Tally(1024);
  const drawn = (i: number) =>
    Math.imul(Math.imul(i, 0x9e3779b1) ^ (i >>> 3), 0x85ebca6b) ^ Math.imul(i, 0xc2b2ae35);
  for (let i = 0; i < 8192; i++) tally.add(drawn(i));
  let taken = 0;
  for (let i = 8192; i < 24_576; i++) taken += tally.has(drawn(i));
  expect(taken).toBeGreaterThan(0);
  expect(taken / 16_384).toBeLessThan(0.08);
});

test('a count that is full stays so, and says nothing of other groups', () => {
  const tally = new Tally(2);
  for (let n = 0; n < 400; n++) tally.add(3);
  for (let n = 0; n < 400; n++) tally.remove(3);
  expect([tally.has(3), tally.has(9), tally.has(-1)]).toEqual([1, 1, 0]);
});

test.each([0, -1, 1.5, 2 ** 32])('%d groups are refused', (groups) => {
  expect(() => new Tally(groups)).toThrow(RangeError);
});
