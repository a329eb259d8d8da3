import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import xxhash, { type XXHashAPI } from 'xxhash-wasm';
import { hash4, hash10, hashWords } from '../../lib/memory/hash.js';

let reference: XXHashAPI;

beforeAll(async () => {
  reference = await xxhash();
});

const word = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 1, 0x7fffffff, -0x80000000));

/** Little-endian bytes of the words. */
function bytesOf(words: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(words.length * 4));
  words.forEach((value, i) => {
    view.setInt32(i * 4, value, true);
  });
  return new Uint8Array(view.buffer);
}

describe('the words path of XXH32', () => {
  test('four words hash as the reference hashes their 16 bytes, for every seed', () => {
    fc.assert(
      fc.property(word, word, word, word, word, (a, b, c, d, seed) => {
        expect(hash4(a, b, c, d, seed) >>> 0).toBe(reference.h32Raw(bytesOf([a, b, c, d]), seed >>> 0));
      }),
      { numRuns: 2000 },
    );
  });

  test('ten words hash as the reference hashes their 40 bytes, for every seed', () => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 10, maxLength: 10 }), word, (words, seed) => {
        const hash = hash10(Int32Array.from(words), seed);
        expect(hash >>> 0).toBe(reference.h32Raw(bytesOf(words), seed >>> 0));
        expect(hash).toBe(hashWords(Int32Array.from(words), 0, 10, seed));
      }),
      { numRuns: 2000 },
    );
  });

  test('any number of words, anywhere in an array, hashes as the reference hashes their bytes', () => {
    fc.assert(
      fc.property(
        fc.array(word, { maxLength: 70 }),
        fc.array(word, { maxLength: 5 }),
        fc.array(word, { maxLength: 5 }),
        word,
        (words, before, after, seed) => {
          const all = Int32Array.from([...before, ...words, ...after]);
          expect(hashWords(all, before.length, words.length, seed) >>> 0).toBe(
            reference.h32Raw(bytesOf(words), seed >>> 0),
          );
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('four words hash alike on both paths', () => {
    fc.assert(
      fc.property(word, word, word, word, word, (a, b, c, d, seed) => {
        expect(hash4(a, b, c, d, seed)).toBe(hashWords(Int32Array.of(a, b, c, d), 0, 4, seed));
      }),
    );
  });

  test('the published value of the empty input', () => {
    expect(hashWords(new Int32Array(0), 0, 0, 0) >>> 0).toBe(0x02cc5d05);
  });
});
