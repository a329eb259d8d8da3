/**
 * Numbers in rule text: decimal, octal with a leading 0, hex with 0x, as C's strtoul takes them. Cold.
 */

const NUMBER = /^\s*\+?(?:(0[xX][0-9a-fA-F]+)|(0[0-7]*)|([1-9]\d*))/;

/** The number that `text` begins with and what follows it; undefined if it begins with none. */
export function takeNumber(text: string): { readonly value: number; readonly rest: string } | undefined {
  const match = NUMBER.exec(text);
  if (match === null) return undefined;
  const [whole, hex, octal, decimal] = match;
  const value =
    hex !== undefined ? Number(hex) : octal !== undefined ? Number.parseInt(octal, 8) : Number(decimal);
  return { value, rest: text.slice(whole.length) };
}

/** The whole of `text` as a number within the bounds; undefined otherwise. */
export function wholeNumber(text: string, low: number, high: number): number | undefined {
  const plain = plainNumber(text, 0, text.length);
  if (plain >= 0) return plain < low || plain > high ? undefined : plain;
  const number = takeNumber(text);
  if (number === undefined || number.rest !== '' || number.value < low || number.value > high)
    return undefined;
  return number.value;
}

/** At least `digits` hex digits with 0x before them; `value` as unsigned 32 bits. */
export function hex(value: number, digits = 1): string {
  return `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;
}

/** Digits of numbers that {@link plainNumber} reads. */
const PLAIN_DIGITS = 9;
const DIGIT_ZERO = 48;
const DIGIT_NINE = 57;

/** text[from, to) as a short decimal number without a leading zero; -1 if it is something else. */
export function plainNumber(text: string, from: number, to: number): number {
  if (to <= from || to - from > PLAIN_DIGITS) return -1;
  let value = 0;
  for (let i = from; i < to; i++) {
    const c = text.charCodeAt(i);
    if (c < DIGIT_ZERO || c > DIGIT_NINE || (c === DIGIT_ZERO && value === 0 && to - from > 1)) return -1;
    value = value * 10 + c - DIGIT_ZERO;
  }
  return value;
}

export const UINT32_MAX = 0xffffffff;
