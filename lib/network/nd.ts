/**
 * Neighbour discovery (RFC 4861) for the interfaces of a gateway: answers solicitations for its addresses, asks for
 * neighbours, tells the neighbour tables what stations say, and hands router solicitations on. Cold.
 *
 * Messages take the router's way: rules see them at INPUT and OUTPUT, as on Linux. Not believed: messages from beyond
 * the link (hop limit), with options that do not add up, whose link-layer option is not the frame's source, and those
 * that speak for our own addresses. Redirects and advertisements of other routers are ignored.
 */
import { DropReason } from '../counters.js';
import type { AddressWords } from '../wire/address.js';
import { sumPseudoHeader } from '../wire/checksum.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import type { Packet } from '../wire/packet.js';
import { makeIpv6, put32, sealTransport } from '../wire/segment.js';
import type { NeighbourMessages, RouterCore } from './core.js';
import { inSubnet } from './interfaces.js';
import { type Mac, macAt, putMac } from './mac.js';
import type { Neighbour, Neighbours } from './neighbours.js';
import type { Passage } from './passage.js';
import { isAny6, isLinkLocal6, isMulticast6 } from './scope.js';

const ICMPV6 = 58;
const ROUTER_SOLICITATION = 133;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const HOP_LIMIT = 255;
const HEADER_BYTES = 24;
const RS_BYTES = 8;
const SOURCE_LINK_LAYER = 1;
const TARGET_LINK_LAYER = 2;
const OPTION_BYTES = 8;
const IS_ROUTER = 0x80;
const SOLICITED = 0x40;
const OVERRIDE = 0x20;
/** Options in one message; the rest is not read. */
const MAX_OPTIONS = 32;

const ALL_NODES: AddressWords = [0xff020000 | 0, 0, 0, 1];

/** One Ethernet interface, as neighbour discovery sees it. */
export interface NdLink {
  readonly index: number;
  readonly mac: Mac;
  readonly neighbours: Neighbours;
  /** Somebody said that he has one of our addresses. */
  usurped(words: AddressWords, by: Mac, version: 4 | 6): void;
}

export class NeighbourDiscovery implements NeighbourMessages {
  readonly #core: RouterCore;
  /** By interface index; links without addresses are not in it. */
  readonly #links = new Map<number, NdLink>();
  /** Told of routers' solicitations: interface, source (:: if the host has no address yet). */
  onRouterSolicitation: ((interfaceIndex: number, source: AddressWords) => void) | undefined = undefined;
  readonly #addresses = new Int32Array(8);

  constructor(core: RouterCore) {
    this.#core = core;
  }

  add(link: NdLink): void {
    this.#links.set(link.index, link);
  }

  isMember(interfaceIndex: number, words: Int32Array, at: number): 0 | 1 {
    if (words[at] !== (0xff020000 | 0) || words[at + 1] !== 0) return 0;
    const last = words[at + 3] as number;
    if (words[at + 2] === 0) return last === 2 ? 1 : 0;
    if (words[at + 2] !== 1 || last >>> 24 !== 0xff) return 0;
    for (const address of this.#core.interfaces.addresses(interfaceIndex)) {
      if (address.version === 6 && ((address.words[3] ^ last) & 0xffffff) === 0) return 1;
    }
    return 0;
  }

  receive(passage: Passage): 0 | 1 {
    const packet = passage.packet;
    const type = packet.u8(packet.transport);
    const link = this.#links.get(packet.inInterface);
    if (type !== ROUTER_SOLICITATION && link === undefined) return type === SOLICITATION ? 0 : 1;
    const isSound = packet.u8(packet.start + 7) === HOP_LIMIT && packet.u8(packet.transport + 1) === 0;
    const believed = isSound && this.#believe(packet, type, link);
    if (!believed) this.#core.drop(passage, DropReason.NEIGHBOUR_REFUSED);
    return 1;
  }

  #believe(packet: Packet, type: number, link: NdLink | undefined): boolean {
    if (type === ROUTER_SOLICITATION) return this.#solicitedRouter(packet, link);
    if (link === undefined || packet.end - packet.transport < HEADER_BYTES) return true;
    if (type === SOLICITATION) return this.#solicited(packet, link);
    if (type === ADVERTISEMENT) return this.#advertised(packet, link);
    return true;
  }

  #solicitedRouter(packet: Packet, link: NdLink | undefined): boolean {
    if (packet.end - packet.transport < RS_BYTES) return false;
    const option = findOption(packet, packet.transport + RS_BYTES, SOURCE_LINK_LAYER);
    if (option === BAD_OPTIONS) return false;
    const source = wordsAt(packet.addresses, 0);
    const isAnonymous = isAny6(packet.addresses, 0);
    if (option > 0) {
      if (isAnonymous || !isOfFrame(packet, option)) return false;
      if (link !== undefined && !this.#isOurs(link, source) && this.#isOnLink(link, packet.addresses)) {
        link.neighbours.asked(6, source, macAt(packet.bytes, option + 2), this.#core.nowMs);
      }
    }
    this.onRouterSolicitation?.(packet.inInterface, source);
    return true;
  }

  #solicited(packet: Packet, link: NdLink): boolean {
    const target = targetOf(packet);
    const isAnonymous = isAny6(packet.addresses, 0);
    const option = findOption(packet, packet.transport + HEADER_BYTES, SOURCE_LINK_LAYER);
    if (option === BAD_OPTIONS || (isAnonymous && option > 0)) return false;
    if (isAnonymous && !isMulticast6(packet.addresses, 4)) return false;
    if (option > 0 && !isOfFrame(packet, option)) return false;
    const source = wordsAt(packet.addresses, 0);
    if (!isAnonymous && this.#isOurs(link, source)) return this.#usurped(link, source, packet);
    if (!this.#isOurs(link, target)) return true;
    if (option > 0 && this.#isOnLink(link, packet.addresses)) {
      link.neighbours.asked(6, source, macAt(packet.bytes, option + 2), this.#core.nowMs);
    }
    const flags = IS_ROUTER | (isAnonymous ? 0 : SOLICITED) | OVERRIDE;
    this.#send(
      link,
      ADVERTISEMENT,
      flags,
      target,
      isAnonymous ? ALL_NODES : source,
      target,
      TARGET_LINK_LAYER,
    );
    return true;
  }

  #advertised(packet: Packet, link: NdLink): boolean {
    const target = targetOf(packet);
    if (target[0] >>> 24 === 0xff) return false;
    const flags = packet.u8(packet.transport + 4);
    const isToGroup = isMulticast6(packet.addresses, 4);
    if (isToGroup && (flags & SOLICITED) !== 0) return false;
    const option = findOption(packet, packet.transport + HEADER_BYTES, TARGET_LINK_LAYER);
    if (option === BAD_OPTIONS) return false;
    if (this.#isOurs(link, target)) return this.#usurped(link, target, packet);
    if (option > 0 && !isOfFrame(packet, option)) return false;
    // Without the option the frame's source is what answered (RFC 4861 section 4.4 lets it out of unicast answers).
    const mac = option > 0 ? macAt(packet.bytes, option + 2) : { high: packet.macHigh, low: packet.macLow };
    if (option <= 0 && packet.hasMac === 0) return true;
    const { nowMs } = this.#core;
    if ((flags & SOLICITED) !== 0) link.neighbours.answered(6, target, mac, nowMs);
    else link.neighbours.announced(6, target, mac, nowMs);
    return true;
  }

  /** Whoever speaks for our address is told off; a station that only tries it (RFC 4862) never gets here. */
  #usurped(link: NdLink, words: AddressWords, packet: Packet): false {
    link.usurped(words, { high: packet.macHigh, low: packet.macLow }, 6);
    const flags = IS_ROUTER | OVERRIDE;
    if (this.#mayDefend()) {
      this.#send(link, ADVERTISEMENT, flags, words, ALL_NODES, words, TARGET_LINK_LAYER);
    }
    return false;
  }

  #defendedMs = Number.NEGATIVE_INFINITY;

  /** At most one defence in ten seconds, as ARP has it (RFC 5227). */
  #mayDefend(): boolean {
    if (this.#core.nowMs - this.#defendedMs < 10_000) return false;
    this.#defendedMs = this.#core.nowMs;
    return true;
  }

  /** Asks for a neighbour. */
  ask(link: NdLink, neighbour: Neighbour, whom: 'all' | 'station'): void {
    const target = neighbour.words;
    const group: AddressWords = [0xff020000 | 0, 0, 1, 0xff000000 | (target[3] & 0xffffff) | 0];
    const source = this.#core.interfaces.select6(link.index, Int32Array.from(target), 0);
    if (source === undefined) return;
    const to = whom === 'all' ? group : target;
    this.#send(link, SOLICITATION, 0, source, to, target, SOURCE_LINK_LAYER);
  }

  /** Tells all stations that an address is ours. */
  announce(link: NdLink, words: AddressWords): void {
    this.#send(link, ADVERTISEMENT, IS_ROUTER | OVERRIDE, words, ALL_NODES, words, TARGET_LINK_LAYER);
  }

  #isOurs(link: NdLink, words: AddressWords): boolean {
    const own = this.#core.interfaces.addresses(link.index);
    return own.some((one) => one.version === 6 && one.words.every((word, i) => word === words[i]));
  }

  #isOnLink(link: NdLink, addresses: Int32Array): boolean {
    if (isLinkLocal6(addresses, 0)) return true;
    const words = wordsAt(addresses, 0);
    const own = this.#core.interfaces.addresses(link.index);
    return own.some((address) => address.version === 6 && inSubnet(address, words));
  }

  #send(
    link: NdLink,
    type: number,
    flags: number,
    source: AddressWords,
    destination: AddressWords,
    target: AddressWords,
    option: number,
  ): void {
    const addresses = this.#addresses;
    addresses.set(source, 0);
    addresses.set(destination, 4);
    const length = HEADER_BYTES + OPTION_BYTES;
    const bytes = makeIpv6({ trafficClass: 0, next: ICMPV6, hopLimit: HOP_LIMIT, addresses }, length);
    const at = IPV6_HEADER_BYTES;
    bytes[at] = type;
    bytes[at + 4] = flags;
    for (let i = 0; i < 4; i++) put32(bytes, at + 8 + 4 * i, target[i] as number);
    bytes[at + HEADER_BYTES] = option;
    bytes[at + HEADER_BYTES + 1] = 1;
    putMac(bytes, at + HEADER_BYTES + 2, link.mac.high, link.mac.low);
    sealTransport(bytes, at, at + 2, sumPseudoHeader(addresses, ICMPV6, length));
    this.#core.sendOwn(bytes, undefined, link.index);
  }
}

const BAD_OPTIONS = -1;

/** Offset of the first option of a type, 0 without, BAD_OPTIONS if the lengths do not add up. */
function findOption(packet: Packet, from: number, type: number): number {
  let at = from;
  let found = 0;
  for (let count = 0; at < packet.end; count++) {
    if (count >= MAX_OPTIONS || at + 2 > packet.end) return BAD_OPTIONS;
    const length = packet.u8(at + 1) << 3;
    if (length === 0 || at + length > packet.end) return BAD_OPTIONS;
    if (found === 0 && packet.u8(at) === type) found = at;
    at += length;
  }
  return found;
}

/** Whether a link-layer option names the station that sent the frame. */
function isOfFrame(packet: Packet, option: number): boolean {
  if (packet.hasMac === 0) return true;
  const { high, low } = macAt(packet.bytes, option + 2);
  return high === packet.macHigh && low === packet.macLow;
}

function targetOf(packet: Packet): AddressWords {
  const at = packet.transport + 8;
  return [packet.i32(at), packet.i32(at + 4), packet.i32(at + 8), packet.i32(at + 12)];
}

function wordsAt(words: Int32Array, at: number): AddressWords {
  return [words[at] as number, words[at + 1] as number, words[at + 2] as number, words[at + 3] as number];
}
