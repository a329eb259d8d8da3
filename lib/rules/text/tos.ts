/**
 * Names of type-of-service values (RFC 1349) and of DSCP classes (RFC 2474, 2597, 3246). Cold.
 */

import type { Reader } from './grammar.js';
import { hex, takeNumber, wholeNumber } from './numbers.js';

const TOS_NAMES: Readonly<Record<string, number>> = {
  'minimize-delay': 0x10,
  'maximize-throughput': 0x08,
  'maximize-reliability': 0x04,
  'minimize-cost': 0x02,
  'normal-service': 0x00,
};

export interface Tos {
  readonly value: number;
  readonly mask: number;
}

/** `value` (mask 0xff), `value/mask`, or a name, whose mask is `nameMask`. */
export function tosMask(nameMask: number): Reader<Tos> {
  return (text, { where }) => {
    const named = TOS_NAMES[text.toLowerCase()];
    if (named !== undefined) return { value: named, mask: nameMask };
    const number = takeNumber(text);
    const mask =
      number?.rest === ''
        ? 0xff
        : number?.rest[0] === '/'
          ? wholeNumber(number.rest.slice(1), 0, 255)
          : undefined;
    if (number === undefined || number.value > 255 || mask === undefined) {
      const names = Object.keys(TOS_NAMES).join(', ');
      return where.refuse('value', 'not a type of service', `value or value/mask up to 0xff, ${names}`);
    }
    return { value: number.value, mask };
  };
}

export function formatTos({ value, mask }: Tos): string {
  return `${hex(value, 2)}/${hex(mask, 2)}`;
}

/** CS n is n * 8; AF xy is x * 8 + y * 2; EF 46. */
export const DSCP_CLASSES: Readonly<Record<string, number>> = {
  ...Object.fromEntries([0, 1, 2, 3, 4, 5, 6, 7].map((n) => [`CS${n}`, n * 8])),
  BE: 0,
  ...Object.fromEntries(
    [1, 2, 3, 4].flatMap((x) => [1, 2, 3].map((y): [string, number] => [`AF${x}${y}`, x * 8 + y * 2])),
  ),
  EF: 46,
};
