/**
 * The Internet checksum (RFC 1071), its incremental form (RFC 1624) and pseudo headers. Hot.
 *
 * Sums are one's complement sums of big-endian 16-bit words, folded to 16 bits, not inverted unless a name says
 * "checksum". Everything is integers below 2^31.
 */

/** Folds a sum of up to 2^31 - 1 to 16 bits. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** Sum of `bytes[from, to)` added to `initial` (16 bits); an odd last byte counts as the high half of a word. */
export function sumRange(bytes: Uint8Array, from: number, to: number, initial: number): number {
  return fold(fold(sumBytes(bytes, from, to)) + initial);
}

/** The sum of `bytes[from, to)`, of no more than an IP packet has, not folded: below 2^31. */
export function sumBytes(bytes: Uint8Array, from: number, to: number): number {
  let high = 0;
  let low = 0;
  let at = from;
  // High and low bytes apart: fewer steps a byte. 2^15 of each stay below 2^23.
  for (const last = to - 8; at <= last; at += 8) {
    high +=
      (bytes[at] as number) +
      (bytes[at + 2] as number) +
      (bytes[at + 4] as number) +
      (bytes[at + 6] as number);
    low +=
      (bytes[at + 1] as number) +
      (bytes[at + 3] as number) +
      (bytes[at + 5] as number) +
      (bytes[at + 7] as number);
  }
  for (const last = to - 2; at <= last; at += 2) {
    high += bytes[at] as number;
    low += bytes[at + 1] as number;
  }
  if (at < to) high += bytes[at] as number;
  return (high << 8) + low;
}

/**
 * The same, four bytes at a time, through a view whose offsets are those of `from` and `to`: four times as fast for long
 * ranges. The sum of little-endian words is the other one with its bytes exchanged (RFC 1071 section 2B).
 */
export function sumView(view: DataView, from: number, to: number, initial: number): number {
  // Doubles: 2^14 words stay below 2^46.
  let words = 0;
  let at = from;
  for (const last = to - 16; at <= last; at += 16) {
    words +=
      view.getUint32(at, true) +
      view.getUint32(at + 4, true) +
      (view.getUint32(at + 8, true) + view.getUint32(at + 12, true));
  }
  for (const last = to - 4; at <= last; at += 4) words += view.getUint32(at, true);
  const low = words >>> 0;
  const swapped = fold(fold((low & 0xffff) + (low >>> 16)) + Math.floor(words / 0x1_0000_0000));
  let sum = (swapped >>> 8) | ((swapped & 0xff) << 8);
  if (at + 1 < to) {
    sum += view.getUint16(at);
    at += 2;
  }
  if (at < to) sum += view.getUint8(at) << 8;
  return fold(sum + initial);
}

/** Sum of a 32-bit word's two halves, not folded. */
export function sumWord(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/**
 * Sum of the pseudo header over `addresses` (8 words as in a packet view), the protocol and the transport length
 * (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1). IPv4's unused words are zero, so one form serves both.
 */
export function sumPseudoHeader(addresses: Int32Array, protocol: number, lengthBytes: number): number {
  let sum = protocol + sumWord(lengthBytes);
  for (let i = 0; i < 8; i++) sum += sumWord(addresses[i] as number);
  return fold(sum);
}

/**
 * Checksum after a 16-bit field that it covers went from `before` to `after` (RFC 1624 equation 3). The
 * difference never turns a sum into the other zero, so 0xffff and 0x0000 are kept apart as Linux does.
 */
export function adjustChecksum16(checksum: number, before: number, after: number): number {
  return ~fold((~checksum & 0xffff) + (~before & 0xffff) + after) & 0xffff;
}

/** The same for a 32-bit field. */
export function adjustChecksum32(checksum: number, before: number, after: number): number {
  const sum = (~checksum & 0xffff) + sumWord(~before) + sumWord(after);
  return ~fold(sum) & 0xffff;
}
