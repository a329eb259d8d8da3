/**
 * Addresses between text and host-order words. Cold.
 *
 * An address is four int32 words, IPv4 in the first and zeros behind. IPv6 text is RFC 5952's, mapped and compatible
 * addresses with a quad at the end, as glibc's inet_ntop prints them.
 */

/** IP version. */
type Family = 4 | 6;

/** [4] int32 words in host order; IPv4 in word 0. */
export type AddressWords = readonly [number, number, number, number];

/** undefined unless `text` is an address of the family: four decimal parts, or IPv6 text without a zone. */
export function parseAddress(text: string, family: Family): AddressWords | undefined {
  return family === 4 ? parseQuad(text, 4) : parseAddress6(text);
}

/** A quad of at least `least` decimal parts; missing ones are zero. */
export function parseQuad(text: string, least: number): AddressWords | undefined {
  const parts = text.split('.');
  if (parts.length < least || parts.length > 4) return undefined;
  let word = 0;
  for (let i = 0; i < 4; i++) {
    const part = parts[i] ?? '0';
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined;
    word = (word << 8) | Number(part);
  }
  return [word, 0, 0, 0];
}

function parseAddress6(text: string): AddressWords | undefined {
  let source = text;
  const quad = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (quad !== null) {
    const word = parseQuad(quad[2]!, 4);
    if (word === undefined) return undefined;
    source = `${quad[1]}${(word[0] >>> 16).toString(16)}:${(word[0] & 0xffff).toString(16)}`;
  }
  const halves = source.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const given = groups.reduce((sum, half) => sum + half.length, 0);
  if (halves.length === 1 ? given !== 8 : given > 7) return undefined;
  const all =
    halves.length === 1 ? groups[0]! : [...groups[0]!, ...Array(8 - given).fill('0'), ...groups[1]!];
  if (!all.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  const n = all.map((group) => Number.parseInt(group, 16));
  const pair = (i: number): number => (n[i]! << 16) | n[i + 1]!;
  return [pair(0), pair(2), pair(4), pair(6)];
}

/** Text of the address in `words[at..at+3]`. */
export function formatAddress(words: ArrayLike<number>, version: number, at = 0): string {
  const copy = [0, 1, 2, 3].map((i) => words[at + i] ?? 0) as [number, number, number, number];
  return version === 4 ? formatQuad(copy[0]) : formatAddress6(copy);
}

function formatQuad(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** RFC 5952 compression of the first longest run of zeros; mapped and compatible addresses end in a quad. */
function formatAddress6(words: AddressWords): string {
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let base = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      base = i;
      length = end - i;
    }
  }
  if (base === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff))) {
    return `::${length === 5 ? 'ffff:' : ''}${formatQuad(words[3])}`;
  }
  const hex = groups.map((group) => group.toString(16));
  if (base < 0) return hex.join(':');
  return `${hex.slice(0, base).join(':')}::${hex.slice(base + length).join(':')}`;
}

/** `prefix` leading ones out of 32 or 128. */
export function prefixMask(prefix: number, family: Family): AddressWords {
  const word = (i: number): number => {
    const ones = Math.min(32, Math.max(0, prefix - 32 * i));
    return ones === 0 ? 0 : -1 << (32 - ones);
  };
  return family === 4 ? [word(0), 0, 0, 0] : [word(0), word(1), word(2), word(3)];
}

/** Number of leading ones, or undefined if the mask is no prefix. */
export function maskPrefix(mask: AddressWords, family: Family): number | undefined {
  const bits = family === 4 ? 32 : 128;
  let prefix = 0;
  while (prefix < bits && (mask[prefix >> 5]! & (0x80000000 >>> (prefix & 31))) !== 0) prefix++;
  return prefixMask(prefix, family).every((word, i) => word === mask[i]) ? prefix : undefined;
}

export function maskWords(words: AddressWords, mask: AddressWords): AddressWords {
  return [words[0] & mask[0], words[1] & mask[1], words[2] & mask[2], words[3] & mask[3]];
}

export function isZero(words: AddressWords): boolean {
  return words.every((word) => word === 0);
}
