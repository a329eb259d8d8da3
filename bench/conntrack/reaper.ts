/** The background reaper: full sweeps of 128 passes over a full table in which nothing has expired. */
import { Direction } from '../../lib/conntrack/entries.js';
import { Reaper } from '../../lib/conntrack/reaper.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { emptyKey, originalKey, replyKey } from '../flows.js';
import { SEED, type Subject } from '../subject.js';

const PASSES = 128;
const INTERVAL_MS = 0.001;

export const reapers: Subject[] = [
  {
    name: 'reaper/sweep',
    operation: 'examine one entry in a full sweep, none expired',
    prepare(flows) {
      const tracker = new Tracker({ maxConnections: flows, buckets: flows, seed: SEED });
      tracker.begin(0);
      const table = tracker.table(4);
      const key = emptyKey();
      for (let flow = 0; flow < flows; flow++) {
        const entry = table.take();
        originalKey(key, flow);
        table.setKey(entry, Direction.ORIGINAL, key);
        replyKey(key, flow);
        table.setKey(entry, Direction.REPLY, key);
        table.entries.setExpires(entry, 432_000_000);
        table.link(entry);
      }
      const reaper = new Reaper(tracker, {
        minIntervalMs: INTERVAL_MS,
        stepMs: 0,
        maxSweepMs: PASSES * INTERVAL_MS,
        firstPassMs: 0,
      });
      reaper.start(0);
      return {
        operations: flows,
        run() {
          const before = reaper.report();
          while (reaper.report().passes < before.passes + PASSES) reaper.advance(reaper.nextMs);
          const after = reaper.report();
          if (after.examined - before.examined !== flows || after.reaped > 0) {
            throw new Error('the sweep did not examine each entry once');
          }
          return after.examined;
        },
      };
    },
  },
];
