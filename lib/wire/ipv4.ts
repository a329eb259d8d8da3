/**
 * IPv4 header (RFC 791): validation at the door and the fields behind it. Hot.
 *
 *    0        1        2        3
 *    ver|ihl  tos      total length
 *    id                flags|fragment offset
 *    ttl      protocol header checksum
 *    source
 *    destination
 *    options (ihl > 5)
 */
import { DropReason } from '../counters.js';
import { sumRange } from './checksum.js';
import type { Packet } from './packet.js';

export const IPV4_HEADER_BYTES = 20;

/** Don't Fragment, in the 16-bit flags and fragment offset field. */
export const IPV4_DF = 0x4000;
/** More Fragments. */
export const IPV4_MF = 0x2000;
/** Fragment offset mask; the unit is 8 bytes. */
export const IPV4_OFFSET_MASK = 0x1fff;

/**
 * Validates version, header length, header checksum and total length as a router must (RFC 1812 section 5.2.2)
 * and fills the view; bytes behind the total length are cut off. Options are not judged here.
 */
export function parseIpv4(packet: Packet): DropReason {
  const bytes = packet.bytes;
  const start = packet.start;
  const available = packet.end - start;
  if (available < IPV4_HEADER_BYTES) return DropReason.TRUNCATED;
  const headerBytes = ((bytes[start] as number) & 15) << 2;
  if (headerBytes < IPV4_HEADER_BYTES) return DropReason.BAD_HEADER_LENGTH;
  if (headerBytes > available) return DropReason.TRUNCATED;
  if (sumRange(bytes, start, start + headerBytes, 0) !== 0xffff) return DropReason.BAD_HEADER_CHECKSUM;
  const totalBytes = ((bytes[start + 2] as number) << 8) | (bytes[start + 3] as number);
  if (totalBytes > available) return DropReason.TRUNCATED;
  if (totalBytes < headerBytes) return DropReason.BAD_TOTAL_LENGTH;
  const fragment = ((bytes[start + 6] as number) << 8) | (bytes[start + 7] as number);
  packet.version = 4;
  packet.end = start + totalBytes;
  packet.transport = start + headerBytes;
  packet.protocol = bytes[start + 9] as number;
  packet.fragmentOffset = (fragment & IPV4_OFFSET_MASK) << 3;
  packet.moreFragments = (fragment & IPV4_MF) === 0 ? 0 : 1;
  const addresses = packet.addresses;
  addresses[0] = packet.i32(start + 12);
  addresses[1] = 0;
  addresses[2] = 0;
  addresses[3] = 0;
  addresses[4] = packet.i32(start + 16);
  addresses[5] = 0;
  addresses[6] = 0;
  addresses[7] = 0;
  return DropReason.NONE;
}
