/**
 * Run in a process of its own with --expose-gc and a large semi-space: sends packets of established flows through a router
 * and prints by how many bytes a packet the heap grew. The kinds of packets are those of bench/path; `batch` sends them in
 * batches, `dropped` has a rule drop them, `fractional` gives them times that are no integers. `plant` makes one object a
 * packet.
 */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import type { Kind } from '../../bench/path/frames.js';
import { Load } from '../../bench/path/load.js';

const FLOWS = 256;
const BURST = 256;
const BURSTS = 200;
const ROUNDS = 5;

const [kind, way] = process.argv.slice(2);
const load = new Load(kind as Kind, FLOWS);
load.establish();
const { router } = load;
const { views } = load.frames;
const lan = router.interfaceIndex('lan');
const wan = router.interfaceIndex('wan');
if (way === 'dropped') {
  for (const family of [4, 6] as const) router.engine.restore(family, '*filter\n:FORWARD DROP\nCOMMIT\n');
}

/** A variable of the module holds the number boxed; who hands over one that is not boxed boxes it himself. */
let nowMs = 0;

const kept = new Array<unknown>(BURST).fill(undefined);
function send(): void {
  for (let burst = 0; burst < BURSTS; burst++) {
    load.write();
    load.nowMs += way === 'fractional' ? 1 / 3 : 1;
    if (way === 'batch') load.sendBatches();
    else {
      ({ nowMs } = load);
      for (let n = 0; n < BURST; n++) {
        router.receive((n & 1) === 0 ? lan : wan, views[n] as Uint8Array, nowMs);
        if (way === 'plant') kept[n] = { n };
      }
    }
  }
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
  const sentBefore = load.sent.count;
  const before = process.memoryUsage().heapUsed;
  send();
  const growth = process.memoryUsage().heapUsed - before;
  await setImmediate();
  const sent = load.sent.count - sentBefore;
  if (sent !== (way === 'dropped' ? 0 : BURST * BURSTS)) throw new Error(`${sent} packets came through`);
  grown = Math.min(grown, growth);
  least = Math.min(least, collections - collectionsBefore);
}
console.log(JSON.stringify({ packets: BURST * BURSTS, grownBytes: grown, collections: least }));
