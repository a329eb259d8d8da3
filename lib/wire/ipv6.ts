/**
 * IPv6 header (RFC 8200) and the walk over its extension headers. Hot.
 *
 *    0        1        2        3
 *    ver|class|flow label
 *    payload length    next     hop limit
 *    source            (16 bytes)
 *    destination       (16 bytes)
 */
import { DropReason } from '../counters.js';
import type { Packet } from './packet.js';

export const IPV6_HEADER_BYTES = 40;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const NO_NEXT = 59;
const DESTINATION = 60;

/**
 * Validates version and payload length (RFC 8200 section 3), fills the view and walks the extension headers to the
 * transport header. A chain that runs out of bytes or ends in "no next header" is not an error of the IP packet:
 * the view is filled with `brokenChain` = 1 and `protocol` as far as the walk came. As in Linux a last header may claim
 * to be longer than the packet: `transport` is then behind `end`. Jumbograms are refused.
 */
export function parseIpv6(packet: Packet): DropReason {
  const bytes = packet.bytes;
  const start = packet.start;
  const available = packet.end - start;
  if (available < IPV6_HEADER_BYTES) return DropReason.TRUNCATED;
  const payloadBytes = ((bytes[start + 4] as number) << 8) | (bytes[start + 5] as number);
  if (payloadBytes === 0 && bytes[start + 6] === HOP_BY_HOP) return DropReason.BAD_TOTAL_LENGTH;
  if (payloadBytes + IPV6_HEADER_BYTES > available) return DropReason.TRUNCATED;
  packet.version = 6;
  packet.end = start + IPV6_HEADER_BYTES + payloadBytes;
  const addresses = packet.addresses;
  for (let i = 0; i < 8; i++) addresses[i] = packet.i32(start + 8 + (i << 2));
  walkExtensionHeaders(packet, start + IPV6_HEADER_BYTES, bytes[start + 6] as number);
  return DropReason.NONE;
}

/** Walks from `at`, whose header is of type `next`, to the transport header; see {@link parseIpv6}. */
export function walkExtensionHeaders(packet: Packet, at: number, next: number): void {
  const bytes = packet.bytes;
  const end = packet.end;
  for (;;) {
    if (next === NO_NEXT) {
      packet.brokenChain = 1;
      break;
    }
    if (
      next !== HOP_BY_HOP &&
      next !== ROUTING &&
      next !== FRAGMENT &&
      next !== AUTHENTICATION &&
      next !== DESTINATION
    ) {
      break;
    }
    if (at + (next === FRAGMENT ? 8 : 2) > end) {
      packet.brokenChain = 1;
      break;
    }
    let headerBytes: number;
    if (next === FRAGMENT) {
      const field = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
      packet.fragmentHeader = at;
      packet.fragmentOffset = field & 0xfff8;
      packet.moreFragments = field & 1;
      headerBytes = 8;
      if (packet.fragmentOffset > 0) {
        next = bytes[at] as number;
        at += headerBytes;
        break;
      }
    } else if (next === AUTHENTICATION) {
      headerBytes = ((bytes[at + 1] as number) + 2) << 2;
    } else {
      headerBytes = ((bytes[at + 1] as number) + 1) << 3;
    }
    next = bytes[at] as number;
    at += headerBytes;
  }
  packet.transport = packet.brokenChain === 1 && at > end ? end : at;
  packet.protocol = next;
}
