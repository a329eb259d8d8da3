/** The flow caches of both families, for the router. Hot. */
import { FlowCache, type FlowCacheRouter } from './flow-cache.js';

export class FlowCaches {
  readonly #flows4: FlowCache;
  readonly #flows6: FlowCache;
  /** The cache that said the last word about a packet. */
  #last: FlowCache;

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
    return flows.forward(inInterface, bytes, start);
  }

  /** Touches what `packets[from, to)` will look for; they are taken to be of the first one's family. */
  prefetch(packets: readonly Uint8Array[], from: number, to: number, start: number): void {
    if (from < to) this.#of(packets[from] as Uint8Array, start).prefetch(packets, from, to, start);
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
