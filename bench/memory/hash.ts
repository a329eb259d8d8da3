/** The tuple hash: our words path, and `xxhash-wasm` for the same keys as bytes. */
import xxhash from 'xxhash-wasm';
import { hash4, hashWords } from '../../lib/memory/hash.js';
import { emptyKey, originalKey, shuffled } from '../flows.js';
import { BATCH, SEED, type Subject } from '../subject.js';

/** [flows * 4] the four words of each IPv4 key that are hashed. */
function words4(flows: number): Int32Array {
  const words = new Int32Array(flows * 4);
  const key = emptyKey();
  for (const [i, flow] of shuffled(flows).entries()) {
    originalKey(key, flow);
    words.set([key[0] as number, key[4] as number, key[8] as number, key[9] as number], i * 4);
  }
  return words;
}

export const hashes: Subject[] = [
  {
    name: 'hash/words',
    sizes: [1024],
    operation: 'XXH32 of an IPv4 tuple (4 words)',
    prepare(flows) {
      const words = words4(flows);
      let at = 0;
      return {
        operations: BATCH,
        run() {
          let sink = 0;
          for (let n = 0; n < BATCH; n++) {
            sink ^= hash4(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!, SEED);
            at += 4;
            if (at === words.length) at = 0;
          }
          return sink;
        },
      };
    },
  },
  {
    name: 'hash/words-ipv6',
    sizes: [1024],
    operation: 'XXH32 of an IPv6 tuple (10 words)',
    prepare(flows) {
      const words = new Int32Array(flows * 10);
      const key = emptyKey();
      for (const [i, flow] of shuffled(flows).entries()) {
        originalKey(key, flow);
        words.set(key, i * 10);
      }
      let at = 0;
      return {
        operations: BATCH,
        run() {
          let sink = 0;
          for (let n = 0; n < BATCH; n++) {
            sink ^= hashWords(words, at, 10, SEED);
            at += 10;
            if (at === words.length) at = 0;
          }
          return sink;
        },
      };
    },
  },
  {
    name: 'hash/xxhash-wasm',
    sizes: [1024],
    operation: 'the same IPv4 tuple by xxhash-wasm (h32Raw of 16 bytes)',
    async prepare(flows) {
      const { h32Raw } = await xxhash();
      const words = words4(flows);
      const key = new Int32Array(4);
      const bytes = new Uint8Array(key.buffer);
      let at = 0;
      return {
        operations: BATCH,
        run() {
          let sink = 0;
          for (let n = 0; n < BATCH; n++) {
            for (let i = 0; i < 4; i++) key[i] = words[at + i]!;
            sink ^= h32Raw(bytes, SEED);
            at += 4;
            if (at === words.length) at = 0;
          }
          return sink;
        },
      };
    },
  },
];
