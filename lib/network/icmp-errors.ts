/**
 * ICMP and ICMPv6 errors that the router sends: when it may (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4), from
 * which address, and how much of the packet it quotes. Cold.
 *
 * An error quotes the packet as it is at that moment, and belongs to its connection: NAT translates the quote on the
 * way out. Never about: ICMP errors, later fragments, packets to or from groups and broadcast addresses.
 */
import { AddressType } from '../host.js';
import { sumPseudoHeader } from '../wire/checksum.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import { PacketType } from '../wire/packet.js';
import { makeIpv4, makeIpv6, put32, sealTransport } from '../wire/segment.js';
import type { RouterCore } from './core.js';
import { echoOptions } from './options.js';
import type { Passage } from './passage.js';
import { isAny6, isLinkLocal6, isMulticast6 } from './scope.js';

/** ICMP types and codes that the router uses (RFC 792, RFC 1812). */
export const Icmp = {
  UNREACHABLE: 3,
  NET: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
  FILTERED: 13,
  TIME_EXCEEDED: 11,
  TTL: 0,
  REASSEMBLY: 1,
  PARAMETER_PROBLEM: 12,
} as const;

/** ICMPv6 types and codes that the router uses (RFC 4443). */
export const Icmp6 = {
  UNREACHABLE: 1,
  NO_ROUTE: 0,
  PROHIBITED: 1,
  BEYOND_SCOPE: 2,
  PORT: 4,
  TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  HOP_LIMIT: 0,
  REASSEMBLY: 1,
  PARAMETER_PROBLEM: 4,
  HEADER_FIELD: 0,
  NEXT_HEADER: 1,
  OPTION: 2,
  INCOMPLETE_HEADER: 3,
} as const;

const ICMP = 1;
const ICMPV6 = 58;
const ICMP_HEADER_BYTES = 8;
const IPV4_HEADER_BYTES = 20;
/** An IPv4 error is no longer than this, headers included (RFC 1812 section 4.3.2.3). */
const ERROR_BYTES = 576;
/** An IPv6 error fits the least MTU (RFC 4443 section 2.4). */
const ERROR6_BYTES = 1280;
/** Highest ICMP type that may be a query; those above count as errors. */
const MAX_TYPE = 18;
/** ICMP types that errors may be about, as bits: echo, timestamp, information, address mask and their replies. */
const QUERIES = (1 << 0) | (1 << 8) | (1 << 13) | (1 << 14) | (1 << 15) | (1 << 16) | (1 << 17) | (1 << 18);
/** Control precedence (RFC 1812 section 4.3.2.5), and the TOS bits that are kept. */
const PRECEDENCE = 0xc0;
const TOS_MASK = 0x1e;
/** Errors that may come in one go, in units of the rate limit. */
const BURST = 6;

const words = new Int32Array(8);

/** Whether an ICMP error may be about the packet, by what it is. */
export function mayAnswer4(passage: Passage): boolean {
  const packet = passage.packet;
  if (passage.routeType === AddressType.BROADCAST || passage.routeType === AddressType.MULTICAST)
    return false;
  if (packet.packetType !== PacketType.HOST && passage.isInput === 1) return false;
  if (packet.fragmentOffset > 0) return false;
  if (packet.protocol !== ICMP) return true;
  if (packet.transport >= packet.end) return false;
  const type = packet.u8(packet.transport);
  return type <= MAX_TYPE && (QUERIES & (1 << type)) !== 0;
}

/** The bit of an IP version in `RouterCore.icmpUnderWay`. */
export function icmpBit(version: number): number {
  return version === 4 ? 1 : 2;
}

/**
 * Sends an ICMP error about a packet. `rest` is the word behind the checksum (MTU, pointer), int32.
 */
export function sendError4(
  core: RouterCore,
  passage: Passage,
  type: number,
  code: number,
  rest: number,
): void {
  if ((core.icmpUnderWay & icmpBit(4)) !== 0 || !mayAnswer4(passage)) return;
  const packet = passage.packet;
  const destination = packet.addresses[0]!;
  let source = 0;
  if (passage.routeType === AddressType.LOCAL) source = packet.addresses[4]!;
  else if (core.settings.errorsUseInboundAddress === 1 && passage.isInput === 1) {
    source = core.interfaces.select4(packet.inInterface, destination);
  }
  const routes = core.routes;
  const routeType = routes.find(4, packet.addresses, 0, 0);
  if (!leadsOn(routeType)) return;
  const mtu = core.interfaces.mtu(routes.interface);
  if (source === 0) {
    core.sourceFor(4, packet.addresses, 0, words);
    source = words[0]!;
  }
  const options = echoOptions(passage, source, core.optionsHost);
  if (options === undefined || !isAllowed4(core, packet.addresses[0]!, type, code, routeType)) return;
  const room = Math.min(ERROR_BYTES, mtu) - IPV4_HEADER_BYTES - options.length - ICMP_HEADER_BYTES;
  if (room <= IPV4_HEADER_BYTES) return;
  const quoted = Math.min(room, packet.lengthBytes);
  const bytes = makeIpv4(
    {
      tos: (packet.u8(packet.start + 1) & TOS_MASK) | PRECEDENCE,
      id: core.nextId(),
      fragment: 0,
      ttl: core.settings.ttl,
      protocol: ICMP,
      source,
      destination,
    },
    options,
    ICMP_HEADER_BYTES + quoted,
  );
  const at = IPV4_HEADER_BYTES + options.length;
  putError(bytes, at, type, code, rest, passage, quoted);
  sealTransport(bytes, at, at + 2, 0);
  core.sendOwn(bytes, packet, 0);
}

function isAllowed4(core: RouterCore, peer: number, type: number, code: number, routeType: number): boolean {
  const { icmpRateLimitMs, icmpRateMask } = core.settings;
  if (type === Icmp.UNREACHABLE && code === Icmp.FRAGMENTATION_NEEDED) return true;
  if (((icmpRateMask >>> type) & 1) === 0) return true;
  return isWithinLimits(core, `${peer}`, icmpRateLimitMs, routeType);
}

/** A limit of 0 for each peer switches off the one for all, too. */
function isWithinLimits(core: RouterCore, peer: string, limitMs: number, routeType: number): boolean {
  if (limitMs === 0) return true;
  const { limits, nowMs } = core;
  const { icmpPerSecond, icmpBurst } = core.settings;
  if (!limits.hasCredit(nowMs, icmpPerSecond, icmpBurst)) return false;
  if (routeType !== AddressType.LOCAL && !limits.allow(peer, nowMs, limitMs, BURST * limitMs)) return false;
  limits.spend(core.engine.random);
  return true;
}

/**
 * Sends an ICMPv6 error about a packet. `rest` is the word behind the checksum (MTU, pointer).
 */
export function sendError6(
  core: RouterCore,
  passage: Passage,
  type: number,
  code: number,
  rest: number,
): void {
  const packet = passage.packet;
  const addresses = packet.addresses;
  if ((core.icmpUnderWay & icmpBit(6)) !== 0) return;
  const toGroup = isMulticast6(addresses, 4);
  if (toGroup && !mayAnswerGroup(passage, type, code, rest)) return;
  if (isAny6(addresses, 0) || isMulticast6(addresses, 0) || isIneligible(passage)) return;
  const incoming = passage.isInput === 1 ? packet.inInterface : core.interfaces.loopback;
  const oif = isLinkLocal6(addresses, 0) ? incoming : 0;
  for (let i = 0; i < 4; i++) words[4 + i] = addresses[i]!;
  const routeType = core.routes.find(6, addresses, 0, oif);
  if (!leadsOn(routeType)) return;
  if (!toGroup && core.interfaces.owner(6, addresses, 4) > 0) words.set(addresses.subarray(4, 8), 0);
  else {
    const source = core.interfaces.select6(incoming, addresses, 0);
    if (source === undefined) return;
    words.set(source, 0);
  }
  if (!isAllowed6(core, addresses, type, routeType)) return;
  const quoted = Math.min(ERROR6_BYTES - IPV6_HEADER_BYTES - ICMP_HEADER_BYTES, packet.lengthBytes);
  const bytes = makeIpv6(
    { trafficClass: 0, next: ICMPV6, hopLimit: core.settings.hopLimit, addresses: words },
    ICMP_HEADER_BYTES + quoted,
  );
  putError(bytes, IPV6_HEADER_BYTES, type, code, rest, passage, quoted);
  const sum = sumPseudoHeader(words, ICMPV6, ICMP_HEADER_BYTES + quoted);
  sealTransport(bytes, IPV6_HEADER_BYTES, IPV6_HEADER_BYTES + 2, sum);
  core.sendOwn(bytes, packet, oif);
}

/** Packets to a group are answered only if they are too big, or have an option that asks for it (RFC 4443). */
function mayAnswerGroup(passage: Passage, type: number, code: number, rest: number): boolean {
  if (type === Icmp6.TOO_BIG) return true;
  if (type !== Icmp6.PARAMETER_PROBLEM || code !== Icmp6.OPTION) return false;
  const option = passage.packet.start + rest;
  return option < passage.packet.end && passage.packet.u8(option) >>> 6 === 2;
}

/** An ICMPv6 error, or something that may be one. */
function isIneligible(passage: Passage): boolean {
  const packet = passage.packet;
  if (packet.protocol !== ICMPV6 || packet.fragmentOffset > 0 || packet.brokenChain === 1) return false;
  if (packet.transport >= packet.end) return packet.moreFragments === 0;
  return packet.u8(packet.transport) < 128;
}

function isAllowed6(core: RouterCore, addresses: Int32Array, type: number, routeType: number): boolean {
  if (type === Icmp6.TOO_BIG) return true;
  // The wider the route's prefix, the more errors: a quarter of the time between them for a /64.
  const limit = core.settings.icmp6RateLimitMs >>> ((128 - core.routes.prefix) >>> 5);
  const peer = `${addresses[0]},${addresses[1]},${addresses[2]},${addresses[3]}`;
  return isWithinLimits(core, peer, limit, routeType);
}

function putError(
  bytes: Uint8Array,
  at: number,
  type: number,
  code: number,
  rest: number,
  passage: Passage,
  quoted: number,
): void {
  const packet = passage.packet;
  bytes[at] = type;
  bytes[at + 1] = code;
  put32(bytes, at + 4, rest);
  bytes.set(packet.bytes.subarray(packet.start, packet.start + quoted), at + ICMP_HEADER_BYTES);
}

/** Whether packets of our own can take a route of this type. */
export function leadsOn(routeType: number): boolean {
  return (
    routeType === AddressType.UNICAST ||
    routeType === AddressType.LOCAL ||
    routeType === AddressType.BROADCAST
  );
}
