/**
 * Connections that are silent: the inactivity clock ends those that nobody uses, keepalive asks the ends that are inside
 * whether they are there. Cold: sweeps in slices, see `conntrack/inactivity.ts`.
 *
 * What is sent to an end is sent in its peer's name, past the rules. The answer to a probe goes its way to the peer, who
 * sees a repeated ACK; a RST in answer closes the peer's side too, and the entry is gone with it.
 * What it does not do: nothing is sent to the gateway's own programs, and nothing for what is not TCP.
 */
import { Direction, type EntryId, Status } from '../../conntrack/entries.js';
import { ClockBit, SlotClock } from '../../conntrack/inactivity.js';
import { setLastDirection } from '../../conntrack/protocols/tcp-memory.js';
import { type ConntrackTable, DestroyReason } from '../../conntrack/table.js';
import { ConfigurationError } from '../../errors.js';
import { AddressType } from '../../host.js';
import type { Router } from '../router.js';
import type { Timed } from '../timers.js';
import { type ExpiryPolicy, type LivenessOptions, readInterval, readPolicy } from './options.js';
import { makeProbe, makeReset, senderOf, sendSegment } from './segments.js';

const { IDLE, SILENT_ORIGINAL, SILENT_REPLY, PROBED } = ClockBit;
const DIRECTIONS = [Direction.ORIGINAL, Direction.REPLY] as const;

const TCP = 6;
const TCP_ESTABLISHED = 3;
const INACTIVITY_MS = 7_200_000;
const KEEPALIVE_MS = 30_000;

/** Counts since the gateway was made. */
export interface LivenessCounters {
  /** Connections that ended because nobody used them. */
  expired: number;
  /** RSTs sent to their ends. */
  resets: number;
  /** Keepalive probes sent. */
  probes: number;
}

export class Liveness implements Timed {
  readonly counters: LivenessCounters = { expired: 0, resets: 0, probes: 0 };
  readonly #router: Router;
  #inactivity: SlotClock | undefined = undefined;
  #keepalive: SlotClock | undefined = undefined;
  #policy: ExpiryPolicy = 'silent';
  #inside: ReadonlySet<number> | undefined = undefined;
  readonly #address = new Int32Array(4);

  /** Throws a ConfigurationError. */
  constructor(router: Router, options: LivenessOptions) {
    this.#router = router;
    this.change(options);
  }

  /**
   * Puts these options in the place of those before. A clock whose interval changes begins anew: to it every connection
   * was used just now. Throws a ConfigurationError, and nothing has changed then.
   */
  change({ inactivity, keepalive, inside }: LivenessOptions): void {
    const policy = readPolicy(inactivity?.onExpiry);
    const indices =
      inside === undefined ? undefined : new Set(inside.map((name) => indexOf(this.#router, name)));
    const idleMs = inactivity && readInterval('inactivity', inactivity.intervalMs, INACTIVITY_MS);
    const silentMs = keepalive && readInterval('keepalive', keepalive.intervalMs, KEEPALIVE_MS);
    this.#policy = policy;
    this.#inside = indices;
    const { settings } = this.#router.engine.tracker.context;
    settings.probesCount = inactivity?.probeAnswers === 'counted' ? 1 : 0;
    if (idleMs !== this.#inactivity?.intervalMs) {
      this.#inactivity = this.#begin(idleMs, IDLE, (table, entry) => this.#age(table, entry));
    }
    if (silentMs !== this.#keepalive?.intervalMs) {
      const bits = SILENT_ORIGINAL | SILENT_REPLY | PROBED;
      this.#keepalive = this.#begin(silentMs, bits, (table, entry) => this.#ask(table, entry));
    }
  }

  /** A clock, if there is an interval, for which nothing is marked with its `bits` yet. */
  #begin(
    intervalMs: number | undefined,
    bits: number,
    visit: (table: ConntrackTable, entry: EntryId) => void,
  ): SlotClock | undefined {
    const { tracker } = this.#router.engine;
    for (const { entries } of tracker.tables()) {
      for (let slot = 0; slot < entries.slots.highWater; slot++) {
        const entry = entries.entryOfSlot(slot);
        if ((entries.status(entry) & Status.CONFIRMED) === 0) continue;
        entries.setClock(entry, entries.clock(entry) & ~bits);
      }
    }
    return intervalMs === undefined
      ? undefined
      : new SlotClock(tracker, intervalMs, this.#router.nowMs, visit);
  }

  nextMs(): number {
    const never = Number.POSITIVE_INFINITY;
    return Math.min(this.#inactivity?.nextMs() ?? never, this.#keepalive?.nextMs() ?? never);
  }

  advance(nowMs: number): void {
    this.#inactivity?.advance(nowMs);
    this.#keepalive?.advance(nowMs);
  }

  /** Nobody could say `advance` until `nowMs`: see `SlotClock.skipMissed`. */
  skipMissed(nowMs: number): void {
    this.#inactivity?.skipMissed(nowMs);
    this.#keepalive?.skipMissed(nowMs);
  }

  /** The inactivity clock's visit. */
  #age(table: ConntrackTable, entry: EntryId): void {
    const { entries } = table;
    const bits = entries.clock(entry);
    if ((bits & IDLE) === 0) {
      entries.setClock(entry, bits | IDLE);
      return;
    }
    if (this.#isOver(table, entry)) {
      table.destroy(entry, DestroyReason.TIMEOUT);
      return;
    }
    if (this.#policy !== 'silent' && entries.protocol(entry) === TCP) {
      for (const direction of DIRECTIONS) {
        if (this.#policy === 'reset-inside' && !this.#isInside(table, entry, direction)) continue;
        if (sendSegment(this.#router, makeReset(this.#router, table, entry, direction), table.version)) {
          this.counters.resets++;
        }
      }
    }
    table.destroy(entry, DestroyReason.INACTIVE);
    this.counters.expired++;
  }

  /** Keepalive's visit. */
  #ask(table: ConntrackTable, entry: EntryId): void {
    const { entries } = table;
    if (entries.protocol(entry) !== TCP || entries.state(entry) !== TCP_ESTABLISHED) return;
    if (this.#isOver(table, entry)) return;
    for (const direction of DIRECTIONS) {
      const silent = SILENT_ORIGINAL << direction;
      const bits = entries.clock(entry);
      if (!this.#isInside(table, entry, direction)) continue;
      if ((bits & silent) === 0) {
        entries.setClock(entry, bits | silent);
        continue;
      }
      entries.setClock(entry, bits | PROBED);
      // The peer has spoken, by us: what the end answers is no retransmission of what it said before.
      setLastDirection(entries, entry, (1 - direction) as Direction);
      const probe = makeProbe(this.#router, table, entry, direction);
      if (sendSegment(this.#router, probe, table.version)) this.counters.probes++;
    }
  }

  #isOver(table: ConntrackTable, entry: EntryId): boolean {
    const { tracker } = this.#router.engine;
    return table.entries.hasExpired(entry, tracker.timeOf(this.#router.nowMs)) === 1;
  }

  /** Whether the end that sends in `direction` is a host inside. */
  #isInside(table: ConntrackTable, entry: EntryId, direction: Direction): boolean {
    const { routes } = this.#router;
    senderOf(table, entry, direction, this.#address, 0);
    if (routes.find(table.version, this.#address, 0, 0) !== AddressType.UNICAST) return false;
    const index = routes.interface;
    if (this.#inside !== undefined) return this.#inside.has(index);
    const version = table.version as 4 | 6;
    return !routes.list(version).some((route) => route.prefix === 0 && route.interface === index);
  }
}

function indexOf(router: Router, name: string): number {
  const index = router.interfaceIndex(name);
  if (index > 0) return index;
  throw new ConfigurationError('unknown', 'no such interface is inside', { word: name });
}
