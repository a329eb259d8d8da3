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
import { takeNumber } from './numbers.js';

const ZERO: AddressWords = [0, 0, 0, 0];
export const FULL_MASK_4: AddressWords = [-1, 0, 0, 0];
export const FULL_MASK_6: AddressWords = [-1, -1, -1, -1];

export function fullMask(family: Family): AddressWords {
  return family === 4 ? FULL_MASK_4 : FULL_MASK_6;
}

/** Like {@link parseAddress}, and for IPv4 also `10.1` (padded with zeros on the right) and octal or hex parts. */
export function parseLooseAddress(text: string, family: Family): AddressWords | undefined {
  if (family === 6) return parseAddress(text, 6);
  return parseNumericHost(text) ?? parseQuad(text, 1);
}

/** The host spellings of old: parts in octal (leading 0) or hex; one part is the whole address if it is hex. */
function parseNumericHost(text: string): AddressWords | undefined {
  const parts = text.split('.');
  if (!parts.some((part) => /^0[0-9xX]/.test(part))) return undefined;
  const values: number[] = [];
  for (const part of parts) {
    const number = takeNumber(part);
    if (number === undefined || number.rest !== '') return undefined;
    values.push(number.value);
  }
  if (values.length === 1 && values[0]! <= 0xffffffff) return [values[0]! | 0, 0, 0, 0];
  if (values.length !== 4 || values.some((value) => value > 255)) return undefined;
  return [(values[0]! << 24) | (values[1]! << 16) | (values[2]! << 8) | values[3]!, 0, 0, 0];
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
  compareAddresses,
  formatAddress,
  isZero,
  maskPrefix,
  maskWords,
  parseAddress,
  prefixMask,
} from '../../wire/address.js';
export { ZERO as ZERO_ADDRESS };
