/**
 * The index of connections by their source: which address and port a client's socket was given before. Hot on new
 * connections only.
 *
 * Invariant: an entry is linked iff its status has SRC_NAT_DONE. The key is the original tuple's source address, source
 * port (ICMP: identifier), protocol and zone. A bucket's newest connection comes first. Expired entries that were not
 * reaped yet count, as on Linux: their mapping is as good as any.
 */
import { Direction, type EntryId, NIL, SOURCE_NEXT, SOURCE_PREV } from '../conntrack/entries.js';
import type { ConntrackTable } from '../conntrack/table.js';
import { copyKey, KEY_KIND, KEY_PORTS, KEY_WORDS } from '../conntrack/tuples.js';
import { Chains } from '../memory/chains.js';
import { isInRange } from './in-range.js';
import { portOf, setPort } from './ports.js';
import { Manip, type NatRange } from './range.js';

const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;
const SRC = Manip.SRC;

export class SourceIndex {
  readonly #table: ConntrackTable;
  readonly #chains: Chains;
  readonly #key = new Int32Array(KEY_WORDS);

  constructor(table: ConntrackTable) {
    this.#table = table;
    this.#chains = new Chains(table.entries.words, table.chains.bucketCount, SOURCE_NEXT, SOURCE_PREV);
  }

  /** Puts an entry, whose original key never changes again, into the index. */
  link(entry: EntryId): void {
    this.#chains.link(this.#bucketOfEntry(entry), entry);
  }

  /** Takes it out. */
  unlink(entry: EntryId): void {
    this.#chains.unlink(this.#bucketOfEntry(entry), entry);
  }

  /**
   * Looks for a mapping of `current`'s source that lies in `range`. If there is one, writes `current` with that source to
   * `into` and returns 1, else 0.
   */
  find(current: Int32Array, kind: number, range: NatRange, into: Int32Array): 0 | 1 {
    const entries = this.#table.entries;
    const port = portOf(current, SRC);
    let node = this.#chains.head(this.#bucketOfSource(current, port, kind)) as EntryId;
    for (; node !== NIL; node = this.#chains.next(node) as EntryId) {
      const original = entries.tuple(node, ORIGINAL);
      if (entries.kind(original) !== kind || entries.ports(original) >>> 16 !== port) continue;
      if (entries.sourceWord(node, ORIGINAL, 0) !== current[0]) continue;
      if (this.#hasSource(node, current) === 0) continue;
      copyKey(into, current);
      for (let i = 0; i < 4; i++) into[i] = entries.destinationWord(node, REPLY, i);
      const key = this.#key;
      key[KEY_KIND] = kind;
      key[KEY_PORTS] = entries.ports(entries.tuple(node, REPLY));
      setPort(into, SRC, portOf(key, Manip.DST));
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

  #bucketOfEntry(entry: EntryId): number {
    const entries = this.#table.entries;
    const original = entries.tuple(entry, ORIGINAL);
    const key = this.#key;
    for (let i = 0; i < 4; i++) key[i] = entries.sourceWord(entry, ORIGINAL, i);
    return this.#bucketOfSource(key, entries.ports(original) >>> 16, entries.kind(original));
  }

  #bucketOfSource(source: Int32Array, port: number, kind: number): number {
    const key = this.#key;
    for (let i = 0; i < 4; i++) {
      key[i] = source[i] as number;
      key[4 + i] = 0;
    }
    key[KEY_PORTS] = port;
    key[KEY_KIND] = kind;
    return this.#chains.bucketOf(this.#table.hashKey(key));
  }
}
