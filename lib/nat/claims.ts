/**
 * Whether a new connection can have a reply tuple: who else claims it. Hot on new connections only.
 *
 * The tuple in question is the key in `reply`, which `aim` turns a candidate into; its ports may then be changed in place.
 * A tuple is another's if a lookup finds it, unless that is a connection of the same flow (both began before either was
 * confirmed), or a finished TCP connection that may be evicted; or if its port is reserved.
 */
import type { TrackContext } from '../conntrack/context.js';
import { Direction, type EntryId, NIL, Status, type TupleId } from '../conntrack/entries.js';
import { type ConntrackTable, DestroyReason } from '../conntrack/table.js';
import { equalKeys, invertKey, KEY_KIND, KEY_PORTS, KEY_WORDS } from '../conntrack/tuples.js';
import { PortKind, portKind } from './ports.js';
import { NO_RESERVATIONS, type PortReservations } from './reservations.js';

const ORIGINAL = Direction.ORIGINAL;
const TCP = 6;

/** TCP states by number, see `conntrack/protocols/tcp.ts`. */
const TCP_SYN_SENT = 1;
const TCP_TIME_WAIT = 7;

/** Status bits that keep an entry from being evicted. */
const KEPT = Status.FIXED_TIMEOUT | Status.DYING;

/** What a tuple is to a new connection. */
export const Claim = { FREE: 0, TAKEN: 1, EVICTABLE: 2 } as const;
export type Claim = (typeof Claim)[keyof typeof Claim];

export class Claims {
  /** Ports that no connection is moved to. */
  reservations: PortReservations = NO_RESERVATIONS;
  /** What else than Linux's rule gives tuples of connections in TIME_WAIT away, and the time and timeouts for it. */
  context: TrackContext | undefined = undefined;
  /** The tuple in question. */
  readonly reply = new Int32Array(KEY_WORDS);
  /** Hash of `reply` when it was last looked for. */
  hash = 0;
  /** What that lookup found, or NIL. */
  found = NIL as TupleId;
  readonly #table: ConntrackTable;
  readonly #mine = new Int32Array(KEY_WORDS);
  readonly #other = new Int32Array(KEY_WORDS);

  constructor(table: ConntrackTable) {
    this.#table = table;
  }

  /** What follows is about the reply of `key`. */
  aim(key: Int32Array): void {
    invertKey(this.reply, key);
  }

  /** Whether another connection has the tuple, or its port is reserved: 1 or 0. */
  isTaken(entry: EntryId, now: number): 0 | 1 {
    if (this.reservations.count > 0 && this.#isReserved(entry) === 1) return 1;
    const tuple = this.#find(now);
    if (tuple === NIL || this.#isSameFlow(tuple, entry) === 1) return 0;
    return this.#takesTimeWait(tuple, entry) === 1 ? 0 : 1;
  }

  /** Whether it stays taken even if a finished TCP connection may be evicted for it, which is then done: 1 or 0. */
  isTakenAndKept(entry: EntryId, now: number): 0 | 1 {
    if (this.reservations.count > 0 && this.#isReserved(entry) === 1) return 1;
    const tuple = this.#find(now);
    if (tuple === NIL) return 0;
    if (this.#canEvict(tuple, entry) === 1) {
      this.#table.destroy(this.#table.entries.entryOf(tuple), DestroyReason.NAT_EVICTED);
      return 0;
    }
    return this.#isSameFlow(tuple, entry) === 1 ? 0 : 1;
  }

  /** What the tuple is to the entry, with nothing done about it. */
  look(entry: EntryId, now: number): Claim {
    if (this.reservations.count > 0 && this.#isReserved(entry) === 1) return Claim.TAKEN;
    const tuple = this.#find(now);
    if (tuple === NIL || this.#isSameFlow(tuple, entry) === 1) return Claim.FREE;
    return this.#canEvict(tuple, entry) === 1 ? Claim.EVICTABLE : Claim.TAKEN;
  }

  /** Whether a finished connection may have to make room for the entry: it is a TCP connection that begins. 1 or 0. */
  evicts(entry: EntryId): 0 | 1 {
    const entries = this.#table.entries;
    return entries.protocol(entry) === TCP && entries.state(entry) === TCP_SYN_SENT ? 1 : 0;
  }

  /** Whether a tuple is the entry's to have if and only if no lookup finds it, finished connections aside: 1 or 0. */
  isPlain(entry: EntryId, now: number): 0 | 1 {
    if (this.context?.timeWait !== undefined) return 0;
    const table = this.#table;
    const original = table.entries.tuple(entry, ORIGINAL);
    if (table.entries.absentAt(original) === table.links) return 1;
    table.entries.getKey(entry, ORIGINAL, this.#mine);
    return table.find(this.#mine, now) === NIL ? 1 : 0;
  }

  #find(now: number): TupleId {
    this.hash = this.#table.hashKey(this.reply);
    this.found = this.#table.findHashed(this.reply, this.hash, now);
    return this.found;
  }

  /**
   * Whether the source that answers would come to is reserved: 1 or 0. A connection that keeps the source it began with
   * is moved to no port, so it may have a reserved one: it comes from whoever reserved it, or the address is not ours.
   */
  #isReserved(entry: EntryId): 0 | 1 {
    const entries = this.#table.entries;
    const reply = this.reply;
    const protocol = (reply[KEY_KIND] as number) & 255;
    const ports = reply[KEY_PORTS] as number;
    const port = portKind(protocol) === PortKind.IDENTIFIER ? ports >>> 16 : ports & 0xffff;
    let isSame = entries.ports(entries.tuple(entry, ORIGINAL)) >>> 16 === port;
    for (let i = 0; i < 4 && isSame; i++) isSame = entries.sourceWord(entry, ORIGINAL, i) === reply[4 + i];
    return isSame ? 0 : this.reservations.isReserved(entries.version, protocol, reply, 4, port);
  }

  /**
   * Whether the tuple is of a connection with the entry's own original tuple: both began before either was confirmed
   * (a packet of it waits in a queue), and confirmation settles it. 1 or 0.
   */
  #isSameFlow(tuple: TupleId, entry: EntryId): 0 | 1 {
    const entries = this.#table.entries;
    const other = entries.entryOf(tuple);
    const ours = entries.tuple(entry, ORIGINAL);
    if (entries.ports(entries.tuple(other, ORIGINAL)) !== entries.ports(ours)) return 0;
    entries.getKey(entry, ORIGINAL, this.#mine);
    entries.getKey(other, ORIGINAL, this.#other);
    return equalKeys(this.#mine, this.#other);
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
    if (this.evicts(entry) === 0) return 0;
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
