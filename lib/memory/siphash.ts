/**
 * HalfSipHash-2-4 of int32 words: a keyed hash with no known collisions for who does not know the key. Hot where a table
 * is attacked, see `conntrack/table.ts`; otherwise the cheaper `hash.ts` is used.
 *
 * By the paper of Aumasson and Bernstein ("SipHash: a fast short-input PRF", 2012) and its variant of 32-bit words; bit
 * for bit what the authors' vectors say of the words' little-endian bytes.
 */

const INITIAL_2 = 0x6c796765;
const INITIAL_3 = 0x74656462;
const ROUNDS = 2;
const LAST_ROUNDS = 4;

/** Hash of the `count` words from `at` on, with a key of 64 bits. */
export function halfSipHash(
  words: Int32Array,
  at: number,
  count: number,
  key0: number,
  key1: number,
): number {
  let v0 = key0;
  let v1 = key1;
  let v2 = INITIAL_2 ^ key0;
  let v3 = INITIAL_3 ^ key1;
  const end = at + count;
  // The words, their length in bytes, and the end.
  for (let i = at; i <= end + 1; i++) {
    let word = 0;
    let rounds = ROUNDS;
    if (i < end) word = words[i] as number;
    else if (i === end) word = count << 26;
    else {
      v2 ^= 0xff;
      rounds = LAST_ROUNDS;
    }
    v3 ^= word;
    for (let n = 0; n < rounds; n++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= word;
  }
  return v1 ^ v3;
}
