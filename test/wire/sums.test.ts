/** The sums of ranges are those of a loop over 16-bit words, whichever way they are read. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fold, sumBytes, sumRange, sumView } from '../../lib/wire/checksum.js';
import { LongSum } from '../../lib/wire/long-sum.js';

/** RFC 1071 section 1, word for word, folded at the end. */
function slowSum(bytes: Uint8Array, from: number, to: number, initial: number): number {
  let sum = initial;
  for (let at = from; at < to; at += 2) {
    sum += ((bytes[at] ?? 0) << 8) | (at + 1 < to ? (bytes[at + 1] ?? 0) : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

const range = fc
  .tuple(fc.uint8Array({ maxLength: 200, size: 'max' }), fc.nat(40), fc.nat(40), fc.nat(0xffff))
  .map(([bytes, head, tail, initial]) => {
    const from = Math.min(head, bytes.length);
    return { bytes, from, to: Math.max(from, bytes.length - tail), initial };
  });

test('sumRange and sumView', () => {
  fc.assert(
    fc.property(range, ({ bytes, from, to, initial }) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const sum = slowSum(bytes, from, to, initial);
      expect(sumRange(bytes, from, to, initial)).toBe(sum);
      expect(sumView(view, from, to, initial)).toBe(sum);
    }),
    { numRuns: 2000 },
  );
});

test.each([0, 1, 20, 1479, 1480, 65_515, 65_535])('%s bytes of all ones, the largest sum', (length) => {
  const bytes = new Uint8Array(length).fill(0xff);
  const sum = slowSum(bytes, 0, length, 0xffff);
  expect(sumRange(bytes, 0, length, 0xffff)).toBe(sum);
  expect(sumView(new DataView(bytes.buffer), 0, length, 0xffff)).toBe(sum);
});

test('LongSum, of buffers that come once, again, and with other bytes', () => {
  const longSum = new LongSum();
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 4 }), fc.nat(3), (ranges, again) => {
      for (const { bytes, from, to } of ranges) {
        for (let n = 0; n <= again; n++) {
          if (from < to) bytes[from] = n;
          const sum = slowSum(bytes, from, to, 0);
          expect(fold(longSum.sum(bytes, from, to))).toBe(sum);
          expect(fold(sumBytes(bytes, from, to))).toBe(sum);
        }
      }
    }),
    { numRuns: 500 },
  );
});
