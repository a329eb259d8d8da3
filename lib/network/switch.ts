/**
 * An Ethernet switch: ports that learn who is where, so that guests of a relay and a gateway's interface share one
 * segment. Hot: nothing is allocated for a frame whose destination is known.
 *
 * Addresses are kept in a table of fixed size, with a limit for each port, so that a guest who makes up addresses
 * fills its own share only; an address that has no place is flooded to, as a broadcast is. An address moves to the port
 * that last sent from it, except away from a pinned one. No spanning tree, no VLANs: do not build loops.
 */
import { ConfigurationError } from '../errors.js';
import { copyFrame, ETHERNET_HEADER_BYTES, isDone } from './attachment.js';
import { macHighAt, macLowAt } from './mac.js';
import type { LinkPort, Offload } from './port.js';

export interface SwitchOptions {
  /** Addresses that are learnt in all; a power of two, 1,024 by default. */
  readonly addresses?: number;
  /** Addresses that one port may have, 16 by default. */
  readonly addressesPerPort?: number;
  /** Largest IP packet that its ports carry, 1,500 by default. */
  readonly mtu?: number;
}

export interface SwitchPortOptions {
  /**
   * `guest`, the default: an ordinary port. `isolated`: reaches uplinks only, as sandboxes should. `uplink`: reaches all,
   * and addresses seen there stay there: no guest can take a gateway's traffic by sending from its address.
   */
  readonly role?: 'guest' | 'isolated' | 'uplink';
}

/** A port of a switch: what an adapter is attached to. */
export interface SwitchPort extends LinkPort {
  /** Takes the port out of the switch; what it had learnt is forgotten. */
  close(): void;
}

/** Words of a slot: the address's first 32 bits, its last 16, and its port, from 1; 0 is free. */
const HIGH = 0;
const LOW = 1;
const PORT = 2;
const SLOT_WORDS = 4;
/** Slots that are looked at for one address. */
const PROBES = 8;

export class EthernetSwitch {
  readonly mtu: number;
  readonly #ports: (Port | undefined)[] = [undefined];
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #perPort: number;

  constructor(options: SwitchOptions = {}) {
    const addresses = options.addresses ?? 1024;
    if (!(addresses >= PROBES && addresses <= 0x10_0000 && (addresses & (addresses - 1)) === 0)) {
      throw new ConfigurationError('value', 'not a size for a table of addresses', {
        word: `${addresses}`,
        expected: 'a power of two from 8 to 1048576',
      });
    }
    this.mtu = options.mtu ?? 1500;
    this.#slots = new Int32Array(addresses * SLOT_WORDS);
    this.#mask = addresses - 1;
    this.#perPort = options.addressesPerPort ?? 16;
  }

  /** Ports that are in use. */
  get portCount(): number {
    return this.#ports.filter((port) => port !== undefined).length;
  }

  /** A new port. */
  addPort(options: SwitchPortOptions = {}): SwitchPort {
    const free = this.#ports.indexOf(undefined, 1);
    const number = free < 0 ? this.#ports.length : free;
    const port = new Port(this, number, options.role ?? 'guest');
    this.#ports[number] = port;
    return port;
  }

  /** Connects a port of something else, such as a gateway's interface, by a cable. Returns the port, to be closed. */
  connect(other: LinkPort, options: SwitchPortOptions = { role: 'uplink' }): SwitchPort {
    const port = this.addPort(options);
    joinPorts(port, other);
    return port;
  }

  /** For ports: a frame that arrived at `from`. */
  forward(from: Port, frame: Uint8Array, offload: Offload | undefined): void {
    if (frame.length < ETHERNET_HEADER_BYTES) return;
    const sourceHigh = macHighAt(frame, 6);
    if (((sourceHigh >>> 24) & 1) === 0) this.#learn(from, sourceHigh, macLowAt(frame, 6));
    const high = macHighAt(frame, 0);
    if (((high >>> 24) & 1) === 0) {
      const at = this.#find(high, macLowAt(frame, 0));
      if (at >= 0) {
        const to = this.#ports[this.#slots[at + PORT]];
        if (to !== undefined && to !== from && mayReach(from, to)) to.onTransmit?.(frame, offload);
        return;
      }
    }
    this.#flood(from, frame, offload);
  }

  /** For ports: forgets one. */
  remove(port: Port): void {
    if (this.#ports[port.number] !== port) return;
    this.#ports[port.number] = undefined;
    const slots = this.#slots;
    for (let at = PORT; at < slots.length; at += SLOT_WORDS) {
      if (slots[at] === port.number) slots[at] = 0;
    }
  }

  /** To all but where it came from. Whoever gets a frame may rewrite it, so all but the last get copies. */
  #flood(from: Port, frame: Uint8Array, offload: Offload | undefined): void {
    let last: Port | undefined;
    for (let i = 1; i < this.#ports.length; i++) {
      const to = this.#ports[i];
      if (to === undefined || to === from || to.onTransmit === undefined || !mayReach(from, to)) continue;
      if (last !== undefined) last.onTransmit?.(copyFrame(frame), offload);
      last = to;
    }
    last?.onTransmit?.(frame, offload);
  }

  #learn(from: Port, high: number, low: number): void {
    const slots = this.#slots;
    const at = this.#find(high, low);
    if (at >= 0) {
      const number = slots[at + PORT];
      if (number === from.number) return;
      const owner = this.#ports[number];
      if (owner?.role === 'uplink' || from.addresses >= this.#perPort) return;
      if (owner !== undefined) owner.addresses--;
      slots[at + PORT] = from.number;
      from.addresses++;
      return;
    }
    if (from.addresses >= this.#perPort) return;
    let slot = this.#home(high, low);
    for (let i = 0; i < PROBES; i++) {
      const free = slot * SLOT_WORDS;
      if (slots[free + PORT] === 0) {
        slots[free + HIGH] = high;
        slots[free + LOW] = low;
        slots[free + PORT] = from.number;
        from.addresses++;
        return;
      }
      slot = (slot + 1) & this.#mask;
    }
  }

  /** Word offset of the address's slot, or -1. All probes are looked at: ports that leave make holes. */
  #find(high: number, low: number): number {
    const slots = this.#slots;
    let slot = this.#home(high, low);
    for (let i = 0; i < PROBES; i++) {
      const at = slot * SLOT_WORDS;
      if (slots[at + PORT] !== 0 && slots[at + HIGH] === high && slots[at + LOW] === low) return at;
      slot = (slot + 1) & this.#mask;
    }
    return -1;
  }

  #home(high: number, low: number): number {
    const mixed = Math.imul(high ^ Math.imul(low, 0x9e37_79b1), 0x85eb_ca77);
    return (mixed ^ (mixed >>> 15)) & this.#mask;
  }
}

/** A cable between two ports: what one sends the other receives. Throws a ConfigurationError if one is plugged in. */
export function joinPorts(one: LinkPort, other: LinkPort): void {
  if (one.onTransmit !== undefined || other.onTransmit !== undefined) {
    throw new ConfigurationError('conflict', 'this port is plugged in already');
  }
  if (one.link !== other.link) {
    throw new ConfigurationError('conflict', 'the ports are of different links', {
      word: other.link,
      expected: one.link,
    });
  }
  one.onTransmit = (frame, offload) => other.receive(frame, offload);
  other.onTransmit = (frame, offload) => one.receive(frame, offload);
}

function mayReach(from: Port, to: Port): boolean {
  return from.role === 'isolated' || to.role === 'isolated'
    ? from.role === 'uplink' || to.role === 'uplink'
    : true;
}

class Port implements SwitchPort {
  readonly link = 'ethernet';
  readonly mtu: number;
  readonly number: number;
  readonly role: 'guest' | 'isolated' | 'uplink';
  onTransmit: LinkPort['onTransmit'];
  /** Addresses learnt here. */
  addresses = 0;
  readonly #switch: EthernetSwitch;
  #isClosed = false;

  constructor(owner: EthernetSwitch, number: number, role: 'guest' | 'isolated' | 'uplink') {
    this.#switch = owner;
    this.mtu = owner.mtu;
    this.number = number;
    this.role = role;
  }

  receive(frame: Uint8Array, offload?: Offload): void {
    if (this.#isClosed) return;
    this.#switch.forward(this, frame, offload !== undefined && isDone(offload) ? undefined : offload);
  }

  close(): void {
    this.#isClosed = true;
    this.onTransmit = undefined;
    this.#switch.remove(this);
  }
}
