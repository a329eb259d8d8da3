/**
 * The router as the engine sees it: its interfaces and routes answer what rules, NAT and conntrack ask.
 */
import { AddressType, type Host, LocalSocket, type ReroutedPacket } from '../host.js';
import type { Packet } from '../wire/packet.js';
import type { RouterCore } from './core.js';
import { EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH } from './errno.js';
import { leadsOn } from './icmp-errors.js';
import type { Interfaces } from './interfaces.js';
import type { Reservation } from './local/registry.js';
import { Passage } from './passage.js';
import { reject } from './reject.js';
import type { Routes } from './routes.js';
import { isAny4, isAny6, isMulticast4, isMulticast6 } from './scope.js';
import { isMarkedLocal } from './settings.js';
import { findFrom } from './source-address.js';

const TCP = 6;
/** The first ten bits of fe80::/10. */
const LINK_LOCAL6 = 0x3fa;

export class RouterHost implements Host {
  readonly #interfaces: Interfaces;
  readonly #routes: Routes;
  /** The router, once it stands; answers are sent through it. */
  core: RouterCore | undefined = undefined;
  /** Why the packet that was routed again last has no way, an error number; 0 if it has. */
  rerouteErrno = 0;

  constructor(interfaces: Interfaces, routes: Routes) {
    this.#interfaces = interfaces;
    this.#routes = routes;
  }

  interfaceName(index: number): string {
    return this.#interfaces.name(index);
  }

  mtu(index: number): number {
    return this.#interfaces.mtu(index);
  }

  masqueradeAddress(
    version: number,
    outInterface: number,
    destination: Int32Array,
    at: number,
    into: Int32Array,
  ): 0 | 1 {
    if (version === 4) {
      // Of one address nobody has to choose: the next hop does not matter.
      const only = this.#interfaces.only4(outInterface);
      if (only !== 0) return write4(only, into);
      const target = destination[at] as number;
      this.#routes.find(4, destination, at, outInterface);
      return write4(this.#interfaces.select4(outInterface, this.#routes.nextHop4(target)), into);
    }
    const words = this.#interfaces.select6(outInterface, destination, at);
    if (words === undefined) return 0;
    into.set(words);
    return 1;
  }

  redirectAddress(version: number, inInterface: number, into: Int32Array): 0 | 1 {
    const index = inInterface === 0 ? this.#interfaces.loopback : inInterface;
    for (const address of this.#interfaces.addresses(index)) {
      if (address.version !== version || address.isSecondary) continue;
      into.set(address.words);
      return 1;
    }
    return 0;
  }

  addressType(version: number, words: Int32Array, at: number, limitInterface: number): AddressType {
    if (version === 4) {
      const word = words[at] as number;
      if (isAny4(word) || word === -1) return AddressType.BROADCAST;
      if (isMulticast4(word)) return AddressType.MULTICAST;
      const type = this.#routes.findLocal4(words, at, limitInterface);
      return type === AddressType.UNSPEC ? AddressType.UNICAST : (type as AddressType);
    }
    if (isAny6(words, at)) return AddressType.UNSPEC;
    if (isMulticast6(words, at)) return AddressType.MULTICAST;
    const type = this.#routes.find(6, words, at, limitInterface);
    if (type === AddressType.UNICAST && this.#routes.isSubnetAnycast(words, at)) return AddressType.ANYCAST;
    return type === AddressType.UNSPEC ? AddressType.UNREACHABLE : (type as AddressType);
  }

  reversePath(version: number, words: Int32Array, at: number, inInterface: number): number {
    // A link-local address is looked for on its link only.
    const isLinkLocal = version === 6 && (words[at] as number) >>> 22 === LINK_LOCAL6;
    const type = this.#routes.find(version, words, at, isLinkLocal ? inInterface : 0);
    if (type === AddressType.LOCAL) return -this.#routes.device;
    return type === AddressType.UNICAST ? this.#routes.interface : 0;
  }

  localSocket(
    version: number,
    protocol: number,
    addresses: Int32Array,
    sourcePort: number,
    destinationPort: number,
    inInterface: number,
  ): number {
    const ports = this.core?.ports;
    if (ports === undefined) return 0;
    if (protocol === TCP) {
      const flow = ports.flows.find(version, addresses, sourcePort, destinationPort);
      if (flow !== undefined) return LocalSocket.FOUND | transparency(flow.reservation);
    }
    return bitsOf(ports.find(version, protocol, addresses, 4, destinationPort, inInterface));
  }

  assignedSocket(socket: number): number {
    return bitsOf(this.core?.ports.byId(socket));
  }

  transparentSocket(
    version: number,
    protocol: number,
    addresses: Int32Array,
    sourcePort: number,
    destinationPort: number,
    inInterface: number,
    to: Int32Array,
    port: number,
  ): number {
    const ports = this.core?.ports;
    if (ports === undefined) return 0;
    if (protocol === TCP) {
      const flow = ports.flows.find(version, addresses, sourcePort, destinationPort);
      if (flow !== undefined) return flow.reservation.id;
    }
    return ports.find(version, protocol, to, 0, port, inInterface)?.id ?? 0;
  }

  reroute(packet: ReroutedPacket): void {
    const oif = this.core?.passages.of(packet as Packet)?.oif ?? 0;
    const type = findFrom(this.#routes, packet.version, packet.addresses, 4, oif);
    packet.outInterface = leadsOn(type) ? this.#routes.interface : 0;
    this.rerouteErrno = errnoOf(type);
    if (this.core !== undefined && isMarkedLocal(this.core.settings, packet.mark) === 1) {
      packet.outInterface = this.#interfaces.loopback;
    }
  }

  /** `packet` is the engine's view; one that is under way in no router is routed for the occasion. */
  reject(packet: Packet, _hook: number, icmp: number): void {
    const core = this.core;
    if (core === undefined) return;
    let passage = core.passages.of(packet);
    if (passage === undefined) {
      passage = new Passage(packet);
      passage.isInput = packet.inInterface > 0 ? 1 : 0;
      passage.routeType = this.addressType(packet.version, packet.addresses, 4, 0);
    }
    reject(core, passage, icmp);
  }
}

/** What sending by a route of a type (an AddressType) comes to: 0 or an error number. */
export function errnoOf(type: number): number {
  switch (type) {
    case AddressType.UNSPEC:
      return ENETUNREACH;
    case AddressType.PROHIBIT:
      return EACCES;
    case AddressType.BLACKHOLE:
      return EINVAL;
    case AddressType.UNREACHABLE:
      return EHOSTUNREACH;
    default:
      return 0;
  }
}

/** What rules are told of a socket: LocalSocket bits. */
function bitsOf(socket: Reservation | undefined): number {
  if (socket === undefined) return 0;
  const isWildcard = socket.request.address === undefined;
  return LocalSocket.FOUND | (isWildcard ? LocalSocket.WILDCARD : 0) | transparency(socket);
}

function transparency(socket: Reservation): number {
  return socket.id > 0 ? LocalSocket.TRANSPARENT : 0;
}

function write4(word: number, into: Int32Array): 0 | 1 {
  if (word === 0) return 0;
  into[0] = word;
  into[1] = 0;
  into[2] = 0;
  into[3] = 0;
  return 1;
}
