import { describe, expect, it } from 'vitest';
import { Direction } from '../../lib/conntrack/entries.js';
import { Reaper, type ReaperOptions, runReaper } from '../../lib/conntrack/reaper.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { invertKey, KEY_WORDS } from '../../lib/conntrack/tuples.js';

const CAPACITY = 1280; // ten records a pass

/** A tracker whose first `count` records are connections, record i expiring at `expiresAt(i)`. */
function populated(count: number, expiresAt: (i: number) => number): Tracker {
  const tracker = new Tracker({ maxConnections: CAPACITY, buckets: 256, seed: 7 });
  tracker.begin(0);
  const table = tracker.table(4);
  const key = new Int32Array(KEY_WORDS);
  const reply = new Int32Array(KEY_WORDS);
  for (let i = 0; i < count; i++) {
    key[0] = 0x0a000002;
    key[4] = 0x01010101;
    key[8] = ((1024 + i) << 16) | 53;
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
