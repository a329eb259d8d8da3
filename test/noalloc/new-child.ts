/**
 * Run in a process of its own with --expose-gc and a large semi-space: begins a connection per packet and ends the
 * oldest one, and prints by how much the heap grew. With `plant`, one object is made per packet: that must show.
 */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { RULES, Traffic } from '../../bench/engine/traffic.js';
import type { EntryId } from '../../lib/conntrack/entries.js';
import { DestroyReason } from '../../lib/conntrack/table.js';

const FLOWS = 512;
/** Connections that live at a time. */
const LIVE = 256;
const PACKETS = 50_000;
const ROUNDS = 5;

const [ports, plant] = process.argv.slice(2);
const traffic = new Traffic('udp', FLOWS);
// `random`: every connection is given a port that is drawn; `crowded`: one of 257, of which 255 or 256 are taken.
const options = { kept: '', random: ' --random', crowded: ' --to-ports 30000-30256 --random' }[
  ports as string
];
if (options === undefined) throw new Error(`ports '${ports}'`);
traffic.engine.restore(4, RULES.replace('-j MASQUERADE', `-p udp -j MASQUERADE${options}`));
const table = traffic.engine.tracker.table(4);
const entries = new Int32Array(LIVE).fill(-1);
const kept = new Array<unknown>(FLOWS).fill(undefined);

function begin(): number {
  let accepted = 0;
  for (let n = 0; n < PACKETS; n++) {
    const place = n % LIVE;
    const oldest = entries[place] as number;
    if (oldest >= 0) table.destroy(oldest as EntryId, DestroyReason.DELETED);
    accepted += traffic.sendOriginal(n % FLOWS, 1);
    entries[place] = traffic.packet.entry;
    if (plant === 'plant') kept[place] = { n };
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
for (let round = 0; round < 8; round++) begin();
let grown = Number.POSITIVE_INFINITY;
let least = Number.POSITIVE_INFINITY;
for (let round = 0; round < ROUNDS; round++) {
  globalThis.gc!();
  await setImmediate();
  const collectionsBefore = collections;
  const before = process.memoryUsage().heapUsed;
  const accepted = begin();
  const growth = process.memoryUsage().heapUsed - before;
  await setImmediate();
  if (accepted !== PACKETS || table.live !== LIVE) throw new Error(`${PACKETS - accepted} packets dropped`);
  grown = Math.min(grown, growth);
  least = Math.min(least, collections - collectionsBefore);
}
console.log(JSON.stringify({ packets: PACKETS, grownBytes: grown, collections: least }));
