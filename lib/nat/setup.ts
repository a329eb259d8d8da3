/**
 * Binding: what NAT decides about a connection, once, while its first packet is on its way. Hot on new connections only.
 *
 * A bound end has its DONE bit; the reply tuple is altered so that answers are recognised, and SRC_NAT or DST_NAT says
 * that packets must be translated. A connection that is confirmed is never bound again.
 */
import { Direction, type EntryId, NIL, Status } from '../conntrack/entries.js';
import type { ConntrackTable } from '../conntrack/table.js';
import { equalKeys, invertKey, KEY_KIND, KEY_PORTS, KEY_WORDS } from '../conntrack/tuples.js';
import type { Random } from '../random.js';
import { PortKind, portKind } from './ports.js';
import { Manip, type NatRange, NatRangeFlag, ScratchRange } from './range.js';
import { SourceIndex } from './sources.js';
import { UniqueTuples } from './unique.js';

const SRC = Manip.SRC;
const REPLY = Direction.REPLY;
const CONFIRMED = Status.CONFIRMED;
const SRC_NAT = Status.SRC_NAT;
const SRC_NAT_DONE = Status.SRC_NAT_DONE;
const DST_NAT_DONE = Status.DST_NAT_DONE;
const IDENTIFIER = PortKind.IDENTIFIER;
const MAP_IPS = NatRangeFlag.MAP_IPS;
/** Flags that mean nothing to a range of one address. */
const PERSISTENT = NatRangeFlag.PERSISTENT;

/** What came of binding one end of a connection. */
export const Binding = {
  /** That end was bound before: a programming error of the ruleset, the packet is dropped. */
  REFUSED: 0,
  /** Bound, or confirmed before and therefore left alone. */
  DONE: 1,
  /** Bound, but to a tuple that another connection has: the packet will be dropped when it is confirmed. */
  EXHAUSTED: 2,
} as const;
export type Binding = (typeof Binding)[keyof typeof Binding];

const REFUSED = Binding.REFUSED;
const DONE = Binding.DONE;
const EXHAUSTED = Binding.EXHAUSTED;

/** Bindings of one family's table. */
export class Bindings {
  readonly table: ConntrackTable;
  readonly sources: SourceIndex;
  readonly unique: UniqueTuples;
  /** The range of the null binding made last. */
  readonly nullRange = new ScratchRange();
  readonly #current = new Int32Array(KEY_WORDS);
  readonly #chosen = new Int32Array(KEY_WORDS);
  readonly #reply = new Int32Array(KEY_WORDS);
  readonly #touched = new Int32Array(1);
  readonly #address = new Int32Array(4);

  constructor(table: ConntrackTable, random: Random) {
    this.table = table;
    this.sources = new SourceIndex(table);
    this.unique = new UniqueTuples(table, this.sources, random);
    table.observe((_table, entry) => {
      if ((table.entries.status(entry) & SRC_NAT_DONE) !== 0) this.sources.unlink(entry);
    });
  }

  /** Binds one end of an unconfirmed entry to `range`. `now` is the tracker's time. */
  setup(entry: EntryId, range: NatRange, manip: Manip, now: number): Binding {
    const table = this.table;
    const entries = table.entries;
    const status = entries.status(entry);
    if ((status & CONFIRMED) !== 0) return DONE;
    const done = manip === SRC ? SRC_NAT_DONE : DST_NAT_DONE;
    if ((status & done) !== 0) return REFUSED;
    if (manip === SRC && (range.flags & ~PERSISTENT) === MAP_IPS && this.#keepPort(entry, range, now) === 1) {
      return DONE;
    }
    const current = this.#current;
    const chosen = this.#chosen;
    // `chosen` is free here: the reply key is copied into it only to be turned around.
    entries.getKey(entry, REPLY, chosen);
    invertKey(current, chosen);
    const claims = this.unique.claims;
    const isUnique = this.unique.choose(entry, current, range, manip, now, chosen);
    if (equalKeys(chosen, current) === 0) {
      if (isUnique === 1) entries.setKey(entry, REPLY, claims.reply, claims.hash);
      else table.setKey(entry, REPLY, claims.reply);
      entries.setStatus(entry, manip === SRC ? SRC_NAT : Status.DST_NAT);
    }
    entries.setStatus(entry, done);
    if (isUnique === 1 && claims.found === NIL) entries.setAbsentAt(entries.tuple(entry, REPLY), table.links);
    if (manip !== SRC) return DONE;
    this.sources.link(entry);
    return isUnique === 1 ? DONE : EXHAUSTED;
  }

  /**
   * What nearly every new connection comes to: the source becomes the one address of `range`, and its port is kept, for
   * nobody has the tuple. Returns 1 and has bound the end then; 0, with nothing done, if `choose` must decide.
   */
  #keepPort(entry: EntryId, range: NatRange, now: number): 0 | 1 {
    const table = this.table;
    const entries = table.entries;
    const reply = this.#reply;
    const address = range.minAddress;
    entries.getKey(entry, REPLY, reply);
    let isSame = true;
    for (let i = 0; i < 4; i++) {
      const word = address[i] as number;
      if (range.maxAddress[i] !== word) return 0;
      if (reply[4 + i] === word) continue;
      reply[4 + i] = word;
      isSame = false;
    }
    const bucket = this.sources.bucketOf(entry);
    if (!isSame && this.sources.mayHaveMoved(bucket) === 1) return 0;
    const reservations = this.unique.claims.reservations;
    if (reservations.count > 0) {
      const protocol = (reply[KEY_KIND] as number) & 255;
      const ports = reply[KEY_PORTS] as number;
      const port = portKind(protocol) === IDENTIFIER ? ports >>> 16 : ports & 0xffff;
      if (reservations.isReserved(entries.version, protocol, reply, 4, port) === 1) return 0;
    }
    const tuple = entries.tuple(entry, REPLY);
    const hash = isSame ? entries.hash(tuple) : table.hashKey(reply);
    // In a large table memory is slow: both lists are asked for at a time.
    this.#touched[0] = this.sources.touch(bucket);
    if (table.findHashed(reply, hash, now) !== NIL) return 0;
    if (!isSame) entries.setKey(entry, REPLY, reply, hash);
    entries.setAbsentAt(tuple, table.links);
    entries.setStatus(entry, isSame ? SRC_NAT_DONE : SRC_NAT | SRC_NAT_DONE);
    this.sources.linkAt(bucket, entry);
    return 1;
  }

  /**
   * The null binding: the end keeps its address as it is by now, and its port if no other connection has the tuple. So
   * no later rule can change the connection half way.
   */
  setupNull(entry: EntryId, manip: Manip, now: number): Binding {
    const entries = this.table.entries;
    if (manip !== SRC && portKind(entries.protocol(entry)) !== IDENTIFIER && this.#keepsTimeWait() === 1) {
      // Whoever has the tuple, its destination stays; so nobody needs to be looked for.
      const status = entries.status(entry);
      if ((status & CONFIRMED) !== 0) return DONE;
      if ((status & DST_NAT_DONE) !== 0) return REFUSED;
      entries.setStatus(entry, DST_NAT_DONE);
      return DONE;
    }
    const address = this.#address;
    for (let i = 0; i < 4; i++) {
      address[i] =
        manip === SRC ? entries.destinationWord(entry, REPLY, i) : entries.sourceWord(entry, REPLY, i);
    }
    this.nullRange.setAddress(address, undefined);
    return this.setup(entry, this.nullRange, manip, now);
  }

  /** Whether no connection in TIME_WAIT gives its tuple away to whom is looked for: 1 or 0. */
  #keepsTimeWait(): 0 | 1 {
    return this.unique.claims.context?.timeWait === undefined ? 1 : 0;
  }

  /** Takes an entry that was bound elsewhere (a restored one) into the index of sources. */
  adopt(entry: EntryId): void {
    if ((this.table.entries.status(entry) & SRC_NAT_DONE) !== 0) this.sources.link(entry);
  }
}
