/**
 * How fast a TCP sender may go and how long it waits: NewReno (RFC 5681, RFC 6582) with the initial window of RFC 6928,
 * and the retransmission timeout of RFC 6298. Cold; no clock of its own.
 */

/** Retransmission timeouts, ms. The least is Linux's; RFC 6298 would have a second. */
const LEAST_RTO_MS = 200;
const FIRST_RTO_MS = 1000;
const MOST_RTO_MS = 60_000;
const INITIAL_SEGMENTS = 10;
const DUPLICATES = 3;

export class RetransmitTimeout {
  /** Now, backed off if need be. */
  timeoutMs = FIRST_RTO_MS;
  #estimateMs = FIRST_RTO_MS;
  #smoothedMs = -1;
  #variationMs = 0;
  #timedSequence = 0;
  #timedMs = -1;

  /** A segment that ends at `sequence` was sent for the first time: the next round trip is its own. */
  time(sequence: number, nowMs: number): void {
    if (this.#timedMs >= 0) return;
    this.#timedMs = nowMs;
    this.#timedSequence = sequence;
  }

  /** Something is sent again: what is timed says nothing any more (Karn). */
  forget(): void {
    this.#timedMs = -1;
  }

  /** Everything before `una` arrived. */
  acknowledge(una: number, nowMs: number): void {
    if (this.#timedMs < 0 || ((una - this.#timedSequence) | 0) < 0) return;
    this.#measure(nowMs - this.#timedMs);
    this.#timedMs = -1;
  }

  #measure(roundTripMs: number): void {
    if (this.#smoothedMs < 0) {
      this.#smoothedMs = roundTripMs;
      this.#variationMs = roundTripMs / 2;
    } else {
      this.#variationMs = 0.75 * this.#variationMs + 0.25 * Math.abs(this.#smoothedMs - roundTripMs);
      this.#smoothedMs = 0.875 * this.#smoothedMs + 0.125 * roundTripMs;
    }
    const timeoutMs = this.#smoothedMs + Math.max(1, 4 * this.#variationMs);
    this.#estimateMs = Math.min(MOST_RTO_MS, Math.max(LEAST_RTO_MS, timeoutMs));
    this.timeoutMs = this.#estimateMs;
  }

  backOff(): void {
    this.timeoutMs = Math.min(MOST_RTO_MS, 2 * this.timeoutMs);
  }

  /** Something arrived: the next loss is waited for as if there had been none. */
  recover(): void {
    this.timeoutMs = this.#estimateMs;
  }
}

export class Congestion {
  /** Bytes that may be under way. */
  windowBytes = 0;
  #threshold = Number.POSITIVE_INFINITY;
  #mss = 0;
  #duplicates = 0;
  /** While lost segments are made up for: where it ends. */
  #recover = 0;
  #isRecovering = false;

  /** The connection stands; segments are `mss` bytes. `sequence` is the first byte's. */
  begin(mss: number, sequence: number): void {
    this.#mss = mss;
    this.#recover = sequence;
    this.windowBytes = INITIAL_SEGMENTS * mss;
  }

  /** `acknowledged` bytes more arrived, up to `una`. Says whether the first missing segment must be sent again. */
  acknowledge(acknowledged: number, una: number): 'resend' | 'go on' {
    this.#duplicates = 0;
    if (this.#isRecovering) {
      if (((una - this.#recover) | 0) < 0) {
        // A partial acknowledgement: what it ends at is lost too (RFC 6582 section 3.2).
        this.windowBytes = Math.max(this.#mss, this.windowBytes - acknowledged + this.#mss);
        return 'resend';
      }
      this.#isRecovering = false;
      this.windowBytes = this.#threshold;
      return 'go on';
    }
    if (this.windowBytes < this.#threshold) this.windowBytes += Math.min(acknowledged, 2 * this.#mss);
    else this.windowBytes += Math.max(1, Math.floor((this.#mss * this.#mss) / this.windowBytes));
    return 'go on';
  }

  /** An acknowledgement told nothing new while `flight` bytes are under way, up to `sent`. */
  duplicate(una: number, sent: number, flight: number): 'resend' | 'go on' {
    this.#duplicates++;
    if (this.#isRecovering) {
      this.windowBytes += this.#mss;
      return 'go on';
    }
    if (this.#duplicates !== DUPLICATES || ((una - this.#recover) | 0) < 0) return 'go on';
    this.#threshold = Math.max(Math.floor(flight / 2), 2 * this.#mss);
    this.windowBytes = this.#threshold + DUPLICATES * this.#mss;
    this.#recover = sent;
    this.#isRecovering = true;
    return 'resend';
  }

  /** The retransmission timeout struck. */
  collapse(sent: number, flight: number): void {
    this.#threshold = Math.max(Math.floor(flight / 2), 2 * this.#mss);
    this.windowBytes = this.#mss;
    this.#recover = sent;
    this.#isRecovering = false;
    this.#duplicates = 0;
  }
}
