/**
 * Limits on what the router answers: token buckets per peer as Linux keeps them (icmp_ratelimit, and the fixed limit
 * for errors about packets without a route). Cold: only errors come here.
 */

/** Peers remembered; the oldest is forgotten for a new one. */
const PEERS = 4096;
/** A peer not seen before counts as silent for this long, ms. */
const FIRST_MS = 60_000;

interface Bucket {
  tokensMs: number;
  lastMs: number;
}

export class AnswerLimits {
  readonly #buckets = new Map<string, Bucket>();

  /**
   * Takes `costMs` from the bucket of `peer`, which holds `burstMs` at most and gains a millisecond per millisecond.
   * Returns whether there was enough.
   */
  allow(peer: string, nowMs: number, costMs: number, burstMs: number): boolean {
    let bucket = this.#buckets.get(peer);
    if (bucket === undefined) {
      if (this.#buckets.size >= PEERS) {
        for (const oldest of this.#buckets.keys()) {
          this.#buckets.delete(oldest);
          break;
        }
      }
      bucket = { tokensMs: 0, lastMs: nowMs - FIRST_MS };
      this.#buckets.set(peer, bucket);
    }
    bucket.tokensMs = Math.min(burstMs, bucket.tokensMs + (nowMs - bucket.lastMs));
    bucket.lastMs = nowMs;
    if (bucket.tokensMs < costMs) return false;
    bucket.tokensMs -= costMs;
    return true;
  }
}
