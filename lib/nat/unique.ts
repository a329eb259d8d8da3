/**
 * Chooses what a connection becomes: a tuple inside a rule's range whose reply no other connection has. Hot on new
 * connections only.
 *
 * In this order: the tuple as it is; the mapping that its source has for other destinations; the address that belongs
 * to it with its own port; a port found by a search (`port-search.ts`), so that one is found if there is one.
 *
 * What it does not do: it does not bind the entry (`setup.ts`), and does not know tables or rules.
 */
import { Direction, type EntryId } from '../conntrack/entries.js';
import type { ConntrackTable } from '../conntrack/table.js';
import { copyKey, KEY_KIND, KEY_PORTS } from '../conntrack/tuples.js';
import type { Random } from '../random.js';
import { Claims } from './claims.js';
import { isInRange, isPortInRange } from './in-range.js';
import { PortHalf } from './port-maps.js';
import { PortSearch } from './port-search.js';
import { classMinimum, classSize, PortKind, portKind, portOf, setPort } from './ports.js';
import { Manip, type NatRange, NatRangeFlag } from './range.js';
import type { SourceIndex } from './sources.js';
import { spreadAddress } from './spread.js';

const MAP_RANDOM = NatRangeFlag.PROTO_RANDOM | NatRangeFlag.PROTO_RANDOM_FULLY;
const PROTO_SPECIFIED = NatRangeFlag.PROTO_SPECIFIED;
const PROTO_OFFSET = NatRangeFlag.PROTO_OFFSET;
const SRC = Manip.SRC;
const DST = Manip.DST;
const ORIGINAL = Direction.ORIGINAL;
const LOW = PortHalf.LOW;
const HIGH = PortHalf.HIGH;

/** Every port or identifier. */
const ALL_PORTS = 65_536;

export class UniqueTuples {
  /** Whose the tuples are; after `choose` they aim at the reply of what it chose. */
  readonly claims: Claims;
  readonly search: PortSearch;
  readonly #table: ConntrackTable;
  readonly #sources: SourceIndex;
  readonly #random: Random;

  constructor(table: ConntrackTable, sources: SourceIndex, random: Random) {
    this.#table = table;
    this.#sources = sources;
    this.#random = random;
    this.claims = new Claims(table);
    this.search = new PortSearch(table, this.claims, random);
  }

  /**
   * Writes to `into` what `current`, the tuple that the unconfirmed `entry` has so far, becomes by `range` and `manip`.
   * Returns 1 if no other connection has its reply, 0 if every candidate is taken (`into` is then the last one tried).
   * May destroy finished TCP connections whose tuple it takes. `now` is the tracker's time.
   */
  choose(
    entry: EntryId,
    current: Int32Array,
    range: NatRange,
    manip: Manip,
    now: number,
    into: Int32Array,
  ): 0 | 1 {
    const flags = range.flags;
    const entries = this.#table.entries;
    const keepsPort = (flags & MAP_RANDOM) === 0;
    if (manip === SRC && keepsPort) {
      if (isInRange(current, range, entries.version) === 1) {
        copyKey(into, current);
        if (this.#isTaken(into, entry, now) === 0) return 1;
      } else {
        const kind = entries.kind(entries.tuple(entry, ORIGINAL));
        if (this.#sources.find(current, kind, range, into) === 1 && this.#isTaken(into, entry, now) === 0) {
          return 1;
        }
      }
    }
    copyKey(into, current);
    spreadAddress(into, range, manip, entries.version, entries.zone(entry));
    if (keepsPort) {
      if ((flags & PROTO_SPECIFIED) === 0) {
        if (this.#isTaken(into, entry, now) === 0) return 1;
      } else if ((flags & PROTO_OFFSET) === 0 && isPortInRange(into, range, manip) === 1) {
        const free = this.#isTaken(into, entry, now) === 0;
        if (free || range.minPort === range.maxPort) return free ? 1 : 0;
      }
    }
    return this.#probe(into, entry, range, manip, now);
  }

  /**
   * Looks for another port of its class for the source that the claims aim at, which is taken: what `choose` does last for
   * a range without ports. Returns 1 if found; the claims then aim at it, else at the last one tried.
   */
  movePort(entry: EntryId, now: number): 0 | 1 {
    const reply = this.claims.reply;
    const kind = portKind((reply[KEY_KIND] as number) & 255);
    if (kind === PortKind.NONE || kind === PortKind.CALL_ID) {
      return this.claims.isTaken(entry, now) === 1 ? 0 : 1;
    }
    const isIdentifier = kind === PortKind.IDENTIFIER;
    const port = (reply[KEY_PORTS] as number) & 0xffff;
    const first = isIdentifier ? 0 : classMinimum(port);
    const size = isIdentifier ? ALL_PORTS : classSize(port);
    const offset = this.#random.pick(first, size) - first;
    return this.search.run(entry, isIdentifier ? HIGH : LOW, first, size, offset, now);
  }

  /** Looks for a free port for `key` and sets it. Returns 1 if found. */
  #probe(key: Int32Array, entry: EntryId, range: NatRange, manip: Manip, now: number): 0 | 1 {
    const flags = range.flags;
    const kind = portKind((key[KEY_KIND] as number) & 255);
    const isFixed = kind === PortKind.PORTS && manip === DST && (flags & PROTO_SPECIFIED) === 0;
    if (kind === PortKind.NONE || kind === PortKind.CALL_ID || isFixed) {
      return this.#isTaken(key, entry, now) === 1 ? 0 : 1;
    }
    this.claims.aim(key);
    const port = portOf(key, manip);
    let first: number;
    let size: number;
    if ((flags & PROTO_SPECIFIED) !== 0) {
      first = Math.min(range.minPort, range.maxPort);
      size = Math.max(range.minPort, range.maxPort) - first + 1;
    } else if (kind === PortKind.IDENTIFIER) {
      first = 0;
      size = ALL_PORTS;
    } else {
      first = classMinimum(port);
      size = classSize(port);
    }
    let offset: number;
    if ((flags & PROTO_OFFSET) !== 0) offset = ((port - range.basePort) & 0xffff) % size;
    else if ((flags & MAP_RANDOM) !== 0 || manip === SRC) offset = this.#random.pick(first, size) - first;
    else offset = 0;
    const half = kind === PortKind.PORTS && manip === SRC ? LOW : HIGH;
    const found = this.search.run(entry, half, first, size, offset, now);
    setPort(key, manip, ((this.claims.reply[KEY_PORTS] as number) >>> half) & 0xffff);
    return found;
  }

  /** Whether another connection has the reply of `key`, or its source is reserved: 1 or 0. */
  #isTaken(key: Int32Array, entry: EntryId, now: number): 0 | 1 {
    this.claims.aim(key);
    return this.claims.isTaken(entry, now);
  }
}
