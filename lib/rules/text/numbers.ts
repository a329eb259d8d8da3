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
  const number = takeNumber(text);
  if (number === undefined || number.rest !== '' || number.value < low || number.value > high)
    return undefined;
  return number.value;
}

/** At least `digits` hex digits with 0x before them; `value` as unsigned 32 bits. */
export function hex(value: number, digits = 1): string {
  return `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;
}

export const UINT32_MAX = 0xffffffff;
