/**
 * What FTP says about data connections (RFC 959 sections 4.1.2 and 4.2, RFC 1123 section 4.1.2.6, RFC 2428): the
 * commands PORT and EPRT, and the answers 227 and 229, at the very beginning of a segment.
 *
 * Text that starts like one of them and does not go on as it must is PARTIAL: the rest may be in the next segment, and
 * what cannot be understood cannot be let through. Numbers are not held to 255: like every other tracker we add up.
 */
import { type AddressWords, parseAddress } from '../../wire/address.js';

/** How the connection's address and port are written. */
export const Form = { PORT: 0, EPRT: 1, PASSIVE: 2, EXTENDED_PASSIVE: 3 } as const;
export type Form = (typeof Form)[keyof typeof Form];

/** What a segment announces. */
export interface Announcement {
  readonly form: Form;
  /** Where the address and port are in the payload: the part that NAT writes anew. */
  readonly offset: number;
  readonly lengthBytes: number;
  /** [4] words; an IPv4 quad is word 0 alone. Undefined for EXTENDED_PASSIVE, which names none. */
  readonly words: readonly number[] | undefined;
  readonly port: number;
}

/** The segment begins like an announcement, but is none. */
export const PARTIAL = 'partial';

interface Pattern {
  readonly form: Form;
  readonly begins: string;
  /** What the numbers come behind; undefined: the first digit. */
  readonly opening: string | undefined;
  readonly read: (payload: Uint8Array, from: number, version: 4 | 6) => Read | undefined;
}

interface Read {
  readonly lengthBytes: number;
  readonly words?: readonly number[];
  readonly port: number;
}

const CARRIAGE_RETURN = 13;
const COMMA = 44;
const DOT = 46;
const ZERO = 48;
const NINE = 57;
/** A delimiter of RFC 2428 is one printable character that is no digit. */
const FIRST_DELIMITER = 33;
const LAST_DELIMITER = 126;
/** Fewest characters of text in delimiters. */
const MIN_DELIMITED = 4;
/** Any character ends the numbers. */
const ANY_END = -1;

const COMMANDS: readonly Pattern[] = [
  { form: Form.PORT, begins: 'PORT', opening: ' ', read: (p, at) => readNumbers(p, at, CARRIAGE_RETURN) },
  { form: Form.EPRT, begins: 'EPRT', opening: ' ', read: readExtendedPort },
];
const ANSWERS: readonly Pattern[] = [
  { form: Form.PASSIVE, begins: '227 ', opening: undefined, read: (p, at) => readNumbers(p, at, ANY_END) },
  { form: Form.EXTENDED_PASSIVE, begins: '229 ', opening: '(', read: readExtendedPassive },
];

/** What the client (`commands`) or the server (`answers`) announces with a segment; undefined: nothing. */
export function readAnnouncement(
  payload: Uint8Array,
  by: 'client' | 'server',
  version: 4 | 6,
): Announcement | typeof PARTIAL | undefined {
  for (const pattern of by === 'client' ? COMMANDS : ANSWERS) {
    const compared = Math.min(payload.length, pattern.begins.length);
    if (!beginsWith(payload, pattern.begins, compared)) continue;
    if (payload.length <= pattern.begins.length) return PARTIAL;
    const offset = findNumbers(payload, pattern);
    if (offset < 0) return PARTIAL;
    const read = pattern.read(payload, offset, version);
    if (read === undefined) return PARTIAL;
    const { lengthBytes, words, port } = read;
    return { form: pattern.form, offset, lengthBytes, words, port };
  }
  return undefined;
}

/** Upper and lower case alike. */
function beginsWith(payload: Uint8Array, text: string, length: number): boolean {
  for (let i = 0; i < length; i++) {
    const code = payload[i] as number;
    const upper = code >= 97 && code <= 122 ? code - 32 : code;
    if (upper !== text.charCodeAt(i)) return false;
  }
  return true;
}

function findNumbers(payload: Uint8Array, { begins, opening }: Pattern): number {
  for (let i = begins.length; i < payload.length; i++) {
    if (opening === undefined && isDigit(payload[i] as number)) return i;
    if (opening === undefined || payload[i] !== opening.charCodeAt(0)) continue;
    return i + 1 < payload.length ? i + 1 : -1;
  }
  return -1;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

/** Four numbers of the address, two of the port. */
function readNumbers(payload: Uint8Array, from: number, end: number): Read | undefined {
  const numbers = [0, 0, 0, 0, 0, 0];
  const lengthBytes = readList(payload, from, numbers, COMMA, end);
  if (lengthBytes === 0) return undefined;
  const [high = 0, low = 0] = numbers.slice(4);
  return { lengthBytes, words: [wordOf(numbers)], port: ((high << 8) | low) & 0xffff };
}

function wordOf(numbers: readonly number[]): number {
  const [a = 0, b = 0, c = 0, d = 0] = numbers;
  return (a << 24) | (b << 16) | (c << 8) | d;
}

/**
 * Fills `numbers` with what stands between separators, modulo 2^32. Returns the length, or 0 unless there are exactly
 * that many and `end` follows.
 */
function readList(
  payload: Uint8Array,
  from: number,
  numbers: number[],
  separator: number,
  end: number,
): number {
  let n = 0;
  for (let i = from; i < payload.length; i++) {
    const code = payload[i] as number;
    if (isDigit(code)) numbers[n] = (Math.imul(numbers[n] as number, 10) + code - ZERO) | 0;
    else if (code === separator) n++;
    else return (code === end || end === ANY_END) && n === numbers.length - 1 ? i - from : 0;
    if (n === numbers.length) return 0;
  }
  return 0;
}

/** `|1|10.0.0.2|5000|`: family, address and port; the family must be the connection's. */
function readExtendedPort(payload: Uint8Array, from: number, version: 4 | 6): Read | undefined {
  const delimiter = delimiterAt(payload, from);
  if (delimiter < 0 || payload[from + 2] !== delimiter) return undefined;
  if (payload[from + 1] !== ZERO + (version === 4 ? 1 : 2)) return undefined;
  const at = from + 3;
  const end = payload.indexOf(delimiter, at);
  if (end < 0) return undefined;
  let words: readonly number[] | undefined;
  if (version === 4) {
    const numbers = [0, 0, 0, 0];
    if (readList(payload, at, numbers, DOT, delimiter) > 0) words = [wordOf(numbers)];
  } else words = readAddress6(payload, at, end);
  return words === undefined ? undefined : readPort(payload, from, end + 1, delimiter, words);
}

/** `|||5000|` */
function readExtendedPassive(payload: Uint8Array, from: number): Read | undefined {
  const delimiter = delimiterAt(payload, from);
  if (delimiter < 0 || payload[from + 1] !== delimiter || payload[from + 2] !== delimiter) return undefined;
  return readPort(payload, from, from + 3, delimiter, undefined);
}

function delimiterAt(payload: Uint8Array, at: number): number {
  if (payload.length - at < MIN_DELIMITED) return -1;
  const code = payload[at] as number;
  return isDigit(code) || code < FIRST_DELIMITER || code > LAST_DELIMITER ? -1 : code;
}

/** A port other than 0 up to the delimiter, modulo 2^16. */
function readPort(
  payload: Uint8Array,
  from: number,
  at: number,
  delimiter: number,
  words: readonly number[] | undefined,
): Read | undefined {
  let port = 0;
  for (let i = at; i < payload.length; i++) {
    const code = payload[i] as number;
    if (code === delimiter) {
      if (port === 0) return undefined;
      return { lengthBytes: i + 1 - from, port, ...(words === undefined ? {} : { words }) };
    }
    if (!isDigit(code)) return undefined;
    port = (port * 10 + code - ZERO) & 0xffff;
  }
  return undefined;
}

function readAddress6(payload: Uint8Array, from: number, to: number): AddressWords | undefined {
  return parseAddress(String.fromCharCode(...payload.subarray(from, to)), 6);
}

/** The same announcement with another address ([4] words) and port. */
export function writeAnnouncement(
  form: Form,
  words: ArrayLike<number>,
  port: number,
  version: 4 | 6,
): string {
  const word = words[0] as number;
  const quad = [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255];
  switch (form) {
    case Form.PORT:
    case Form.PASSIVE:
      return [...quad, port >>> 8, port & 255].join(',');
    case Form.EPRT:
      return version === 4 ? `|1|${quad.join('.')}|${port}|` : `|2|${fullAddress6(words)}|${port}|`;
    case Form.EXTENDED_PASSIVE:
      return `|||${port}|`;
  }
}

/** Eight groups of four digits, nothing left out. */
function fullAddress6(words: ArrayLike<number>): string {
  const groups: string[] = [];
  for (let i = 0; i < 4; i++) {
    const digits = ((words[i] as number) >>> 0).toString(16).padStart(8, '0');
    groups.push(digits.slice(0, 4), digits.slice(4));
  }
  return groups.join(':');
}
