import { describe, expect, test } from 'vitest';
import { halfSipHash } from '../../lib/memory/siphash.js';

describe('HalfSipHash-2-4', () => {
  // The authors' vectors (vectors_hsip32): key 00 01 .. 07, input 00 01 .. of n bytes.
  test.each([
    [0, 0x5b9f35a9],
    [1, 0x89466e2a],
    [2, 0x8f84b8d0],
    [3, 0x2f87f057],
    [4, 0x84acb5d9],
    [5, 0x45104de3],
  ])('of %i words is what its authors computed', (count, hash) => {
    const bytes = Uint8Array.from({ length: 4 * (count + 1) }, (_, i) => (i < 4 ? 0xaa : i - 4));
    expect(halfSipHash(new Int32Array(bytes.buffer), 1, count, 0x03020100, 0x07060504) >>> 0).toBe(hash);
  });
});
