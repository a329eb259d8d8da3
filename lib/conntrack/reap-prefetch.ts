/**
 * Brings what reaping will change into the processor's caches, for a block of expired entries at a time. Hot.
 *
 * To reap an entry is to wait for memory several times: its record, the lines of its two buckets, its neighbours in NAT's
 * index of sources. Done for one entry after the other these waits add up; done step by step for all of a block, the
 * processor waits for many of them at once. So each loop is short, and depends on no load of its own. Nothing is decided or
 * written here: what a touch finds may be over by the time that its entry is reaped, and costs time only.
 */
import type { Buckets } from '../memory/buckets.js';
import { type Entries, SOURCE_NEXT as NEXT_AT, SOURCE_PREV as PREV_AT } from './entries.js';

const SOURCE_NEXT = NEXT_AT;
const SOURCE_PREV = PREV_AT;
/** From an entry to its reply's line and the shared one. */
const REPLY_LINE = 16;
const SHARED_LINE = 32;

export class ReapPrefetch {
  readonly #lines: Int32Array;
  /** What was read goes here, so that no compiler thinks it useless. */
  sink = 0;

  /** For blocks of up to `most` slots. */
  constructor(most: number) {
    this.#lines = new Int32Array(2 * most);
  }

  /** Touches what reaping the entries of `slots[0, count)` will change. */
  touch(entries: Entries, buckets: Buckets, slots: Int32Array, count: number): void {
    const { words, stride } = entries;
    let sink = touchRecords(words, stride, slots, count);
    const lines = this.#lines;
    for (let i = 0; i < count; i++) {
      const entry = (slots[i] as number) * stride;
      lines[2 * i] = buckets.lineOf(words[entry] as number);
      lines[2 * i + 1] = buckets.lineOf(words[entry + REPLY_LINE] as number);
    }
    sink ^= touchLines(buckets.lines, lines, 2 * count);
    sink ^= touchNeighbours(words, stride, slots, count);
    this.sink = sink & 1;
  }
}

function touchRecords(words: Int32Array, stride: number, slots: Int32Array, count: number): number {
  let sink = 0;
  for (let i = 0; i < count; i++) {
    const entry = (slots[i] as number) * stride;
    sink ^=
      (words[entry] as number) ^
      (words[entry + REPLY_LINE] as number) ^
      (words[entry + SHARED_LINE] as number);
  }
  return sink;
}

function touchLines(words: Int32Array, lines: Int32Array, count: number): number {
  let sink = 0;
  for (let i = 0; i < count; i++) sink ^= words[lines[i] as number] as number;
  return sink;
}

/** The links of entries that are linked nowhere are 0: then the first record is touched. */
function touchNeighbours(words: Int32Array, stride: number, slots: Int32Array, count: number): number {
  let sink = 0;
  for (let i = 0; i < count; i++) {
    const entry = (slots[i] as number) * stride;
    const next = words[entry + SOURCE_NEXT] as number;
    const prev = words[entry + SOURCE_PREV] as number;
    sink ^=
      (words[(next & ~(next >> 31)) + SOURCE_PREV] as number) ^
      (words[(prev & ~(prev >> 31)) + SOURCE_NEXT] as number);
  }
  return sink;
}
