/**
 * The store of connections: one record each, integers only. Hot. This file alone knows the layout, but for the
 * words in `layout.ts`, which hot files read and write without the accessors.
 *
 *   IPv4 record: 3 lines of 16 words (192 bytes); IPv6 record: 4 lines (256 bytes)
 *
 *   line 0 original, line 1 reply
 *        0 hash        1 next       2 prev        3 source      (IPv6: hash of the source words)
 *        4 destination 5 ports      6 kind        7 TCP td_end
 *        8 td_maxend   9 td_maxwin 10 td_maxack  11 direction bit 31 | TCP flags 8-15 | window scale 0-7
 *       12 packets    13 bytes     14 bytes high (20 bits) << 12 | packets high (12 bits)    15 flow path
 *   line 2 shared
 *        0 status      1 expires    2 mark        3 protocol state 0-7 | protocol words 8-31
 *        4-7 protocol words          8 born       9 zone 0-15 | zone direction 16-17 | clock 18-22
 *       10 masquerade interface     11, 12 links of the source chain   13 generation
 *       14 extension id             15 CT timeout policy id
 *   line 3 (IPv6 only)
 *        0-3 original source   4-7 original destination   8-11 reply source   12-15 reply destination
 *
 * An EntryId is the offset of line 0, a TupleId the offset of line 0 or 1. Both are valid iff >= 0. `next` of a record
 * that is not taken is the free list's link. `expires` comes earlier by `setExpires` only, which keeps the deadlines true.
 * Life: taken (zeroed) -> UNCONFIRMED (in no bucket) -> CONFIRMED (both tuples linked) -> DYING, given back.
 * What it does not do: no policy, no lookup, no time; see `table.ts` and `tracker.ts`.
 */
import { Deadlines } from '../memory/deadlines.js';
import { Slots } from '../memory/slots.js';
import { allocateRecords, strideOf } from './capacity.js';
import type { Direction, EntryId, TupleId } from './status.js';

export { Direction, type EntryId, Status, type TupleId } from './status.js';

/** No entry, no tuple, end of a list. */
export const NIL = -1;

/** Offset of the links in a tuple's line, for the lists of buckets. */
export const TUPLE_NEXT = 1;
export const TUPLE_PREV = 2;
/** Offset of the links in a record, for the chains of NAT's source index. */
export const SOURCE_NEXT = 32 + 11;
export const SOURCE_PREV = 32 + 12;

const HASH = 0;
/** Until the tuple is linked, in the place of `next`: see {@link Entries.absentAt}. */
const ABSENT_AT = TUPLE_NEXT;
const SOURCE = 3;
const DESTINATION = 4;
const PORTS = 5;
const KIND = 6;
const TD_END = 7;
const TD_MAXEND = 8;
const TD_MAXWIN = 9;
const TD_MAXACK = 10;
const FLAGS = 11;
const PACKETS = 12;
const BYTES = 13;
const COUNT_HIGH = 14;
const FLOW_PATH = 15;

const LINE = 16;
const REPLY_LINE = LINE;
const SHARED = 32;
const STATUS = SHARED;
const EXPIRES = SHARED + 1;
const MARK = SHARED + 2;
const PROTOCOL_WORD = SHARED + 3;
const BORN = SHARED + 8;
const ZONE = SHARED + 9;
const MASQUERADE = SHARED + 10;
const GENERATION = SHARED + 13;
const EXTENSION = SHARED + 14;
const POLICY = SHARED + 15;
const WIDE = 48;
const CLOCK_BITS = 31 << 18;

const REPLY_BIT = 1 << 31;
const KEY_PORTS = 8;
const KEY_KIND = 9;

export class Entries {
  /** [capacity * stride]; offsets are this file's business. The table and NAT chain nodes through it. */
  readonly words: Int32Array;
  /** 4 or 6. */
  readonly version: number;
  /** Words per record. */
  readonly stride: number;
  readonly slots: Slots;
  /** Lower bounds of the expiry of confirmed entries, by slot. */
  readonly deadlines: Deadlines;
  /** Told when an entry will expire earlier than it would have; set only while somebody needs it. */
  onShortened: ((entry: EntryId) => void) | undefined = undefined;
  #generation = 0;

  /**
   * Store for `capacity` connections of one family; pages are touched as records are taken. Throws a ConfigurationError
   * if that is out of range (`capacity.ts`) or if there is no such memory.
   */
  constructor(version: number, capacity: number) {
    this.version = version;
    this.stride = strideOf(version);
    this.words = allocateRecords(version, capacity);
    this.slots = new Slots(this.words, this.stride, TUPLE_NEXT);
    this.deadlines = new Deadlines(capacity);
  }

  /** Takes a record, zeroed but for direction bits and a generation of its own; NIL when the store is full. */
  take(): EntryId {
    const slot = this.slots.take();
    if (slot < 0) return NIL as EntryId;
    const entry = slot * this.stride;
    const words = this.words;
    for (let line = entry; line < entry + this.stride; line += LINE) clearLine(words, line);
    words[entry + REPLY_LINE + FLAGS] = REPLY_BIT;
    this.#generation = (this.#generation + 1) | 0;
    words[entry + GENERATION] = this.#generation;
    return entry as EntryId;
  }

  /** Gives a record back; it must be linked nowhere. Its status stays readable until it is taken again. */
  give(entry: EntryId): void {
    const slot = this.slotOf(entry);
    this.deadlines.clear(slot);
    this.slots.give(slot);
  }

  slotOf(entry: EntryId): number {
    return (entry / this.stride) | 0;
  }

  entryOfSlot(slot: number): EntryId {
    return (slot * this.stride) as EntryId;
  }

  /** Tuple of a direction. */
  tuple(entry: EntryId, direction: Direction): TupleId {
    return (entry + (direction << 4)) as TupleId;
  }

  /** Entry that a tuple belongs to. */
  entryOf(tuple: TupleId): EntryId {
    return (tuple - ((this.words[tuple + FLAGS] as number) < 0 ? REPLY_LINE : 0)) as EntryId;
  }

  directionOf(tuple: TupleId): Direction {
    return ((this.words[tuple + FLAGS] as number) >>> 31) as Direction;
  }

  // ---- keys ----

  /** Stores a key and its hash as the entry's tuple of a direction. The tuple must not be linked. */
  setKey(entry: EntryId, direction: Direction, key: Int32Array, hash: number): void {
    const words = this.words;
    const t = entry + (direction << 4);
    words[t + HASH] = hash;
    words[t + ABSENT_AT] = 0;
    words[t + SOURCE] = key[0] as number;
    words[t + DESTINATION] = key[4] as number;
    words[t + PORTS] = key[KEY_PORTS] as number;
    words[t + KIND] = key[KEY_KIND] as number;
    if (this.version === 6) {
      const wide = entry + WIDE + (direction << 3);
      for (let i = 0; i < 8; i++) words[wide + i] = key[i] as number;
      words[t + SOURCE] = key[3] as number;
      words[t + DESTINATION] = key[7] as number;
    }
  }

  /** Copies the key of a direction into `key` (KEY_WORDS). */
  getKey(entry: EntryId, direction: Direction, key: Int32Array): void {
    const words = this.words;
    const t = entry + (direction << 4);
    if (this.version === 6) {
      const wide = entry + WIDE + (direction << 3);
      for (let i = 0; i < 8; i++) key[i] = words[wide + i] as number;
    } else {
      key[0] = words[t + SOURCE] as number;
      key[1] = 0;
      key[2] = 0;
      key[3] = 0;
      key[4] = words[t + DESTINATION] as number;
      key[5] = 0;
      key[6] = 0;
      key[7] = 0;
    }
    key[KEY_PORTS] = words[t + PORTS] as number;
    key[KEY_KIND] = words[t + KIND] as number;
  }

  /** Whether the tuple's key is `key`: 1 or 0. The caller compared the hashes. */
  matchesKey(tuple: TupleId, key: Int32Array): 0 | 1 {
    const words = this.words;
    if (words[tuple + PORTS] !== key[KEY_PORTS] || words[tuple + KIND] !== key[KEY_KIND]) return 0;
    if (this.version === 4) {
      return words[tuple + SOURCE] === key[0] && words[tuple + DESTINATION] === key[4] ? 1 : 0;
    }
    const reply = (words[tuple + FLAGS] as number) >>> 31;
    const wide = tuple - (reply << 4) + WIDE + (reply << 3);
    for (let i = 0; i < 8; i++) if (words[wide + i] !== key[i]) return 0;
    return 1;
  }

  /**
   * Of a tuple that is not linked: the table's `links` when its key was last looked for and found absent, 0 if it was
   * not since the key was set. While `links` is that, the key is absent still.
   */
  absentAt(tuple: TupleId): number {
    return this.words[tuple + ABSENT_AT] as number;
  }

  setAbsentAt(tuple: TupleId, links: number): void {
    this.words[tuple + ABSENT_AT] = links;
  }

  hash(tuple: TupleId): number {
    return this.words[tuple + HASH] as number;
  }

  /** Changes the hash by which a tuple is linked. It must not be linked. */
  setHash(tuple: TupleId, hash: number): void {
    this.words[tuple + HASH] = hash;
  }

  ports(tuple: TupleId): number {
    return this.words[tuple + PORTS] as number;
  }

  /** Protocol and zone of a tuple's key. */
  kind(tuple: TupleId): number {
    return this.words[tuple + KIND] as number;
  }

  /** Protocol number of the connection. */
  protocol(entry: EntryId): number {
    return (this.words[entry + KIND] as number) & 255;
  }

  /** Word `i` (0-3) of a tuple's source address. */
  sourceWord(entry: EntryId, direction: Direction, i: number): number {
    if (this.version === 6) return this.words[entry + WIDE + (direction << 3) + i] as number;
    return i === 0 ? (this.words[entry + (direction << 4) + SOURCE] as number) : 0;
  }

  /** Word `i` (0-3) of a tuple's destination address. */
  destinationWord(entry: EntryId, direction: Direction, i: number): number {
    if (this.version === 6) return this.words[entry + WIDE + (direction << 3) + 4 + i] as number;
    return i === 0 ? (this.words[entry + (direction << 4) + DESTINATION] as number) : 0;
  }

  // ---- shared words ----

  status(entry: EntryId): number {
    return this.words[entry + STATUS] as number;
  }

  setStatus(entry: EntryId, bits: number): void {
    this.words[entry + STATUS] = (this.words[entry + STATUS] as number) | bits;
  }

  clearStatus(entry: EntryId, bits: number): void {
    this.words[entry + STATUS] = (this.words[entry + STATUS] as number) & ~bits;
  }

  /** Expiry in the tracker's int32 milliseconds; before confirmation the timeout's length. */
  expires(entry: EntryId): number {
    return this.words[entry + EXPIRES] as number;
  }

  setExpires(entry: EntryId, at: number): void {
    const words = this.words;
    const before = words[entry + EXPIRES] as number;
    words[entry + EXPIRES] = at;
    if (((at - before) | 0) < 0) this.#shortened(entry, at);
  }

  #shortened(entry: EntryId, at: number): void {
    this.deadlines.lower(this.slotOf(entry), at);
    if (this.onShortened !== undefined) this.onShortened(entry);
  }

  /** Whether a confirmed entry's time is over: 1 or 0. `now` in the tracker's int32 milliseconds, wrapping. */
  hasExpired(entry: EntryId, now: number): 0 | 1 {
    return (((this.words[entry + EXPIRES] as number) - now) | 0) <= 0 ? 1 : 0;
  }

  mark(entry: EntryId): number {
    return this.words[entry + MARK] as number;
  }

  setMark(entry: EntryId, mark: number): void {
    this.words[entry + MARK] = mark;
  }

  /** State of the protocol's machine, 0-255; what it means is the protocol's. */
  state(entry: EntryId): number {
    return (this.words[entry + PROTOCOL_WORD] as number) & 255;
  }

  setState(entry: EntryId, state: number): void {
    const at = entry + PROTOCOL_WORD;
    this.words[at] = ((this.words[at] as number) & ~255) | state;
  }

  /** Protocol word `i` (0-4), free for the protocol's use; of word 0 only bits 8-31. */
  protocolWord(entry: EntryId, i: number): number {
    return this.words[entry + PROTOCOL_WORD + i] as number;
  }

  setProtocolWord(entry: EntryId, i: number, word: number): void {
    this.words[entry + PROTOCOL_WORD + i] = word;
  }

  /** Birth in the tracker's int32 milliseconds. */
  born(entry: EntryId): number {
    return this.words[entry + BORN] as number;
  }

  setBorn(entry: EntryId, at: number): void {
    this.words[entry + BORN] = at;
  }

  /** Zone id (0-65535). */
  zone(entry: EntryId): number {
    return (this.words[entry + ZONE] as number) & 0xffff;
  }

  /** Directions the zone is meant for: 0 both, 1 original, 2 reply. */
  zoneDirection(entry: EntryId): number {
    return ((this.words[entry + ZONE] as number) >>> 16) & 3;
  }

  setZone(entry: EntryId, zone: number, zoneDirection: number): void {
    this.words[entry + ZONE] = zone | (zoneDirection << 16);
  }

  /** Bits of the clocks that find silent connections, see `inactivity.ts`. */
  clock(entry: EntryId): number {
    return ((this.words[entry + ZONE] as number) >>> 18) & 31;
  }

  setClock(entry: EntryId, bits: number): void {
    this.words[entry + ZONE] = ((this.words[entry + ZONE] as number) & ~CLOCK_BITS) | (bits << 18);
  }

  /** Interface whose address MASQUERADE gave, 0 for none. */
  masqueradeInterface(entry: EntryId): number {
    return this.words[entry + MASQUERADE] as number;
  }

  setMasqueradeInterface(entry: EntryId, index: number): void {
    this.words[entry + MASQUERADE] = index;
  }

  /** Number that no other entry of this store had: tells a re-used record from the one that was meant. */
  generation(entry: EntryId): number {
    return this.words[entry + GENERATION] as number;
  }

  /** Id of what is rare (labels, helper, expectations) and kept outside, 0 for none. */
  extension(entry: EntryId): number {
    return this.words[entry + EXTENSION] as number;
  }

  setExtension(entry: EntryId, id: number): void {
    this.words[entry + EXTENSION] = id;
  }

  /** Id of the CT target's timeout policy, 0 for the default. */
  policy(entry: EntryId): number {
    return this.words[entry + POLICY] as number;
  }

  setPolicy(entry: EntryId, id: number): void {
    this.words[entry + POLICY] = id;
  }

  // ---- per direction ----

  /** Adds one packet of `bytes` to a direction's counters. */
  account(entry: EntryId, direction: Direction, bytes: number): void {
    const words = this.words;
    const t = entry + (direction << 4);
    const packets = ((words[t + PACKETS] as number) + 1) | 0;
    const before = words[t + BYTES] as number;
    const after = (before + bytes) | 0;
    words[t + PACKETS] = packets;
    words[t + BYTES] = after;
    if (packets === 0) this.#carry(t, 1);
    if ((before & ~after) < 0) this.#carry(t, 1 << 12);
  }

  /** A low word came to its end. */
  #carry(t: number, more: number): void {
    this.words[t + COUNT_HIGH] = (this.words[t + COUNT_HIGH] as number) + more;
  }

  /** Packets counted in a direction. */
  packets(entry: EntryId, direction: Direction): number {
    const t = entry + (direction << 4);
    const high = (this.words[t + COUNT_HIGH] as number) & 0xfff;
    return high * 0x1_0000_0000 + ((this.words[t + PACKETS] as number) >>> 0);
  }

  /** Bytes counted in a direction. */
  bytes(entry: EntryId, direction: Direction): number {
    const t = entry + (direction << 4);
    const high = (this.words[t + COUNT_HIGH] as number) >>> 12;
    return high * 0x1_0000_0000 + ((this.words[t + BYTES] as number) >>> 0);
  }

  /** Sets a direction's counters: packets below 2^44, bytes below 2^52. */
  setCounters(entry: EntryId, direction: Direction, packets: number, bytes: number): void {
    const words = this.words;
    const t = entry + (direction << 4);
    words[t + PACKETS] = packets | 0;
    words[t + BYTES] = bytes | 0;
    const packetsHigh = (packets / 0x1_0000_0000) | 0;
    const bytesHigh = (bytes / 0x1_0000_0000) | 0;
    words[t + COUNT_HIGH] = (packetsHigh & 0xfff) | (bytesHigh << 12);
  }

  /** What the flow cache knows of a tuple's packets, 0 for nothing. */
  flowPath(tuple: TupleId): number {
    return this.words[tuple + FLOW_PATH] as number;
  }

  setFlowPath(tuple: TupleId, path: number): void {
    this.words[tuple + FLOW_PATH] = path;
  }

  /** TCP: sequence number behind the last byte sent in this direction. */
  tdEnd(entry: EntryId, direction: Direction): number {
    return this.words[entry + (direction << 4) + TD_END] as number;
  }

  setTdEnd(entry: EntryId, direction: Direction, sequence: number): void {
    this.words[entry + (direction << 4) + TD_END] = sequence;
  }

  /** TCP: last sequence number the other side has allowed, plus one. */
  tdMaxEnd(entry: EntryId, direction: Direction): number {
    return this.words[entry + (direction << 4) + TD_MAXEND] as number;
  }

  setTdMaxEnd(entry: EntryId, direction: Direction, sequence: number): void {
    this.words[entry + (direction << 4) + TD_MAXEND] = sequence;
  }

  /** TCP: largest window offered by this direction's sender, scaled, bytes. */
  tdMaxWin(entry: EntryId, direction: Direction): number {
    return this.words[entry + (direction << 4) + TD_MAXWIN] as number;
  }

  setTdMaxWin(entry: EntryId, direction: Direction, window: number): void {
    this.words[entry + (direction << 4) + TD_MAXWIN] = window;
  }

  /** TCP: highest acknowledgement sent in this direction. */
  tdMaxAck(entry: EntryId, direction: Direction): number {
    return this.words[entry + (direction << 4) + TD_MAXACK] as number;
  }

  setTdMaxAck(entry: EntryId, direction: Direction, sequence: number): void {
    this.words[entry + (direction << 4) + TD_MAXACK] = sequence;
  }

  /** TCP: window scale of this direction's sender, 0-14. */
  tdScale(entry: EntryId, direction: Direction): number {
    return (this.words[entry + (direction << 4) + FLAGS] as number) & 255;
  }

  setTdScale(entry: EntryId, direction: Direction, scale: number): void {
    const at = entry + (direction << 4) + FLAGS;
    this.words[at] = ((this.words[at] as number) & ~255) | scale;
  }

  /** TCP: this direction's flags (8 bits), meaning in `protocols/tcp.ts`. */
  tdFlags(entry: EntryId, direction: Direction): number {
    return ((this.words[entry + (direction << 4) + FLAGS] as number) >>> 8) & 255;
  }

  setTdFlags(entry: EntryId, direction: Direction, flags: number): void {
    const at = entry + (direction << 4) + FLAGS;
    this.words[at] = ((this.words[at] as number) & ~0xff00) | (flags << 8);
  }
}

/** Zeroes the 16 words from `at` on. Written out: a loop over the words takes three times as long, `fill` more. */
function clearLine(words: Int32Array, at: number): void {
  words[at] = 0;
  words[at + 1] = 0;
  words[at + 2] = 0;
  words[at + 3] = 0;
  words[at + 4] = 0;
  words[at + 5] = 0;
  words[at + 6] = 0;
  words[at + 7] = 0;
  words[at + 8] = 0;
  words[at + 9] = 0;
  words[at + 10] = 0;
  words[at + 11] = 0;
  words[at + 12] = 0;
  words[at + 13] = 0;
  words[at + 14] = 0;
  words[at + 15] = 0;
}
