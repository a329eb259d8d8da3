/**
 * XXH32 over int32 words. Hot. Bit for bit the XXH32 of the words' little-endian bytes, as `xxhash-wasm` computes
 * it (the tests hold the two together); written out because the call into WASM costs ten times the hash.
 *
 * With a seed that guests do not know, buckets cannot be guessed; but XXH32 has collisions that hold for every
 * seed, so the table must survive long chains all the same (see `conntrack/table.ts`).
 */

const { imul } = Math;
const PRIME_1 = 0x9e3779b1 | 0;
const PRIME_2 = 0x85ebca77 | 0;
const PRIME_3 = 0xc2b2ae3d | 0;
const PRIME_4 = 0x27d4eb2f | 0;
const PRIME_5 = 0x165667b1 | 0;

/** XXH32 of the 16 bytes in `words[a], words[b], words[c], words[d]`. */
export function hash4(a: number, b: number, c: number, d: number, seed: number): number {
  let v1 = (seed + PRIME_1 + PRIME_2 + imul(a, PRIME_2)) | 0;
  let v2 = (seed + PRIME_2 + imul(b, PRIME_2)) | 0;
  let v3 = (seed + imul(c, PRIME_2)) | 0;
  let v4 = (seed - PRIME_1 + imul(d, PRIME_2)) | 0;
  v1 = imul((v1 << 13) | (v1 >>> 19), PRIME_1);
  v2 = imul((v2 << 13) | (v2 >>> 19), PRIME_1);
  v3 = imul((v3 << 13) | (v3 >>> 19), PRIME_1);
  v4 = imul((v4 << 13) | (v4 >>> 19), PRIME_1);
  let hash =
    (((v1 << 1) | (v1 >>> 31)) +
      ((v2 << 7) | (v2 >>> 25)) +
      ((v3 << 12) | (v3 >>> 20)) +
      ((v4 << 18) | (v4 >>> 14)) +
      16) |
    0;
  hash = imul(hash ^ (hash >>> 15), PRIME_2);
  hash = imul(hash ^ (hash >>> 13), PRIME_3);
  return hash ^ (hash >>> 16);
}

/** XXH32 of the 40 bytes in `words[0, 10)`; `hashWords` written out, which takes half the time. */
export function hash10(words: Int32Array, seed: number): number {
  let v1 = (seed + PRIME_1 + PRIME_2 + imul(words[0] as number, PRIME_2)) | 0;
  let v2 = (seed + PRIME_2 + imul(words[1] as number, PRIME_2)) | 0;
  let v3 = (seed + imul(words[2] as number, PRIME_2)) | 0;
  let v4 = (seed - PRIME_1 + imul(words[3] as number, PRIME_2)) | 0;
  v1 = (imul((v1 << 13) | (v1 >>> 19), PRIME_1) + imul(words[4] as number, PRIME_2)) | 0;
  v2 = (imul((v2 << 13) | (v2 >>> 19), PRIME_1) + imul(words[5] as number, PRIME_2)) | 0;
  v3 = (imul((v3 << 13) | (v3 >>> 19), PRIME_1) + imul(words[6] as number, PRIME_2)) | 0;
  v4 = (imul((v4 << 13) | (v4 >>> 19), PRIME_1) + imul(words[7] as number, PRIME_2)) | 0;
  v1 = imul((v1 << 13) | (v1 >>> 19), PRIME_1);
  v2 = imul((v2 << 13) | (v2 >>> 19), PRIME_1);
  v3 = imul((v3 << 13) | (v3 >>> 19), PRIME_1);
  v4 = imul((v4 << 13) | (v4 >>> 19), PRIME_1);
  const hash = (rotate(v1, 1) + rotate(v2, 7) + rotate(v3, 12) + rotate(v4, 18) + 40) | 0;
  return avalanche(tail(tail(hash, words[8] as number), words[9] as number));
}

/** XXH32 of the `count` words from `at` on. */
export function hashWords(words: Int32Array, at: number, count: number, seed: number): number {
  const end = at + count;
  let hash: number;
  if (count >= 4) {
    let v1 = (seed + PRIME_1 + PRIME_2) | 0;
    let v2 = (seed + PRIME_2) | 0;
    let v3 = seed | 0;
    let v4 = (seed - PRIME_1) | 0;
    for (const limit = end - 4; at <= limit; at += 4) {
      v1 = lane(v1, words[at] as number);
      v2 = lane(v2, words[at + 1] as number);
      v3 = lane(v3, words[at + 2] as number);
      v4 = lane(v4, words[at + 3] as number);
    }
    hash = (rotate(v1, 1) + rotate(v2, 7) + rotate(v3, 12) + rotate(v4, 18)) | 0;
  } else {
    hash = (seed + PRIME_5) | 0;
  }
  hash = (hash + (count << 2)) | 0;
  for (; at < end; at++) {
    hash = tail(hash, words[at] as number);
  }
  return avalanche(hash);
}

function lane(accumulator: number, word: number): number {
  return Math.imul(rotate((accumulator + Math.imul(word, PRIME_2)) | 0, 13), PRIME_1);
}

/** A word behind the last block. */
function tail(hash: number, word: number): number {
  return Math.imul(rotate((hash + Math.imul(word, PRIME_3)) | 0, 17), PRIME_4);
}

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

function avalanche(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return hash ^ (hash >>> 16);
}
