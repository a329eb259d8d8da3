/**
 * Memory in cache lines. Cold.
 *
 * A large array of zeros costs nothing until it is written to: the operating system gives its pages as they are touched.
 */

/** Words of a cache line. */
export const LINE_WORDS = 16;

const LINE_BYTES = 64;
/**
 * Where lines begin in their buffer. Large buffers of Node on Linux begin 16 bytes behind a page (the allocator's
 * header); from there on our lines are the processor's. Anywhere else this does no harm.
 */
const LINE_OFFSET_BYTES = 48;

/** Words for `count` lines, all 0, on cache lines where that can be had. Throws a RangeError if there is no such memory. */
export function allocateLines(count: number): Int32Array {
  const words = count * LINE_WORDS;
  return new Int32Array(new ArrayBuffer(4 * words + LINE_BYTES), LINE_OFFSET_BYTES, words);
}
