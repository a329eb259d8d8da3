/**
 * How many connections a store can hold, and the memory for them. Cold.
 *
 * Ids are int32 offsets of words, which bounds a store whatever the machine has. A large array of zeros costs nothing
 * until it is written to: the operating system gives its pages as they are touched.
 */
import { ConfigurationError } from '../errors.js';

const LEAST_BUCKETS = 16_384;

const CACHE_LINE_BYTES = 64;
/**
 * Where records begin in their buffer. Large buffers of Node on Linux begin 16 bytes behind a page (the allocator's
 * header); from there on a record's lines are the processor's. Anywhere else this does no harm.
 */
const LINE_OFFSET_BYTES = 48;

/** Words of a record of a family. */
export function strideOf(version: number): number {
  return version === 4 ? 48 : 64;
}

/** Most connections that a store of a family can hold: 44,739,242, IPv6 33,554,432. */
export function maxCapacity(version: number): number {
  return Math.floor(2 ** 31 / strideOf(version));
}

/** Throws a ConfigurationError if `capacity` is no integer from 1 to {@link maxCapacity}. */
export function checkCapacity(version: number, capacity: number): void {
  if (Number.isInteger(capacity) && capacity >= 1 && capacity <= maxCapacity(version)) return;
  throw new ConfigurationError('value', `number of IPv${version} connections out of range`, {
    word: String(capacity),
    expected: `an integer from 1 to ${maxCapacity(version)}`,
  });
}

/**
 * Buckets for `capacity` connections: a power of two between 3/4 and 3/2 of it, so that a bucket's four bytes cost no
 * connection more than six, and 16 Ki at least.
 */
export function defaultBuckets(capacity: number): number {
  const above = 2 ** Math.ceil(Math.log2(capacity));
  return Math.max(LEAST_BUCKETS, above > 1.5 * capacity ? above / 2 : above);
}

/** Words for `capacity` records, all 0, on cache lines where that can be had. Throws as `checkCapacity` does, and if there is no such memory. */
export function allocateRecords(version: number, capacity: number): Int32Array {
  checkCapacity(version, capacity);
  try {
    const words = capacity * strideOf(version);
    return new Int32Array(new ArrayBuffer(4 * words + CACHE_LINE_BYTES), LINE_OFFSET_BYTES, words);
  } catch (cause) {
    const place = { word: String(capacity), expected: 'fewer connections, or more memory' };
    throw new ConfigurationError('value', `no memory for IPv${version} connections`, place, { cause });
  }
}
