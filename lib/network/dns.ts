/**
 * Reading DNS messages (RFC 1035): the question, and the addresses that an answer gives it. Cold; safe against hostile
 * bytes: names, jumps and records are bounded, and nothing is read outside of the message.
 *
 * Names are lower-cased text without the last dot; a byte that is no letter, digit, hyphen or underscore becomes an
 * escape like `\\000`, so that no name can pass for another.
 */
import type { AddressWords } from '../wire/address.js';

/** Types that are read (RFC 1035, RFC 3596, RFC 6891, RFC 9460). */
export const DnsType = { A: 1, CNAME: 5, AAAA: 28, OPT: 41, HTTPS: 65 } as const;

/** Response codes that are sent. */
export const DnsCode = { NO_ERROR: 0, FORMAT: 1, FAILURE: 2, NOT_IMPLEMENTED: 4, REFUSED: 5 } as const;

export interface DnsQuestion {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** An address that an answer gives to the name that was asked for, maybe by way of other names. */
export interface DnsAddress {
  readonly version: 4 | 6;
  readonly words: AddressWords;
  /** The least time to live of the records that lead to it. */
  readonly ttlSeconds: number;
  /** The name whose record it is. */
  readonly owner: string;
}

/** What {@link readDns} found. */
export interface DnsMessage {
  readonly id: number;
  readonly isAnswer: boolean;
  /** Operation, 0 for a query. */
  readonly operation: number;
  readonly code: number;
  readonly isTruncated: boolean;
  readonly question: DnsQuestion;
  /** End of the question section, bytes. */
  readonly questionEnd: number;
}

const HEADER_BYTES = 12;
const INTERNET = 1;
const MAX_NAME_BYTES = 255;
const MAX_JUMPS = 64;
/** Records of a message that are looked at. */
const MAX_RECORDS = 256;
/** Names in a chain of aliases. */
const MAX_ALIASES = 16;
/** Longest time to live, seconds (RFC 2181 section 8). */
const MAX_TTL = 0x7fffffff;

/** Reads header and question. undefined for what is not a message with exactly one question. */
export function readDns(bytes: Uint8Array): DnsMessage | undefined {
  if (bytes.length < HEADER_BYTES || u16(bytes, 4) !== 1) return undefined;
  const cursor = new Cursor(bytes, HEADER_BYTES);
  const name = cursor.name();
  if (name === undefined || cursor.at + 4 > bytes.length) return undefined;
  const question = { name, type: u16(bytes, cursor.at), class: u16(bytes, cursor.at + 2) };
  const flags = u16(bytes, 2);
  return {
    id: u16(bytes, 0),
    isAnswer: (flags & 0x8000) !== 0,
    operation: (flags >>> 11) & 15,
    code: flags & 15,
    isTruncated: (flags & 0x0200) !== 0,
    question,
    questionEnd: cursor.at + 4,
  };
}

/** Whether two questions ask for the same. */
export function isSameQuestion(a: DnsQuestion, b: DnsQuestion): boolean {
  return a.name === b.name && a.type === b.type && a.class === b.class;
}

/**
 * A and AAAA records of the answer section that belong to the name asked for, directly or over CNAME records; others are
 * left out. A message that breaks off gives what was whole before.
 */
export function readAddresses(bytes: Uint8Array, message: DnsMessage): DnsAddress[] {
  const records: DnsRecord[] = [];
  const count = Math.min(u16(bytes, 6), MAX_RECORDS);
  const cursor = new Cursor(bytes, message.questionEnd);
  for (let i = 0; i < count; i++) {
    const record = cursor.record();
    if (record === undefined) break;
    if (record.class === INTERNET) records.push(record);
  }
  const found: DnsAddress[] = [];
  // Names that stand for the one asked for, with the least time to live on the way there.
  const names = new Map([[message.question.name, MAX_TTL]]);
  for (let grown = true; grown && names.size < MAX_ALIASES; ) {
    grown = false;
    for (const { owner, type, at, end, ttlSeconds } of records) {
      const before = names.get(owner);
      if (type !== DnsType.CNAME || before === undefined) continue;
      const alias = new Cursor(bytes, at);
      const target = alias.name();
      if (target === undefined || alias.at !== end || names.has(target)) continue;
      names.set(target, Math.min(before, ttlSeconds));
      grown = true;
    }
  }
  for (const { owner, type, at, end, ttlSeconds } of records) {
    const before = names.get(owner);
    if (before === undefined) continue;
    const ttl = Math.min(before, ttlSeconds);
    if (type === DnsType.A && end - at === 4) {
      found.push({ version: 4, words: [i32(bytes, at), 0, 0, 0], ttlSeconds: ttl, owner });
    } else if (type === DnsType.AAAA && end - at === 16) {
      const words: AddressWords = [
        i32(bytes, at),
        i32(bytes, at + 4),
        i32(bytes, at + 8),
        i32(bytes, at + 12),
      ];
      found.push({ version: 6, words, ttlSeconds: ttl, owner });
    }
  }
  return found;
}

/** Longest answer over UDP that the asker takes, bytes: 512, or what its OPT record says (RFC 6891), at most 4096. */
export function answerLimitBytes(bytes: Uint8Array, message: DnsMessage): number {
  const cursor = new Cursor(bytes, message.questionEnd);
  const before = u16(bytes, 6) + u16(bytes, 8);
  const all = Math.min(before + u16(bytes, 10), MAX_RECORDS);
  for (let i = 0; i < all; i++) {
    const record = cursor.record();
    if (record === undefined) break;
    if (i >= before && record.type === DnsType.OPT) return Math.min(4096, Math.max(512, record.class));
  }
  return 512;
}

/** An answer without records: the query's header and question with `code`. */
export function emptyAnswer(query: Uint8Array, message: DnsMessage, code: number): Uint8Array {
  return shorten(query, message, code);
}

/** An answer cut to header and question, marked as truncated: the asker comes again over TCP. */
export function truncated(answer: Uint8Array, message: DnsMessage): Uint8Array {
  const bytes = shorten(answer, message, message.code);
  bytes[2] = (bytes[2] as number) | 2;
  return bytes;
}

function shorten(from: Uint8Array, message: DnsMessage, code: number): Uint8Array {
  const bytes = from.slice(0, message.questionEnd);
  bytes[2] = ((bytes[2] as number) & 0x79) | 0x80;
  bytes[3] = 0x80 | code;
  bytes.fill(0, 6, HEADER_BYTES);
  return bytes;
}

interface DnsRecord {
  readonly owner: string;
  readonly type: number;
  readonly class: number;
  readonly ttlSeconds: number;
  /** Where its value begins and ends. */
  readonly at: number;
  readonly end: number;
}

/** A place in a message. */
class Cursor {
  at: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** A name, following pointers, which only ever lead backwards; undefined if it is none. */
  name(): string | undefined {
    const bytes = this.#bytes;
    const labels: string[] = [];
    let at = this.at;
    let end = -1;
    let length = 0;
    let floor = at;
    for (let jumps = 0; ; ) {
      if (at >= bytes.length) return undefined;
      const first = bytes[at] as number;
      if (first === 0) {
        this.at = end < 0 ? at + 1 : end;
        return labels.join('.');
      }
      if (first >= 0xc0) {
        if (at + 1 >= bytes.length || ++jumps > MAX_JUMPS) return undefined;
        const target = ((first & 0x3f) << 8) | (bytes[at + 1] as number);
        if (end < 0) end = at + 2;
        if (target >= floor || target < HEADER_BYTES) return undefined;
        at = target;
        floor = target;
        continue;
      }
      if (first >= 0x40 || at + 1 + first > bytes.length) return undefined;
      length += first + 1;
      if (length >= MAX_NAME_BYTES) return undefined;
      labels.push(labelText(bytes, at + 1, first));
      at += first + 1;
    }
  }

  record(): DnsRecord | undefined {
    const owner = this.name();
    const bytes = this.#bytes;
    if (owner === undefined || this.at + 10 > bytes.length) return undefined;
    const at = this.at + 10;
    const end = at + u16(bytes, this.at + 8);
    if (end > bytes.length) return undefined;
    const ttl = i32(bytes, this.at + 4);
    const record = {
      owner,
      type: u16(bytes, this.at),
      class: u16(bytes, this.at + 2),
      ttlSeconds: Math.max(ttl, 0),
      at,
      end,
    };
    this.at = end;
    return record;
  }
}

function labelText(bytes: Uint8Array, at: number, length: number): string {
  let text = '';
  for (let i = at; i < at + length; i++) {
    const code = bytes[i] as number;
    const isUpper = code >= 0x41 && code <= 0x5a;
    const isPlain =
      isUpper ||
      (code >= 0x61 && code <= 0x7a) ||
      (code >= 0x30 && code <= 0x39) ||
      code === 0x2d ||
      code === 0x5f;
    text += isPlain ? String.fromCharCode(isUpper ? code + 32 : code) : `\\${String(code).padStart(3, '0')}`;
  }
  return text;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function i32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) << 16) | u16(bytes, at + 2);
}
