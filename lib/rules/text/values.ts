/**
 * Readers and printers of option values that several matches and targets share. Cold.
 */

import type {
  AddressWords,
  Family,
  MaskedCondition,
  NumberRange,
  RangeCondition,
  ValueCondition,
} from '../ast.js';
import {
  fullMask,
  maskWords,
  parseAddress,
  parseHostNumber,
  parseLooseAddress,
  parseMask,
} from './address.js';
import type { GivenOption, Reader, Reading } from './grammar.js';
import { portNumber } from './names.js';
import { hex, takeNumber, UINT32_MAX, wholeNumber } from './numbers.js';

export function number(low: number, high: number): Reader<number> {
  return (text, { where }) =>
    wholeNumber(text, low, high) ?? where.refuse('value', 'not a number in range', `${low}-${high}`);
}

/** `a`, `a:b`, `a:`, `:b`; an open end is 0 or `high`. */
export function range(high: number): Reader<NumberRange> {
  return (text, { where }) => {
    const parts = text.split(':');
    const ends = parts.map((part, i) => (part === '' ? (i === 0 ? 0 : high) : wholeNumber(part, 0, high)));
    const [first, last = first] = ends;
    if (
      parts.length > 2 ||
      first === undefined ||
      last === undefined ||
      (parts.length === 1 && text === '')
    ) {
      return where.refuse('value', 'not a range', `number or number:number, up to ${high}`);
    }
    return { low: first, high: last };
  };
}

/** A {@link range} whose ends must not be crossed. */
export function orderedRange(high: number): Reader<NumberRange> {
  return (text, reading) => {
    const read = range(high)(text, reading);
    return read.low > read.high ? reading.where.refuse('value', 'range is reversed', 'low:high') : read;
  };
}

export function port(text: string, { where }: Reading): number {
  return portNumber(text) ?? where.refuse('value', 'no such port or service', '0-65535 or a service name');
}

/** Ports of tcp, udp, sctp, dccp: numbers or names, low:high. */
export const ports: Reader<NumberRange> = (text, reading) => {
  const colon = text.indexOf(':');
  if (colon < 0) {
    const single = port(text, reading);
    return { low: single, high: single };
  }
  const low = colon === 0 ? 0 : port(text.slice(0, colon), reading);
  const high = colon === text.length - 1 ? 65535 : port(text.slice(colon + 1), reading);
  return low > high ? reading.where.refuse('value', 'port range is reversed', 'low:high') : { low, high };
};

/** Ports as {@link range}, with names; the ends may be crossed. */
export const portOrRange: Reader<NumberRange> = (text, reading) => {
  const parts = text.split(':');
  const ends = parts.map((part, i) => (part === '' && parts.length === 2 ? i * 65535 : port(part, reading)));
  if (parts.length > 2) reading.where.refuse('value', 'not a port range', 'port or low:high');
  return { low: ends[0]!, high: ends[ends.length - 1]! };
};

/** `value` or `value/mask`, unsigned 32-bit. */
export const markMask: Reader<{ readonly value: number; readonly mask: number }> = (text, { where }) => {
  const first = takeNumber(text);
  const mask =
    first?.rest === '' ? UINT32_MAX : first?.rest[0] === '/' ? number32(first.rest.slice(1)) : undefined;
  if (first === undefined || first.value > UINT32_MAX || mask === undefined) {
    return where.refuse('value', 'not a mark', 'value or value/mask, each up to 0xffffffff');
  }
  return { value: first.value, mask };
};

function number32(text: string): number | undefined {
  return wholeNumber(text, 0, UINT32_MAX);
}

/** A string of at least `low` characters; longer than `high` is refused, or cut where Linux cuts it. */
export function string(low: number, high: number, excess: 'refused' | 'cut' = 'refused'): Reader<string> {
  return (text, { where }) => {
    const bytes = new TextEncoder().encode(text);
    if (bytes.length < low || (bytes.length > high && excess === 'refused')) {
      return where.refuse('value', 'string too short or too long', `${low} to ${high} bytes`);
    }
    return bytes.length > high ? new TextDecoder().decode(bytes.subarray(0, high)) : text;
  };
}

/** One of a table's keys, by its exact spelling or in any case. */
export function oneOf<T>(
  names: Readonly<Record<string, T>>,
  letters: 'exact' | 'any-case' = 'exact',
): Reader<T> {
  return (text, { where }) => {
    const key = Object.keys(names).find(
      (name) => name === text || (letters === 'any-case' && name.toLowerCase() === text.toLowerCase()),
    );
    return key === undefined
      ? where.refuse('value', 'unknown value', `one of ${Object.keys(names).join(', ')}`)
      : names[key]!;
  };
}

/** Names between commas to the union of their bits. */
export function bitList(
  names: Readonly<Record<string, number>>,
  letters: 'exact' | 'any-case',
): Reader<number> {
  const read = oneOf(names, letters);
  return (text, reading) => text.split(',').reduce((bits, part) => bits | read(part, reading), 0);
}

/** The names of the bits that are set, in the table's order. */
export function bitNames(names: Readonly<Record<string, number>>, bits: number): string {
  const set = Object.entries(names).filter(([, bit]) => bit !== 0 && (bits & bit) !== 0);
  return set.map(([name]) => name).join(',');
}

/** A literal address of the family. */
export const address: Reader<AddressWords> = (text, { family, where }) =>
  parseAddress(text, family) ?? where.refuse('value', 'not an address', `an IPv${family} address`);

export interface MaskedAddress {
  /** With the bits outside the mask. */
  readonly written: AddressWords;
  readonly words: AddressWords;
  readonly mask: AddressWords;
}

type HostSpelling = (text: string, family: Family) => AddressWords | undefined;

/** `address` or `address/mask` or `address/prefix`; `parseHost` says how addresses may be shortened. */
function masked(parseHost: HostSpelling): Reader<MaskedAddress> {
  return (text, { family, where }) => {
    const slash = text.lastIndexOf('/');
    const mask = slash < 0 ? fullMask(family) : parseMask(text.slice(slash + 1), family);
    if (mask === undefined) {
      return where.refuse(
        'value',
        'invalid mask',
        family === 4 ? '0-32 or a dotted mask' : '0-128 or a mask',
      );
    }
    const written = parseHost(slash < 0 ? text : text.slice(0, slash), family);
    if (written === undefined) {
      return where.refuse('value', 'not an address; host names are not resolved', `an IPv${family} address`);
    }
    return { written, words: maskWords(written, mask), mask };
  };
}

/** As -s and -d take it: `10.1` is 10.1.0.0. */
export const maskedAddress = masked(parseLooseAddress);

/** As conntrack takes it: `10.1` is 10.0.0.1. */
export const maskedHost = masked((text, family) =>
  family === 4 ? parseHostNumber(text) : parseAddress(text, family),
);

/** A range as {@link range} prints it: `a` if both ends are the same. */
export function formatRange(read: NumberRange): string {
  return read.low === read.high ? String(read.low) : `${read.low}:${read.high}`;
}

/** `0x10` or `0x10/0xff`; the full mask is not printed. */
export function formatMark({ value, mask }: { readonly value: number; readonly mask: number }): string {
  return mask >>> 0 === UINT32_MAX ? hex(value) : `${hex(value)}/${hex(mask)}`;
}

// ---- from what was given to conditions ----

export function rangeCondition(given: GivenOption<NumberRange> | undefined): RangeCondition | undefined {
  return given && { low: given.value.low, high: given.value.high, negated: given.negated };
}

/** Like {@link rangeCondition}; a range that holds every value says nothing and is left out. */
export function closedRange(
  given: GivenOption<NumberRange> | undefined,
  high: number,
): RangeCondition | undefined {
  const condition = rangeCondition(given);
  return condition !== undefined && isOpen(condition, high) && !condition.negated ? undefined : condition;
}

export function isOpen(read: NumberRange, high: number): boolean {
  return read.low === 0 && read.high === high;
}

export function valueCondition(given: GivenOption<number> | undefined): ValueCondition | undefined {
  return given && { value: given.value, negated: given.negated };
}

export function maskedCondition(
  given: GivenOption<{ readonly value: number; readonly mask: number }>,
): MaskedCondition {
  return { value: given.value.value, mask: given.value.mask, negated: given.negated };
}

/** For `--mask` like options: a full mask unless given. */
export function maskOr(given: GivenOption<AddressWords> | undefined, family: Family): AddressWords {
  return given === undefined ? fullMask(family) : given.value;
}
