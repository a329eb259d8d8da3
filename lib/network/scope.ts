/**
 * Kinds of IPv4 and IPv6 addresses by their bits alone: loopback, multicast, scope, and what source address
 * selection compares (RFC 6724). The predicates on words are hot.
 */
import type { AddressWords } from '../rules/ast.js';

/** 127.0.0.0/8. */
export function isLoopback4(word: number): boolean {
  return word >>> 24 === 127;
}

/** 224.0.0.0/4. */
export function isMulticast4(word: number): boolean {
  return word >>> 28 === 14;
}

/** 0.0.0.0; the rest of 0.0.0.0/8 is as good as any other network. */
export function isAny4(word: number): boolean {
  return word === 0;
}

/** 224.0.0.1, the group that every host is in. */
export const ALL_HOSTS = 0xe0000001 | 0;

/** ff02::1, the group that every node is in, at `words[at]`. */
export function isAllNodes6(words: Int32Array, at: number): boolean {
  return words[at] === (0xff020000 | 0) && words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === 1;
}

/** ff00::/8 at `words[at]`. */
export function isMulticast6(words: Int32Array, at: number): boolean {
  return words[at]! >>> 24 === 0xff;
}

/** fe80::/10 at `words[at]`. */
export function isLinkLocal6(words: Int32Array, at: number): boolean {
  return words[at]! >>> 22 === 0x3fa;
}

/** ::1 at `words[at]`. */
export function isLoopback6(words: Int32Array, at: number): boolean {
  return words[at + 3] === 1 && words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0;
}

/** :: at `words[at]`. */
export function isAny6(words: Int32Array, at: number): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === 0;
}

/** Scope of a multicast group (RFC 4291 section 2.7), its 4 bits. */
export function multicastScope6(words: Int32Array, at: number): number {
  return (words[at]! >>> 16) & 15;
}

/** Scope of an address in multicast terms: 1 interface, 2 link, 5 site, 14 global (RFC 6724 section 3.1). */
export function scope6(words: AddressWords): number {
  const first = words[0];
  if (first >>> 24 === 0xff) return (first >>> 16) & 15;
  if (first >>> 22 === 0x3fa) return 2;
  if (first >>> 22 === 0x3fb) return 5;
  if (first === 0 && words[1] === 0 && words[2] === 0 && words[3] === 1) return 2;
  return 14;
}

/** First word, its mask, label; longest first (RFC 6724 section 2.1 with Linux's additions). */
const LABELS: readonly (readonly [number, number, number])[] = [
  [0x20010000, 32, 6],
  [0x20010010, 28, 7],
  [0x20020000, 16, 2],
  [0x3ffe0000, 16, 12],
  [0xfec00000, 10, 11],
  [0xfc000000, 7, 5],
];

/** Label of an address for source selection: equal labels go together. */
export function label6(words: AddressWords): number {
  if (words[0] === 0 && words[1] === 0) {
    if (words[2] === 0) return words[3] === 1 ? 0 : 3;
    if (words[2] === 0xffff) return 4;
  }
  for (const [first, bits, label] of LABELS) {
    if (((words[0] ^ first) >>> (32 - bits) || 0) === 0) return label;
  }
  return 1;
}

/** Number of leading bits that two addresses share. */
export function commonPrefix6(a: AddressWords, b: AddressWords): number {
  let bits = 0;
  for (let i = 0; i < 4; i++) {
    const difference = a[i]! ^ b[i]!;
    if (difference !== 0) return bits + Math.clz32(difference);
    bits += 32;
  }
  return bits;
}
