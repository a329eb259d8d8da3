/**
 * Rates of limit and hashlimit: `n/unit` to the time per packet and back, and when a burst does not fit the credit
 * counter of the kernel. Cold.
 */

import { wholeNumber } from './numbers.js';
import type { Where } from './where.js';

/** Seconds per unit, longest first: the order in which printing tries them. */
const UNITS = [
  { name: 'day', long: 'day', seconds: 86400 },
  { name: 'hour', long: 'hour', seconds: 3600 },
  { name: 'min', long: 'minute', seconds: 60 },
  { name: 'sec', long: 'second', seconds: 1 },
] as const;

export interface Rate {
  /** Ticks between two packets, `ticksPerSecond` of them making a second. */
  readonly interval: number;
  readonly unitSeconds: number;
}

/** `n`, `n/s`, `n/min`...: the unit may be shortened to any beginning of its name. */
export function parseRate(text: string, ticksPerSecond: number, where: Where): Rate {
  const slash = text.indexOf('/');
  const unitText = slash < 0 ? 'second' : text.slice(slash + 1).toLowerCase();
  const unit = unitText === '' ? undefined : UNITS.find(({ long }) => long.startsWith(unitText));
  const count = wholeNumber(slash < 0 ? text : text.slice(0, slash), 1, 0xffffffff);
  if (unit === undefined || count === undefined) {
    return where.refuse('value', 'not a rate', 'number/second, /minute, /hour or /day');
  }
  if (count / unit.seconds > ticksPerSecond)
    where.refuse('value', 'rate too fast', `at most ${ticksPerSecond}/sec`);
  return { interval: Math.floor((ticksPerSecond * unit.seconds) / count), unitSeconds: unit.seconds };
}

/** The rate in the longest unit in which it is (nearly) a whole number. */
export function formatRate(interval: number, ticksPerSecond: number): { text: string; unitSeconds: number } {
  let chosen: (typeof UNITS)[number] = UNITS[0];
  for (const unit of UNITS.slice(1)) {
    const ticks = unit.seconds * ticksPerSecond;
    if (interval > ticks || Math.floor(ticks / interval) < ticks % interval) break;
    chosen = unit;
  }
  const count = Math.floor((chosen.seconds * ticksPerSecond) / interval);
  return { text: `${count}/${chosen.name}`, unitSeconds: chosen.seconds };
}

/**
 * Whether the kernel's credit counter overflows on `interval * burst`: it refuses such a rule.
 * limit counts in 32 bits, 32,000 credits a second; hashlimit in 64 bits, 1000 << 37 credits a second.
 */
export function burstOverflows(interval: number, burst: number, counter: 'limit' | 'hashlimit'): boolean {
  const credits = counter === 'limit' ? limitCredits : hashlimitCredits;
  const one = BigInt(interval);
  return burst === 0 || credits(one * BigInt(burst)) < credits(one);
}

const LIMIT_CREDITS = 32_000n;
const LIMIT_TICKS = 10_000n;

function limitCredits(user: bigint): bigint {
  const ticks = BigInt.asUintN(32, user);
  const wide = ticks > 0xffffffffn / LIMIT_CREDITS;
  return BigInt.asUintN(
    32,
    wide ? (ticks / LIMIT_TICKS) * LIMIT_CREDITS : (ticks * LIMIT_CREDITS) / LIMIT_TICKS,
  );
}

const HASHLIMIT_CREDITS_PER_TICK = (1000n << 37n) / 1_000_000n;

function hashlimitCredits(user: bigint): bigint {
  return BigInt.asUintN(64, user * HASHLIMIT_CREDITS_PER_TICK);
}
