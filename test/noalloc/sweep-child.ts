/**
 * Run in a process of its own with --expose-gc and a large semi-space: sweeps a full table again and again and prints by
 * how much the heap grew. `live`: the timeouts of all entries move on before each sweep, so that it asks every record;
 * `expired`: every sweep reaps all, and they are made again. With `plant`, one object is made per entry: that must show.
 */
import { setImmediate } from 'node:timers/promises';
import { emptyKey, originalKey, replyKey } from '../../bench/flows.js';
import { Direction } from '../../lib/conntrack/entries.js';
import { Reaper } from '../../lib/conntrack/reaper.js';
import { Tracker } from '../../lib/conntrack/tracker.js';

const ENTRIES = 32_768;
const SWEEPS = 8;
const ROUNDS = 5;
const SWEEP_MS = 128;

const [kind, plant] = process.argv.slice(2);
const tracker = new Tracker({ maxConnections: ENTRIES, seed: 7 });
tracker.begin(0);
const table = tracker.table(4);
const { entries } = table;
const key = emptyKey();
let timeMs = 0;
const reaper = new Reaper(tracker, {
  firstPassMs: 0,
  minIntervalMs: 1,
  stepMs: 0,
  maxSweepMs: SWEEP_MS,
  sliceMs: 3,
  // Whole numbers: what the machine's clock says is boxed, 16 bytes each time.
  clock: { nowMs: () => ++timeMs },
});
reaper.start(0);
let nowMs = 0;

function connect(flow: number, expiresAt: number): void {
  const entry = table.take();
  originalKey(key, flow);
  table.setKey(entry, Direction.ORIGINAL, key);
  replyKey(key, flow);
  table.setKey(entry, Direction.REPLY, key);
  entries.setExpires(entry, expiresAt);
  table.link(entry);
}

const kept = new Array<unknown>(ENTRIES).fill(undefined);

function sweep(): void {
  const now = tracker.timeOf(nowMs);
  for (let flow = 0; flow < ENTRIES; flow++) {
    if (kind === 'expired') connect(flow, now);
    else entries.setExpires(entries.entryOfSlot(flow), (now + SWEEP_MS) | 0);
    if (plant === 'plant') kept[flow] = { flow };
  }
  nowMs += SWEEP_MS;
  while (reaper.nextMs < nowMs) reaper.advance(nowMs - 1);
  if (table.live !== (kind === 'expired' ? 0 : ENTRIES)) throw new Error(`${table.live} live`);
}

if (kind !== 'expired') for (let flow = 0; flow < ENTRIES; flow++) connect(flow, 0);
// Until the compilers are done with it.
for (let n = 0; n < 5 * SWEEPS; n++) sweep();
let grown = Number.POSITIVE_INFINITY;
for (let round = 0; round < ROUNDS; round++) {
  globalThis.gc!();
  await setImmediate();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < SWEEPS; n++) sweep();
  grown = Math.min(grown, process.memoryUsage().heapUsed - before);
}
console.log(JSON.stringify({ entries: SWEEPS * ENTRIES, grownBytes: grown }));
