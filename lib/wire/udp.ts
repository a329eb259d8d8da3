/**
 * UDP (RFC 768) and UDP-Lite (RFC 3828) headers. Hot.
 *
 *    0        1        2        3
 *    source port       destination port
 *    length|coverage   checksum
 *
 * Accessors may be used once `hasUdpHeader` returned 1.
 */
import type { Packet } from './packet.js';

export const UDP_HEADER_BYTES = 8;

/** Whether the eight bytes are there: 1 or 0. */
export function hasUdpHeader(packet: Packet): 0 | 1 {
  return packet.end - packet.transport >= UDP_HEADER_BYTES ? 1 : 0;
}

/** UDP: whether the length field covers the header and no more than there is; link padding may follow: 1 or 0. */
export function hasUdpLength(packet: Packet): 0 | 1 {
  const lengthBytes = packet.u16(packet.transport + 4);
  return lengthBytes >= UDP_HEADER_BYTES && lengthBytes <= packet.end - packet.transport ? 1 : 0;
}

/**
 * UDP-Lite: bytes that the checksum covers (a field of 0 means all), or -1 if the field is impossible.
 */
export function udpLiteCoverageBytes(packet: Packet): number {
  const lengthBytes = packet.end - packet.transport;
  const coverageBytes = packet.u16(packet.transport + 4);
  if (coverageBytes === 0) return lengthBytes;
  return coverageBytes < UDP_HEADER_BYTES || coverageBytes > lengthBytes ? -1 : coverageBytes;
}

/** Checksum field; 0 in UDP means that there is none. */
export function udpChecksum(packet: Packet): number {
  return packet.u16(packet.transport + 6);
}
