/**
 * Run in a process of its own with --expose-gc and a large semi-space: sends established packets through the whole
 * router path and prints by how much the heap grew. With `plant`, one object is made per packet: that must show.
 */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { type Path, type Protocol, Traffic } from '../../bench/engine/traffic.js';

const FLOWS = 256;
const PACKETS = 100_000;
const ROUNDS = 5;

const [protocol, direction, path, clock, plant] = process.argv.slice(2);
const traffic = new Traffic(protocol as Protocol, FLOWS, path as Path);
const startMs = clock === 'epoch' ? 1_700_000_000_000 : 0;
traffic.establish(startMs);

const kept = new Array<unknown>(FLOWS).fill(undefined);
/**
 * `whole`: small integers. `epoch`, `fractional`: numbers that V8 boxes when they are made; on their way they must not
 * be boxed again.
 */
let nowMs = startMs + 5000;
const stepMs = clock === 'fractional' ? 1 / 3 : 1;

function send(): number {
  let accepted = 0;
  for (let n = 0; n < PACKETS; n++) {
    const flow = n % FLOWS;
    // Time is read once per batch, as callers should.
    if (flow === 0) nowMs += stepMs;
    const verdict =
      direction === 'original' ? traffic.sendOriginal(flow, nowMs) : traffic.sendReply(flow, nowMs);
    if (plant === 'plant') kept[flow] = { n };
    accepted += verdict;
  }
  return accepted;
}

let collections = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries() as unknown as { detail: { flags: number } }[]) {
    if ((entry.detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) === 0) collections++;
  }
}).observe({ entryTypes: ['gc'] });

// Until the compilers are done with it.
for (let round = 0; round < 5; round++) send();
let grown = Number.POSITIVE_INFINITY;
let least = Number.POSITIVE_INFINITY;
for (let round = 0; round < ROUNDS; round++) {
  globalThis.gc!();
  await setImmediate();
  const collectionsBefore = collections;
  const before = process.memoryUsage().heapUsed;
  const accepted = send();
  const growth = process.memoryUsage().heapUsed - before;
  await setImmediate();
  if (accepted !== PACKETS) throw new Error(`${PACKETS - accepted} packets dropped`);
  grown = Math.min(grown, growth);
  least = Math.min(least, collections - collectionsBefore);
}
console.log(JSON.stringify({ packets: PACKETS, grownBytes: grown, collections: least }));
