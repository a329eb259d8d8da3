/**
 * A process whose memory is looked at: a table with room for CAPACITY connections, FLOWS of them there, PACKETS sent.
 * Prints how many bytes are resident, garbage collected.
 *
 *   node --expose-gc .build/bench/memory/resident-child.js KIND CAPACITY FLOWS PACKETS
 */
import { setTimeout } from 'node:timers/promises';
import { BURST, type Kind } from '../path/frames.js';
import { Load } from '../path/load.js';

const [kind, capacity, flows, packets] = process.argv.slice(2);
const load = new Load(kind as Kind, Number(flows), { maxConnections: Number(capacity) });
load.establish();
for (let sent = 0; sent < Number(packets); sent += BURST) {
  load.write();
  load.send();
}
for (let n = 0; n < 6; n++) {
  globalThis.gc?.();
  await setTimeout(50);
}
if (load.router.engine.tracker.count !== load.flows) throw new Error('connections are missing');
console.log(process.memoryUsage.rss());
