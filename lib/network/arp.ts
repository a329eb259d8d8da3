/**
 * ARP (RFC 826, RFC 5227) on one Ethernet interface: answers for its own addresses, asks for neighbours, and tells the
 * neighbour table what stations say. Cold.
 *
 *   0 hardware type 1 | 2 protocol 0x0800 | 4 lengths 6, 4 | 6 operation | 8 sender MAC | 14 sender IP | 18 target MAC
 *   | 24 target IP
 *
 * Not believed: a sender whose frame has another source, senders with our own addresses (they are told off, at most
 * every ten seconds), addresses that are not on the link, broadcast and group addresses.
 */
import type { AddressWords } from '../wire/address.js';
import { put16, put32 } from '../wire/segment.js';
import { type Interfaces, inSubnet } from './interfaces.js';
import { BROADCAST_MAC, isUnicastMac, type Mac, macAt, putMac } from './mac.js';
import type { Neighbour, Neighbours } from './neighbours.js';

const ETHERNET = 1;
const IPV4 = 0x0800;
const MESSAGE_BYTES = 28;
const REQUEST = 1;
const REPLY = 2;
/** Least time between two defences of an address (RFC 5227 section 2.4, DEFEND_INTERVAL). */
const DEFEND_MS = 10_000;

/** What ARP needs of its interface. */
export interface ArpLink {
  readonly index: number;
  readonly mac: Mac;
  readonly interfaces: Interfaces;
  readonly neighbours: Neighbours;
  /** Sends an ARP message to a station. */
  sendArp(message: Uint8Array, to: Mac): void;
  /** Somebody said that he has one of our addresses. */
  usurped(words: AddressWords, by: Mac, version: 4 | 6): void;
}

export class Arp {
  readonly #link: ArpLink;
  #defendedMs = Number.NEGATIVE_INFINITY;

  constructor(link: ArpLink) {
    this.#link = link;
  }

  /**
   * Takes the message in `bytes[at..]`, which came in a frame from `source`. Returns 0 if it is not believed.
   */
  receive(bytes: Uint8Array, at: number, source: Mac, nowMs: number): 0 | 1 {
    const { neighbours, mac } = this.#link;
    if (bytes.length - at < MESSAGE_BYTES) return 0;
    const u16 = (i: number) => ((bytes[at + i] as number) << 8) | (bytes[at + i + 1] as number);
    if (u16(0) !== ETHERNET || u16(2) !== IPV4 || u16(4) !== 0x0604) return 0;
    const operation = u16(6);
    if (operation !== REQUEST && operation !== REPLY) return 0;
    const sender = macAt(bytes, at + 8);
    const senderIp = (u16(14) << 16) | u16(16);
    const targetIp = (u16(24) << 16) | u16(26);
    if (sender.high !== source.high || sender.low !== source.low) return 0;
    if (!isUnicastMac(sender.high, sender.low)) return 0;
    const words: AddressWords = [senderIp, 0, 0, 0];
    if (senderIp !== 0 && this.#isOurs(senderIp)) {
      this.#link.usurped(words, sender, 4);
      this.#defend(senderIp, nowMs);
      return 0;
    }
    const isForUs = this.#isOurs(targetIp);
    if (senderIp !== 0) {
      // A next hop outside of our subnets may answer when it was asked.
      if (!this.#isOnLink(words) && neighbours.find(4, Int32Array.from(words), 0) === undefined) return 0;
      const target = macAt(bytes, at + 18);
      const isToUs = target.high === mac.high && target.low === mac.low;
      if (operation === REPLY && isForUs && isToUs) neighbours.answered(4, words, sender, nowMs);
      else if (operation === REQUEST && isForUs) neighbours.asked(4, words, sender, nowMs);
      else neighbours.announced(4, words, sender, nowMs);
    }
    if (operation === REQUEST && isForUs) this.#send(REPLY, targetIp, sender, senderIp, sender);
    return 1;
  }

  /** Asks for a neighbour: with the address of ours that is in its subnet. */
  ask(neighbour: Neighbour, whom: 'all' | 'station'): void {
    const { index, interfaces } = this.#link;
    const own = interfaces.select4(index, neighbour.words[0]);
    const to = whom === 'all' ? BROADCAST_MAC : { high: neighbour.high, low: neighbour.low };
    this.#send(REQUEST, own, { high: 0, low: 0 }, neighbour.words[0], to);
  }

  /** Tells all stations that an address is ours. */
  announce(address: number): void {
    this.#send(REQUEST, address, { high: 0, low: 0 }, address, BROADCAST_MAC);
  }

  #defend(address: number, nowMs: number): void {
    if (nowMs - this.#defendedMs < DEFEND_MS) return;
    this.#defendedMs = nowMs;
    this.announce(address);
  }

  #isOurs(address: number): boolean {
    const { index, interfaces } = this.#link;
    return interfaces.addresses(index).some(({ version, words }) => version === 4 && words[0] === address);
  }

  /** A host's address in one of the interface's subnets. */
  #isOnLink(words: AddressWords): boolean {
    const { index, interfaces } = this.#link;
    return interfaces.addresses(index).some((address) => {
      if (address.version !== 4 || !inSubnet(address, words)) return false;
      if (address.prefix >= 31) return true;
      const host = words[0] & ~address.mask[0];
      return host !== 0 && host !== ~address.mask[0];
    });
  }

  #send(operation: number, senderIp: number, target: Mac, targetIp: number, to: Mac): void {
    const { mac } = this.#link;
    const message = new Uint8Array(MESSAGE_BYTES);
    put16(message, 0, ETHERNET);
    put16(message, 2, IPV4);
    put16(message, 4, 0x0604);
    put16(message, 6, operation);
    putMac(message, 8, mac.high, mac.low);
    put32(message, 14, senderIp);
    putMac(message, 18, target.high, target.low);
    put32(message, 24, targetIp);
    this.#link.sendArp(message, to);
  }
}
