/**
 * The flow table for people and programs: get, list, delete, flush, and events. Cold.
 *
 * What it returns are copies: later packets do not change them. Events are built only while somebody listens.
 */
import type { EventEmitter } from 'eventemitter3';
import { type Connection, readConnection, type Tuple } from './connection.js';
import { ConnectionEmitter } from './connection-emitter.js';
import { Change } from './context.js';
import { type EntryId, Status } from './entries.js';
import type { ExpectationEnd } from './expectations.js';
import { type ExpectedConnection, readExpectation } from './expected-connection.js';
import { ClockBit } from './inactivity.js';
import { type ConntrackTable, DestroyReason } from './table.js';
import type { Tracker } from './tracker.js';

/** Names of the destroy reasons, in the order of `DestroyReason`. */
const END_REASONS = [
  'timeout',
  'deleted',
  'flushed',
  'early-drop',
  'reopened',
  'rst',
  'address-gone',
  'nat-evicted',
  'replaced',
  'rule-changed',
  'inactive',
] as const;

/** Why a connection left the table. */
export type EndReason = (typeof END_REASONS)[number];

/** Events of the table; each comes after the fact, with a copy of the entry as it is then. */
export interface ConnectionEvents {
  /** A connection was confirmed. */
  new: (connection: Connection) => void;
  /** Its state, mark or reply status changed. */
  update: (connection: Connection) => void;
  /** It became ASSURED: early drop spares it. */
  assured: (connection: Connection) => void;
  /** It left the table. */
  destroy: (connection: Connection, reason: EndReason) => void;
  /** A helper expects a connection. */
  expect: (expected: ExpectedConnection) => void;
  /** It came, or is expected no more. */
  expectEnd: (expected: ExpectedConnection, end: ExpectationEnd) => void;
}

/** What to list or delete: every field given must fit. Addresses as text, ports as numbers. */
export interface ConnectionFilter {
  readonly family?: 4 | 6;
  /** Protocol number. */
  readonly protocol?: number;
  readonly original?: Partial<Tuple>;
  readonly reply?: Partial<Tuple>;
  readonly state?: string;
  readonly mark?: number;
  /** Bits of `mark` to compare. Default all. */
  readonly markMask?: number;
  readonly zone?: number;
  readonly seenReply?: boolean;
  readonly assured?: boolean;
}

export class Connections {
  readonly events: EventEmitter<ConnectionEvents> = new ConnectionEmitter(() => this.#listen());
  readonly #tracker: Tracker;
  /** Whether somebody listens to `destroy`: 1 or 0. */
  #hearsDestroy: 0 | 1 = 0;

  constructor(tracker: Tracker) {
    this.#tracker = tracker;
    const { expectations } = tracker;
    expectations.onAnnounced = (expectation) => {
      if (this.events.listenerCount('expect') === 0) return;
      this.events.emit('expect', readExpectation(expectation, tracker.context.now));
    };
    expectations.onEnded = (expectation, end) => {
      if (this.events.listenerCount('expectEnd') === 0) return;
      this.events.emit('expectEnd', readExpectation(expectation, tracker.context.now), end);
    };
    tracker.eachTable((table) => {
      table.observe((_table, entry, reason) => {
        if (this.#hearsDestroy === 0 || reason === DestroyReason.DISCARDED) return;
        // What a RST in answer to a probe ended stays until the RST is on its way.
        const isRefused = (table.entries.clock(entry) & ClockBit.REFUSED) !== 0;
        const why = isRefused && reason === DestroyReason.TIMEOUT ? DestroyReason.RST : reason;
        this.events.emit('destroy', this.#read(table, entry), END_REASONS[why] as EndReason);
      });
    });
  }

  /** The tracker tells of what somebody listens to, and of nothing else. */
  #listen(): void {
    const { events } = this;
    const tracker = this.#tracker;
    this.#hearsDestroy = events.listenerCount('destroy') > 0 ? 1 : 0;
    tracker.onConfirm =
      events.listenerCount('new') === 0 ? undefined : (table, entry) => this.#tell('new', table, entry);
    const hearsChanges = events.listenerCount('update') + events.listenerCount('assured') > 0;
    tracker.context.onChange = hearsChanges
      ? (table, entry, change) => {
          this.#tell('update', table, entry);
          if ((change & Change.ASSURED) !== 0) this.#tell('assured', table, entry);
        }
      : undefined;
  }

  #tell(event: 'new' | 'update' | 'assured', table: ConntrackTable, entry: EntryId): void {
    if (this.events.listenerCount(event) > 0) this.events.emit(event, this.#read(table, entry));
  }

  #read(table: ConntrackTable, entry: EntryId): Connection {
    return readConnection(table, entry, this.#tracker.context.now);
  }

  /** Connections in the table now. */
  get size(): number {
    let size = 0;
    for (const _ of this.#entries(this.#tracker.context.now)) size++;
    return size;
  }

  /** The connection that has `tuple` in either direction, or undefined. */
  get(protocol: number, tuple: Partial<Tuple>, nowMs: number): Connection | undefined {
    return (
      this.list({ protocol, original: tuple }, nowMs)[0] ?? this.list({ protocol, reply: tuple }, nowMs)[0]
    );
  }

  /** Copies of the live connections that fit, in order of their records. */
  list(filter: ConnectionFilter = {}, nowMs?: number): Connection[] {
    const now = nowMs === undefined ? this.#tracker.context.now : this.#tracker.timeOf(nowMs);
    const found: Connection[] = [];
    for (const [table, entry] of this.#entries(now)) {
      if (filter.family !== undefined && filter.family !== table.version) continue;
      const connection = readConnection(table, entry, now);
      if (fits(connection, filter)) found.push(connection);
    }
    return found;
  }

  /** Copies of the connections that helpers expect. */
  expected(nowMs?: number): ExpectedConnection[] {
    const { context, expectations } = this.#tracker;
    const now = nowMs === undefined ? context.now : this.#tracker.timeOf(nowMs);
    return expectations
      .list()
      .filter(({ expires }) => ((expires - now) | 0) > 0)
      .map((expectation) => readExpectation(expectation, now));
  }

  /** Destroys the connections that fit; returns how many. */
  delete(filter: ConnectionFilter): number {
    return this.#destroyWhere(filter, DestroyReason.DELETED);
  }

  /** Destroys every connection; returns how many. */
  flush(): number {
    return this.#destroyWhere({}, DestroyReason.FLUSHED);
  }

  #destroyWhere(filter: ConnectionFilter, reason: DestroyReason): number {
    const now = this.#tracker.context.now;
    const doomed = [...this.#entries(now)].filter(([table, entry]) =>
      fits(readConnection(table, entry, now), filter),
    );
    for (const [table, entry] of doomed) table.destroy(entry, reason);
    return doomed.length;
  }

  *#entries(now: number): Iterable<readonly [ConntrackTable, EntryId]> {
    for (const table of this.#tracker.tables()) {
      const entries = table.entries;
      for (let slot = 0; slot < entries.slots.highWater; slot++) {
        const entry = entries.entryOfSlot(slot);
        if ((entries.status(entry) & Status.CONFIRMED) === 0 || entries.hasExpired(entry, now) === 1)
          continue;
        yield [table, entry];
      }
    }
  }
}

function fits(connection: Connection, filter: ConnectionFilter): boolean {
  const { markMask = 0xffffffff } = filter;
  return (
    (filter.family === undefined || filter.family === connection.family) &&
    (filter.protocol === undefined || filter.protocol === connection.protocol) &&
    (filter.state === undefined || filter.state === connection.state) &&
    (filter.zone === undefined || filter.zone === connection.zone) &&
    (filter.seenReply === undefined || filter.seenReply === connection.seenReply) &&
    (filter.assured === undefined || filter.assured === connection.assured) &&
    (filter.mark === undefined || ((filter.mark ^ connection.mark) & markMask) === 0) &&
    tupleFits(connection.original, filter.original) &&
    tupleFits(connection.reply, filter.reply)
  );
}

function tupleFits(tuple: Tuple, wanted: Partial<Tuple> | undefined): boolean {
  if (wanted === undefined) return true;
  return Object.entries(wanted).every(([field, value]) => tuple[field as keyof Tuple] === value);
}
