/**
 * Conditions with a memory of their own: limit, quota, statistic. Hot.
 */
import type { Random } from '../../random.js';
import type { Packet } from '../../wire/packet.js';
import type { LimitMatch, QuotaMatch, StatisticMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';

/** Linux's clock ticks at HZ=250: one in 4 ms. */
const TICKS_PER_SECOND = 250;
const TICK_SHIFT = 2;
const TICK_MASK = ~3;
/** Credits that a tick brings: the largest power of two of which a day's do not overflow 32 bits. */
const CREDITS_PER_TICK = 128;
/** `average` is in ten-thousandths of a second. */
const AVERAGE_SCALE = 10_000;

/** Credits of a time in ten-thousandths of a second, by Linux's 32-bit arithmetic. */
function creditsOf(average: number): number {
  const perSecond = TICKS_PER_SECOND * CREDITS_PER_TICK;
  if (average > 0xffffffff / perSecond) return (Math.floor(average / AVERAGE_SCALE) * perSecond) >>> 0;
  return Math.floor((average * perSecond) / AVERAGE_SCALE);
}

/** A token bucket, full at first. Credits are counted in ticks of Linux's clock, so that the same packets pass. */
export class TokenBucketMatch implements Match {
  readonly #cost: number;
  readonly #cap: number;
  #credit: number;
  #tickMs = 0;
  #started = 0;

  constructor(spec: LimitMatch) {
    this.#cost = creditsOf(spec.average);
    this.#cap = creditsOf((spec.average * spec.burst) % 0x1_0000_0000);
    this.#credit = this.#cap;
  }

  matches(_packet: Packet, context: RuleContext): 0 | 1 {
    const tickMs = context.now & TICK_MASK;
    // The bucket is full when the rule begins, so it does not matter when that was.
    if (this.#started === 1) {
      const ticks = ((tickMs - this.#tickMs) | 0) >>> TICK_SHIFT;
      this.#credit = Math.min(this.#cap, this.#credit + ticks * CREDITS_PER_TICK);
    }
    this.#started = 1;
    this.#tickMs = tickMs;
    if (this.#credit < this.#cost) return 0;
    this.#credit -= this.#cost;
    return 1;
  }
}

/** Holds until so many bytes have passed; the packet that is too long ends it for shorter ones too. */
export class ByteQuotaMatch implements Match {
  #left: number;
  readonly #negated: 0 | 1;

  constructor(spec: QuotaMatch) {
    this.#left = spec.bytes;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    const bytes = packet.end - packet.start;
    if (this.#left < bytes) {
      this.#left = 0;
      return this.#negated;
    }
    this.#left -= bytes;
    return (1 - this.#negated) as 0 | 1;
  }
}

/** Every `every`-th packet. */
export class NthMatch implements Match {
  readonly #last: number;
  #count: number;
  readonly #negated: 0 | 1;

  constructor(spec: StatisticMatch & { readonly mode: 'nth' }) {
    this.#last = spec.every - 1;
    this.#count = this.#last - spec.packet;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(): 0 | 1 {
    this.#count = this.#count === this.#last ? 0 : this.#count + 1;
    return ((this.#count === 0 ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

export class ChanceMatch implements Match {
  readonly #random: Random;
  readonly #probability: number;
  readonly #negated: 0 | 1;

  constructor(spec: StatisticMatch & { readonly mode: 'random' }, random: Random) {
    this.#random = random;
    this.#probability = spec.probability;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(): 0 | 1 {
    const drawn = this.#random.u32() & 0x7fffffff;
    return ((drawn < this.#probability ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}
