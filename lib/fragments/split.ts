/**
 * Fragmentation on the way out: by what the link carries, and, for packets that came in fragments, along the
 * boundaries in which they came where those still fit. Packets come here rarely: this allocates.
 */
import { IPV4_DF, IPV4_MF } from '../wire/ipv4.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import type { Packet } from '../wire/packet.js';
import { put16, put32, sealIpv4 } from '../wire/segment.js';

/** Takes a fragment, a packet of its own. */
export type Emit = (bytes: Uint8Array) => void;

const OPTION_END = 0;
const OPTION_NOOP = 1;
const COPIED = 0x80;
const IPV4_HEADER_BYTES = 20;
const TCP = 6;
const TCP_HEADER_BYTES = 20;
const SCTP = 132;
const SCTP_HEADER_BYTES = 12;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION = 60;
const FRAGMENT_HEADER_BYTES = 8;
/** Least MTU of IPv6 links (RFC 8200 section 5). */
const LEAST_MTU6 = 1280;

/**
 * Splits an IPv4 packet for a link of `mtu` bytes; DF is the caller's business. A packet that came in fragments never
 * leaves in larger ones than it came in.
 */
export function splitIpv4(packet: Packet, mtu: number, emit: Emit): void {
  const { start, transport, end } = packet;
  const headerBytes = transport - start;
  const limit = packet.fragmentMaxBytes > 0 ? Math.min(mtu, packet.fragmentMaxBytes) : mtu;
  const room = limit - headerBytes;
  const total = end - transport;
  const header = packet.bytes.slice(start, transport);
  const field = packet.u16(start + 6);
  const isPart = packet.moreFragments === 1 || packet.fragmentOffset > 0;
  const kept = isPart ? undefined : boundaries(packet, total, room);
  // Along its old boundaries DF is gone; newly cut, it stays if the largest fragment had it.
  const df = kept === undefined && packet.fragmentDf === 1 ? IPV4_DF : 0;
  const base = field & 0x1fff;
  let offset = 0;
  for (let i = 0; offset < total || i === 0; i++) {
    let length = total - offset;
    if (kept !== undefined) length = kept[i] as number;
    else if (length > room) length = room & ~7;
    if (length <= 0) return;
    const isLast = offset + length >= total;
    const bytes = new Uint8Array(headerBytes + length);
    bytes.set(header);
    bytes.set(packet.bytes.subarray(transport + offset, transport + offset + length), headerBytes);
    put16(bytes, 2, bytes.length);
    const more = !isLast || packet.moreFragments === 1 ? IPV4_MF : 0;
    put16(bytes, 6, (base + (offset >>> 3)) | df | more);
    sealIpv4(bytes, 0, headerBytes);
    emit(bytes);
    if (i === 0 && base === 0) dropUncopiedOptions(header);
    offset += length;
  }
}

/** Length of the transport header that is read of packets that come in. */
function headerBytesRead(protocol: number): number {
  return protocol === TCP ? TCP_HEADER_BYTES : protocol === SCTP ? SCTP_HEADER_BYTES : 0;
}

/** Lengths of the fragments that the packet came in, if all of them fit `room` still; else undefined. */
function boundaries(packet: Packet, total: number, room: number): Int32Array | undefined {
  const lengths = packet.fragmentLengths;
  if (lengths === undefined || lengths.length < 2) return undefined;
  // A transport header that came in over several fragments was pulled together to be read: the old boundaries are gone.
  const first = lengths[0] as number;
  if (packet.inInterface > 0 && first < headerBytesRead(packet.protocol)) return undefined;
  let sum = 0;
  for (const [i, length] of lengths.entries()) {
    if (length > room || ((length & 7) !== 0 && i < lengths.length - 1)) return undefined;
    sum += length;
  }
  return sum === total ? lengths : undefined;
}

/** Options that belong into the first fragment only become NOOPs (RFC 791 section 3.1). */
function dropUncopiedOptions(header: Uint8Array): void {
  let at = IPV4_HEADER_BYTES;
  while (at < header.length) {
    const kind = header[at] as number;
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOOP) {
      at++;
      continue;
    }
    const length = header[at + 1] ?? 0;
    if (length < 2 || at + length > header.length) return;
    if ((kind & COPIED) === 0) header.fill(OPTION_NOOP, at, at + length);
    at += length;
  }
}

/**
 * Splits an IPv6 packet for a link of `mtu` bytes, with fragment id `id`. Returns 0, or the MTU to report if it
 * cannot be: only what the router made, or reassembled from fragments that fit, may be split.
 */
export function splitIpv6(packet: Packet, mtu: number, isOwn: 0 | 1, id: number, emit: Emit): number {
  let limit = mtu;
  if (packet.fragmentMaxBytes > 0) {
    if (packet.fragmentMaxBytes > mtu) return mtu;
    limit = Math.max(packet.fragmentMaxBytes, LEAST_MTU6);
  } else if (isOwn === 0 && packet.lengthBytes > mtu) return mtu;
  const nextField = fragmentableField(packet);
  if (nextField < 0) return mtu;
  const cut = fragmentablePart(packet, nextField);
  const headerBytes = cut - packet.start;
  const room = limit - headerBytes - FRAGMENT_HEADER_BYTES;
  if (room < 8) return mtu;
  const total = packet.end - cut;
  const kept = boundaries(packet, total, room);
  const header = packet.bytes.slice(packet.start, cut);
  const next = header[nextField - packet.start] as number;
  header[nextField - packet.start] = FRAGMENT;
  let offset = 0;
  for (let i = 0; offset < total || i === 0; i++) {
    let length = total - offset;
    if (kept !== undefined) length = kept[i] as number;
    else if (length > room) length = room & ~7;
    if (length <= 0) return 0;
    const isLast = offset + length >= total;
    const bytes = new Uint8Array(headerBytes + FRAGMENT_HEADER_BYTES + length);
    bytes.set(header);
    bytes.set(
      packet.bytes.subarray(cut + offset, cut + offset + length),
      headerBytes + FRAGMENT_HEADER_BYTES,
    );
    put16(bytes, 4, bytes.length - IPV6_HEADER_BYTES);
    bytes[headerBytes] = next;
    put16(bytes, headerBytes + 2, offset | (isLast ? 0 : 1));
    put32(bytes, headerBytes + 4, id);
    emit(bytes);
    offset += length;
  }
  return 0;
}

/** Offset of the next-header field behind which the fragment header goes; -1 if the chain is broken. */
function fragmentableField(packet: Packet): number {
  let field = packet.start + 6;
  let at = packet.start + IPV6_HEADER_BYTES;
  let hasRouting = false;
  for (;;) {
    const next = packet.u8(field);
    if (next !== HOP_BY_HOP && next !== ROUTING && (next !== DESTINATION || hasRouting)) return field;
    if (next === ROUTING) hasRouting = true;
    if (at + 2 > packet.end) return -1;
    field = at;
    at += (packet.u8(at + 1) + 1) << 3;
    if (at > packet.end) return -1;
  }
}

/** Offset of the header that `field` names. */
function fragmentablePart(packet: Packet, field: number): number {
  return field === packet.start + 6
    ? packet.start + IPV6_HEADER_BYTES
    : field + ((packet.u8(field + 1) + 1) << 3);
}
