/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443) headers: eight bytes, both with type and code in front. Hot.
 *
 *    0        1        2        3
 *    type     code     checksum
 *    identifier        sequence       (queries; errors: pointer, MTU, unused)
 *    quoted packet                    (errors)
 */
import type { Packet } from './packet.js';

export const ICMP_HEADER_BYTES = 8;

/** Whether the eight bytes are there: 1 or 0. */
export function hasIcmpHeader(packet: Packet): 0 | 1 {
  return packet.end - packet.transport >= ICMP_HEADER_BYTES ? 1 : 0;
}

export function icmpType(packet: Packet): number {
  return packet.bytes[packet.transport] as number;
}

export function icmpCode(packet: Packet): number {
  return packet.bytes[packet.transport + 1] as number;
}

/**
 * Whether an ICMP type is an error that quotes a packet: unreachable, source quench, redirect, time exceeded,
 * parameter problem. 1 or 0.
 */
export function isIcmpError(type: number): 0 | 1 {
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12 ? 1 : 0;
}

/** Whether an ICMPv6 type is an error (RFC 4443 section 2.1: the lower half): 1 or 0. */
export function isIcmpv6Error(type: number): 0 | 1 {
  return type < 128 ? 1 : 0;
}
