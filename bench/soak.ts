/**
 * Soak: established packets of all kinds at full rate for a while, and every garbage collection meanwhile. The engine is
 * to cause none: for comparison the same loop runs first without sending, which is what timers and the loop itself cost.
 *
 *   npm run bench:soak -- [--seconds 20] [--flows 16384] [--json]
 *
 * Exit status 1 if there were more collections while packets flowed than without, per second of each.
 */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Kind } from './path/frames.js';
import { BURST } from './path/frames.js';
import { Load } from './path/load.js';

const KINDS: readonly Kind[] = ['udp', 'tcp', 'udp6', 'tcp6'];
/** Bursts of each kind between two turns of the event loop. */
const BURSTS = 64;
/** Until the compilers are done, s; less for a shorter run. */
const WARM_UP_S = 5;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    flows: { type: 'string', default: '16384' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);

/** Collections seen since it was last asked. */
class Collections {
  minor = 0;
  major = 0;
  pauseMs = 0;
  longestMs = 0;

  constructor() {
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { kind } = (entry as unknown as { detail: { kind: number } }).detail;
        if (kind === constants.NODE_PERFORMANCE_GC_MINOR) this.minor++;
        else this.major++;
        this.pauseMs += entry.duration;
        this.longestMs = Math.max(this.longestMs, entry.duration);
      }
    });
    observer.observe({ entryTypes: ['gc'] });
  }

  reset(): void {
    this.minor = 0;
    this.major = 0;
    this.pauseMs = 0;
    this.longestMs = 0;
  }
}

interface Phase {
  readonly seconds: number;
  readonly packets: number;
  readonly minor: number;
  readonly major: number;
  readonly pauseMs: number;
  readonly longestMs: number;
}

async function run(forMs: number, isSending: boolean): Promise<Phase> {
  await setImmediate();
  collections.reset();
  const startMs = performance.now();
  let packets = 0;
  while (performance.now() - startMs < forMs) {
    for (const load of loads) {
      for (let n = 0; n < BURSTS; n++) {
        // Once per burst, in whole milliseconds: a fraction that is handed over with each packet is 16 bytes that V8 may
        // allocate for the call, as it does here after a while.
        load.nowMs = Math.floor(firstMs + performance.now());
        load.write();
        if (isSending) load.deliver();
      }
      if (isSending) load.router.engine.tick(load.nowMs);
    }
    if (isSending) packets += loads.length * BURSTS * BURST;
    await setImmediate();
  }
  // The observer hears of collections in a turn of the loop.
  await setImmediate();
  const { minor, major, pauseMs, longestMs } = collections;
  return { seconds: (performance.now() - startMs) / 1000, packets, minor, major, pauseMs, longestMs };
}

const collections = new Collections();
/** After what `establish` let pass. */
const firstMs = 10_000;
const loads = KINDS.map((kind) => new Load(kind, Number(values.flows)));
for (const load of loads) load.establish();
await run(Math.min(WARM_UP_S, seconds) * 1000, true);
const idle = await run(Math.min(20, seconds) * 1000, false);
const busy = await run(seconds * 1000, true);
const perSecond = (phase: Phase) => (phase.minor + phase.major) / phase.seconds;
if (values.json) console.log(JSON.stringify({ node: process.versions.node, idle, busy }));
else {
  for (const [name, phase] of Object.entries({ 'no packets': idle, 'full rate': busy })) {
    const rate = Math.round(phase.packets / phase.seconds).toLocaleString('en');
    console.log(
      `${name}: ${phase.seconds.toFixed(1)} s, ${rate} packets/s; collections: ${phase.minor} minor, ${phase.major} major,` +
        ` ${phase.pauseMs.toFixed(2)} ms in all, longest ${phase.longestMs.toFixed(2)} ms`,
    );
  }
}
// One collection is what the loop's own promises may have left over.
if (busy.minor + busy.major > perSecond(idle) * busy.seconds + 1) process.exitCode = 1;
