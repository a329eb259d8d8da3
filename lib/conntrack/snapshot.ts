/**
 * Connections as bytes, and back: what moves an engine's state to another process or over a restart. Cold.
 *
 *   file:    | magic 'CTTS' | version | flags | tables | XXH32 | XXH64 low, high | table ... |
 *   table:   | 4 or 6 | records | record ... |
 *   record:  | status remaining mark zone masquerade age | protocol words (5)
 *            | original: key, td_end td_maxend td_maxwin td_maxack, flags << 8 | scale, packets low high, bytes low high
 *            | reply: the same |
 *
 * All are little-endian 32-bit words; an IPv4 key is 4 words, an IPv6 key 10. Times are lengths, not moments: a
 * restored entry has the time left that it had when it was saved, whatever the clocks say. Nothing points: chains,
 * hashes and generations are made anew, under the restoring table's own secret.
 *
 * The XXH32 (over all words behind the checksums and the flags) is always there and always verified; the XXH64 is
 * there (flag 1) if WASM could run where it was taken, and verified if it can where it is restored.
 * Not saved: entries not confirmed or expired; what is an index into something outside (extensions, sequence offsets,
 * timeout policies of the CT target). Interfaces are meant by their index: restore into a network of the same order.
 */
import { ConfigurationError } from '../errors.js';
import { hashWords } from '../memory/hash.js';
import { xxh64 } from '../memory/xxh64.js';
import { Direction, type Entries, type EntryId, NIL, Status } from './entries.js';
import type { ConntrackTable } from './table.js';
import type { Tracker } from './tracker.js';
import { KEY_WORDS } from './tuples.js';

/** 'CTTS' as a little-endian word. */
const MAGIC = 0x53545443;
const VERSION = 1;
const FLAG_XXH64 = 1;
const HEADER_WORDS = 7;
const SHARED_WORDS = 11;
const LINE_WORDS = 9;
/** Words of a key that an IPv4 record keeps: source, destination, ports, kind. */
const KEY4 = [0, 4, 8, 9] as const;
const KEY6 = Array.from({ length: KEY_WORDS }, (_, i) => i);
const DIRECTIONS = [Direction.ORIGINAL, Direction.REPLY] as const;

/** Bits that a restored entry keeps; it becomes CONFIRMED when it is linked. */
const KEPT_STATUS =
  Status.EXPECTED |
  Status.SEEN_REPLY |
  Status.ASSURED |
  Status.SRC_NAT |
  Status.DST_NAT |
  Status.SRC_NAT_DONE |
  Status.DST_NAT_DONE |
  Status.FIXED_TIMEOUT;

/** What came of restoring. */
export interface Restored {
  /** Entries now in the tables. */
  readonly restored: number;
  /** Entries left out because one of their tuples is taken by a live connection. */
  readonly clashed: number;
}

/** Called for each entry after it was linked: whoever indexes entries (NAT by their sources) must learn of it. */
export type RestoreObserver = (table: ConntrackTable, entry: EntryId) => void;

/** All confirmed entries that have not expired at `nowMs`, as bytes that the caller owns. */
export async function takeSnapshot(tracker: Tracker, nowMs: number): Promise<Uint8Array> {
  const now = tracker.timeOf(nowMs);
  const tables = [...tracker.tables()];
  const words = [MAGIC, VERSION, 0, tables.length, 0, 0, 0];
  for (const table of tables) writeTable(words, table, now);
  const body = Int32Array.from(words);
  words[4] = hashWords(body, HEADER_WORDS, body.length - HEADER_WORDS, 0);
  const hash = await xxh64(toBytes(words).subarray(HEADER_WORDS * 4));
  if (hash !== undefined) {
    words[2] = FLAG_XXH64;
    words[5] = Number(hash & 0xffffffffn);
    words[6] = Number(hash >> 32n);
  }
  return toBytes(words);
}

/**
 * Puts a snapshot's entries into the tracker's tables, with the time they had left. A connection that is there
 * already stays, and its saved rival is left out. Throws a ConfigurationError, and changes nothing, if the bytes
 * are no snapshot, are damaged, or hold more connections than there is room for. No events are emitted.
 */
export async function restoreSnapshot(
  tracker: Tracker,
  snapshot: Uint8Array,
  nowMs: number,
  adopt: RestoreObserver,
): Promise<Restored> {
  const words = await readWords(snapshot);
  const plan = planTables(tracker, words);
  const now = tracker.timeOf(nowMs);
  let restored = 0;
  let clashed = 0;
  for (const { version, at, count } of plan) {
    const table = tracker.table(version);
    const stride = recordWords(version);
    for (let i = 0; i < count; i++) {
      const entry = readRecord(words, at + i * stride, table, now);
      if (entry === NIL) {
        clashed++;
      } else {
        restored++;
        adopt(table, entry);
      }
    }
  }
  return { restored, clashed };
}

function keyIndices(version: number): readonly number[] {
  return version === 4 ? KEY4 : KEY6;
}

function recordWords(version: number): number {
  return SHARED_WORDS + 2 * (keyIndices(version).length + LINE_WORDS);
}

function toBytes(words: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(words.length * 4));
  for (const [i, word] of words.entries()) view.setInt32(i * 4, word, true);
  return new Uint8Array(view.buffer);
}

function writeTable(words: number[], table: ConntrackTable, now: number): void {
  const { entries } = table;
  words.push(table.version, 0);
  const countAt = words.length - 1;
  for (let slot = 0; slot < entries.slots.highWater; slot++) {
    const entry = entries.entryOfSlot(slot);
    if ((entries.status(entry) & (Status.CONFIRMED | Status.DYING)) !== Status.CONFIRMED) continue;
    if (entries.hasExpired(entry, now) === 1) continue;
    writeRecord(words, entries, entry, now);
    words[countAt] = (words[countAt] as number) + 1;
  }
}

function writeRecord(words: number[], entries: Entries, entry: EntryId, now: number): void {
  words.push(
    entries.status(entry) & KEPT_STATUS,
    (entries.expires(entry) - now) | 0,
    entries.mark(entry),
    entries.zone(entry) | (entries.zoneDirection(entry) << 16),
    entries.masqueradeInterface(entry),
    (now - entries.born(entry)) | 0,
  );
  for (let i = 0; i < 5; i++) words.push(entries.protocolWord(entry, i));
  const key = new Int32Array(KEY_WORDS);
  for (const direction of DIRECTIONS) {
    entries.getKey(entry, direction, key);
    for (const i of keyIndices(entries.version)) words.push(key[i] as number);
    const packets = entries.packets(entry, direction);
    const bytes = entries.bytes(entry, direction);
    words.push(
      entries.tdEnd(entry, direction),
      entries.tdMaxEnd(entry, direction),
      entries.tdMaxWin(entry, direction),
      entries.tdMaxAck(entry, direction),
      (entries.tdFlags(entry, direction) << 8) | entries.tdScale(entry, direction),
      packets | 0,
      Math.floor(packets / 0x1_0000_0000),
      bytes | 0,
      Math.floor(bytes / 0x1_0000_0000),
    );
  }
}

/** Reads one record into the table; NIL if one of its tuples is taken there. */
function readRecord(words: Int32Array, at: number, table: ConntrackTable, now: number): EntryId {
  const { entries } = table;
  const indices = keyIndices(table.version);
  const lineWords = indices.length + LINE_WORDS;
  const keys = DIRECTIONS.map((direction) => {
    const key = new Int32Array(KEY_WORDS);
    const from = at + SHARED_WORDS + direction * lineWords;
    for (const [i, index] of indices.entries()) key[index] = words[from + i] as number;
    return key;
  });
  if (keys.some((key) => table.find(key, now) !== NIL)) return NIL as EntryId;
  const entry = table.take();
  if (entry === NIL) return entry;
  const word = (i: number) => words[at + i] as number;
  entries.setStatus(entry, word(0) & KEPT_STATUS);
  entries.setExpires(entry, (now + word(1)) | 0);
  entries.setMark(entry, word(2));
  entries.setZone(entry, word(3) & 0xffff, (word(3) >>> 16) & 3);
  entries.setMasqueradeInterface(entry, word(4));
  entries.setBorn(entry, (now - word(5)) | 0);
  for (let i = 0; i < 5; i++) entries.setProtocolWord(entry, i, word(6 + i));
  for (const direction of DIRECTIONS) {
    table.setKey(entry, direction, keys[direction] as Int32Array);
    const line = SHARED_WORDS + direction * lineWords + indices.length;
    entries.setTdEnd(entry, direction, word(line));
    entries.setTdMaxEnd(entry, direction, word(line + 1));
    entries.setTdMaxWin(entry, direction, word(line + 2));
    entries.setTdMaxAck(entry, direction, word(line + 3));
    entries.setTdScale(entry, direction, word(line + 4) & 255);
    entries.setTdFlags(entry, direction, (word(line + 4) >>> 8) & 255);
    entries.setCounters(
      entry,
      direction,
      (word(line + 5) >>> 0) + word(line + 6) * 0x1_0000_0000,
      (word(line + 7) >>> 0) + word(line + 8) * 0x1_0000_0000,
    );
  }
  table.link(entry);
  return entry;
}

/** The snapshot's words, its form and checksums verified. */
async function readWords(snapshot: Uint8Array): Promise<Int32Array> {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset, snapshot.byteLength);
  const words = Int32Array.from({ length: snapshot.length >>> 2 }, (_, i) => view.getInt32(i * 4, true));
  if (words.length < HEADER_WORDS || snapshot.length % 4 !== 0 || words[0] !== MAGIC) {
    throw new ConfigurationError('syntax', 'this is no snapshot of connections', { offsetBytes: 0 });
  }
  if (words[1] !== VERSION || ((words[2] as number) & ~FLAG_XXH64) !== 0) {
    throw new ConfigurationError('unsupported', 'snapshot of another version', {
      offsetBytes: 4,
      word: String(words[1]),
      expected: String(VERSION),
    });
  }
  const body = snapshot.subarray(HEADER_WORDS * 4);
  const damaged = new ConfigurationError('value', 'the snapshot is damaged: its checksum differs', {
    offsetBytes: 16,
  });
  if (hashWords(words, HEADER_WORDS, words.length - HEADER_WORDS, 0) !== words[4]) throw damaged;
  if (((words[2] as number) & FLAG_XXH64) !== 0) {
    const hash = await xxh64(body);
    const expected = (BigInt((words[6] as number) >>> 0) << 32n) | BigInt((words[5] as number) >>> 0);
    if (hash !== undefined && hash !== expected) throw damaged;
  }
  return words;
}

interface TablePlan {
  readonly version: number;
  /** Offset of the first record in words. */
  readonly at: number;
  readonly count: number;
}

/** Where each table's records are; every length, family and the room are judged before anything is restored. */
function planTables(tracker: Tracker, words: Int32Array): TablePlan[] {
  const plan: TablePlan[] = [];
  let at = HEADER_WORDS;
  let total = 0;
  for (let i = 0; i < (words[3] as number); i++) {
    const version = words[at] as number;
    const count = words[at + 1] as number;
    if ((version !== 4 && version !== 6) || !(count >= 0)) {
      throw new ConfigurationError('syntax', 'the snapshot has a table of unknown form', {
        offsetBytes: at * 4,
      });
    }
    plan.push({ version, at: at + 2, count });
    at += 2 + count * recordWords(version);
    total += count;
  }
  if (at !== words.length) {
    throw new ConfigurationError('syntax', 'the snapshot does not end where its tables do', {
      offsetBytes: Math.min(at, words.length) * 4,
    });
  }
  const room = tracker.maxConnections - tracker.count;
  if (total > room) {
    throw new ConfigurationError('value', 'more connections in the snapshot than there is room for', {
      word: String(total),
      expected: `at most ${room}`,
    });
  }
  return plan;
}
