/** The flow caches of both families, for the router. Hot. */
import { FlowCache, type FlowCacheRouter } from './flow-cache.js';

export class FlowCaches {
  readonly #flows4: FlowCache;
  readonly #flows6: FlowCache;
  /** The cache that said the last word about a packet. */
  #last: FlowCache;
  /** The cache that knows more of the packets that were prefetched last. */
  #prefetched: FlowCache | undefined;
  /** How many these were, and how many are still to come. */
  #count = 0;
  #coming = 0;

  constructor(router: FlowCacheRouter) {
    this.#flows4 = new FlowCache(router, 4);
    this.#flows6 = new FlowCache(router, 6);
    this.#last = this.#flows4;
  }

  /** The cache that `forward` asked last. */
  get last(): FlowCache {
    return this.#last;
  }

  /** See `FlowCache.forward`. */
  forward(inInterface: number, bytes: Uint8Array, start: number): number {
    const flows = this.#of(bytes, start);
    this.#last = flows;
    if (this.#coming === 0) return flows.forward(inInterface, bytes, start, -1);
    const place = this.#count - this.#coming--;
    return flows.forward(inInterface, bytes, start, flows === this.#prefetched ? place : -1);
  }

  /**
   * Touches what `packets[from, to)` will look for; they are taken to be of the first one's family, and to be the next
   * that come. If they are not, that costs time only.
   */
  prefetch(packets: readonly Uint8Array[], from: number, to: number, start: number): void {
    if (from >= to) return;
    const flows = this.#of(packets[from] as Uint8Array, start);
    this.#prefetched = flows;
    this.#count = to - from;
    this.#coming = flows.prefetch(packets, from, to, start) === 1 ? this.#count : 0;
  }

  /** Settings have changed: nothing is known any more. */
  forget(): void {
    this.#flows4.forget();
    this.#flows6.forget();
  }

  /** Packets that went the short way, ever. */
  get forwarded(): number {
    return this.#flows4.forwarded + this.#flows6.forwarded;
  }

  #of(bytes: Uint8Array, start: number): FlowCache {
    return (bytes[start] as number) >>> 4 === 4 ? this.#flows4 : this.#flows6;
  }
}
