/**
 * The background reaper: sweeps the tables a fraction at a time, faster while much is found expired. Hot.
 *
 * A pass examines the next 1/128 of every table's records and resumes where the last one stopped, wrapping. If more
 * than half of the examined entries had expired, the next pass follows after 10 ms; else the interval grows by 10 ms a
 * pass, up to 60 s / 128, so that a full sweep never takes longer than a minute. The first pass comes 5 s after the
 * start. All of these are options.
 *
 * The reaper has no timer of its own: `advance(nowMs)` runs the passes that are due, each as of its own time, and
 * `nextMs` says when to call again (`runReaper` does that with a clock). It never works long at a time: when its slice
 * is over it returns in the middle of a pass, `nextMs` stays, and the next call goes on there. Packets may come
 * between. Without the reaper nothing wrong is ever found (lookups do not see expired entries), but memory is given back
 * only when met.
 */
import type { Clock } from '../clock.js';
import type { ConntrackTable } from './table.js';
import type { Tracker } from './tracker.js';

/** Work between two looks at the clock, in slots (`ConntrackTable.sweep`): some 10 us, or 30 us of reaping. */
const CHUNK = 8192;
/** Work of a slice where there is no clock to measure it with: about a millisecond. */
const SLICE = 400_000;
/** Least pause between two slices, as a share of one. */
const REST = 0.5;

/** Options of a {@link Reaper}. */
export interface ReaperOptions {
  /** Passes per full sweep. Default 128. */
  readonly fractions?: number;
  /** Interval after a pass that found much, and step by which it grows, ms. Default 10. */
  readonly minIntervalMs?: number;
  readonly stepMs?: number;
  /** Longest time for a full sweep, ms. Default 60,000. */
  readonly maxSweepMs?: number;
  /** Share of examined entries that must have expired for the short interval. Default 0.5. */
  readonly threshold?: number;
  /** Time from the start to the first pass, ms. Default 5,000. */
  readonly firstPassMs?: number;
  /** How long the reaper works at a time, ms by `clock`. Default 1. */
  readonly sliceMs?: number;
  /** Measures slices. Without one their work is counted, as much as takes about a millisecond. */
  readonly clock?: Clock;
}

/** What the reaper did since it was made. */
export interface ReaperReport {
  readonly passes: number;
  readonly examined: number;
  readonly reaped: number;
  /** Interval until the next pass, ms. */
  readonly intervalMs: number;
  /** Entries reaped by lookups that met them, in the meantime. */
  readonly reapedOnLookup: number;
}

export class Reaper {
  readonly #tracker: Tracker;
  readonly #tables: ConntrackTable[] = [];
  readonly #fractions: number;
  readonly #minIntervalMs: number;
  readonly #stepMs: number;
  readonly #maxIntervalMs: number;
  readonly #threshold: number;
  readonly #firstPassMs: number;
  readonly #sliceMs: number;
  readonly #clock: Clock | undefined;
  /** What a sweep says: entries examined, entries reaped, work left. */
  readonly #said = new Int32Array(3);
  #intervalMs: number;
  #nextMs = Number.POSITIVE_INFINITY;
  /** The pass that is due or under way: its fraction, the table and the slot that it got to, what it has found. */
  #position = 0;
  #table = 0;
  #slot = 0;
  #passExamined = 0;
  #passReaped = 0;
  /** By the clock: end of the slice, and when it was worked last. */
  #endMs = Number.NEGATIVE_INFINITY;
  #workedMs = Number.NEGATIVE_INFINITY;
  #passes = 0;
  #examined = 0;
  #reaped = 0;

  constructor(tracker: Tracker, options: ReaperOptions = {}) {
    this.#tracker = tracker;
    this.#fractions = options.fractions ?? 128;
    this.#minIntervalMs = options.minIntervalMs ?? 10;
    this.#stepMs = options.stepMs ?? 10;
    this.#maxIntervalMs = (options.maxSweepMs ?? 60_000) / this.#fractions;
    this.#threshold = options.threshold ?? 0.5;
    this.#firstPassMs = options.firstPassMs ?? 5_000;
    this.#sliceMs = options.sliceMs ?? 1;
    this.#clock = options.clock;
    this.#intervalMs = this.#minIntervalMs;
    tracker.eachTable((table) => this.#tables.push(table));
  }

  /** When the next pass is due, or was if it is under way, in the clock of `start`; Infinity while stopped. */
  get nextMs(): number {
    return this.#nextMs;
  }

  get isRunning(): boolean {
    return this.#nextMs !== Number.POSITIVE_INFINITY;
  }

  /** Begins: the first pass is due `firstPassMs` from now. Does nothing while running. */
  start(nowMs: number): void {
    if (this.isRunning) return;
    this.#intervalMs = this.#minIntervalMs;
    this.#nextMs = nowMs + this.#firstPassMs;
  }

  /** No more passes until `start`. */
  stop(): void {
    this.#nextMs = Number.POSITIVE_INFINITY;
  }

  /**
   * Works on the passes that are due at `nowMs`, each as of its own time, until the slice is over. By the clock, calls
   * that follow each other at once share a slice.
   */
  advance(nowMs: number): void {
    if (this.#nextMs > nowMs) return;
    const clock = this.#clock;
    if (clock === undefined) {
      this.#sweep(nowMs, SLICE);
      return;
    }
    const startMs = clock.nowMs();
    if (startMs - this.#workedMs >= this.#sliceMs * REST) this.#endMs = startMs + this.#sliceMs;
    let timeMs = startMs;
    while (this.#nextMs <= nowMs && timeMs < this.#endMs) {
      this.#sweep(nowMs, CHUNK);
      timeMs = clock.nowMs();
      this.#workedMs = timeMs;
    }
  }

  /** Runs every pass that is due at `nowMs`, however long it takes: for captures, which have no event loop to share. */
  finish(nowMs: number): void {
    while (this.#nextMs <= nowMs) this.#sweep(nowMs, SLICE);
  }

  report(): ReaperReport {
    let reapedOnLookup = 0;
    for (const table of this.#tables) reapedOnLookup += table.reapedOnLookup;
    return {
      passes: this.#passes,
      examined: this.#examined,
      reaped: this.#reaped,
      intervalMs: this.#intervalMs,
      reapedOnLookup,
    };
  }

  /** Does `work` on the passes that are due. Entries that a table has to move come first: it is under attack. */
  #sweep(nowMs: number, work: number): void {
    const said = this.#said;
    let left = work;
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i] as ConntrackTable;
      if (table.isRekeying === 1) left = table.rekey(left);
    }
    while (this.#nextMs <= nowMs) {
      const now = this.#tracker.timeOf(this.#nextMs);
      while (this.#table < this.#tables.length) {
        if (left <= 0) return;
        const table = this.#tables[this.#table] as ConntrackTable;
        const share = Math.ceil(table.entries.slots.capacity / this.#fractions);
        const to = (this.#position + 1) * share;
        const slot = table.sweep(Math.max(this.#slot, to - share), to, now, left, said);
        this.#passExamined += said[0] as number;
        this.#passReaped += said[1] as number;
        left = said[2] as number;
        this.#slot = slot < to ? slot : 0;
        if (slot >= to) this.#table++;
      }
      this.#endPass();
    }
  }

  #endPass(): void {
    const examined = this.#passExamined;
    const reaped = this.#passReaped;
    this.#table = 0;
    this.#passExamined = 0;
    this.#passReaped = 0;
    this.#position = (this.#position + 1) % this.#fractions;
    this.#passes++;
    this.#examined += examined;
    this.#reaped += reaped;
    if (examined > 0 && reaped > examined * this.#threshold) this.#intervalMs = this.#minIntervalMs;
    else this.#intervalMs = Math.min(this.#intervalMs + this.#stepMs, this.#maxIntervalMs);
    this.#nextMs += this.#intervalMs;
  }
}

/**
 * Drives a reaper by timers until the returned function is called. The timer never keeps a process alive.
 */
export function runReaper(reaper: Reaper, clock: Clock): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const schedule = (): void => {
    timer = setTimeout(
      () => {
        reaper.advance(clock.nowMs());
        schedule();
      },
      Math.max(0, reaper.nextMs - clock.nowMs()),
    );
    if (typeof timer === 'object') timer.unref?.();
  };
  reaper.start(clock.nowMs());
  schedule();
  return () => {
    clearTimeout(timer);
    reaper.stop();
  };
}
