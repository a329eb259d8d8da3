import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Direction } from '../../lib/conntrack/entries.js';
import { Reaper, type ReaperOptions, runReaper } from '../../lib/conntrack/reaper.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { invertKey, KEY_WORDS } from '../../lib/conntrack/tuples.js';

const CAPACITY = 1280; // ten records a pass

/** A tracker whose first `count` records are connections, record i expiring at `expiresAt(i)`. */
function populated(count: number, expiresAt: (i: number) => number, capacity = CAPACITY): Tracker {
  const tracker = new Tracker({ maxConnections: capacity, buckets: 256, seed: 7 });
  tracker.begin(0);
  const table = tracker.table(4);
  const key = new Int32Array(KEY_WORDS);
  const reply = new Int32Array(KEY_WORDS);
  for (let i = 0; i < count; i++) {
    key[0] = 0x0a000002;
    key[4] = 0x01010101;
    key[8] = ((1024 + (i % 60_000)) << 16) | (53 + i / 60_000);
    key[9] = 17;
    invertKey(reply, key);
    const entry = table.take();
    table.setKey(entry, Direction.ORIGINAL, key);
    table.setKey(entry, Direction.REPLY, reply);
    table.entries.setExpires(entry, expiresAt(i));
    table.link(entry);
  }
  return tracker;
}

/** Times of the passes until `untilMs`. */
function passTimes(tracker: Tracker, untilMs: number, options?: ReaperOptions): number[] {
  const reaper = new Reaper(tracker, options);
  reaper.start(0);
  const times: number[] = [];
  while (reaper.nextMs <= untilMs) {
    times.push(reaper.nextMs);
    reaper.advance(reaper.nextMs);
  }
  return times;
}

describe('background reaper', () => {
  it('makes its first pass 5 s after the start', () => {
    expect(
      passTimes(
        populated(0, () => 0),
        5_000,
      ),
    ).toEqual([5_000]);
  });

  it('lets the interval grow by 10 ms a pass while little has expired', () => {
    const live = populated(CAPACITY, () => 1_000_000);
    expect(passTimes(live, 5_200)).toEqual([5_000, 5_020, 5_050, 5_090, 5_140, 5_200]);
  });

  it('never lets the interval exceed 60 s / 128, so that a sweep takes a minute at most', () => {
    const times = passTimes(
      populated(CAPACITY, () => 10_000_000),
      300_000,
    );
    const intervals = times.slice(1).map((time, i) => time - (times[i] as number));
    expect(Math.max(...intervals)).toBeCloseTo(60_000 / 128, 6);
    const [last] = times.slice(-1) as [number];
    const [sweepAgo] = times.slice(-129) as [number];
    expect(last - sweepAgo).toBeLessThanOrEqual(60_000 + 1e-6);
  });

  it('comes back after 10 ms while more than half of what it examines has expired', () => {
    const tracker = populated(CAPACITY, (i) => (i % 10 < 6 ? 1 : 1_000_000));
    expect(passTimes(tracker, 5_040)).toEqual([5_000, 5_010, 5_020, 5_030, 5_040]);
  });

  it('does not hurry when exactly half has expired', () => {
    const tracker = populated(CAPACITY, (i) => (i % 10 < 5 ? 1 : 1_000_000));
    expect(passTimes(tracker, 5_050)).toEqual([5_000, 5_020, 5_050]);
  });

  it('examines 1/128 of the records a pass and resumes where it stopped', () => {
    const tracker = populated(CAPACITY, () => 1);
    const reaper = new Reaper(tracker);
    reaper.start(0);
    for (let pass = 1; pass <= 128; pass++) {
      reaper.advance(reaper.nextMs);
      expect(reaper.report()).toMatchObject({ passes: pass, examined: pass * 10, reaped: pass * 10 });
      expect(tracker.count).toBe(CAPACITY - pass * 10);
    }
  });

  it('counts an expired entry once, not once per tuple', () => {
    const tracker = populated(3, () => 1);
    const reaper = new Reaper(tracker);
    reaper.start(0);
    reaper.advance(70_000);
    expect(reaper.report().reaped).toBe(3);
    expect(tracker.count).toBe(0);
  });

  it('runs passes that were missed each as of its own time', () => {
    const tracker = populated(CAPACITY, () => 5_015);
    const reaper = new Reaper(tracker);
    reaper.start(0);
    reaper.advance(5_020);
    // The pass at 5,000 found nothing expired, the one at 5,020 its ten.
    expect(reaper.report()).toMatchObject({ passes: 2, examined: 20, reaped: 10 });
  });

  it('finds in time what expires earlier than it was to, and leaves alone what was refreshed', () => {
    const tracker = populated(CAPACITY, () => 5_000);
    const { entries } = tracker.table(4);
    for (let i = 0; i < CAPACITY; i++) {
      const entry = entries.entryOfSlot(i);
      entries.setExpires(entry, 432_000_000);
      if (i % 10 === 3) entries.setExpires(entry, 6_000);
      if (i % 10 === 7) {
        entries.setExpires(entry, 10);
        entries.setExpires(entry, 432_000_000);
      }
    }
    const reaper = new Reaper(tracker);
    reaper.start(0);
    reaper.advance(5_900);
    expect(reaper.report().reaped).toBe(0);
    reaper.advance(6_000 + 60_000);
    expect(reaper.report().reaped).toBe(CAPACITY / 10);
    expect(tracker.count).toBe(CAPACITY - CAPACITY / 10);
  });

  it('takes all its constants from options', () => {
    const options = { fractions: 10, minIntervalMs: 5, stepMs: 1, maxSweepMs: 70, firstPassMs: 100 };
    expect(
      passTimes(
        populated(CAPACITY, () => 1_000_000),
        127,
        options,
      ),
    ).toEqual([100, 106, 113, 120, 127]);
  });

  it('stops, and starts again with the delay of a first pass', () => {
    const reaper = new Reaper(populated(0, () => 0));
    reaper.start(0);
    reaper.advance(5_100);
    reaper.stop();
    expect(reaper.isRunning).toBe(false);
    reaper.advance(1_000_000);
    reaper.start(1_000_000);
    expect(reaper.nextMs).toBe(1_005_000);
  });

  it('driven by timers keeps no process alive and stops when told', () => {
    const stop = runReaper(new Reaper(populated(0, () => 0)), { nowMs: () => 0 });
    const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    stop();
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length).toBe(timers);
  });
});

describe('a slice of the background reaper', () => {
  const LARGE = 128 * 512;

  /** A clock that goes on by `stepMs` whenever it is asked. */
  function steppingClock(stepMs: number) {
    return {
      timeMs: 0,
      nowMs() {
        this.timeMs += stepMs;
        return this.timeMs;
      },
    };
  }

  it('ends in the middle of a pass when its time is over, and the next goes on there', () => {
    const tracker = populated(LARGE, () => 1, LARGE);
    const clock = steppingClock(0.1);
    const reaper = new Reaper(tracker, { clock, sliceMs: 0.5, fractions: 1, firstPassMs: 0 });
    reaper.start(10);
    const left: number[] = [];
    for (let slices = 0; reaper.report().passes === 0; slices++) {
      expect(slices).toBeLessThan(LARGE);
      reaper.advance(20);
      if (reaper.report().passes === 0) expect(reaper.nextMs, 'due at once').toBe(10);
      left.push(tracker.count);
      reaper.advance(20);
      expect(tracker.count, 'between slices it rests').toBe(left.at(-1));
      clock.timeMs += 1;
    }
    expect(left.length).toBeGreaterThan(100);
    expect(left).toEqual([...left].sort((a, b) => b - a));
    expect(new Set(left).size).toBe(left.length);
    expect(reaper.report()).toMatchObject({ passes: 1, examined: LARGE, reaped: LARGE, intervalMs: 10 });
    expect(reaper.nextMs).toBe(20);
  });

  it('is shared by calls that follow each other at once, however many passes are due', () => {
    const tracker = populated(LARGE, () => 1, LARGE);
    const clock = steppingClock(0.01);
    const reaper = new Reaper(tracker, { clock, sliceMs: 1, firstPassMs: 0, stepMs: 1, minIntervalMs: 1 });
    reaper.start(0);
    // A pass for each millisecond, each as of its own time, as timers that come late run them.
    for (let dueMs = 0; dueMs < 128; dueMs++) reaper.advance(dueMs);
    const { passes } = reaper.report();
    expect(passes).toBeGreaterThan(0);
    expect(passes).toBeLessThan(100);
    clock.timeMs += 1;
    reaper.advance(200);
    expect(reaper.report().passes).toBeGreaterThan(passes);
  });

  it('is a bounded amount of work where there is no clock', () => {
    const tracker = populated(LARGE, () => 1, LARGE);
    const reaper = new Reaper(tracker, { fractions: 1, firstPassMs: 0 });
    reaper.start(1);
    reaper.advance(1);
    const reaped = LARGE - tracker.count;
    expect(reaped).toBeGreaterThan(1000);
    expect(reaped).toBeLessThan(2000);
    reaper.finish(1);
    expect(tracker.count).toBe(0);
    expect(reaper.report()).toMatchObject({ passes: 1, examined: LARGE, reaped: LARGE });
  });

  it('changes nothing of what passes find: cut up or whole, against a twin that asks every record', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1, 5_000, 5_015, 5_100, 6_000, 9_000, 100_000), {
          minLength: 200,
          maxLength: 600,
        }),
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom(0.1, 0.4, 1),
        (times, fractions, stepMs) => {
          const capacity = times.length;
          const tracker = populated(capacity, (i) => times[i] as number, capacity);
          const clock = steppingClock(stepMs);
          const reaper = new Reaper(tracker, { clock, fractions, maxSweepMs: fractions * 50 });
          const live = new Set(times.keys());
          const share = Math.ceil(capacity / fractions);
          const twin = { dueMs: 5_000, intervalMs: 10, position: 0, examined: 0, reaped: 0, passes: 0 };
          reaper.start(0);
          for (let nowMs = 4_990; nowMs < 6_200; nowMs += 30) {
            for (let turn = 0; reaper.nextMs <= nowMs; turn++) {
              reaper.advance(nowMs);
              clock.timeMs += 1;
              expect(turn).toBeLessThan(10_000);
            }
            while (twin.dueMs <= nowMs) {
              const from = twin.position * share;
              const met = [...live].filter((i) => i >= from && i < from + share);
              const gone = met.filter((i) => (times[i] as number) <= twin.dueMs);
              for (const i of gone) live.delete(i);
              twin.examined += met.length;
              twin.reaped += gone.length;
              twin.passes++;
              twin.position = (twin.position + 1) % fractions;
              twin.intervalMs =
                met.length > 0 && gone.length > met.length / 2 ? 10 : Math.min(twin.intervalMs + 10, 50);
              twin.dueMs += twin.intervalMs;
            }
            const { passes, examined, reaped, intervalMs } = twin;
            expect(reaper.report()).toMatchObject({ passes, examined, reaped, intervalMs });
            expect(reaper.nextMs).toBe(twin.dueMs);
            expect(tracker.count).toBe(live.size);
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});
