/**
 * Chooses what a connection becomes: a tuple inside a rule's range whose reply no other connection has. Hot on new
 * connections only.
 *
 * In this order: the tuple as it is; the mapping that its source has for other destinations; the address that belongs
 * to it with its own port; a port found by probing. Probing follows Linux: from a random start up, at most 128 ports,
 * then from new starts 64, 32, 16 and 8; in the last quarter of it a TCP connection may take the tuple of one that is
 * past TIME_WAIT, if its sequence number has moved on. Where Linux gives up after these 248 probes, the whole range is
 * looked through, so a free port is found if there is one, and a tuple is taken from a finished connection only if
 * there is none.
 *
 * What it does not do: it does not bind the entry (`setup.ts`), and does not know tables or rules.
 */
import type { TrackContext } from '../conntrack/context.js';
import { Direction, type EntryId, NIL, Status, type TupleId } from '../conntrack/entries.js';
import { type ConntrackTable, DestroyReason } from '../conntrack/table.js';
import { copyKey, equalKeys, invertKey, KEY_KIND, KEY_WORDS } from '../conntrack/tuples.js';
import type { Random } from '../random.js';
import { ExhaustedRanges } from './exhausted.js';
import { isInRange, isPortInRange } from './in-range.js';
import { classMinimum, classSize, PortKind, portKind, portOf, setPort } from './ports.js';
import { Manip, type NatRange, NatRangeFlag } from './range.js';
import { NO_RESERVATIONS, type PortReservations } from './reservations.js';
import type { SourceIndex } from './sources.js';
import { spreadAddress } from './spread.js';

const MAP_RANDOM = NatRangeFlag.PROTO_RANDOM | NatRangeFlag.PROTO_RANDOM_FULLY;
const PROTO_SPECIFIED = NatRangeFlag.PROTO_SPECIFIED;
const PROTO_OFFSET = NatRangeFlag.PROTO_OFFSET;
const SRC = Manip.SRC;
const DST = Manip.DST;
const ORIGINAL = Direction.ORIGINAL;
const TCP = 6;

/** Ports tried from the first start. */
const FIRST_ATTEMPTS = 128;
/** A round of fewer attempts than this is the last. */
const LAST_ROUND = 16;
/** Attempts left at which a finished TCP connection's tuple may be taken. */
const EVICTION_ATTEMPTS = 32;
/** Every port or identifier. */
const ALL_PORTS = 65_536;

/** TCP states by number, see `conntrack/protocols/tcp.ts`. */
const TCP_SYN_SENT = 1;
const TCP_TIME_WAIT = 7;

/** Status bits that keep an entry from being evicted. */
const KEPT = Status.FIXED_TIMEOUT | Status.DYING;

export class UniqueTuples {
  /** Ports that no connection is moved to. */
  reservations: PortReservations = NO_RESERVATIONS;
  /** What else than Linux's rule gives tuples of connections in TIME_WAIT away, and the time and timeouts for it. */
  context: TrackContext | undefined = undefined;
  readonly #table: ConntrackTable;
  readonly #sources: SourceIndex;
  readonly #random: Random;
  readonly #exhausted: ExhaustedRanges;
  readonly #reply = new Int32Array(KEY_WORDS);
  readonly #mine = new Int32Array(KEY_WORDS);
  readonly #other = new Int32Array(KEY_WORDS);

  constructor(table: ConntrackTable, sources: SourceIndex, random: Random) {
    this.#table = table;
    this.#sources = sources;
    this.#random = random;
    this.#exhausted = new ExhaustedRanges(table);
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

  /** Looks for a free port for `key` and sets it. Returns 1 if found. */
  #probe(key: Int32Array, entry: EntryId, range: NatRange, manip: Manip, now: number): 0 | 1 {
    const flags = range.flags;
    const kind = portKind((key[KEY_KIND] as number) & 255);
    const isFixed = kind === PortKind.PORTS && manip === DST && (flags & PROTO_SPECIFIED) === 0;
    if (kind === PortKind.NONE || kind === PortKind.CALL_ID || isFixed) {
      return this.#isTaken(key, entry, now) === 1 ? 0 : 1;
    }
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
    return this.#probeFrom(offset, key, entry, first, size, manip, now);
  }

  #probeFrom(
    offset: number,
    key: Int32Array,
    entry: EntryId,
    first: number,
    size: number,
    manip: Manip,
    now: number,
  ): 0 | 1 {
    let attempts = Math.min(size, FIRST_ATTEMPTS);
    for (;;) {
      for (let i = 0; i < attempts; i++) {
        setPort(key, manip, first + offset);
        const taken =
          attempts - i > EVICTION_ATTEMPTS
            ? this.#isTaken(key, entry, now)
            : this.#isTakenAndKept(key, entry, now);
        if (taken === 0) return 1;
        offset = offset + 1 === size ? 0 : offset + 1;
      }
      if (attempts === size) return 0;
      if (attempts < LAST_ROUND) return this.#search(offset, key, entry, first, size, manip, now);
      attempts >>= 1;
      offset = this.#random.pick(first, size) - first;
    }
  }

  /** Tries every port of the range, beginning at `offset`; then whether one can be taken from a finished connection. */
  #search(
    offset: number,
    key: Int32Array,
    entry: EntryId,
    first: number,
    size: number,
    manip: Manip,
    now: number,
  ): 0 | 1 {
    this.#exhausted.hear(this.reservations.released);
    // What is taken for a delay only is not known to be taken for as long as that memory holds.
    const isKept = this.context?.timeWait === undefined;
    if (isKept && this.#exhausted.recalls(key, manip, first, size, now) === 1) return 0;
    const last = portOf(key, manip);
    let evictable = NIL;
    for (let i = 0; i < size; i++) {
      const port = first + offset;
      setPort(key, manip, port);
      const isReserved = this.reservations.count > 0 ? this.#isReserved(key, entry) : 0;
      const tuple = isReserved === 1 ? NIL : this.#findReply(key, now);
      if (isReserved === 0 && (tuple === NIL || this.#isSameFlow(tuple as TupleId, entry) === 1)) return 1;
      if (isReserved === 0 && evictable === NIL && this.#canEvict(tuple as TupleId, entry) === 1)
        evictable = port;
      offset = offset + 1 === size ? 0 : offset + 1;
    }
    if (evictable === NIL) {
      if (isKept) this.#exhausted.remember(key, manip, first, size, now);
      setPort(key, manip, last);
      return 0;
    }
    setPort(key, manip, evictable);
    return this.#isTakenAndKept(key, entry, now) === 0 ? 1 : 0;
  }

  /** Tuple of the connection that answers to `key` would be taken for, or NIL. */
  #findReply(key: Int32Array, now: number): TupleId {
    invertKey(this.#reply, key);
    return this.#table.find(this.#reply, now);
  }

  /**
   * Whether the source of `key` is reserved: 1 or 0. A connection that keeps the source it began with is moved to no
   * port, so it may have a reserved one: it comes from whoever reserved it, or the address is not ours.
   */
  #isReserved(key: Int32Array, entry: EntryId): 0 | 1 {
    const entries = this.#table.entries;
    const original = entries.tuple(entry, ORIGINAL);
    let isSame = entries.ports(original) >>> 16 === portOf(key, SRC);
    for (let i = 0; i < 4 && isSame; i++) isSame = entries.sourceWord(entry, ORIGINAL, i) === key[i];
    if (isSame) return 0;
    const protocol = (key[KEY_KIND] as number) & 255;
    return this.reservations.isReserved(entries.version, protocol, key, 0, portOf(key, SRC));
  }

  /** Whether another connection has the reply of `key`, or its source is reserved: 1 or 0. */
  #isTaken(key: Int32Array, entry: EntryId, now: number): 0 | 1 {
    if (this.reservations.count > 0 && this.#isReserved(key, entry) === 1) return 1;
    const tuple = this.#findReply(key, now);
    if (tuple === NIL || this.#isSameFlow(tuple, entry) === 1) return 0;
    return this.#takesTimeWait(tuple, entry) === 1 ? 0 : 1;
  }

  /**
   * Whether the tuple is of a connection with the entry's own original tuple: both began before either was confirmed
   * (a packet of it waits in a queue), and confirmation settles it. 1 or 0.
   */
  #isSameFlow(tuple: TupleId, entry: EntryId): 0 | 1 {
    const entries = this.#table.entries;
    const other = entries.entryOf(tuple);
    const ours = entries.tuple(entry, ORIGINAL);
    if (entries.hash(entries.tuple(other, ORIGINAL)) !== entries.hash(ours)) return 0;
    entries.getKey(entry, ORIGINAL, this.#mine);
    entries.getKey(other, ORIGINAL, this.#other);
    return equalKeys(this.#mine, this.#other);
  }

  /** Whether `key` stays taken even if a finished TCP connection may be evicted for it, which is then done: 1 or 0. */
  #isTakenAndKept(key: Int32Array, entry: EntryId, now: number): 0 | 1 {
    if (this.reservations.count > 0 && this.#isReserved(key, entry) === 1) return 1;
    const tuple = this.#findReply(key, now);
    if (tuple === NIL) return 0;
    if (this.#canEvict(tuple, entry) === 1) {
      this.#table.destroy(this.#table.entries.entryOf(tuple), DestroyReason.NAT_EVICTED);
      return 0;
    }
    return this.#isSameFlow(tuple, entry) === 1 ? 0 : 1;
  }

  /**
   * Whether a new TCP connection may take the tuple at once, by the rule for TIME_WAIT that was asked for; its owner is
   * destroyed then: 1 or 0.
   */
  #takesTimeWait(tuple: TupleId, entry: EntryId): 0 | 1 {
    if (this.context?.timeWait === undefined || this.#canEvict(tuple, entry) === 0) return 0;
    const old = this.#table.entries.entryOf(tuple);
    if (this.#table.entries.state(old) !== TCP_TIME_WAIT) return 0;
    this.#table.destroy(old, DestroyReason.NAT_EVICTED);
    return 1;
  }

  /** Whether a new TCP connection may take the tuple: its owner is closed and its sequence numbers are behind. 1 or 0. */
  #canEvict(tuple: TupleId, entry: EntryId): 0 | 1 {
    const entries = this.#table.entries;
    if (entries.protocol(entry) !== TCP || entries.state(entry) !== TCP_SYN_SENT) return 0;
    if (entries.directionOf(tuple) === ORIGINAL) return 0;
    const old = entries.entryOf(tuple);
    if (entries.state(old) < TCP_TIME_WAIT) return 0;
    const status = entries.status(old);
    if ((status & KEPT) !== 0) return 0;
    const context = this.context;
    if (context?.timeWait !== undefined && entries.state(old) === TCP_TIME_WAIT) {
      return context.timeWait.yields(context, this.#table, old, entry);
    }
    if ((status & Status.SRC_NAT) === 0) return 0;
    return ((entries.tdEnd(entry, ORIGINAL) - entries.tdEnd(old, ORIGINAL)) | 0) > 0 ? 1 : 0;
  }
}
