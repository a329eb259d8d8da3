/**
 * Picking a port while most are used: the first packet of a UDP connection whose port must be picked, to a server to
 * which `ports` of the 64,512 ports from 1,024 on are in use. Which are free is random, and changes.
 */
import { type EntryId, Status } from '../../lib/conntrack/entries.js';
import { DestroyReason } from '../../lib/conntrack/table.js';
import type { Subject } from '../subject.js';
import { BURST } from './frames.js';
import { Load, Xorshift } from './load.js';

const PORTS = 64_512;
const EVERYBODY = 2 ** 31 - 1;
/** Clients that come one after the other: each its own address. */
const CLIENTS = 0xe00000;
/** Connections per sample, and where a port is hard to find. */
const SAMPLE = 1024;
const HARD_SAMPLE = 256;
const HARD = 64_000;

/** In use: none, half, 90, 99, 99.9, 99.99 %, and all but one. */
export const FILLS: readonly number[] = [0, 32_256, 58_061, 63_867, 64_447, 64_506, 64_511];

class Range {
  readonly #load = new Load('udp', PORTS);
  readonly #random = new Xorshift();
  #client = 0;

  /** `count` connections begin. Returns nanoseconds. */
  begin(count: number): number {
    for (let n = 0; n < count; n++) {
      this.#load.frames.colliding(n, this.#client, EVERYBODY);
      this.#client = (this.#client + 1) % CLIENTS;
    }
    return this.#load.sendFirst(count);
  }

  /** One of the live connections is over. */
  end(): void {
    const table = this.#load.router.engine.tracker.table(4);
    for (;;) {
      const entry = table.entries.entryOfSlot(this.#random.below(PORTS)) as EntryId;
      if ((table.entries.status(entry) & Status.CONFIRMED) === 0) continue;
      table.destroy(entry, DestroyReason.DELETED);
      return;
    }
  }

  get used(): number {
    return this.#load.router.engine.tracker.count;
  }
}

export const portPicks: Subject[] = [
  {
    name: 'new/ports',
    operation: 'the first packet of a UDP connection whose port must be picked, by ports in use',
    axis: 'ports',
    sizes: FILLS,
    quickSizes: [0, 63_867, 64_511],
    prepare(used) {
      const range = new Range();
      while (range.used < used) range.begin(Math.min(BURST, used - range.used));
      // Few at a time where few are free, so that it stays as full as it is.
      const count = Math.max(1, Math.min(32, (PORTS - used) >> 3));
      return {
        warmUp: 3,
        most: 60,
        sample() {
          let passed = 0;
          let done = 0;
          for (; done < (used < HARD ? SAMPLE : HARD_SAMPLE); done += count) {
            passed += range.begin(count);
            for (let n = 0; n < count; n++) range.end();
          }
          return passed / done;
        },
      };
    },
  },
];
