/**
 * An IPv6 packet's way between the hooks: what is refused at the door, where it goes after PREROUTING, and what
 * forwarding does to it before FORWARD and behind POSTROUTING. Hot.
 */
import { DropReason } from '../counters.js';
import { splitIpv6 } from '../fragments/split.js';
import { AddressType } from '../host.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import { PacketType } from '../wire/packet.js';
import type { RouterCore } from './core.js';
import { Icmp6, sendError6 } from './icmp-errors.js';
import { longestBytes } from './offload/segmenter.js';
import { OptionsFault, optionsFault, readOptions6 } from './options6.js';
import type { Passage } from './passage.js';
import { isTaken, Way } from './path4.js';
import { isAllNodes6, isAny6, isLinkLocal6, isMulticast6, multicastScope6 } from './scope.js';

const HOP_BY_HOP = 0;
const LEAST_MTU = 1280;
const FOR_HOST = PacketType.HOST;
const TYPE_UNICAST = AddressType.UNICAST;
const TYPE_LOCAL = AddressType.LOCAL;
const TYPE_MULTICAST = AddressType.MULTICAST;

/**
 * What is refused before PREROUTING: addresses that no packet on a link may have (RFC 4291 sections 2.5.3 and 2.7),
 * and hop-by-hop options. Returns 0 if the packet is gone.
 */
export function admit6(core: RouterCore, passage: Passage): 0 | 1 {
  const packet = passage.packet;
  const addresses = packet.addresses;
  const { loopbacks } = core.interfaces;
  let isBad =
    loopbacks.covers6(addresses, 0) || loopbacks.covers6(addresses, 4) || isMulticast6(addresses, 0);
  if (isMulticast6(addresses, 4) && multicastScope6(addresses, 4) <= 1) isBad = true;
  if (isBad) {
    core.drop(passage, DropReason.MARTIAN);
    return 0;
  }
  return admitOptions6(core, passage);
}

/** Reads hop-by-hop options, if there are any. Returns 0 if the packet is gone. */
export function admitOptions6(core: RouterCore, passage: Passage): 0 | 1 {
  const packet = passage.packet;
  if (packet.u8(packet.start + 6) !== HOP_BY_HOP) return 1;
  const at = packet.start + IPV6_HEADER_BYTES;
  const length = at + 8 > packet.end ? 0 : (packet.u8(at + 1) + 1) << 3;
  let fault: number = OptionsFault.DISCARD;
  if (length > 0 && at + length <= packet.end) {
    fault = readOptions6(packet, at, length, 'hop-by-hop');
    if (fault === OptionsFault.NONE) return 1;
  }
  if (fault === OptionsFault.ANSWER) {
    sendError6(core, passage, Icmp6.PARAMETER_PROBLEM, optionsFault.code, optionsFault.pointer);
  }
  core.drop(passage, DropReason.BAD_EXTENSION_HEADER);
  return 0;
}

/** Routes a received packet, as `routeIncoming4` does. */
export function routeIncoming6(core: RouterCore, passage: Passage): Way {
  const packet = passage.packet;
  const addresses = packet.addresses;
  if (isMulticast6(addresses, 4)) {
    passage.routeType = TYPE_MULTICAST;
    if (isAllNodes6(addresses, 4)) return Way.LOCAL;
    if (core.neighbourMessages?.isMember(packet.inInterface, addresses, 4) === 1) return Way.LOCAL;
    core.drop(passage, DropReason.NOT_FOR_US);
    return Way.GONE;
  }
  if (isTaken(core, packet) === 1) {
    passage.routeType = TYPE_LOCAL;
    return Way.LOCAL;
  }
  const oif = isLinkLocal6(addresses, 4) ? packet.inInterface : 0;
  const type = core.routes.find(6, addresses, 4, oif);
  passage.routeType = type;
  if (type === TYPE_LOCAL) return Way.LOCAL;
  if (type === TYPE_UNICAST) {
    packet.outInterface = core.routes.interface;
    return Way.FORWARD;
  }
  const isProhibited = type === AddressType.PROHIBIT;
  if (type !== AddressType.BLACKHOLE && !isAny6(addresses, 4)) {
    const code = isProhibited ? Icmp6.PROHIBITED : Icmp6.NO_ROUTE;
    sendError6(core, passage, Icmp6.UNREACHABLE, code, 0);
  }
  core.drop(passage, isProhibited ? DropReason.PROHIBITED_ROUTE : DropReason.NO_ROUTE);
  return Way.GONE;
}

/** What comes before FORWARD; returns 0 if the packet is gone. */
export function beforeForward6(core: RouterCore, passage: Passage): 0 | 1 {
  const packet = passage.packet;
  if (core.settings.forwarding6 === 0) return gone(core, passage, DropReason.NOT_FORWARDING);
  if (packet.packetType !== FOR_HOST) return gone(core, passage, DropReason.NOT_FOR_US);
  const at = packet.start + 7;
  const hopLimit = packet.bytes[at] as number;
  if (hopLimit <= 1) {
    sendError6(core, passage, Icmp6.TIME_EXCEEDED, Icmp6.HOP_LIMIT, 0);
    return gone(core, passage, DropReason.TTL_EXCEEDED);
  }
  // A packet that turns round on its link keeps its scope.
  if (packet.inInterface !== packet.outInterface) {
    const addresses = packet.addresses;
    if (isAny6(addresses, 0)) return gone(core, passage, DropReason.MARTIAN);
    if (isLinkLocal6(addresses, 0)) {
      sendError6(core, passage, Icmp6.UNREACHABLE, Icmp6.BEYOND_SCOPE, 0);
      return gone(core, passage, DropReason.SCOPE);
    }
  }
  const mtu = Math.max(LEAST_MTU, core.interfaces.mtu(packet.outInterface));
  if (longestBytes(packet) > mtu && (packet.fragmentMaxBytes === 0 || packet.fragmentMaxBytes > mtu)) {
    sendError6(core, passage, Icmp6.TOO_BIG, 0, mtu);
    return gone(core, passage, DropReason.TOO_BIG);
  }
  packet.bytes[at] = hopLimit - 1;
  return 1;
}

function gone(core: RouterCore, passage: Passage, reason: DropReason): 0 {
  core.drop(passage, reason);
  return 0;
}

/** What comes behind POSTROUTING; returns 1 if the packet goes out as it is. */
export function afterPostrouting6(
  core: RouterCore,
  passage: Passage,
  emit: (bytes: Uint8Array) => void,
): 0 | 1 {
  const packet = passage.packet;
  const mtu = core.interfaces.mtu(packet.outInterface);
  const largest = packet.fragmentMaxBytes;
  if (packet.lengthBytes <= mtu && (largest === 0 || packet.lengthBytes <= largest)) return 1;
  const isOwn = passage.isInput === 0 ? 1 : 0;
  const tooBig = splitIpv6(packet, mtu, isOwn, core.nextId(), emit);
  if (tooBig > 0) {
    sendError6(core, passage, Icmp6.TOO_BIG, 0, tooBig);
    core.drop(passage, DropReason.TOO_BIG);
  }
  return 0;
}
