/**
 * The spellings of addresses and masks that iptables takes beyond the usual ones, and those it prints. Host names are
 * refused: there is no resolver here. Cold.
 */

import {
  type AddressWords,
  formatAddress,
  maskPrefix,
  parseAddress,
  parseQuad,
  prefixMask,
} from '../../wire/address.js';
import type { Family } from '../ast.js';
import { plainNumber, takeNumber, wholeNumber } from './numbers.js';

const FULL_MASK_4: AddressWords = [-1, 0, 0, 0];
const FULL_MASK_6: AddressWords = [-1, -1, -1, -1];

const PREFIX_MASKS_4 = Array.from({ length: 33 }, (_, length) => prefixMask(length, 4));

export function fullMask(family: Family): AddressWords {
  return family === 4 ? FULL_MASK_4 : FULL_MASK_6;
}

/** Like {@link parseAddress}, and for IPv4 also `10.1` (padded with zeros on the right) and octal or hex parts. */
export function parseLooseAddress(text: string, family: Family): AddressWords | undefined {
  if (family === 6) return parseAddress(text, 6);
  return parseNumericHost(text) ?? parseQuad(text, 1);
}

/** Parts in octal (leading 0) or hex; a single one is the whole address. */
function parseNumericHost(text: string): AddressWords | undefined {
  const parts = text.split('.');
  const odd = parts.some((part) => /^0[0-9xX]/.test(part));
  return odd && (parts.length === 1 || parts.length === 4) ? parseHostNumber(text) : undefined;
}

/** The oldest spelling of a host: up to four numbers, the last one filling the bytes that are left (`10.1`). */
export function parseHostNumber(text: string): AddressWords | undefined {
  const values = text.split('.').map((part) => wholeNumber(part, 0, 0xffffffff));
  const last = values.pop();
  if (last === undefined || values.length > 3 || last >= 2 ** (32 - 8 * values.length)) return undefined;
  let word = last;
  for (const [i, value] of values.entries()) {
    if (value === undefined || value > 255) return undefined;
    word += value * 2 ** (24 - 8 * i);
  }
  return [word | 0, 0, 0, 0];
}

const DOT = 46;
const SLASH = 47;

/**
 * An IPv4 address in four decimal parts, with a prefix length in decimal or without: the usual spelling, read quickly.
 * undefined for any other spelling, right or wrong. The words are as written.
 */
export function plainNetwork(
  text: string,
): { readonly words: AddressWords; readonly mask: AddressWords } | undefined {
  let word = 0;
  let from = 0;
  let length = 32;
  for (let part = 0; part < 4; part++) {
    let to = from;
    while (to < text.length && text.charCodeAt(to) !== DOT && text.charCodeAt(to) !== SLASH) to++;
    const isEnd = to === text.length || text.charCodeAt(to) === SLASH;
    const value = plainNumber(text, from, to);
    if (value < 0 || value > 255 || isEnd !== (part === 3)) return undefined;
    word = (word << 8) | value;
    from = to + 1;
  }
  if (from <= text.length) length = plainNumber(text, from, text.length);
  if (length < 0 || length > 32) return undefined;
  return { words: [word, 0, 0, 0], mask: PREFIX_MASKS_4[length]! };
}

/** A prefix length (also 0x18 or 030) or a mask as an address. */
export function parseMask(text: string, family: Family): AddressWords | undefined {
  const number = takeNumber(text);
  if (number !== undefined && number.rest === '') {
    return number.value <= (family === 4 ? 32 : 128) ? prefixMask(number.value, family) : undefined;
  }
  return parseAddress(text, family);
}

/** `/24` for a prefix, `/255.0.0.254` for another mask. */
export function formatMask(mask: AddressWords, family: Family): string {
  return `/${maskPrefix(mask, family) ?? formatAddress(mask, family)}`;
}

export {
  formatAddress,
  isZero,
  maskPrefix,
  maskWords,
  parseAddress,
  prefixMask,
} from '../../wire/address.js';
