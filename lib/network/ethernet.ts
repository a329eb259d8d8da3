/**
 * Frames of one Ethernet interface: in, to the router or to ARP; out, to the station that ARP or neighbour discovery
 * found for the next hop. Hot: a packet that came in an Ethernet frame leaves in the same buffer; one without room in
 * front is copied to a reused buffer.
 *
 * What it does not do: VLAN tags, bridging, frames for other stations (dropped, counted).
 */
import { DropReason } from '../counters.js';
import { AddressType } from '../host.js';
import type { AddressWords } from '../wire/address.js';
import { PacketType } from '../wire/packet.js';
import { Arp, type ArpLink } from './arp.js';
import type { RouterCore } from './core.js';
import { FrameViews } from './frame-views.js';
import type { GatewayInterface, InterfaceLink } from './gateway-interface.js';
import type { Interfaces } from './interfaces.js';
import type { LinkHeader, Origin } from './link.js';
import { BROADCAST_MAC, type Mac, macHighAt, macLowAt, putMac } from './mac.js';
import type { NdLink, NeighbourDiscovery } from './nd.js';
import {
  type Neighbour,
  type NeighbourEvent,
  type NeighbourLink,
  type NeighbourOptions,
  Neighbours,
} from './neighbours.js';
import { FramedOffload } from './offload/framed.js';
import type { Offload } from './port.js';
import type { Router } from './router.js';
import type { Timers } from './timers.js';
import { reportUndeliverable } from './undeliverable.js';

const HEADER_BYTES = 14;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ARP = 0x0806;
const TYPE_BROADCAST = AddressType.BROADCAST;
const HOST = PacketType.HOST;
const BROADCAST = PacketType.BROADCAST;
const MULTICAST = PacketType.MULTICAST;
const SMALL_BYTES = 128;
const MTU_ROOM = 65_535 + HEADER_BYTES;

/** The fields of the last frame's header; reused. */
class Header implements LinkHeader {
  packetStart = HEADER_BYTES;
  packetType: number = HOST;
  macHigh = 0;
  macLow = 0;
}

/** What an Ethernet link needs of its gateway. */
export interface EthernetOwner {
  readonly router: Router;
  readonly timers: Timers;
  readonly nd: NeighbourDiscovery;
  reportNeighbour(port: GatewayInterface, event: NeighbourEvent): void;
  reportUsurper(port: GatewayInterface, words: AddressWords, version: 4 | 6, by: Mac): void;
}

export class EthernetLink implements InterfaceLink, NeighbourLink, ArpLink, NdLink {
  readonly index: number;
  readonly mac: Mac;
  readonly neighbours: Neighbours;
  readonly arp: Arp;
  readonly interfaces: Interfaces;
  readonly #port: GatewayInterface;
  readonly #owner: EthernetOwner;
  readonly #router: Router;
  readonly #macHigh: number;
  readonly #macLow: number;
  readonly #header = new Header();
  readonly #hop = new Int32Array(4);
  readonly #scratch: Uint8Array;
  readonly #views: FrameViews;
  #scratchInUse = 0;
  readonly #framed = new FramedOffload();
  /** What is left to be done to packets that wait for their neighbour. */
  readonly #waiting = new WeakMap<Uint8Array, Offload>();

  constructor(port: GatewayInterface, owner: EthernetOwner, mac: Mac, options: NeighbourOptions) {
    this.#port = port;
    this.#owner = owner;
    this.#router = owner.router;
    this.index = port.index;
    this.mac = mac;
    this.#macHigh = mac.high;
    this.#macLow = mac.low;
    this.interfaces = owner.router.interfaces;
    this.neighbours = new Neighbours(this, owner.router.engine.random, options);
    this.arp = new Arp(this);
    this.#scratch = new Uint8Array(Math.min(MTU_ROOM, port.mtu + HEADER_BYTES));
    this.#views = new FrameViews(this.#scratch, 0);
  }

  // ---- in ----

  receive(frame: Uint8Array, nowMs: number, offload: Offload | undefined): void {
    if (frame.length < HEADER_BYTES) {
      this.#port.drops.count(DropReason.LINK_BAD_FRAME);
      return;
    }
    const high = macHighAt(frame, 0);
    const low = macLowAt(frame, 0);
    const header = this.#header;
    if ((high >>> 24) & 1) {
      header.packetType = high === -1 && low === 0xffff ? BROADCAST : MULTICAST;
    } else if (high === this.#macHigh && low === this.#macLow) {
      header.packetType = HOST;
    } else {
      this.#port.drops.count(DropReason.LINK_OTHER_HOST);
      return;
    }
    const sourceHigh = macHighAt(frame, 6);
    const sourceLow = macLowAt(frame, 6);
    const isOwn = sourceHigh === this.#macHigh && sourceLow === this.#macLow;
    if ((sourceHigh >>> 24) & 1 || isOwn) {
      this.#port.drops.count(DropReason.LINK_BAD_FRAME);
      return;
    }
    const etherType = ((frame[12] as number) << 8) | (frame[13] as number);
    const version = frame.length > HEADER_BYTES ? (frame[HEADER_BYTES] as number) >>> 4 : 0;
    if ((etherType === IPV4 && version === 4) || (etherType === IPV6 && version === 6)) {
      header.macHigh = sourceHigh;
      header.macLow = sourceLow;
      this.#router.receive(this.index, frame, nowMs, header, offload);
      return;
    }
    if (etherType === ARP) {
      const source = { high: sourceHigh, low: sourceLow };
      if (this.arp.receive(frame, HEADER_BYTES, source, nowMs) === 0) {
        this.#port.drops.count(DropReason.NEIGHBOUR_REFUSED);
      }
      return;
    }
    const isIp = etherType === IPV4 || etherType === IPV6;
    this.#port.drops.count(isIp ? DropReason.LINK_BAD_FRAME : DropReason.UNKNOWN_LINK_PROTOCOL);
  }

  // ---- out ----

  /** Sends the packet in `bytes[start, end)`, as soon as its next hop is known. `offload` counts from `start`. */
  transmit(bytes: Uint8Array, start: number, end: number, origin: Origin, offload?: Offload): void {
    const left = offload === undefined ? undefined : this.#framed.of(offload);
    const version = (bytes[start] as number) >>> 4 === 6 ? 6 : 4;
    const hop = this.#hop;
    if (version === 4) {
      const destination = wordAt(bytes, start + 16);
      if (destination >>> 28 === 14) {
        this.#emit(
          bytes,
          start,
          end,
          0x01005e00 | ((destination >>> 16) & 0x7f),
          destination & 0xffff,
          IPV4,
          left,
        );
        return;
      }
      hop[0] = destination;
      const type = this.#router.routes.find(4, hop, 0, this.index);
      if (destination === -1 || type === TYPE_BROADCAST) {
        this.#emit(bytes, start, end, BROADCAST_MAC.high, BROADCAST_MAC.low, IPV4, left);
        return;
      }
      hop[0] = this.#router.routes.nextHop4(destination);
    } else {
      for (let i = 0; i < 4; i++) hop[i] = wordAt(bytes, start + 24 + (i << 2));
      const last = hop[3] as number;
      if ((hop[0] as number) >>> 24 === 0xff) {
        this.#emit(bytes, start, end, 0x33330000 | (last >>> 16), last & 0xffff, IPV6, left);
        return;
      }
      this.#router.routes.find(6, hop, 0, this.index);
      this.#router.routes.nextHop6(hop, 0, hop);
    }
    const { nowMs } = this.#router;
    const neighbour = this.neighbours.resolve(version, hop, 0, nowMs);
    if (neighbour !== undefined) {
      this.#emit(bytes, start, end, neighbour.high, neighbour.low, version === 4 ? IPV4 : IPV6, left);
      return;
    }
    const words: AddressWords =
      version === 4
        ? [hop[0] as number, 0, 0, 0]
        : [hop[0] as number, hop[1] as number, hop[2] as number, hop[3] as number];
    const waiting = bytes.slice(start, end);
    if (left !== undefined) this.#waiting.set(waiting, new FramedOffload().copy(left));
    this.neighbours.queue(version, words, waiting, origin, nowMs);
  }

  /** Puts a header before the packet in `bytes[start, end)` and gives the frame to the link. */
  #emit(
    bytes: Uint8Array,
    start: number,
    end: number,
    macHigh: number,
    macLow: number,
    etherType: number,
    left: Offload | undefined,
  ): void {
    const lengthBytes = end - start + HEADER_BYTES;
    if (start === HEADER_BYTES && end === bytes.length) {
      this.#putHeader(bytes, 0, macHigh, macLow, etherType);
      this.#port.transmit(bytes, left);
      return;
    }
    if (this.#scratchInUse === 1 || lengthBytes > this.#scratch.length) {
      // A frame is on its way that has made somebody answer within the call: that one needs a buffer of its own.
      const frame = new Uint8Array(lengthBytes);
      frame.set(bytes.subarray(start, end), HEADER_BYTES);
      this.#putHeader(frame, 0, macHigh, macLow, etherType);
      this.#port.transmit(frame, left);
      return;
    }
    const scratch = this.#scratch;
    if (start === 0 && end === bytes.length) scratch.set(bytes, HEADER_BYTES);
    else if (lengthBytes > SMALL_BYTES) scratch.set(bytes.subarray(start, end), HEADER_BYTES);
    else for (let i = start; i < end; i++) scratch[HEADER_BYTES + i - start] = bytes[i] as number;
    this.#putHeader(scratch, 0, macHigh, macLow, etherType);
    this.#scratchInUse = 1;
    try {
      this.#port.transmit(this.#views.of(lengthBytes), left);
    } finally {
      this.#scratchInUse = 0;
    }
  }

  #putHeader(bytes: Uint8Array, at: number, macHigh: number, macLow: number, etherType: number): void {
    putMac(bytes, at, macHigh, macLow);
    putMac(bytes, at + 6, this.#macHigh, this.#macLow);
    bytes[at + 12] = etherType >>> 8;
    bytes[at + 13] = etherType;
  }

  // ---- what the neighbour table and ARP ask for ----

  ask(neighbour: Neighbour, whom: 'all' | 'station'): void {
    if (neighbour.version === 4) this.arp.ask(neighbour, whom);
    else this.#owner.nd.ask(this, neighbour, whom);
  }

  send(neighbour: Neighbour, bytes: Uint8Array): void {
    const etherType = neighbour.version === 4 ? IPV4 : IPV6;
    this.#emit(bytes, 0, bytes.length, neighbour.high, neighbour.low, etherType, this.#waiting.get(bytes));
  }

  drop(bytes: Uint8Array, origin: Origin, why: 'unreachable' | 'full'): void {
    const isLost = why === 'unreachable';
    this.#port.drops.count(isLost ? DropReason.NEIGHBOUR_UNREACHABLE : DropReason.NEIGHBOUR_QUEUE_FULL);
    if (isLost && origin === 'forwarded' && this.#port.state === 'up') {
      reportUndeliverable(this.#router as RouterCore, bytes);
    }
  }

  report(event: NeighbourEvent): void {
    this.#owner.reportNeighbour(this.#port, event);
  }

  wake(atMs: number): void {
    this.#owner.timers.wake(atMs);
  }

  sendArp(message: Uint8Array, to: Mac): void {
    const frame = new Uint8Array(HEADER_BYTES + message.length);
    frame.set(message, HEADER_BYTES);
    this.#putHeader(frame, 0, to.high, to.low, ARP);
    this.#port.transmit(frame);
  }

  usurped(words: AddressWords, by: Mac, version: 4 | 6): void {
    this.#owner.reportUsurper(this.#port, words, version, by);
  }

  /** Tells all stations that an address is ours (gratuitous ARP, unsolicited advertisement). */
  announce(version: 4 | 6, words: AddressWords): void {
    if (version === 4) this.arp.announce(words[0]);
    else this.#owner.nd.announce(this, words);
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
