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

/** Credits that a kernel gives per second: for limit in 32 bits, for hashlimit in 64. */
const CREDITS = { 32: 32000n, 64: 1000n << 37n } as const;

/** Whether `interval * burst` overflows the kernel's credit counter, which then refuses the rule. */
export function burstOverflows(
  interval: number,
  burst: number,
  ticksPerSecond: number,
  bits: 32 | 64,
): boolean {
  const width = (value: bigint): bigint => BigInt.asUintN(bits, value);
  const perSecond = CREDITS[bits];
  const ticks = BigInt(ticksPerSecond);
  const limit = ((1n << BigInt(bits)) - 1n) / perSecond;
  const credits = (user: bigint): bigint =>
    width(user > limit ? (user / ticks) * perSecond : (user * perSecond) / ticks);
  const one = BigInt(interval);
  return burst === 0 || credits(width(one * BigInt(burst))) < credits(one);
}
