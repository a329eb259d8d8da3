/**
 * A DHCPv4 server (RFC 2131) for the stations of one Ethernet interface. Cold.
 *
 * Its messages take the router's way: rules see them at INPUT and OUTPUT. Bounded by its pool; a station gets one address
 * at a time, whichever client id it names, and only for the Ethernet address that its frame came from. While a lease
 * lasts its address is bound to the station: nobody else gets it by ARP. Not here: relays, leases of other networks.
 */
import { ConfigurationError } from '../errors.js';
import { type AddressWords, formatAddress, parseAddress } from '../wire/address.js';
import type { Packet } from '../wire/packet.js';
import { type Lease, Leases } from './dhcp-leases.js';
import {
  asciiOption,
  DhcpOption,
  type DhcpRequest,
  DhcpType,
  readDhcp,
  words16,
  words32,
  writeDhcp,
} from './dhcp-message.js';
import type { EthernetLink } from './ethernet.js';
import type { LeaseReport } from './gateway-events.js';
import type { InterfaceAddress } from './interfaces.js';
import { makeDatagram, payloadOf } from './local/datagram.js';
import { PortProtocol, type Reservation } from './local/registry.js';
import { formatMac, isUnicastMac, parseMac } from './mac.js';
import type { Router } from './router.js';
import type { Timed } from './timers.js';

const SERVER_PORT = 67;
const CLIENT_PORT = 68;
const OFFER_MS = 30_000;
const DECLINED_MS = 3_600_000;
const DEFAULT_LEASE_SECONDS = 3600;
/** Most addresses of a pool. */
const MAX_POOL = 16_384;

/** Options of an interface's DHCP server; `{}` serves the whole subnet. */
export interface DhcpOptions {
  /** First and last address of the pool. Default: all hosts of the interface's first IPv4 subnet but the gateway. */
  readonly from?: string;
  readonly to?: string;
  /** Default 3600. */
  readonly leaseSeconds?: number;
  /** Default: the interface's address; `none` for guests that shall not get out. */
  readonly router?: string;
  /** Default: the interface's address if the gateway answers DNS there, else none. */
  readonly dns?: readonly string[];
  readonly domain?: string;
  /** Leases of an earlier run, as `leases()` gave them. */
  readonly leases?: readonly DhcpLease[];
}

/** A lease as text, to be kept. */
export interface DhcpLease {
  readonly mac: string;
  readonly address: string;
  readonly hostName: string;
  /** Time left, seconds; 0 for one that is over but remembered. */
  readonly seconds: number;
}

/** What a server needs of its gateway. */
export interface DhcpOwner {
  readonly router: Router;
  readonly nowMs: number;
  reportLease(report: LeaseReport): void;
  wake(atMs: number): void;
}

/** A station that always gets the same address. */
export interface FixedStation {
  readonly address: string;
  readonly mac: string;
  readonly name?: string;
}

export class DhcpServer implements Timed {
  readonly #owner: DhcpOwner;
  readonly #link: EthernetLink;
  readonly #name: string;
  readonly #own: InterfaceAddress;
  readonly #leases: Leases;
  readonly #leaseMs: number;
  readonly #options: readonly (readonly [number, Uint8Array])[];
  readonly #reservation: Reservation;

  constructor(
    owner: DhcpOwner,
    link: EthernetLink,
    name: string,
    options: DhcpOptions & { readonly answersDns: boolean; readonly stations: readonly FixedStation[] },
  ) {
    this.#owner = owner;
    this.#link = link;
    this.#name = name;
    const own = owner.router.interfaces.addresses(link.index).find(({ version }) => version === 4);
    if (own === undefined || own.prefix > 30) {
      throw new ConfigurationError('conflict', `dhcp on ${name} needs an IPv4 address with a subnet`, {
        word: name,
      });
    }
    this.#own = own;
    this.#leases = new Leases(poolOf(own, options, name), (lease) => this.#ended(lease));
    const seconds = options.leaseSeconds ?? DEFAULT_LEASE_SECONDS;
    if (!Number.isInteger(seconds) || seconds < 60 || seconds > 0x7fffffff) {
      throw new ConfigurationError('value', `lease time on ${name} out of range`, {
        word: String(seconds),
        expected: '60 to 2147483647 seconds',
      });
    }
    this.#leaseMs = seconds * 1000;
    this.#options = commonOptions(own, options, owner.router.interfaces.mtu(link.index), name);
    for (const { address, mac, name: hostName = '' } of options.stations) {
      const words = parseAddress(address.split('/')[0] as string, 4);
      if (words !== undefined) this.#leases.fix(words[0], parseMac(mac), hostName);
    }
    for (const lease of options.leases ?? []) this.#restore(lease);
    this.#reservation = owner.router.ports.reserve({
      version: 4,
      protocol: PortProtocol.UDP,
      interface: link.index,
      port: SERVER_PORT,
      owner: `dhcp on ${name}`,
      nat: 'shared',
      receive: (packet) => this.#receive(packet),
    });
  }

  /** All leases, those that are over included, as text. */
  leases(): DhcpLease[] {
    const { nowMs } = this.#owner;
    return [...this.#leases.list()]
      .filter(
        ({ mac, state }) => isUnicastMac(mac.high, mac.low) && state !== 'declined' && state !== 'offered',
      )
      .filter(({ isFixed, state }) => !isFixed || state === 'bound')
      .map(({ mac, address, hostName, state, untilMs }) => ({
        mac: formatMac(mac.high, mac.low),
        address: formatAddress([address], 4),
        hostName,
        seconds: state === 'bound' ? Math.max(0, Math.ceil((untilMs - nowMs) / 1000)) : 0,
      }));
  }

  close(): void {
    this.#reservation.release();
  }

  nextMs(): number {
    return this.#leases.nextMs();
  }

  advance(nowMs: number): void {
    this.#leases.advance(nowMs);
  }

  // ---- messages ----

  #receive(packet: Packet): void {
    const request = readDhcp(payloadOf(packet));
    if (request === undefined || request.relay !== 0 || !this.#isServing()) return;
    const { mac } = request;
    const isOfFrame = packet.hasMac === 0 || (mac.high === packet.macHigh && mac.low === packet.macLow);
    if (!isOfFrame || !isUnicastMac(mac.high, mac.low)) return;
    switch (request.type) {
      case DhcpType.DISCOVER:
        this.#discover(request);
        break;
      case DhcpType.REQUEST:
        this.#request(request);
        break;
      case DhcpType.DECLINE:
        this.#decline(request);
        break;
      case DhcpType.RELEASE: {
        const lease = this.#leases.ofAddress(request.clientAddress);
        if (lease?.belongsTo(mac)) this.#leases.end(lease);
        break;
      }
      case DhcpType.INFORM:
        if (this.#isOnLink(request.clientAddress))
          this.#send(request, DhcpType.ACK, 0, request.clientAddress);
        break;
    }
  }

  /** Whether the interface still has the address by which clients know us. */
  #isServing(): boolean {
    const addresses = this.#owner.router.interfaces.addresses(this.#link.index);
    return addresses.some(({ version, words }) => version === 4 && words[0] === this.#own.words[0]);
  }

  #discover(request: DhcpRequest): void {
    const { nowMs } = this.#owner;
    const lease = this.#leases.choose(request.mac, request.requested, nowMs);
    if (lease === undefined) {
      this.#report('exhausted', undefined, request);
      return;
    }
    if (lease.state !== 'bound') this.#hold(lease, 'offered', nowMs + OFFER_MS);
    this.#send(request, DhcpType.OFFER, lease.address, lease.address);
  }

  /** The four kinds of requests (RFC 2131 section 4.3.2): for our offer, for another's, after a reboot, to renew. */
  #request(request: DhcpRequest): void {
    const { mac, server, requested, clientAddress } = request;
    if (server !== 0 && server !== this.#own.words[0]) {
      const offered = this.#leases.ofStation(mac);
      if (offered?.state === 'offered') this.#leases.end(offered);
      return;
    }
    const address = requested !== 0 ? requested : clientAddress;
    const own = this.#leases.ofStation(mac);
    const lease =
      own?.address === address && own.state !== 'declined'
        ? own
        : server === 0 && own?.state !== 'bound'
          ? this.#leases.claim(mac, address)
          : undefined;
    if (lease === undefined) {
      this.#send(request, DhcpType.NAK, 0, 0);
      return;
    }
    const kind = lease.state === 'bound' ? 'renewed' : 'bound';
    if (!lease.isFixed) lease.hostName = request.hostName;
    this.#hold(lease, 'bound', this.#owner.nowMs + this.#leaseMs);
    this.#report(kind, lease, request);
    this.#send(request, DhcpType.ACK, lease.address, lease.address);
  }

  #decline(request: DhcpRequest): void {
    const lease = this.#leases.ofAddress(request.requested);
    if (lease === undefined || !lease.belongsTo(request.mac) || request.server !== this.#own.words[0]) return;
    if (this.#leases.decline(lease, this.#owner.nowMs + DECLINED_MS)) {
      this.#owner.wake(this.#leases.nextMs());
      this.#report('declined', lease, request);
    }
  }

  #hold(lease: Lease, state: 'offered' | 'bound', untilMs: number): void {
    this.#leases.hold(lease, state, untilMs);
    this.#link.neighbours.pin(4, [lease.address, 0, 0, 0], lease.mac, this.#owner.nowMs);
    this.#owner.wake(untilMs);
  }

  #ended(lease: Lease): void {
    if (!lease.isFixed) this.#link.neighbours.unpin(4, [lease.address, 0, 0, 0]);
    this.#owner.reportLease({
      kind: 'ended',
      interface: this.#name,
      address: formatAddress([lease.address], 4),
      mac: formatMac(lease.mac.high, lease.mac.low),
      hostName: lease.hostName,
    });
  }

  #restore({ mac, address, hostName, seconds }: DhcpLease): void {
    const words = parseAddress(address, 4);
    if (words === undefined) {
      throw new ConfigurationError('value', `lease on ${this.#name}: not an address`, { word: address });
    }
    const lease = this.#leases.restore(words[0], parseMac(mac), hostName);
    if (lease !== undefined && seconds > 0) this.#hold(lease, 'bound', this.#owner.nowMs + seconds * 1000);
  }

  /** Answers: to everybody where the client has no address yet and wants it so, or is told no (RFC 2131 section 4.1). */
  #send(request: DhcpRequest, type: number, yours: number, client: number): void {
    const own = this.#own.words[0];
    const lease: (readonly [number, Uint8Array])[] = [[DhcpOption.SERVER, words32(own)]];
    if (yours !== 0) {
      const seconds = this.#leaseMs / 1000;
      lease.push(
        [DhcpOption.LEASE_SECONDS, words32(seconds)],
        [DhcpOption.RENEWAL_SECONDS, words32(seconds >>> 1)],
        [DhcpOption.REBINDING_SECONDS, words32(Math.floor(seconds * 0.875))],
      );
    }
    const hostName = this.#leases.ofStation(request.mac);
    if (hostName?.isFixed && hostName.hostName !== '') {
      lease.push([DhcpOption.HOST_NAME, asciiOption(hostName.hostName)]);
    }
    const options = type === DhcpType.NAK ? lease.slice(0, 1) : [...lease, ...this.#options];
    const message = writeDhcp({ type, to: request, address: yours, options });
    const toAll = type === DhcpType.NAK || (request.clientAddress === 0 && request.broadcast === 1);
    const destination = toAll ? -1 : request.clientAddress !== 0 ? request.clientAddress : client;
    const { router } = this.#owner;
    const datagram = makeDatagram(
      {
        version: 4,
        addresses: Int32Array.of(own, 0, 0, 0, destination, 0, 0, 0),
        sourcePort: SERVER_PORT,
        destinationPort: CLIENT_PORT,
      },
      message,
      router.settings.ttl,
      router.nextId(),
    );
    if (datagram !== undefined) router.sendOwn(datagram, undefined, this.#link.index);
  }

  #isOnLink(address: number): boolean {
    return address !== 0 && ((address ^ this.#own.words[0]) & this.#own.mask[0]) === 0;
  }

  #report(kind: LeaseReport['kind'], lease: Lease | undefined, { mac, hostName }: DhcpRequest): void {
    this.#owner.reportLease({
      kind,
      interface: this.#name,
      mac: formatMac(mac.high, mac.low),
      hostName,
      ...(lease === undefined ? {} : { address: formatAddress([lease.address], 4) }),
    });
  }
}

/** Addresses of the pool in order; the gateway's own and those of the subnet itself are left out. */
function poolOf(own: InterfaceAddress, options: DhcpOptions, name: string): number[] {
  const network = own.words[0] & own.mask[0];
  const last = network | ~own.mask[0];
  const from = options.from === undefined ? network + 1 : poolAddress(options.from, own, name);
  const to = options.to === undefined ? last - 1 : poolAddress(options.to, own, name);
  const size = (to >>> 0) - (from >>> 0) + 1;
  if (size < 1) {
    throw new ConfigurationError('value', `dhcp on ${name}: the pool is empty`, {
      word: `${options.from ?? ''} - ${options.to ?? ''}`,
    });
  }
  const pool: number[] = [];
  for (let i = 0; i < Math.min(size, MAX_POOL); i++) {
    const address = (from + i) | 0;
    if (address !== own.words[0] && address !== network && address !== last) pool.push(address);
  }
  return pool;
}

function poolAddress(text: string, own: InterfaceAddress, name: string): number {
  const words = parseAddress(text, 4);
  if (words === undefined || ((words[0] ^ own.words[0]) & own.mask[0]) !== 0) {
    throw new ConfigurationError('value', `dhcp on ${name}: not an address of its subnet`, {
      word: text,
      expected: `an address of ${formatAddress(own.words, 4)}/${own.prefix}`,
    });
  }
  return words[0];
}

function commonOptions(
  own: InterfaceAddress,
  options: DhcpOptions & { readonly answersDns: boolean },
  mtu: number,
  name: string,
): (readonly [number, Uint8Array])[] {
  const address = (text: string): number => {
    const words: AddressWords | undefined = parseAddress(text, 4);
    if (words === undefined) {
      throw new ConfigurationError('value', `dhcp on ${name}: not an address`, { word: text });
    }
    return words[0];
  };
  const all: (readonly [number, Uint8Array])[] = [
    [DhcpOption.SUBNET_MASK, words32(own.mask[0])],
    [DhcpOption.BROADCAST, words32(own.words[0] | ~own.mask[0])],
    [DhcpOption.MTU, words16(mtu)],
  ];
  if (options.router !== 'none') {
    const router = options.router === undefined ? own.words[0] : address(options.router);
    all.push([DhcpOption.ROUTER, words32(router)]);
  }
  const servers = options.dns?.map(address) ?? (options.answersDns ? [own.words[0]] : []);
  if (servers.length > 0) all.push([DhcpOption.DNS, words32(...servers)]);
  if (options.domain !== undefined) all.push([DhcpOption.DOMAIN, asciiOption(options.domain)]);
  return all;
}
