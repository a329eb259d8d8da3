import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nanosecondCount, timeOfCount, timeOfMs } from '../../lib/capture/timestamp.js';

const TWO_32 = 2n ** 32n;

/** The slow twin: arithmetic with bigint. */
function expectedTime(count: bigint, resolution: number) {
  const exponent = BigInt(resolution & 0x7f);
  const perSecond = (resolution & 0x80) === 0 ? 10n ** exponent : 2n ** exponent;
  return {
    seconds: Number(count / perSecond),
    nanos: Number(((count % perSecond) * 1_000_000_000n) / perSecond),
  };
}

const word = fc.integer({ min: 0, max: 0xffffffff });

describe('timeOfCount', () => {
  test('decimal units of any size agree with bigint arithmetic', () => {
    fc.assert(
      fc.property(word, word, fc.integer({ min: 0, max: 127 }), (high, low, resolution) => {
        const expected = expectedTime(BigInt(high) * TWO_32 + BigInt(low), resolution);
        expect(timeOfCount(high, low, resolution)).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  test('binary units agree to the nanosecond', () => {
    fc.assert(
      fc.property(word, word, fc.integer({ min: 0, max: 127 }), (high, low, exponent) => {
        const expected = expectedTime(BigInt(high) * TWO_32 + BigInt(low), 0x80 | exponent);
        const got = timeOfCount(high, low, 0x80 | exponent);
        const apart = (got.seconds - expected.seconds) * 1e9 + got.nanos - expected.nanos;
        expect(Math.abs(apart)).toBeLessThanOrEqual(
          exponent === 0 || expected.seconds > 2 ** 53 ? 4096e9 : 1,
        );
        expect(got.nanos).toBeGreaterThanOrEqual(0);
        expect(got.nanos).toBeLessThan(1e9);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('nanosecondCount', () => {
  test('is undone by timeOfCount', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 18_446_744_072 }),
        fc.integer({ min: 0, max: 999_999_999 }),
        (seconds, nanos) => {
          const [high, low] = nanosecondCount(seconds, nanos);
          expect(BigInt(high) * TWO_32 + BigInt(low)).toBe(BigInt(seconds) * 1_000_000_000n + BigInt(nanos));
          expect(timeOfCount(high, low, 9)).toEqual({ seconds, nanos });
        },
      ),
    );
  });

  test.each([
    [-1, 0],
    [18_446_744_073, 0],
    [1.5, 0],
    [Number.NaN, 0],
    [1, -1],
    [1, 1_000_000_000],
    [1, 0.5],
  ])('%d s and %d ns are refused', (seconds, nanos) => {
    expect(() => nanosecondCount(seconds, nanos)).toThrow(expect.objectContaining({ code: 'value' }));
  });
});

test.each([
  [1234.5, 1, 234_500_000],
  [0, 0, 0],
  [-0.25, -1, 999_750_000],
  [1999.9999999, 2, 0],
])('%d ms splits into %d s and %d ns', (ms, seconds, nanos) => {
  expect(timeOfMs(ms)).toEqual({ seconds, nanos });
});
