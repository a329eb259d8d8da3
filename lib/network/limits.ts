/**
 * Limits on what the router answers (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f), as Linux keeps them: a token
 * bucket per peer (icmp_ratelimit, and the fixed limit for errors about packets without a route), and one for all errors
 * together (icmp_msgs_per_sec). Cold: only errors come here.
 *
 * What an error costs of the common bucket is random, one on average: whoever counts how many errors others get
 * could otherwise tell which ports are open.
 */
import type { Random } from '../random.js';

/** Peers remembered; the oldest is forgotten for a new one. */
const PEERS = 4096;
/** Longest time that the common bucket fills for, ms. */
const FILL_MS = 1000;
/** A peer not seen before counts as silent for this long, ms. */
const FIRST_MS = 60_000;

interface Bucket {
  tokensMs: number;
  lastMs: number;
}

export class AnswerLimits {
  readonly #buckets = new Map<string, Bucket>();
  #credit = 0;
  #creditMs = Number.NEGATIVE_INFINITY;

  /** Whether an error may be sent at all: the common bucket gains `perSecond` and holds `burst` at most. */
  hasCredit(nowMs: number, perSecond: number, burst: number): boolean {
    const passedMs = Math.min(FILL_MS, nowMs - this.#creditMs);
    const gain = Math.floor((perSecond * passedMs) / 1000);
    if (gain > 0) {
      this.#credit = Math.min(burst, this.#credit + gain);
      this.#creditMs = nowMs;
    }
    return this.#credit > 0;
  }

  /** An error is sent. */
  spend(random: Random): void {
    this.#credit = Math.max(0, this.#credit - random.pick(0, 3));
  }

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
