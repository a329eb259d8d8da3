/**
 * The one register of ports that are taken on the router's own addresses: local sockets and services, forwards, and
 * whatever else must not be given to two. NAT asks it before it picks a port (`nat/reservations.ts`).
 *
 * A reservation is (family, protocol, address or any, interface or any, port). Two that are the same in all of these
 * clash; otherwise the more exact one gets the packet: an address before any, and then an interface before any. A range of
 * ports is one reservation. Reserving is cold; `find` and `isReserved` allocate nothing.
 */
import { ConfigurationError } from '../../errors.js';
import type { PortReservations } from '../../nat/reservations.js';
import { type AddressWords, formatAddress } from '../../wire/address.js';
import type { Packet } from '../../wire/packet.js';
import { FlowTuples } from './tuples.js';

/** Protocol numbers of ports. */
export const PortProtocol = { TCP: 6, UDP: 17 } as const;
export type PortProtocol = (typeof PortProtocol)[keyof typeof PortProtocol];

/**
 * Takes a packet that came to a reserved port: it passed INPUT, and its length and checksum are good. Borrowed: view
 * and bytes are valid during the call only.
 */
export type PortReceiver = (packet: Packet) => void;

/** What is to be reserved. */
export interface PortRequest {
  readonly version: 4 | 6;
  readonly protocol: PortProtocol;
  /** Host-order words; left out: every address of the family. */
  readonly address?: AddressWords;
  /** Index of the interface that packets must come in by; left out: any. */
  readonly interface?: number;
  readonly port: number;
  /** Last port of a range that begins with `port`; left out: that one port. */
  readonly last?: number;
  /** Who has it, for errors and lists: `dhcp`, `dns`, `socket`, `forward 8080:10.0.0.2`. */
  readonly owner: string;
  /** Left out: packets are taken without an answer. */
  readonly receive?: PortReceiver;
  /**
   * `apart`: NAT gives this port of these addresses to no connection. `shared`: NAT may, as on Linux, where sockets and
   * NAT do not know of each other; packets of its connections then go to those. Default `apart`.
   */
  readonly nat?: 'apart' | 'shared';
  /** Whether TPROXY may give it packets that are for others. Default no. */
  readonly transparent?: boolean;
}

/** A port that is taken, until `release`. */
export class Reservation {
  readonly request: PortRequest;
  /** Number of a transparent one, from 1; 0 of others. */
  readonly id: number;
  readonly #registry: PortRegistry;

  constructor(registry: PortRegistry, request: PortRequest, id: number) {
    this.#registry = registry;
    this.request = request;
    this.id = id;
  }

  /** Gives the port back. Doing it twice does nothing. */
  release(): void {
    this.#registry.release(this);
  }
}

const PORTS = 65536;
/** Protocols of both families, a bit for each port. */
const BITMAPS = 4;

export class PortRegistry implements PortReservations {
  /** Ports of reservations that NAT keeps away from. */
  count = 0;
  released = 0;
  /** TCP flows that ports have taken. */
  readonly flows = new FlowTuples();
  readonly #transparent = new Map<number, Reservation>();
  #lastId = 0;
  /** By family, protocol and port; the most exact first. The lists are never written to: ports of a range share theirs. */
  readonly #taken = new Map<number, Reservation[]>();
  /** Ports that NAT keeps away from on some address: a first look that most ports do not get past. */
  readonly #bits = new Int32Array((BITMAPS * PORTS) / 32);
  readonly #all = new Set<Reservation>();

  /** Takes a port. Throws a ConfigurationError that names both if somebody has it. */
  reserve(request: PortRequest): Reservation {
    const { port: first, last = first, protocol, version, owner } = request;
    const isRange = Number.isInteger(first) && Number.isInteger(last) && first >= 1 && first <= last;
    if (!isRange || last >= PORTS) {
      throw new ConfigurationError('value', `${owner}: not a port`, {
        word: String(first >= 1 && first < PORTS ? last : first),
        expected: `1 to ${PORTS - 1}`,
      });
    }
    for (let port = first; port <= last; port++) {
      const others = this.#taken.get(keyOf(version, protocol, port));
      const clash = others?.find((other) => clashes(other.request, request));
      if (clash === undefined) continue;
      throw new ConfigurationError('conflict', `${owner}: ${clash.request.owner} has this port already`, {
        word: describePort({ ...request, port, last: port }),
      });
    }
    const id = request.transparent === true ? ++this.#lastId : 0;
    const reservation = new Reservation(this, request, id);
    if (id > 0) this.#transparent.set(id, reservation);
    const alone = [reservation];
    for (let port = first; port <= last; port++) {
      const key = keyOf(version, protocol, port);
      const others = this.#taken.get(key);
      const all =
        others === undefined
          ? alone
          : [...others, reservation].sort((a, b) => rank(b.request) - rank(a.request));
      this.#taken.set(key, all);
      if (request.nat === 'shared') continue;
      const bit = bitOf(version, protocol, port);
      this.#bits[bit >> 5]! |= 1 << (bit & 31);
    }
    this.#all.add(reservation);
    if (request.nat !== 'shared') this.count += last - first + 1;
    return reservation;
  }

  /** Takes several ports or none. */
  reserveAll(requests: readonly PortRequest[]): Reservation[] {
    const held: Reservation[] = [];
    try {
      for (const request of requests) held.push(this.reserve(request));
    } catch (error) {
      for (const one of held) one.release();
      throw error;
    }
    return held;
  }

  /** The reservation that a packet to `words[at..at+3]` and `port` by interface `inInterface` is for. */
  find(
    version: number,
    protocol: number,
    words: Int32Array,
    at: number,
    port: number,
    inInterface: number,
  ): Reservation | undefined {
    if (this.#all.size === 0) return undefined;
    const found = this.#taken.get(keyOf(version, protocol, port));
    if (found === undefined) return undefined;
    for (let i = 0; i < found.length; i++) {
      const { address, interface: only } = (found[i] as Reservation).request;
      if (only !== undefined && only !== inInterface) continue;
      if (address === undefined || isSame(address, words, at)) return found[i];
    }
    return undefined;
  }

  /** A transparent one by its number; undefined once it is released. */
  byId(id: number): Reservation | undefined {
    return this.#transparent.get(id);
  }

  isReserved(version: number, protocol: number, words: Int32Array, at: number, port: number): 0 | 1 {
    if (protocol !== PortProtocol.TCP && protocol !== PortProtocol.UDP) return 0;
    const bit = bitOf(version, protocol, port);
    if (((this.#bits[bit >> 5] as number) & (1 << (bit & 31))) === 0) return 0;
    const found = this.#taken.get(keyOf(version, protocol, port)) as Reservation[];
    for (let i = 0; i < found.length; i++) {
      const { address, nat } = (found[i] as Reservation).request;
      if (nat !== 'shared' && (address === undefined || isSame(address, words, at))) return 1;
    }
    return 0;
  }

  /** Whether somebody has a port that `request` would clash with or be hidden by, shared or not. */
  isTaken(request: PortRequest): boolean {
    const { version, protocol, port, address } = request;
    const found = this.#taken.get(keyOf(version, protocol, port)) ?? [];
    return found.some(
      ({ request: other }) =>
        address === undefined ||
        other.address === undefined ||
        other.address.every((w, i) => w === address[i]),
    );
  }

  /** All that is taken. */
  *list(): Iterable<PortRequest> {
    for (const { request } of this.#all) yield request;
  }

  release(reservation: Reservation): void {
    if (!this.#all.delete(reservation)) return;
    const { version, protocol, port: first, last = first, nat } = reservation.request;
    this.released++;
    if (reservation.id > 0) this.#transparent.delete(reservation.id);
    if (nat !== 'shared') this.count -= last - first + 1;
    for (let port = first; port <= last; port++) {
      const key = keyOf(version, protocol, port);
      const others = this.#taken.get(key) as Reservation[];
      const left = others.length === 1 ? [] : others.filter((other) => other !== reservation);
      if (left.length === 0) this.#taken.delete(key);
      else this.#taken.set(key, left);
      if (nat === 'shared' || left.some((other) => other.request.nat !== 'shared')) continue;
      const bit = bitOf(version, protocol, port);
      this.#bits[bit >> 5]! &= ~(1 << (bit & 31));
    }
  }
}

/** Index of a port's bit. */
function bitOf(version: number, protocol: number, port: number): number {
  const family = (version === 6 ? 2 : 0) + (protocol === PortProtocol.UDP ? 1 : 0);
  return family * PORTS + port;
}

function keyOf(version: number, protocol: number, port: number): number {
  return ((version === 6 ? 256 : 0) + protocol) * PORTS + port;
}

/** Whether two requests that want the same port cannot both have it. */
export function clashes(a: PortRequest, b: PortRequest): boolean {
  const sameAddress =
    (a.address === undefined) === (b.address === undefined) &&
    (a.address === undefined || a.address.every((word, i) => word === b.address?.[i]));
  return sameAddress && a.interface === b.interface;
}

/** Exact addresses before any, and of those with an interface before without. */
function rank(request: PortRequest): number {
  return (request.address === undefined ? 0 : 2) + (request.interface === undefined ? 0 : 1);
}

function isSame(address: AddressWords, words: Int32Array, at: number): boolean {
  return (
    address[0] === words[at] &&
    address[1] === words[at + 1] &&
    address[2] === words[at + 2] &&
    address[3] === words[at + 3]
  );
}

/** `udp 10.0.0.1:53`, for people. */
export function describePort({ version, protocol, address, port, last = port }: PortRequest): string {
  const name = protocol === PortProtocol.UDP ? 'udp' : 'tcp';
  const ports = last === port ? String(port) : `${port}-${last}`;
  if (address === undefined) return `${name} *:${ports} (IPv${version})`;
  const text = formatAddress(address, version);
  return `${name} ${version === 6 ? `[${text}]` : text}:${ports}`;
}
