/**
 * Connections that begin and end: the first packet of a UDP flow through the whole router, and the reaper's work once
 * they have expired. `flows` are live; a quarter of them expires and comes anew, round by round, as in
 * bench/peers/floor.c.
 */
import type { Subject } from '../subject.js';
import { roundsOf } from './established.js';
import { BURST } from './frames.js';
import { Load } from './load.js';

const SHARES = 4;
const TIMEOUT_S = 80_000;
/** From one quarter's begin to the next one's; a sweep may take its time in between. */
const STEP_MS = (TIMEOUT_S / SHARES + 200) * 1000;
/** Connections per sample, at least. */
const SAMPLE = 16_384;
const PER_SERVER = 4096;

type Port = 'picked' | 'kept';

const OPERATIONS: Readonly<Record<Port, string>> = {
  picked: 'a UDP connection whose port must be picked: first packet to confirmed, and its expiry',
  kept: 'a UDP connection that keeps its port: first packet to confirmed, and its expiry',
};

class Turnover {
  readonly #load: Load;
  readonly #port: Port;
  readonly #share: number;
  #next = 0;
  expiryNs = 0;

  constructor(flows: number, port: Port) {
    this.#port = port;
    this.#share = flows / SHARES;
    this.#load = new Load('udp', flows);
    this.#load.router.sysctl('net.netfilter.nf_conntrack_udp_timeout', TIMEOUT_S);
    for (let i = 0; i < SHARES; i++) {
      this.#load.nowMs += STEP_MS;
      this.begin();
    }
  }

  /** A quarter of all begins. Returns nanoseconds. */
  begin(): number {
    const { frames, flows } = this.#load;
    let passed = 0;
    for (let done = 0; done < this.#share; done += BURST) {
      for (let n = 0; n < BURST; n++) {
        if (this.#port === 'picked') frames.colliding(n, this.#next, PER_SERVER);
        else frames.first(n, this.#next);
        if (++this.#next === 2 * flows) this.#next = 0;
      }
      passed += this.#load.sendFirst(BURST);
    }
    return passed;
  }

  /** The oldest quarter expires and is reaped. Returns nanoseconds. */
  expire(): number {
    const load = this.#load;
    const { engine } = load.router;
    const left = load.flows - this.#share;
    load.nowMs += STEP_MS;
    // The time in between has passed for no one but the connections: the reaper has not missed its passes.
    engine.reaper.stop();
    const start = performance.now();
    engine.tick(load.nowMs);
    while (engine.tracker.count > left) {
      load.nowMs = Math.max(load.nowMs + 1, engine.reaper.nextMs);
      engine.tick(load.nowMs);
    }
    const passed = performance.now() - start;
    if (engine.tracker.count !== left) throw new Error(`${engine.tracker.count} connections, not ${left}`);
    return passed * 1e6;
  }

  sample(): number {
    let made = 0;
    let passed = 0;
    let expiry = 0;
    do {
      expiry += this.expire();
      passed += this.begin();
      made += this.#share;
    } while (made < SAMPLE);
    this.expiryNs = expiry / made;
    return (passed + expiry) / made;
  }
}

function connections(port: Port): Subject {
  return {
    name: `new/${port}`,
    operation: OPERATIONS[port],
    group: 'new',
    quickSizes: [1024],
    rounds: (size) => Math.min(2, roundsOf(size)),
    prepare(flows) {
      const turnover = new Turnover(flows, port);
      const expiries: number[] = [];
      return {
        warmUp: flows > SAMPLE ? 2 : 5,
        most: 40,
        sample() {
          const passed = turnover.sample();
          expiries.push(turnover.expiryNs);
          return passed;
        },
        figures() {
          expiries.sort((a, b) => a - b);
          return { expiryNs: expiries[expiries.length >> 1] as number };
        },
      };
    },
  };
}

export const connectionPaths: Subject[] = [connections('picked'), connections('kept')];
