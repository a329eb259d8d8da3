/** DNS messages for tests: queries, and answers with records. */
import { DnsType } from '../../lib/network/dns.js';

/** A name as a message has it. */
export const nameBytes = (text: string): number[] => [
  ...text.split('.').flatMap((label) => [label.length, ...[...label].map((letter) => letter.charCodeAt(0))]),
  0,
];

/** A query for `text`; `extra` bytes (an OPT record) follow. */
export function query(
  text: string,
  type: number = DnsType.A,
  id = 0x1234,
  extra: readonly number[] = [],
): Uint8Array {
  return Uint8Array.from([
    ...[id >> 8, id & 255, 1, 0],
    ...[0, 1, 0, 0, 0, 0, 0, extra.length > 0 ? 1 : 0],
    ...nameBytes(text),
    ...[0, type, 0, 1],
    ...extra,
  ]);
}

export const record = (
  owner: readonly number[],
  type: number,
  ttl: number,
  value: readonly number[],
): number[] => [
  ...owner,
  ...[0, type, 0, 1],
  ...[0, 0, ttl >> 8, ttl & 255],
  ...[value.length >> 8, value.length & 255],
  ...value,
];

/** An answer to `asked` with records. */
export function answer(asked: Uint8Array, records: readonly (readonly number[])[]): Uint8Array {
  const bytes = Uint8Array.from([...asked, ...records.flat()]);
  bytes[2] = 0x81;
  bytes[3] = 0x80;
  bytes[6] = records.length >> 8;
  bytes[7] = records.length & 255;
  return bytes;
}

/** Pointer to the name in the question. */
export const TO_QUESTION = [0xc0, 12];
