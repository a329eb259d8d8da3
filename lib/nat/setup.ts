/**
 * Binding: what NAT decides about a connection, once, while its first packet is on its way. Hot on new connections only.
 *
 * A bound end has its DONE bit; the reply tuple is altered so that answers are recognised, and SRC_NAT or DST_NAT says
 * that packets must be translated. A connection that is confirmed is never bound again.
 */
import { Direction, type EntryId, NIL, Status } from '../conntrack/entries.js';
import { Word } from '../conntrack/layout.js';
import type { ConntrackTable } from '../conntrack/table.js';
import { equalKeys, HASH_LATER, invertKey, KEY_KIND, KEY_PORTS, KEY_WORDS } from '../conntrack/tuples.js';
import type { Random } from '../random.js';
import { OpeningPrefetch } from './opening-prefetch.js';
import { PortKind, portKind } from './ports.js';
import { Manip, type NatRange, NatRangeFlag, ScratchRange } from './range.js';
import { SourceIndex } from './sources.js';
import { UniqueTuples } from './unique.js';

const SRC = Manip.SRC;
const REPLY = Direction.REPLY;
const CONFIRMED = Status.CONFIRMED;
const SRC_NAT = Status.SRC_NAT;
const SRC_NAT_DONE = Status.SRC_NAT_DONE;
const DST_NAT = Status.DST_NAT;
const DST_NAT_DONE = Status.DST_NAT_DONE;
const SOURCE = Word.SOURCE;
const DESTINATION = Word.DESTINATION;
const PORTS = Word.PORTS;
const KIND = Word.KIND;
const REPLY_LINE = 16;
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
  readonly #range = new ScratchRange();
  readonly #address = new Int32Array(4);
  readonly #prefetch: OpeningPrefetch;

  constructor(table: ConntrackTable, random: Random) {
    this.table = table;
    this.sources = new SourceIndex(table);
    this.unique = new UniqueTuples(table, this.sources, random);
    this.#prefetch = new OpeningPrefetch(table, this.sources, random);
    table.foresight = this.#prefetch;
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
    if (manip === SRC && (range.flags & ~PERSISTENT) === MAP_IPS && isOne(range) === 1) {
      return this.moveSource(entry, range.minAddress, now);
    }
    const current = this.#current;
    const chosen = this.#chosen;
    // `chosen` is free here: the reply key is copied into it only to be turned around.
    entries.getKey(entry, REPLY, chosen);
    invertKey(current, chosen);
    const isUnique = this.unique.choose(entry, current, range, manip, now, chosen);
    this.#bind(entry, equalKeys(chosen, current), isUnique, manip);
    if (manip !== SRC) return DONE;
    this.sources.link(entry);
    return isUnique === 1 ? DONE : EXHAUSTED;
  }

  /** Writes what was chosen: the claims aim at the reply, which `isSame` as it was, and `isUnique` if nobody has it. */
  #bind(entry: EntryId, isSame: 0 | 1, isUnique: 0 | 1, manip: Manip): void {
    const table = this.table;
    const entries = table.entries;
    const claims = this.unique.claims;
    const tuple = entries.tuple(entry, REPLY);
    let bits = manip === SRC ? SRC_NAT_DONE : DST_NAT_DONE;
    if (isSame === 0) {
      entries.setKey(entry, REPLY, claims.reply, isUnique === 1 ? claims.hash : HASH_LATER);
      bits |= manip === SRC ? SRC_NAT : DST_NAT;
    }
    if (isUnique === 1 && claims.found === NIL) {
      entries.setHash(tuple, claims.hash);
      entries.setAbsentAt(tuple, table.links);
    }
    entries.setStatus(entry, bits);
  }

  /**
   * What nearly every new connection comes to: the source of an entry that is neither confirmed nor bound becomes
   * `address`, its port is kept if nobody has the tuple, and a free one is found if somebody has. Twin: `choose`.
   */
  moveSource(entry: EntryId, address: Int32Array, now: number): Binding {
    const table = this.table;
    const claims = this.unique.claims;
    const sources = this.sources;
    this.#prefetch.address = address[0] as number;
    this.#prefetch.isPicked = 0;
    const isSame = table.version === 4 ? this.#aim4(entry, address[0] as number) : this.#aim6(entry, address);
    const source = sources.hashOf(entry);
    if (isSame === 0 && sources.mayHaveMoved(source) === 1)
      return this.#findSource(entry, address, source, now);
    if (claims.isTaken(entry, now) === 1) return this.#findPort(entry, isSame, source, now);
    this.#bind(entry, isSame, 1, SRC);
    sources.linkAt(source, entry);
    return DONE;
  }

  /** The claims aim at the entry's reply with another destination; 1 if it has that already, else 0. */
  #aim4(entry: EntryId, word: number): 0 | 1 {
    const words = this.table.entries.words;
    const line = entry + REPLY_LINE;
    const reply = this.unique.claims.reply;
    // The words between are zero in all keys of IPv4.
    reply[0] = words[line + SOURCE] as number;
    reply[4] = word;
    reply[KEY_PORTS] = words[line + PORTS] as number;
    reply[KEY_KIND] = words[line + KIND] as number;
    return words[line + DESTINATION] === word ? 1 : 0;
  }

  #aim6(entry: EntryId, address: Int32Array): 0 | 1 {
    const reply = this.unique.claims.reply;
    this.table.entries.getKey(entry, REPLY, reply);
    let isSame: 0 | 1 = 1;
    for (let i = 0; i < 4; i++) {
      if (reply[4 + i] !== address[i]) isSame = 0;
      reply[4 + i] = address[i] as number;
    }
    return isSame;
  }

  /** `moveSource` for a source that may have a mapping to another port. */
  #findSource(entry: EntryId, address: Int32Array, source: number, now: number): Binding {
    const isFree =
      this.#followSource(entry, address, now) === 1 || this.unique.claims.isTaken(entry, now) === 0;
    if (!isFree) return this.#findPort(entry, 0, source, now);
    this.#bind(entry, 0, 1, SRC);
    this.sources.linkAt(source, entry);
    return DONE;
  }

  /** `moveSource` where somebody has the tuple that the claims aim at. */
  #findPort(entry: EntryId, isSame: 0 | 1, source: number, now: number): Binding {
    const { reply } = this.unique.claims;
    const ports = reply[KEY_PORTS] as number;
    this.#prefetch.isPicked = 1;
    const isUnique = this.unique.movePort(entry, now);
    this.#bind(entry, reply[KEY_PORTS] === ports ? isSame : 0, isUnique, SRC);
    this.sources.linkAt(source, entry);
    return isUnique === 1 ? DONE : EXHAUSTED;
  }

  /**
   * Aims the claims at the tuple that the entry has by the mapping of its source for other destinations, and returns 1, if
   * there is one and nobody has that; else 0, and they aim at what they did.
   */
  #followSource(entry: EntryId, address: Int32Array, now: number): 0 | 1 {
    const entries = this.table.entries;
    const claims = this.unique.claims;
    const { reply } = claims;
    const ports = reply[KEY_PORTS] as number;
    const current = this.#current;
    entries.getKey(entry, REPLY, this.#chosen);
    invertKey(current, this.#chosen);
    const kind = entries.kind(entries.tuple(entry, Direction.ORIGINAL));
    this.#range.setAddress(address, undefined);
    if (this.sources.find(current, kind, this.#range, this.#chosen) === 0) return 0;
    claims.aim(this.#chosen);
    if (claims.isTaken(entry, now) === 0) return 1;
    // It differs in its port alone: the range has one address.
    reply[KEY_PORTS] = ports;
    return 0;
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

/** Whether a range has one address: 1 or 0. */
function isOne({ minAddress, maxAddress }: NatRange): 0 | 1 {
  return minAddress[0] === maxAddress[0] &&
    minAddress[1] === maxAddress[1] &&
    minAddress[2] === maxAddress[2] &&
    minAddress[3] === maxAddress[3]
    ? 1
    : 0;
}
