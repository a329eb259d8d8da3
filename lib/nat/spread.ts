/**
 * Which address of a range a connection gets: a function of its addresses alone, so that a server sees a client come
 * from one address, across restarts too.
 *
 * Linux computes Bob Jenkins' lookup3 (public domain, 2006) over the source address without a secret, so its choice
 * can be repeated: words are taken as they lie in a little-endian machine's memory.
 */
import { Manip, type NatRange, NatRangeFlag } from './range.js';

const INITIAL = 0xdeadbeef | 0;
const SRC = Manip.SRC;

/**
 * Puts the address of `range` that belongs to the key's addresses into the end of `key` that `manip` changes.
 * `zone` is the connection's zone id.
 */
export function spreadAddress(
  key: Int32Array,
  range: NatRange,
  manip: Manip,
  version: number,
  zone: number,
): void {
  const flags = range.flags;
  if ((flags & NatRangeFlag.MAP_IPS) === 0) return;
  const at = manip === SRC ? 0 : 4;
  const minimum = range.minAddress;
  const maximum = range.maxAddress;
  if (
    minimum[0] === maximum[0] &&
    minimum[1] === maximum[1] &&
    minimum[2] === maximum[2] &&
    minimum[3] === maximum[3]
  ) {
    for (let i = 0; i < 4; i++) key[at + i] = minimum[i] as number;
    return;
  }
  const persistent = (flags & NatRangeFlag.PERSISTENT) !== 0;
  const last = version === 4 ? 0 : 3;
  let hash = lookup3(
    swap(key[0] as number),
    swap(key[1] as number),
    swap(key[2] as number),
    swap(key[3] as number),
    persistent ? 0 : swap(key[4 + last] as number) ^ zone,
  );
  let free = false;
  for (let i = 0; i <= last; i++) {
    const first = free ? 0 : (minimum[i] as number) >>> 0;
    const size = free ? 0xffffffff : ((maximum[i] as number) - first + 1) >>> 0;
    const chosen = (first + scale(hash >>> 0, size)) | 0;
    if (chosen !== maximum[i]) free = true;
    key[at + i] = chosen;
    // Of a destination range it is the word just chosen, as in Linux, not the one it replaces.
    if (!persistent) hash ^= swap(key[4 + i] as number);
  }
}

/** floor(value * size / 2^32) for unsigned 32-bit numbers. */
function scale(value: number, size: number): number {
  const high = (value >>> 16) * size;
  const low = (value & 0xffff) * size;
  return Math.floor((high + Math.floor(low / 65536)) / 65536);
}

function swap(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** lookup3's hashword of four words. */
function lookup3(w0: number, w1: number, w2: number, w3: number, seed: number): number {
  let a = (INITIAL + 16 + seed) | 0;
  let b = (a + w1) | 0;
  let c = (a + w2) | 0;
  a = (a + w0) | 0;

  a = ((a - c) | 0) ^ rotate(c, 4);
  c = (c + b) | 0;
  b = ((b - a) | 0) ^ rotate(a, 6);
  a = (a + c) | 0;
  c = ((c - b) | 0) ^ rotate(b, 8);
  b = (b + a) | 0;
  a = ((a - c) | 0) ^ rotate(c, 16);
  c = (c + b) | 0;
  b = ((b - a) | 0) ^ rotate(a, 19);
  a = (a + c) | 0;
  c = ((c - b) | 0) ^ rotate(b, 4);
  b = (b + a) | 0;

  a = (a + w3) | 0;

  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return c;
}
