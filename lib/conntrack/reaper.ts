/**
 * The background reaper: sweeps the tables a fraction at a time, faster while much is found expired.
 *
 * A pass examines the next 1/128 of every table's records and resumes where the last one stopped, wrapping. If more
 * than half of the examined entries had expired, the next pass follows after 10 ms; else the interval grows by 10 ms a
 * pass, up to 60 s / 128, so that a full sweep never takes longer than a minute. The first pass comes 5 s after the
 * start. All of these are options.
 *
 * The reaper has no timer of its own: `advance(nowMs)` runs every pass that is due, each at its own time, and
 * `nextMs` says when to call again (`runReaper` does that with a clock). Without it nothing wrong is ever found
 * (lookups do not see expired entries), but memory is given back only when met.
 */
import type { Clock } from '../clock.js';
import type { Tracker } from './tracker.js';

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
  readonly #fractions: number;
  readonly #minIntervalMs: number;
  readonly #stepMs: number;
  readonly #maxIntervalMs: number;
  readonly #threshold: number;
  readonly #firstPassMs: number;
  readonly #found = new Int32Array(2);
  #intervalMs: number;
  #nextMs = Number.POSITIVE_INFINITY;
  #position = 0;
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
    this.#intervalMs = this.#minIntervalMs;
  }

  /** When the next pass is due, in the clock of `start`; Infinity while stopped. */
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

  /** Runs every pass that is due at `nowMs`, each as of its own time. */
  advance(nowMs: number): void {
    while (this.#nextMs <= nowMs) {
      const dueMs = this.#nextMs;
      this.#pass(dueMs);
      this.#nextMs = dueMs + this.#intervalMs;
    }
  }

  report(): ReaperReport {
    let reapedOnLookup = 0;
    for (const table of this.#tracker.tables()) reapedOnLookup += table.reapedOnLookup;
    return {
      passes: this.#passes,
      examined: this.#examined,
      reaped: this.#reaped,
      intervalMs: this.#intervalMs,
      reapedOnLookup,
    };
  }

  #pass(nowMs: number): void {
    const now = this.#tracker.timeOf(nowMs);
    const found = this.#found;
    let examined = 0;
    let reaped = 0;
    for (const table of this.#tracker.tables()) {
      const share = Math.ceil(table.entries.slots.capacity / this.#fractions);
      table.sweep(this.#position * share, (this.#position + 1) * share, now, found);
      examined += found[0] as number;
      reaped += found[1] as number;
    }
    this.#position = (this.#position + 1) % this.#fractions;
    this.#passes++;
    this.#examined += examined;
    this.#reaped += reaped;
    if (examined > 0 && reaped > examined * this.#threshold) this.#intervalMs = this.#minIntervalMs;
    else this.#intervalMs = Math.min(this.#intervalMs + this.#stepMs, this.#maxIntervalMs);
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
