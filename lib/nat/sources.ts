/**
 * The index of connections by their source: which address and port a client's socket was given before. Hot on new
 * connections only.
 *
 * Invariant: an entry is linked iff its status has SRC_NAT_DONE. The key is the original tuple's source address, source
 * port (ICMP: identifier), protocol and zone. A bucket's newest connection comes first. Expired entries that were not
 * reaped yet count, as on Linux: their mapping is as good as any.
 *
 * Most connections keep their source port; then a mapping tells nothing that a range of one address does not. Those whose
 * port was changed are known by hash (`memory/tally.ts`), so that of a source that has none a list is rarely looked at.
 */
import { movedGroups, sourceBuckets } from '../conntrack/capacity.js';
import {
  Direction,
  type Entries,
  type EntryId,
  NIL,
  SOURCE_NEXT,
  SOURCE_PREV,
} from '../conntrack/entries.js';
import { Word } from '../conntrack/layout.js';
import { type ConntrackTable, SWEEP_BLOCK } from '../conntrack/table.js';
import { copyKey, KEY_KIND, KEY_PORTS, KEY_WORDS } from '../conntrack/tuples.js';
import { Chains } from '../memory/chains.js';
import { Tally } from '../memory/tally.js';
import { isInRange } from './in-range.js';
import { PortKind, portKind, portOf, setPort } from './ports.js';
import { Manip, type NatRange } from './range.js';

const SOURCE = Word.SOURCE;
const PORTS = Word.PORTS;
const KIND = Word.KIND;
const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;
const SRC = Manip.SRC;
const IDENTIFIER = PortKind.IDENTIFIER;

export class SourceIndex {
  readonly #table: ConntrackTable;
  readonly #chains: Chains;
  readonly #key = new Int32Array(KEY_WORDS);
  /** Of entries that are about to end. */
  readonly #hashes = new Int32Array(SWEEP_BLOCK);
  /** What was read goes here, so that no compiler thinks it useless. */
  sink = 0;
  /** Entries whose port was changed, by their source's hash. */
  readonly #moved: Tally;

  constructor(table: ConntrackTable) {
    this.#table = table;
    const { capacity } = table.entries.slots;
    const buckets = sourceBuckets(capacity);
    this.#chains = new Chains(table.entries.words, buckets, SOURCE_NEXT, SOURCE_PREV);
    this.#moved = new Tally(movedGroups(capacity));
  }

  /** Puts an entry, whose original key and reply's port never change again, into the index. */
  link(entry: EntryId): void {
    this.linkAt(this.hashOf(entry), entry);
  }

  /** The same for an entry whose source's hash is known. */
  linkAt(hash: number, entry: EntryId): void {
    this.#chains.link(this.#chains.bucketOf(hash), entry);
    if (keepsPort(this.#table.entries, entry) === 0) this.#moved.add(hash);
  }

  /** Takes it out. */
  unlink(entry: EntryId): void {
    const chains = this.#chains;
    const isMoved = keepsPort(this.#table.entries, entry) === 0;
    if (!isMoved && chains.prev(entry) !== NIL) {
      // Somebody is in front of it: its bucket, which would have to be hashed, does not change.
      chains.unlink(NIL, entry);
      return;
    }
    const hash = this.hashOf(entry);
    chains.unlink(chains.bucketOf(hash), entry);
    if (isMoved) this.#moved.remove(hash);
  }

  /** Whether a connection with a source of this hash may have got another port than its own: 1 or 0. */
  mayHaveMoved(hash: number): 0 | 1 {
    return this.#moved.has(hash);
  }

  /** Where in the words of records a link is to be written by the next call that changes the index; 0 if there is none. */
  get untoldAt(): number {
    return this.#chains.untoldAt;
  }

  /** Reads what will be asked about a source of this hash, and written, so that it is under way; returns some word. */
  touch(hash: number): number {
    const chains = this.#chains;
    return chains.head(chains.bucketOf(hash)) ^ this.#moved.touch(hash);
  }

  /** Reads what taking out the entries of `slots[0, count)` will change, but for their neighbours. */
  touchEnds(slots: Int32Array, count: number): void {
    const { entries } = this.#table;
    const chains = this.#chains;
    const hashes = this.#hashes;
    let hashed = 0;
    for (let i = 0; i < count; i++) {
      const entry = entries.entryOfSlot(slots[i] as number);
      if (keepsPort(entries, entry) === 0 || chains.prev(entry) === NIL)
        hashes[hashed++] = this.hashOf(entry);
    }
    let sink = 0;
    for (let i = 0; i < hashed; i++) {
      const hash = hashes[i] as number;
      sink ^= chains.head(chains.bucketOf(hash)) ^ this.#moved.touch(hash);
    }
    this.sink = sink & 1;
  }

  /**
   * Looks for a mapping of `current`'s source that lies in `range`. If there is one, writes `current` with that source to
   * `into` and returns 1, else 0.
   */
  find(current: Int32Array, kind: number, range: NatRange, into: Int32Array): 0 | 1 {
    const entries = this.#table.entries;
    const port = portOf(current, SRC);
    for (let i = 0; i < 4; i++) this.#key[i] = current[i] as number;
    let node = this.#chains.head(this.#chains.bucketOf(this.#hashSource(port, kind))) as EntryId;
    for (; node !== NIL; node = this.#chains.next(node) as EntryId) {
      const original = entries.tuple(node, ORIGINAL);
      if (entries.kind(original) !== kind || entries.ports(original) >>> 16 !== port) continue;
      if (entries.sourceWord(node, ORIGINAL, 0) !== current[0]) continue;
      if (this.#hasSource(node, current) === 0) continue;
      copyKey(into, current);
      for (let i = 0; i < 4; i++) into[i] = entries.destinationWord(node, REPLY, i);
      const ports = entries.ports(entries.tuple(node, REPLY));
      setPort(into, SRC, portKind(kind & 255) === IDENTIFIER ? ports >>> 16 : ports & 0xffff);
      if (isInRange(into, range, entries.version) === 1) return 1;
    }
    return 0;
  }

  /** Nodes of the chain that a source belongs to: for tests and dumps. */
  *nodes(): Iterable<EntryId> {
    for (let bucket = 0; bucket < this.#chains.bucketCount; bucket++) {
      for (let node = this.#chains.head(bucket); node !== NIL; node = this.#chains.next(node)) {
        yield node as EntryId;
      }
    }
  }

  #hasSource(entry: EntryId, key: Int32Array): 0 | 1 {
    const entries = this.#table.entries;
    for (let i = 0; i < 4; i++) if (entries.sourceWord(entry, ORIGINAL, i) !== key[i]) return 0;
    return 1;
  }

  /** Hash of an entry's source. */
  hashOf(entry: EntryId): number {
    const entries = this.#table.entries;
    const original = entries.tuple(entry, ORIGINAL);
    if (entries.version === 4) {
      const { words } = entries;
      const port = (words[original + PORTS] as number) >>> 16;
      return this.hash4(words[original + SOURCE] as number, port, words[original + KIND] as number);
    }
    const key = this.#key;
    for (let i = 0; i < 4; i++) key[i] = entries.sourceWord(entry, ORIGINAL, i);
    return this.#hashSource(entries.ports(original) >>> 16, entries.kind(original));
  }

  /** Hash of an IPv4 source by its words. */
  hash4(source: number, port: number, kind: number): number {
    return this.#table.hashWords4(source, 0, port, kind);
  }

  /** Hash of the source in words 0-3 of the scratch key. */
  #hashSource(port: number, kind: number): number {
    const key = this.#key;
    key[KEY_PORTS] = port;
    key[KEY_KIND] = kind;
    return this.#table.hashKey(key);
  }
}

/** Whether answers come to the port (ICMP: identifier) that the entry's source has itself: 1 or 0. */
function keepsPort(entries: Entries, entry: EntryId): 0 | 1 {
  const original = entries.tuple(entry, ORIGINAL);
  const ports = entries.ports(entries.tuple(entry, REPLY));
  const isIdentifier = portKind(entries.kind(original) & 255) === IDENTIFIER;
  return entries.ports(original) >>> 16 === (isIdentifier ? ports >>> 16 : ports & 0xffff) ? 1 : 0;
}
