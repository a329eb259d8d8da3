/**
 * Named fields of a packet's bytes, as scenario files name them: where they lie, and the checksums that cover them.
 * Cold. Unlike `wire/` it takes any bytes, broken packets and cut-off quotes included, and answers "not there".
 *
 * Names: src dst sport dport icmp_id seq ack, and the same with `inner.` for the packet that an ICMP error quotes.
 */

/** Where a packet's transport header lies. */
export interface Located {
  readonly version: 4 | 6;
  readonly protocol: number;
  /** From the first byte of the packet. */
  readonly transport: number;
  /** Whether it is a fragment other than the first, without a transport header. */
  readonly isLater: boolean;
}

export type Span = readonly [start: number, end: number];

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
/** TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
/** Headers that are stepped over: hop-by-hop, routing, destination options. */
const OPTION_HEADERS: ReadonlySet<number> = new Set([0, 43, 60]);
const FRAGMENT = 44;
const MOST_EXTENSION_HEADERS = 8;
/** Offset of the checksum in the transport header. */
const CHECKSUM_AT: ReadonlyMap<number, number> = new Map([
  [TCP, 16],
  [UDP, 6],
  [ICMP, 2],
  [ICMPV6, 2],
]);

export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function u32(bytes: Uint8Array, at: number): number {
  return u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
}

export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** The Internet checksum (RFC 1071) of the parts one behind the other; each but the last of even length. */
export function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) for (let i = 0; i < part.length; i += 2) sum += u16(part, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** Finds the transport header; undefined for bytes that are not the beginning of an IP packet. */
export function locate(bytes: Uint8Array): Located | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4 && bytes.length >= 20) {
    return {
      version,
      protocol: bytes[9] as number,
      transport: ((bytes[0] as number) & 15) * 4,
      isLater: (u16(bytes, 6) & 0x1fff) !== 0,
    };
  }
  if (version !== 6 || bytes.length < 40) return undefined;
  let protocol = bytes[6] as number;
  let transport = 40;
  for (let i = 0; i < MOST_EXTENSION_HEADERS && bytes.length >= transport + 8; i++) {
    const here = transport;
    if (OPTION_HEADERS.has(protocol)) {
      transport += ((bytes[here + 1] as number) + 1) * 8;
    } else if (protocol === FRAGMENT) {
      transport += 8;
      if (u16(bytes, here + 2) >> 3 !== 0) {
        return { version, protocol: bytes[here] as number, transport, isLater: true };
      }
    } else {
      break;
    }
    protocol = bytes[here] as number;
  }
  return { version, protocol, transport, isLater: false };
}

/** Offset of the packet that an ICMP or ICMPv6 error quotes, or undefined. */
export function quoteOffset(bytes: Uint8Array): number | undefined {
  const at = locate(bytes);
  if (at === undefined || at.isLater || bytes.length < at.transport + 8) return undefined;
  const type = bytes[at.transport] as number;
  const isError =
    at.version === 4
      ? at.protocol === ICMP && [3, 4, 5, 11, 12].includes(type)
      : at.protocol === ICMPV6 && type >= 1 && type <= 4;
  return isError ? at.transport + 8 : undefined;
}

/** Where a named field lies; undefined if the packet has none such. */
export function fieldSpan(bytes: Uint8Array, field: string): Span | undefined {
  if (field.startsWith('inner.')) {
    const base = quoteOffset(bytes);
    if (base === undefined) return undefined;
    const span = fieldSpan(bytes.subarray(base), field.slice('inner.'.length));
    return span === undefined ? undefined : [base + span[0], base + span[1]];
  }
  const at = locate(bytes);
  if (at === undefined) return undefined;
  const span = spanOf(field, at);
  return span === undefined || span[1] > bytes.length ? undefined : span;
}

function spanOf(field: string, { version, protocol, transport, isLater }: Located): Span | undefined {
  if (field === 'src') return version === 4 ? [12, 16] : [8, 24];
  if (field === 'dst') return version === 4 ? [16, 20] : [24, 40];
  if (isLater) return undefined;
  if (WITH_PORTS.has(protocol)) {
    if (field === 'sport') return [transport, transport + 2];
    if (field === 'dport') return [transport + 2, transport + 4];
  }
  if (field === 'icmp_id' && (protocol === ICMP || protocol === ICMPV6))
    return [transport + 4, transport + 6];
  if (protocol === TCP) {
    if (field === 'seq') return [transport + 4, transport + 8];
    if (field === 'ack') return [transport + 8, transport + 12];
  }
  return undefined;
}

/** Where the transport checksum lies, if the packet has one; at.transport is relative to `bytes`. */
export function checksumOffset(bytes: Uint8Array): number | undefined {
  const at = locate(bytes);
  const offset = at === undefined || at.isLater ? undefined : CHECKSUM_AT.get(at.protocol);
  if (at === undefined || offset === undefined || at.transport + offset + 2 > bytes.length) return undefined;
  return at.transport + offset;
}

/**
 * Writes the IPv4 header checksum, and the transport checksum of a packet that is no fragment. A UDP checksum of
 * zero (not in use) stays.
 */
export function fixChecksums(bytes: Uint8Array): void {
  const at = locate(bytes);
  if (at === undefined) return;
  if (at.version === 4) {
    setU16(bytes, 10, 0);
    setU16(bytes, 10, checksum(bytes.subarray(0, at.transport)));
    if ((u16(bytes, 6) & 0x3fff) !== 0) return;
  }
  const field = checksumOffset(bytes);
  if (field === undefined || (at.protocol === UDP && u16(bytes, field) === 0)) return;
  setU16(bytes, field, 0);
  setU16(bytes, field, transportChecksum(bytes, at));
}

/** The transport checksum as it should be; the field itself must hold zero. */
export function transportChecksum(bytes: Uint8Array, at: Located): number {
  const payload = bytes.subarray(at.transport);
  const addresses = at.version === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  const length = Uint8Array.of(payload.length >>> 8, payload.length, 0, at.protocol);
  const sum = at.protocol === ICMP ? checksum(payload) : checksum(addresses, length, payload);
  return sum === 0 && at.protocol === UDP ? 0xffff : sum;
}
