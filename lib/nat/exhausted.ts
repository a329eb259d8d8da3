/**
 * Remembers which ranges were found without a free port, so that a guest that goes on opening connections to a server
 * whose ports are all taken does not cost a search of 64,512 ports each time. Hot on new connections only.
 *
 * A memory holds for a second, and is gone at once when a connection ends that had one of those ports: what it says is
 * then as exact as the search, but for entries that expire unseen within that second.
 */
import { Direction, type EntryId } from '../conntrack/entries.js';
import { type ConntrackTable, DestroyReason } from '../conntrack/table.js';
import { copyKey, equalKeys, invertKey, KEY_WORDS } from '../conntrack/tuples.js';
import { setPort } from './ports.js';
import type { Manip } from './range.js';

const REPLY = Direction.REPLY;

/** Ranges remembered at a time; the oldest gives way. */
const PLACES = 8;
/** How long a memory holds, ms. No timeout of Linux's is shorter. */
const LIFE_MS = 1000;

export class ExhaustedRanges {
  readonly #table: ConntrackTable;
  /** Keys with the port that was looked for zeroed. */
  readonly #keys: readonly Int32Array[] = Array.from({ length: PLACES }, () => new Int32Array(KEY_WORDS));
  readonly #manips = new Int32Array(PLACES);
  readonly #firsts = new Int32Array(PLACES);
  /** 0 where nothing is remembered. */
  readonly #sizes = new Int32Array(PLACES);
  readonly #since = new Int32Array(PLACES);
  readonly #scratch = new Int32Array(KEY_WORDS);
  readonly #inverse = new Int32Array(KEY_WORDS);
  #next = 0;
  #held = 0;
  #released = 0;

  constructor(table: ConntrackTable) {
    this.#table = table;
    table.observe((_table, entry, reason) => {
      // What was never confirmed had no port: the connections refused for want of one come by here.
      if (this.#held > 0 && reason !== DestroyReason.DISCARDED) this.#forget(entry);
    });
  }

  /** `released` reserved ports were given back so far: one more than last time may be what was missing. */
  hear(released: number): void {
    if (released === this.#released) return;
    this.#released = released;
    this.#sizes.fill(0);
    this.#held = 0;
  }

  /** No port of the `size` from `first` on is free for `key`. */
  remember(key: Int32Array, manip: Manip, first: number, size: number, now: number): void {
    const place = this.#next;
    this.#next = (place + 1) % PLACES;
    if (this.#sizes[place] === 0) this.#held++;
    copyKey(this.#keys[place] as Int32Array, key);
    setPort(this.#keys[place] as Int32Array, manip, 0);
    this.#manips[place] = manip;
    this.#firsts[place] = first;
    this.#sizes[place] = size;
    this.#since[place] = now;
  }

  /** Whether that is known to be so still: 1 or 0. */
  recalls(key: Int32Array, manip: Manip, first: number, size: number, now: number): 0 | 1 {
    if (this.#held === 0) return 0;
    const scratch = this.#scratch;
    copyKey(scratch, key);
    setPort(scratch, manip, 0);
    for (let place = 0; place < PLACES; place++) {
      if (this.#sizes[place] !== size || this.#firsts[place] !== first || this.#manips[place] !== manip) {
        continue;
      }
      if (equalKeys(this.#keys[place] as Int32Array, scratch) === 0) continue;
      if (((now - (this.#since[place] as number)) | 0) < LIFE_MS) return 1;
      this.#clear(place);
    }
    return 0;
  }

  #forget(entry: EntryId): void {
    this.#table.entries.getKey(entry, REPLY, this.#inverse);
    const scratch = this.#scratch;
    for (let place = 0; place < PLACES; place++) {
      if (this.#sizes[place] === 0) continue;
      invertKey(scratch, this.#inverse);
      setPort(scratch, this.#manips[place] as Manip, 0);
      if (equalKeys(this.#keys[place] as Int32Array, scratch) === 1) this.#clear(place);
    }
  }

  #clear(place: number): void {
    this.#sizes[place] = 0;
    this.#held--;
  }
}
