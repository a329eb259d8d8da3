/**
 * Super-packets for tests, and what the finished packets are held against: checksums by the book, no code of ours.
 */
import type { Offload } from '../../../lib/network/port.js';
import { actualChecksum, build, expectedChecksum, ipv4ChecksumIsRight } from '../../nat/gateway.js';

const TCP = 6;
const UDP = 17;

export interface SuperPacket {
  readonly protocol: 'tcp' | 'udp';
  readonly from: string;
  readonly to: string;
  readonly ports?: readonly [number, number];
  readonly payloadBytes: number;
  readonly gsoSizeBytes: number;
  readonly flags?: number;
  readonly sequence?: number;
  readonly id?: number;
  readonly df?: boolean;
  /** IPv6 extension headers between the IP and the transport header, `next` of the first in front. */
  readonly extensions?: { readonly first: number; readonly bytes: readonly number[] };
}

/** Byte `i` of every payload: no two segments are alike. */
export function payloadByte(i: number): number {
  return (i * 7 + (i >>> 8) * 31) & 255;
}

export function words16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 255;
}

/** Offset of the transport header. */
export function transportOf(bytes: Uint8Array, extensionBytes = 0): number {
  return bytes[0]! >>> 4 === 4 ? (bytes[0]! & 15) * 4 : 40 + extensionBytes;
}

/** One's complement sum of the pseudo header, slowly. */
export function pseudoSum(bytes: Uint8Array, protocol: number, lengthBytes: number): number {
  const isFour = bytes[0]! >>> 4 === 4;
  const addresses = isFour ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  let sum = protocol + lengthBytes;
  for (let i = 0; i < addresses.length; i += 2) sum += words16(addresses, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** The packet with its checksum partial, and what a link says of it. */
export function superPacket(of: SuperPacket): { bytes: Uint8Array; offload: Offload } {
  const protocol = of.protocol === 'tcp' ? TCP : UDP;
  const payload = Array.from({ length: of.payloadBytes }, (_, i) => payloadByte(i));
  const plain = build({
    source: of.from,
    destination: of.to,
    protocol,
    ports: of.ports ?? [5000, 53],
    payload,
  });
  const extension = of.extensions?.bytes ?? [];
  const ipBytes = plain[0]! >>> 4 === 4 ? 20 : 40;
  const bytes = Uint8Array.from([...plain.subarray(0, ipBytes), ...extension, ...plain.subarray(ipBytes)]);
  const transport = ipBytes + extension.length;
  if (ipBytes === 40) {
    put16(bytes, 4, bytes.length - 40);
    if (of.extensions !== undefined) bytes[6] = of.extensions.first;
  } else {
    put16(bytes, 4, of.id ?? 1);
    put16(bytes, 6, of.df === true ? 0x4000 : 0);
    put16(bytes, 10, 0);
    let sum = 0;
    for (let i = 0; i < 20; i += 2) sum += words16(bytes, i);
    sum = (sum & 0xffff) + (sum >>> 16);
    put16(bytes, 10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  }
  const checksumOffset = protocol === TCP ? 16 : 6;
  if (protocol === TCP) {
    const sequence = of.sequence ?? 1000;
    put16(bytes, transport + 4, sequence >>> 16);
    put16(bytes, transport + 6, sequence & 0xffff);
    bytes[transport + 13] = of.flags ?? 0x10;
  }
  put16(bytes, transport + checksumOffset, pseudoSum(bytes, protocol, bytes.length - transport));
  const version = bytes[0]! >>> 4;
  const gsoType = of.gsoSizeBytes === 0 ? 'none' : protocol === UDP ? 'udp' : version === 4 ? 'tcp4' : 'tcp6';
  const headerBytes = transport + (protocol === TCP ? 20 : 8);
  const offload: Offload = {
    needsChecksum: 1,
    checksumStart: transport,
    checksumOffset,
    gsoType,
    gsoSizeBytes: of.gsoSizeBytes,
    headerBytes,
  };
  return { bytes, offload };
}

/** Whether lengths and checksums of a finished packet are right. */
export function isRight(bytes: Uint8Array, extensionBytes = 0): boolean {
  const isFour = bytes[0]! >>> 4 === 4;
  const transport = transportOf(bytes, extensionBytes);
  const isTcp = bytes.length >= transport + 20 && protocolOf(bytes, extensionBytes) === TCP;
  const protocol = isTcp ? TCP : UDP;
  if (isFour && (!ipv4ChecksumIsRight(bytes) || words16(bytes, 2) !== bytes.length)) return false;
  if (!isFour && words16(bytes, 4) !== bytes.length - 40) return false;
  if (!isTcp && words16(bytes, transport + 4) !== bytes.length - transport) return false;
  return actualChecksum(bytes, transport, protocol) === expectedChecksum(bytes, transport, protocol);
}

function protocolOf(bytes: Uint8Array, extensionBytes: number): number {
  if (bytes[0]! >>> 4 === 4) return bytes[9]!;
  let next = bytes[6]!;
  for (let at = 40; at < 40 + extensionBytes; ) {
    const length = next === 44 ? 8 : next === 51 ? (bytes[at + 1]! + 2) * 4 : (bytes[at + 1]! + 1) * 8;
    next = bytes[at]!;
    at += length;
  }
  return next;
}
