import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SeededRandom, unpredictableRandom, unpredictableSeed } from '../../lib/random.js';

function draws(random: SeededRandom, count: number): number[] {
  return Array.from({ length: count }, () => random.u32());
}

describe('seeded randomness', () => {
  test('a seed decides the sequence; another seed gives another', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer(), (a, b) => {
        expect(draws(new SeededRandom(a), 20)).toEqual(draws(new SeededRandom(a), 20));
        if (a !== b) expect(draws(new SeededRandom(a), 20)).not.toEqual(draws(new SeededRandom(b), 20));
      }),
    );
  });

  test('numbers are unsigned 32-bit and each bit is set about half of the time', () => {
    const ones = new Array<number>(32).fill(0);
    for (const value of draws(new SeededRandom(1), 10_000)) {
      expect(Number.isInteger(value) && value >= 0 && value <= 0xffffffff).toBe(true);
      for (let bit = 0; bit < 32; bit++) ones[bit]! += (value >>> bit) & 1;
    }
    // Six standard deviations of a fair coin thrown 10,000 times.
    for (const count of ones) expect(Math.abs(count - 5000)).toBeLessThan(300);
  });

  test('a pick lies in its range, reaches both ends, and a range of one or none draws nothing', () => {
    const random = new SeededRandom(7);
    const seen = new Set<number>();
    for (let i = 0; i < 1000; i++) seen.add(random.pick(1024, 5));
    expect([...seen].sort()).toEqual([1024, 1025, 1026, 1027, 1028]);
    const before = new SeededRandom(9);
    expect(before.pick(80, 1)).toBe(80);
    expect(before.pick(80, 0)).toBe(80);
    expect(before.u32()).toBe(new SeededRandom(9).u32());
  });

  test('what is foretold is what is picked next, and nothing is drawn for it', () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.tuple(fc.nat(65_535), fc.nat(65_536))), (seed, ranges) => {
        const random = new SeededRandom(seed);
        const twin = new SeededRandom(seed);
        for (const [first, size] of ranges) {
          const foretold = random.foretell(first, size);
          expect(random.foretell(first, size)).toBe(foretold);
          expect(random.pick(first, size)).toBe(foretold);
          expect(twin.pick(first, size)).toBe(foretold);
        }
        expect(random.u32()).toBe(twin.u32());
      }),
    );
  });

  test('the default source differs from run to run', () => {
    expect(new Set(Array.from({ length: 50 }, () => unpredictableSeed())).size).toBeGreaterThan(45);
    expect(unpredictableRandom().u32()).not.toBe(unpredictableRandom().u32());
  });
});
