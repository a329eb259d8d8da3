/**
 * Times of capture files: 64-bit counts of some unit, exact to the nanosecond without bigint. Cold.
 *
 * A 64-bit count passes through here as two unsigned 32-bit halves; sums and products are kept under 2^53.
 */

import { ConfigurationError } from '../errors.js';

/** A moment: seconds since 1970 (whole, may be negative) and nanoseconds (0 to 999,999,999). */
export interface CaptureTime {
  readonly seconds: number;
  readonly nanos: number;
}

const TWO_32 = 0x1_0000_0000;
const NANOS = 1_000_000_000;
/** The last whole second that a 64-bit count of nanoseconds reaches (the year 2554). */
const LAST_NANOSECOND_SECOND = 18_446_744_072;

/**
 * The moment `high * 2^32 + low` units after 1970.
 * `resolution` is pcapng's `if_tsresol`: 10^-n s, or 2^-n s when the top bit is set. Finer than a nanosecond is
 * cut off. Counts of whole seconds above 2^53 lose their lowest bits; nothing else does.
 */
export function timeOfCount(high: number, low: number, resolution: number): CaptureTime {
  const exponent = resolution & 0x7f;
  if ((resolution & 0x80) !== 0) return timeOfBinaryCount(high, low, exponent);
  let digits = exponent;
  while (digits > 9) {
    const step = Math.min(digits - 9, 9);
    [high, low] = divide(high, low, 10 ** step);
    digits -= step;
  }
  const unitsPerSecond = 10 ** digits;
  const [secondsHigh, secondsLow, rest] = divide(high, low, unitsPerSecond);
  return { seconds: secondsHigh * TWO_32 + secondsLow, nanos: rest * (NANOS / unitsPerSecond) };
}

/** The count of nanoseconds since 1970, as [high, low] unsigned 32-bit halves. Throws outside 1970 to 2554. */
export function nanosecondCount(seconds: number, nanos: number): [high: number, low: number] {
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > LAST_NANOSECOND_SECOND) {
    throw new ConfigurationError('value', 'a capture cannot hold this time', {
      word: `${seconds} s`,
      expected: 'whole seconds from 1970 to 2554',
    });
  }
  if (!Number.isInteger(nanos) || nanos < 0 || nanos >= NANOS) {
    throw new ConfigurationError('value', 'not a fraction of a second', {
      word: `${nanos} ns`,
      expected: '0 to 999999999',
    });
  }
  const upper = Math.floor(seconds / 0x10000) * NANOS;
  const lower = (seconds % 0x10000) * NANOS + nanos + (upper % 0x10000) * 0x10000;
  return [Math.floor(upper / 0x10000) + Math.floor(lower / TWO_32), lower % TWO_32];
}

/** Splits milliseconds since 1970 into the exact form, to the nearest nanosecond. */
export function timeOfMs(timeMs: number): CaptureTime {
  const seconds = Math.floor(timeMs / 1000);
  const nanos = Math.round((timeMs - seconds * 1000) * 1e6);
  return nanos >= NANOS ? { seconds: seconds + 1, nanos: nanos - NANOS } : { seconds, nanos };
}

/** Milliseconds since 1970, rounded to a double. */
export function msOfTime(time: CaptureTime): number {
  return time.seconds * 1000 + time.nanos / 1e6;
}

function timeOfBinaryCount(high: number, low: number, exponent: number): CaptureTime {
  // A power of two moves no mantissa bit, so these quotients and remainders are exact up to the final product.
  const scale = 2 ** exponent;
  const upper = (high * TWO_32) / scale;
  const lower = low / scale;
  const seconds = Math.floor(upper) + Math.floor(lower);
  const fraction = (upper % 1) + (lower % 1);
  const carry = fraction >= 1 ? 1 : 0;
  return { seconds: seconds + carry, nanos: Math.min(Math.floor((fraction - carry) * NANOS), NANOS - 1) };
}

/** Long division by a divisor of at most 10^9, a 16-bit digit at a time: no product reaches 2^46. */
function divide(high: number, low: number, divisor: number): [high: number, low: number, rest: number] {
  let rest = high % divisor;
  const quotientHigh = Math.floor(high / divisor);
  let dividend = rest * 0x10000 + (low >>> 16);
  const upperDigit = Math.floor(dividend / divisor);
  rest = dividend % divisor;
  dividend = rest * 0x10000 + (low & 0xffff);
  const lowerDigit = Math.floor(dividend / divisor);
  return [quotientHigh, upperDigit * 0x10000 + lowerDigit, dividend % divisor];
}
