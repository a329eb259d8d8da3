/**
 * Writing whole packets: IPv4 and IPv6 headers in front of a payload, TCP headers, and the checksums of what we make
 * ourselves. Cold: each call makes or fills a buffer.
 */
import { sumPseudoHeader, sumRange } from './checksum.js';

const IPV4_BYTES = 20;
const IPV6_BYTES = 40;

/** Fields of an IPv4 header that is to be written. */
export interface Ipv4Fields {
  /** Type of service, 8 bits. */
  readonly tos: number;
  readonly id: number;
  /** Flags and fragment offset, 16 bits. */
  readonly fragment: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly source: number;
  readonly destination: number;
}

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value & 0xffff);
}

/** Writes the IPv4 header checksum of the header of `headerBytes` at `at`. */
export function sealIpv4(bytes: Uint8Array, at: number, headerBytes: number): void {
  put16(bytes, at + 10, 0);
  put16(bytes, at + 10, ~sumRange(bytes, at, at + headerBytes, 0) & 0xffff);
}

/** A packet of an IPv4 header, options (a multiple of 4 bytes) and room for `payloadBytes`, which are zero. */
export function makeIpv4(fields: Ipv4Fields, options: Uint8Array, payloadBytes: number): Uint8Array {
  const headerBytes = IPV4_BYTES + options.length;
  const bytes = new Uint8Array(headerBytes + payloadBytes);
  bytes[0] = 0x40 | (headerBytes >>> 2);
  bytes[1] = fields.tos;
  put16(bytes, 2, bytes.length);
  put16(bytes, 4, fields.id);
  put16(bytes, 6, fields.fragment);
  bytes[8] = fields.ttl;
  bytes[9] = fields.protocol;
  put32(bytes, 12, fields.source);
  put32(bytes, 16, fields.destination);
  bytes.set(options, IPV4_BYTES);
  sealIpv4(bytes, 0, headerBytes);
  return bytes;
}

/** Fields of an IPv6 header that is to be written; the flow label is 0. */
export interface Ipv6Fields {
  readonly trafficClass: number;
  readonly next: number;
  readonly hopLimit: number;
  /** [8] source words, destination words. */
  readonly addresses: Int32Array;
}

/** A packet of an IPv6 header and room for `payloadBytes`, which are zero. */
export function makeIpv6(fields: Ipv6Fields, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(IPV6_BYTES + payloadBytes);
  bytes[0] = 0x60 | (fields.trafficClass >>> 4);
  bytes[1] = (fields.trafficClass & 15) << 4;
  put16(bytes, 4, payloadBytes);
  bytes[6] = fields.next;
  bytes[7] = fields.hopLimit;
  for (let i = 0; i < 8; i++) put32(bytes, 8 + 4 * i, fields.addresses[i]!);
  return bytes;
}

/** Writes at `field` the checksum over `bytes[from..]` and `initial`, a sum (of a pseudo header, or 0). */
export function sealTransport(bytes: Uint8Array, from: number, field: number, initial: number): void {
  put16(bytes, field, 0);
  put16(bytes, field, ~sumRange(bytes, from, bytes.length, initial) & 0xffff);
}

/** Fields of a TCP header without options. */
export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
}

/** Writes a TCP header of 20 bytes at `at`, the end of the packet, and its checksum. */
export function putTcp(bytes: Uint8Array, at: number, tcp: TcpFields, addresses: Int32Array): void {
  put16(bytes, at, tcp.sourcePort);
  put16(bytes, at + 2, tcp.destinationPort);
  put32(bytes, at + 4, tcp.sequence);
  put32(bytes, at + 8, tcp.acknowledgement);
  bytes[at + 12] = 0x50;
  bytes[at + 13] = tcp.flags;
  sealTransport(bytes, at, at + 16, sumPseudoHeader(addresses, 6, bytes.length - at));
}
