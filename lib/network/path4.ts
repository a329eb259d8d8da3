/**
 * An IPv4 packet's way between the hooks: where it goes after PREROUTING, and what forwarding does to it before
 * FORWARD and behind POSTROUTING. Hot.
 *
 * What TPROXY gave to a socket is for the router itself; on Linux a route by mark has to say so, which is what the
 * `localMark` of the settings is. Routing refuses martians as a router without reverse path filter does (RFC 1812 section 5.3.7 and 5.3.8): sources
 * that are groups, broadcast, zero, loopback or our own, and destinations that are zero or loopback.
 */
import { DropReason } from '../counters.js';
import { splitIpv4 } from '../fragments/split.js';
import { AddressType } from '../host.js';
import { adjustChecksum16 } from '../wire/checksum.js';
import { IPV4_DF, IPV4_HEADER_BYTES } from '../wire/ipv4.js';
import { type Packet, PacketType } from '../wire/packet.js';
import type { RouterCore } from './core.js';
import { Icmp, sendError4 } from './icmp-errors.js';
import { longestBytes } from './offload/segmenter.js';
import { finishOptions, readOptions } from './options.js';
import type { Passage } from './passage.js';
import { ALL_HOSTS, isAny4, isMulticast4 } from './scope.js';
import { isMarkedLocal } from './settings.js';

/** What becomes of a packet after routing. */
export const Way = { GONE: 0, LOCAL: 1, FORWARD: 2 } as const;
export type Way = (typeof Way)[keyof typeof Way];

const GONE = Way.GONE;
const LOCAL = Way.LOCAL;
const FORWARD = Way.FORWARD;
const TYPE_NONE = AddressType.UNSPEC;
const TYPE_UNICAST = AddressType.UNICAST;
const TYPE_LOCAL = AddressType.LOCAL;
const TYPE_BROADCAST = AddressType.BROADCAST;
const TYPE_MULTICAST = AddressType.MULTICAST;

const LIMITED_BROADCAST = -1;
const FOR_HOST = PacketType.HOST;
/** Errors about packets without a route: one per second and peer, five at once. */
const ROUTE_ERROR_MS = 1000;
const ROUTE_ERROR_BURST_MS = 5000;

/**
 * Routes a received packet; its type and outgoing interface are then in the passage. Packets that go nowhere are
 * answered and dropped here.
 */
export function routeIncoming4(core: RouterCore, passage: Passage): Way {
  const packet = passage.packet;
  const source = packet.addresses[0] as number;
  const destination = packet.addresses[4] as number;
  const way = findWay(core, passage, source, destination);
  if (way === GONE) return GONE;
  if (packet.transport === packet.start + IPV4_HEADER_BYTES) {
    return way === FORWARD && passage.routeType === TYPE_UNICAST ? FORWARD : finishWay(core, passage, way);
  }
  const wrong = readOptions(passage, core.optionsHost);
  if (wrong > 0) {
    sendError4(core, passage, Icmp.PARAMETER_PROBLEM, 0, wrong << 24);
    core.drop(passage, DropReason.BAD_OPTIONS);
    return GONE;
  }
  if (passage.sourceRoute > 0) {
    core.drop(passage, DropReason.BAD_OPTIONS);
    return GONE;
  }
  return finishWay(core, passage, way);
}

/** Local, forwarded, or gone; packets without a route are told from others in `finishWay`. */
function findWay(core: RouterCore, passage: Passage, source: number, destination: number): Way {
  const packet = passage.packet;
  const isPlain = isHost4(source) && isHost4(destination) && core.interfaces.loopbacks.addedCount4 === 0;
  if (!isPlain) {
    const way = findOddWay(core, passage, source, destination);
    if (way !== FORWARD) return way;
  }
  packet.outInterface = 0;
  if (isTaken(core, packet) === 1) {
    passage.routeType = TYPE_LOCAL;
    return fromElsewhere(core, passage, LOCAL);
  }
  const routes = core.routes;
  const type = routes.find4(destination, 0);
  passage.routeType = type;
  if (type === TYPE_BROADCAST || type === TYPE_LOCAL) return fromElsewhere(core, passage, LOCAL);
  if (core.settings.forwarding4 === 0) return gone(core, passage, DropReason.NOT_FORWARDING);
  if (type === TYPE_UNICAST) {
    packet.outInterface = routes.interface;
    return fromElsewhere(core, passage, FORWARD);
  }
  return type === AddressType.MULTICAST ? gone(core, passage, DropReason.MARTIAN) : FORWARD;
}

/** The same of groups, broadcast, zero and loopback, which never reach the routes; FORWARD: of these it is none. */
function findOddWay(core: RouterCore, passage: Passage, source: number, destination: number): Way {
  const packet = passage.packet;
  if (isMulticast4(destination)) {
    if (destination !== ALL_HOSTS) return gone(core, passage, DropReason.NOT_FOR_US);
    passage.routeType = TYPE_MULTICAST;
    if (isMulticast4(source) || source === LIMITED_BROADCAST || isStray(core, packet, source)) {
      return gone(core, passage, DropReason.MARTIAN);
    }
    return isAny4(source) ? LOCAL : fromElsewhere(core, passage, LOCAL);
  }
  if (isMulticast4(source) || source === LIMITED_BROADCAST) return gone(core, passage, DropReason.MARTIAN);
  if (destination === LIMITED_BROADCAST || (source === 0 && destination === 0)) {
    passage.routeType = TYPE_BROADCAST;
    return isAny4(source) ? LOCAL : fromElsewhere(core, passage, LOCAL);
  }
  if (isAny4(source) || isAny4(destination)) return gone(core, passage, DropReason.MARTIAN);
  if (isStray(core, packet, destination) || isStray(core, packet, source))
    return gone(core, passage, DropReason.MARTIAN);
  return FORWARD;
}

/** Whether an address is that of a host by its first byte: not 0, 127, nor from 224 on. */
function isHost4(word: number): boolean {
  const first = word >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/** Whether TPROXY, or its mark, makes a packet one for the router itself: 1 or 0. */
export function isTaken({ settings }: RouterCore, packet: Packet): 0 | 1 {
  return packet.socket > 0 ? 1 : isMarkedLocal(settings, packet.mark);
}

/** Loopback addresses come by no link, but where route_localnet lets them. */
function isStray({ interfaces }: RouterCore, packet: Packet, word: number): boolean {
  return interfaces.loopbacks.covers4(word) && interfaces.routesLocalnet(packet.inInterface) === 0;
}

/** Packets from our own addresses cannot come from a link. */
function fromElsewhere(core: RouterCore, passage: Passage, way: Way): Way {
  if (core.interfaces.owner4(passage.packet.addresses[0] as number) === 0) return way;
  return gone(core, passage, DropReason.MARTIAN);
}

function gone(core: RouterCore, passage: Passage, reason: DropReason): Way {
  core.drop(passage, reason);
  return GONE;
}

/** Answers packets that have no route, once their options are known. */
function finishWay(core: RouterCore, passage: Passage, way: Way): Way {
  if (way === LOCAL || passage.routeType === TYPE_UNICAST) return way;
  const type = passage.routeType;
  if (type !== AddressType.BLACKHOLE) {
    const peer = `${passage.packet.addresses[0]}`;
    if (core.limits.allow(peer, core.nowMs, ROUTE_ERROR_MS, ROUTE_ERROR_BURST_MS)) {
      const code = type === TYPE_NONE ? Icmp.NET : type === AddressType.PROHIBIT ? Icmp.FILTERED : Icmp.HOST;
      sendError4(core, passage, Icmp.UNREACHABLE, code, 0);
    }
  }
  const isProhibited = type === AddressType.PROHIBIT;
  core.drop(passage, isProhibited ? DropReason.PROHIBITED_ROUTE : DropReason.NO_ROUTE);
  return GONE;
}

/**
 * What comes before FORWARD: what a link brought to all its stations goes nowhere, the TTL is spent, packets too long
 * for the link are sent back (RFC 1812 sections 5.3.4, 5.3.1 and 4.2.2.5). Returns 0 if the packet is gone.
 */
export function beforeForward4(core: RouterCore, passage: Passage): 0 | 1 {
  const packet = passage.packet;
  if (packet.packetType !== FOR_HOST) {
    core.drop(passage, DropReason.NOT_FOR_US);
    return 0;
  }
  const at = packet.start + 8;
  const ttl = packet.bytes[at] as number;
  if (ttl <= 1) {
    sendError4(core, passage, Icmp.TIME_EXCEEDED, Icmp.TTL, 0);
    core.drop(passage, DropReason.TTL_EXCEEDED);
    return 0;
  }
  const mtu = core.interfaces.mtu(packet.outInterface);
  if (exceeds(passage, mtu)) {
    sendError4(core, passage, Icmp.UNREACHABLE, Icmp.FRAGMENTATION_NEEDED, mtu);
    core.drop(passage, DropReason.TOO_BIG);
    return 0;
  }
  const before = packet.u16(at);
  packet.bytes[at] = ttl - 1;
  packet.setU16(packet.start + 10, adjustChecksum16(packet.u16(packet.start + 10), before, packet.u16(at)));
  return 1;
}

/** Whether DF forbids what the link would need. Packets that came in fragments may be cut again. */
function exceeds(passage: Passage, mtu: number): boolean {
  const packet = passage.packet;
  if (longestBytes(packet) <= mtu || (packet.u16(packet.start + 6) & IPV4_DF) === 0) return false;
  return packet.fragmentMaxBytes === 0 || packet.fragmentMaxBytes > mtu;
}

/** What comes between FORWARD and POSTROUTING: options get our address. */
export function afterForward4(core: RouterCore, passage: Passage): void {
  if (passage.packet.transport > passage.packet.start + IPV4_HEADER_BYTES)
    finishOptions(passage, core.optionsHost);
}

/**
 * What comes behind POSTROUTING: the packet is cut if the link needs it, or if it came in fragments. Returns 1 if it
 * goes out as it is.
 */
export function afterPostrouting4(
  core: RouterCore,
  passage: Passage,
  emit: (bytes: Uint8Array) => void,
): 0 | 1 {
  const packet = passage.packet;
  const mtu = core.interfaces.mtu(packet.outInterface);
  if (packet.lengthBytes <= mtu && packet.fragmentMaxBytes === 0) return 1;
  const hasDf = (packet.u16(packet.start + 6) & IPV4_DF) !== 0;
  if (hasDf && (packet.fragmentMaxBytes === 0 || packet.fragmentMaxBytes > mtu)) {
    sendError4(core, passage, Icmp.UNREACHABLE, Icmp.FRAGMENTATION_NEEDED, mtu);
    core.drop(passage, DropReason.TOO_BIG);
    return 0;
  }
  splitIpv4(packet, mtu, emit);
  return 0;
}
