/**
 * A router under load: two interfaces, MASQUERADE, a ctstate rule, and bursts of packets of random flows, each burst
 * written before its time is taken. The order of flows is that of bench/peers/floor.c.
 */
import { Router } from '../../lib/network/router.js';
import { SeededRandom } from '../../lib/random.js';
import { SEED } from '../subject.js';
import { BURST, Frames, type Kind, LAN_ADDRESSES, ROUTES, WAN_ADDRESSES } from './frames.js';

export const RULES = `*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
COMMIT
`;

/** Bursts that make one sample. */
export const SAMPLE_BURSTS = 64;

/** xorshift32 (Marsaglia 2003): the order of flows, the same in C. */
export class Xorshift {
  #state = SEED;

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return Math.floor(((x >>> 0) * limit) / 2 ** 32);
  }
}

/** A router with the interfaces `lan` and `wan`, and room for `maxConnections`. */
export function makeRouter(version: number, maxConnections: number, rules: string = RULES): Router {
  const router = new Router({
    random: new SeededRandom(SEED),
    seed: SEED,
    maxConnections,
    interfaces: [
      { name: 'lan', addresses: LAN_ADDRESSES },
      { name: 'wan', addresses: WAN_ADDRESSES },
    ],
    routes: ROUTES,
  });
  router.engine.restore(version === 6 ? 6 : 4, rules);
  return router;
}

/** Counts what leaves a router. */
export class Counter {
  count = 0;

  transmit(): void {
    this.count++;
  }
}

export class Load {
  readonly router: Router;
  readonly frames: Frames;
  readonly flows: number;
  readonly sent = new Counter();
  nowMs = 0;
  readonly #lan: number;
  readonly #wan: number;
  readonly #random = new Xorshift();
  readonly #even: readonly Uint8Array[];
  readonly #odd: readonly Uint8Array[];

  /** `flows` flows of one kind through a router that has room for as many, or for `maxConnections`. */
  constructor(kind: Kind, flows: number, options: { rules?: string; maxConnections?: number } = {}) {
    this.flows = flows;
    this.frames = new Frames(kind);
    this.#even = this.frames.views.filter((_, n) => (n & 1) === 0);
    this.#odd = this.frames.views.filter((_, n) => (n & 1) === 1);
    this.router = makeRouter(kind.endsWith('6') ? 6 : 4, options.maxConnections ?? flows, options.rules);
    this.router.output = this.sent;
    this.#lan = this.router.interfaceIndex('lan');
    this.#wan = this.router.interfaceIndex('wan');
  }

  /**
   * Sends one packet to and fro for each flow, and both once more 4 s later: all are ESTABLISHED and ASSURED then, and
   * known to the flow cache in both directions.
   */
  establish(): void {
    const { frames } = this;
    this.#sendAll((slot, flow) => frames.first(slot, flow), this.#lan);
    this.#sendAll((slot, flow) => frames.firstReply(slot, flow), this.#wan);
    this.nowMs += 4000;
    this.#sendAll((slot, flow) => frames.original(slot, flow), this.#lan);
    this.#sendAll((slot, flow) => frames.reply(slot, flow), this.#wan);
    const { count } = this.router.engine.tracker;
    if (count !== this.flows) throw new Error(`${count} connections, not ${this.flows}`);
  }

  /** Only the first of these packets. */
  begin(): void {
    this.#sendAll((slot, flow) => this.frames.first(slot, flow), this.#lan);
  }

  #sendAll(write: (slot: number, flow: number) => void, from: number): void {
    for (let flow = 0; flow < this.flows; flow += BURST) {
      const size = Math.min(BURST, this.flows - flow);
      for (let n = 0; n < size; n++) write(n, flow + n);
      this.send(size, from, from);
    }
  }

  /** Writes packets of random flows, of both directions in turn. */
  write(): void {
    const { frames, flows } = this;
    for (let n = 0; n < BURST; n++) {
      const flow = this.#random.below(flows);
      if ((n & 1) === 0) frames.original(n, flow);
      else frames.reply(n, flow);
    }
  }

  /** Sends the packets written, one call each, even ones in by `even`, odd ones by `odd`. Returns nanoseconds. */
  send(count = BURST, even = this.#lan, odd = this.#wan): number {
    const { router, nowMs } = this;
    const { views } = this.frames;
    const before = this.sent.count;
    const start = performance.now();
    for (let n = 0; n < count; n++) {
      router.receive((n & 1) === 0 ? even : odd, views[n] as Uint8Array, nowMs);
    }
    const passed = performance.now() - start;
    if (this.sent.count - before !== count) throw new Error(this.#lost(count - this.sent.count + before));
    return passed * 1e6;
  }

  /** The same without taking the time, which would allocate. */
  deliver(): void {
    const { router, nowMs } = this;
    const { views } = this.frames;
    for (let n = 0; n < BURST; n++) {
      router.receive((n & 1) === 0 ? this.#lan : this.#wan, views[n] as Uint8Array, nowMs);
    }
  }

  /** Sends the packets written in two batches, the even ones in by the LAN, the odd ones by the WAN. Returns nanoseconds. */
  sendBatches(): number {
    const { router, nowMs } = this;
    const before = this.sent.count;
    const start = performance.now();
    router.processBatch(this.#lan, this.#even, BURST / 2, nowMs);
    router.processBatch(this.#wan, this.#odd, BURST / 2, nowMs);
    const passed = performance.now() - start;
    if (this.sent.count - before !== BURST) throw new Error(this.#lost(BURST - this.sent.count + before));
    return passed * 1e6;
  }

  /** Sends first packets, all from the LAN. Returns nanoseconds. */
  sendFirst(count: number): number {
    return this.send(count, this.#lan, this.#lan);
  }

  #lost(count: number): string {
    return `${count} packets were dropped: ${JSON.stringify(this.router.engine.drops.toObject())}`;
  }
}
