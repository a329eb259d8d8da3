/**
 * Clocks that find silent connections without a timer for each: the clock of page replacement, a bit per connection.
 *
 * Every interval a sweep visits each record; it finds the bit set and acts, or sets it. Packets clear it. So a connection
 * that was used last at t is acted upon in (t + T, t + 2T]. A sweep goes in slices of the store, each at its own moment,
 * and each record is visited once per interval. A slice that comes late puts off its next visit as well: nothing is found
 * silent too early. Rounds that nobody came for are not made up for (`skipMissed`): one visit stands for all of them.
 *
 * Bits of an entry (`Entries.clock`): IDLE is about both directions, SILENT about one; PROBED says that an end was asked
 * whether it is alive, and not heard of since; REFUSED that it answered with a RST. `noteActivity` is hot, for entries
 * with any bit; the rest is cold.
 */
import type { Packet } from '../wire/packet.js';
import { tcpEnd, tcpFlags, tcpSequence } from '../wire/tcp.js';
import type { TrackContext } from './context.js';
import type { Direction, Entries, EntryId } from './entries.js';
import { Status } from './entries.js';
import type { ConntrackTable } from './table.js';
import type { Tracker } from './tracker.js';

/** Bits of {@link Entries.clock}. */
export const ClockBit = { IDLE: 1, SILENT_ORIGINAL: 2, SILENT_REPLY: 4, PROBED: 8, REFUSED: 16 } as const;

const IDLE = ClockBit.IDLE;
const SILENT = ClockBit.SILENT_ORIGINAL;
const BOTH_SILENT = ClockBit.SILENT_ORIGINAL | ClockBit.SILENT_REPLY;
const PROBED = ClockBit.PROBED;
const REFUSED = ClockBit.REFUSED;

const TCP = 6;
const TCP_CLOSE = 8;
const ACK = 0x10;
const RST = 0x04;
/** Control bits without those about congestion. */
const CONTROL = 0x3f;

/** Parts of a full sweep. */
const SLICES = 64;

/**
 * A packet of a connection with clock bits was tracked. The answer to a probe says that the end lives, not that the
 * connection is used, unless `context.settings.probesCount` is 1; a RST in answer ends the entry behind this packet,
 * 1 ms later.
 */
export function noteActivity(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  packet: Packet,
): void {
  const before = entries.clock(entry);
  let after = before & ~(SILENT << direction);
  if ((after & BOTH_SILENT) === 0) after &= ~PROBED;
  const isAsked = (before & PROBED) !== 0 && (before & (SILENT << direction)) !== 0;
  if (!isAsked || packet.protocol !== TCP) after &= ~IDLE;
  else {
    const flags = tcpFlags(packet);
    const isAnswer = (flags & CONTROL) === ACK && tcpEnd(packet) === tcpSequence(packet);
    if (!isAnswer || context.settings.probesCount === 1) after &= ~IDLE;
    if ((flags & RST) !== 0 && entries.state(entry) === TCP_CLOSE) {
      entries.setExpires(entry, (context.now + 1) | 0);
      after |= REFUSED;
    }
  }
  entries.setClock(entry, after);
}

/** Visits every established record (a reply was seen) once per interval. */
export class SlotClock {
  readonly intervalMs: number;
  readonly #tracker: Tracker;
  readonly #visit: (table: ConntrackTable, entry: EntryId) => void;
  /** When each slice was visited last. */
  readonly #visitedMs = new Float64Array(SLICES);
  #slice = 0;
  #nextMs: number;

  constructor(
    tracker: Tracker,
    intervalMs: number,
    nowMs: number,
    visit: (table: ConntrackTable, entry: EntryId) => void,
  ) {
    this.#tracker = tracker;
    this.intervalMs = intervalMs;
    this.#visit = visit;
    this.#visitedMs.fill(Number.NEGATIVE_INFINITY);
    this.#nextMs = nowMs + intervalMs / SLICES;
  }

  /** When the next slice is due, ms. */
  nextMs(): number {
    return this.#nextMs;
  }

  /**
   * Nobody could call `advance` until `nowMs`: of the rounds that were due before, the last one alone is made, and slices
   * that it has not come to yet wait for their moment in it.
   */
  skipMissed(nowMs: number): void {
    const rounds = Math.floor((nowMs - this.#nextMs) / this.intervalMs);
    if (rounds > 0) this.#nextMs += rounds * this.intervalMs;
  }

  /** Visits the slices that are due. */
  advance(nowMs: number): void {
    while (this.#nextMs <= nowMs) {
      const dueMs = this.#nextMs;
      const tracker = this.#tracker;
      // Packets that came since it was due have cleared what is set now: they count as if they came just before.
      const lateMs = Math.max(0, ((tracker.context.now - tracker.timeOf(dueMs)) | 0) + 1);
      this.#pass(this.#slice);
      this.#visitedMs[this.#slice] = dueMs + lateMs;
      this.#slice = (this.#slice + 1) % SLICES;
      const again = (this.#visitedMs[this.#slice] as number) + this.intervalMs;
      this.#nextMs = Math.max(dueMs + this.intervalMs / SLICES, again);
    }
  }

  #pass(slice: number): void {
    for (const table of this.#tracker.tables()) {
      const { entries } = table;
      const share = Math.ceil(entries.slots.capacity / SLICES);
      const end = Math.min((slice + 1) * share, entries.slots.highWater);
      for (let slot = slice * share; slot < end; slot++) {
        const entry = entries.entryOfSlot(slot);
        if ((entries.status(entry) & LIVE) !== ESTABLISHED) continue;
        this.#visit(table, entry);
      }
    }
  }
}

const LIVE = Status.CONFIRMED | Status.SEEN_REPLY | Status.DYING;
const ESTABLISHED = Status.CONFIRMED | Status.SEEN_REPLY;
