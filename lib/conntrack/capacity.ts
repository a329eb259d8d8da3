/**
 * How many connections a store can hold, and the memory for them. Cold.
 *
 * Ids are int32 offsets of words, which bounds a store whatever the machine has.
 */
import { ConfigurationError } from '../errors.js';
import { allocateLines, LINE_WORDS } from '../memory/lines.js';

const LEAST_BUCKETS = 16_384;
/** Lines of buckets for a connection, so that their 64 bytes cost none more than 10.9. */
const LINES_PER_CONNECTION = 0.1705;

/** Connections whose records fit the processor's caches anyway: for fewer nothing is asked for ahead. */
export const CACHED_CONNECTIONS = 8192;

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

/** Buckets for `capacity` connections as Linux counts them: the power of two that is not below it, and 16 Ki at least. */
export function defaultBuckets(capacity: number): number {
  return Math.max(LEAST_BUCKETS, 2 ** Math.ceil(Math.log2(capacity)));
}

/**
 * Lines of buckets for `capacity` connections, if Linux would have `buckets`: each has places for 15 tuples, and a
 * full table 12 for each, so that one in thirty finds no place.
 */
export function bucketLines(capacity: number, buckets: number): number {
  const most = Math.min(buckets, Math.max(LEAST_BUCKETS, capacity));
  return Math.max(1, Math.floor(LINES_PER_CONNECTION * most));
}

/** Buckets for the sources of `capacity` connections: a power of two that costs none more than a byte. */
export function sourceBuckets(capacity: number): number {
  return 2 ** Math.floor(Math.log2(Math.max(LEAST_BUCKETS, capacity / 4)));
}

/** Groups, of 16 bytes, for connections whose port was changed: they cost none more than two bytes. */
export function movedGroups(capacity: number): number {
  return Math.floor(Math.max(LEAST_BUCKETS, capacity) / 8);
}

/** Words for `capacity` records, all 0, on cache lines where that can be had. Throws as `checkCapacity` does, and if there is no such memory. */
export function allocateRecords(version: number, capacity: number): Int32Array {
  checkCapacity(version, capacity);
  try {
    return allocateLines((capacity * strideOf(version)) / LINE_WORDS);
  } catch (cause) {
    const place = { word: String(capacity), expected: 'fewer connections, or more memory' };
    throw new ConfigurationError('value', `no memory for IPv${version} connections`, place, { cause });
  }
}
