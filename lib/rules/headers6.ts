/**
 * IPv6 extension headers as rules see them: where a header is, and what a packet's protocol is when its headers are cut
 * off or it is a later fragment. Linux asks for two bytes of a header only and believes lengths that lead out of the
 * packet, so the last next-header value may be known where there is no transport header any more. Hot.
 */
import type { Packet } from '../wire/packet.js';
import type { RuleContext } from './context.js';

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const NO_NEXT = 59;
const DESTINATION = 60;

const IPV6_HEADER_BYTES = 40;

/** Answers of {@link findHeader6}: there is no such header; the packet ends before that is known. */
export const NOT_FOUND = -1;
export const CUT_OFF = -2;

/** Whether a next-header value is an extension header that is walked, NO_NEXT included: 1 or 0. */
export function isExtension(next: number): 0 | 1 {
  return next === HOP_BY_HOP ||
    next === ROUTING ||
    next === FRAGMENT ||
    next === AUTHENTICATION ||
    next === NO_NEXT ||
    next === DESTINATION
    ? 1
    : 0;
}

/** Length in bytes of the extension header of type `next` at `at`, which has two bytes at least. */
export function extensionBytes(packet: Packet, next: number, at: number): number {
  if (next === FRAGMENT) return 8;
  const length = packet.u8(at + 1);
  return next === AUTHENTICATION ? (length + 2) << 2 : (length + 1) << 3;
}

/** Fills `protocol` (-1 if it cannot be known), `transport` and `fragmentOffset` of the context. */
export function findTransport6(packet: Packet, context: RuleContext): void {
  let at = packet.start + IPV6_HEADER_BYTES;
  let next = packet.u8(packet.start + 6);
  context.fragmentOffset = 0;
  context.protocol = -1;
  while (isExtension(next) === 1 && next !== NO_NEXT) {
    if (at + 2 > packet.end || (next === ROUTING && at + 4 > packet.end)) return;
    if (next === FRAGMENT) {
      if (at + 4 > packet.end) return;
      const offset = packet.u16(at + 2) & 0xfff8;
      if (offset !== 0) {
        const behind = packet.u8(at);
        if (isExtension(behind) === 1 && behind !== NO_NEXT) return;
        context.fragmentOffset = offset;
        context.protocol = behind;
        return;
      }
    }
    const bytes = extensionBytes(packet, next, at);
    next = packet.u8(at);
    at += bytes;
  }
  context.protocol = next;
  context.transport = at;
}

/** Offset of the first header of type `wanted`, {@link NOT_FOUND}, or {@link CUT_OFF}. */
export function findHeader6(packet: Packet, wanted: number): number {
  let at = packet.start + IPV6_HEADER_BYTES;
  let next = packet.u8(packet.start + 6);
  for (;;) {
    if (isExtension(next) === 0 || next === NO_NEXT) return next === wanted ? at : NOT_FOUND;
    if (at + 2 > packet.end || (next === ROUTING && at + 4 > packet.end)) return CUT_OFF;
    if (next === FRAGMENT) {
      if (at + 4 > packet.end) return CUT_OFF;
      if (next === wanted) return at;
      if ((packet.u16(at + 2) & 0xfff8) !== 0) return NOT_FOUND;
    }
    if (next === wanted) return at;
    const bytes = extensionBytes(packet, next, at);
    next = packet.u8(at);
    at += bytes;
  }
}
