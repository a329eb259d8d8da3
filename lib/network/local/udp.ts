/**
 * UDP endpoints of the gateway itself: datagrams to its own addresses, and those that NAT redirects to them. Cold.
 *
 * What arrives has passed INPUT; what is sent takes OUTPUT and POSTROUTING as any local packet does, so an answer to a
 * redirected datagram leaves from the address that the client asked, whichever interface it takes. A source that is not
 * ours is refused unless a flow that is under way was meant for it: EPERM, counted as `source-refused`.
 *
 * A program that is slow loses datagrams (`endpoint-queue-full`); an error that it throws is its own, and reported as an
 * uncaught one once the packet is done with.
 */

import { DropReason } from '../../counters.js';
import { ConfigurationError } from '../../errors.js';
import { splitIpv4, splitIpv6 } from '../../fragments/split.js';
import { type AddressWords, formatAddress } from '../../wire/address.js';
import { Packet } from '../../wire/packet.js';
import type { Router } from '../router.js';
import { findFrom } from '../source-address.js';
import { Datagram } from './arrival.js';
import { makeDatagram } from './datagram.js';
import { findEphemeralPort } from './ephemeral.js';
import { flowOf, isAnswer, wasMeantFor } from './flows.js';
import { BoundedQueue } from './queue.js';
import { PortProtocol, type Reservation } from './registry.js';
import {
  type BoundAddress,
  formatSocketAddress,
  readBoundAddress,
  readSocketAddress,
  type SocketAddress,
  type SocketWords,
  socketAddress,
} from './socket-address.js';
import { SocketError, socketErrorOf } from './socket-error.js';

const UDP = PortProtocol.UDP;
const EMSGSIZE = 90;

/** What endpoints need of the gateway around their router. */
export interface LocalTime {
  /** Time of what is done now, ms. */
  readonly nowMs: number;
}

export interface UdpBindOptions {
  /** An address of the gateway's. Default: all of them, of both families; `0.0.0.0` and `::` mean all of one. */
  readonly address?: string;
  /** Default: one that nobody has, from 32768 to 60999. */
  readonly port?: number;
  /** Only datagrams that come in by this interface; what is sent leaves by it, as with SO_BINDTODEVICE. */
  readonly interface?: string;
  /** Datagrams that wait for a slow reader: 256 by default. */
  readonly queueDatagrams?: number;
  /** Bytes that wait: 1 MiB by default. */
  readonly queueBytes?: number;
  /** For errors and lists; `udp` by default. */
  readonly owner?: string;
  /**
   * Takes datagrams that TPROXY gives it, whose destination is another host's: IP_TRANSPARENT of Linux. `address` may be
   * any then, and answers leave from the address that the client asked. Default no.
   */
  readonly transparent?: boolean;
  /** Takes datagrams as they arrive; without it they wait to be read by `for await`. */
  readonly onMessage?: (datagram: Datagram) => void;
}

/** Where something is sent from, if not from where routes and flows say. */
export interface UdpSendOptions {
  readonly from?: SocketAddress | string;
}

/** Makes UDP endpoints: `gateway.udp`. */
export class UdpSockets {
  readonly router: Router;
  readonly time: LocalTime;
  readonly #open = new Set<UdpEndpoint>();

  constructor(router: Router, time: LocalTime) {
    this.router = router;
    this.time = time;
  }

  /** Takes a port. Throws a ConfigurationError for a port that somebody has, or an address that is not the gateway's. */
  bind(options: UdpBindOptions = {}): UdpEndpoint {
    const endpoint = new UdpEndpoint(this, options, () => this.#open.delete(endpoint));
    this.#open.add(endpoint);
    return endpoint;
  }

  /** Closes all endpoints. */
  close(): void {
    for (const endpoint of [...this.#open]) endpoint.close();
  }
}

export class UdpEndpoint implements AsyncIterable<Datagram> {
  readonly port: number;
  /** undefined: every address. */
  readonly address: string | undefined;
  /** Takes datagrams as they arrive; while undefined they wait to be read. */
  onMessage: ((datagram: Datagram) => void) | undefined;
  /** Datagrams that were lost because nobody read them. */
  droppedDatagrams = 0;
  /** Datagrams that were not sent because their source was not ours to use. */
  refusedSources = 0;
  readonly #sockets: UdpSockets;
  readonly #bound: readonly BoundAddress[];
  /** Index of the interface that it is bound to, or 0. */
  readonly #interface: number;
  readonly #reservations: readonly Reservation[];
  readonly #isTransparent: boolean;
  readonly #queue: BoundedQueue<Datagram>;
  readonly #forget: () => void;
  #isClosed = false;

  constructor(sockets: UdpSockets, options: UdpBindOptions, forget: () => void) {
    const { router, time } = sockets;
    const { owner = 'udp', queueDatagrams = 256, queueBytes = 1 << 20 } = options;
    this.#sockets = sockets;
    this.#forget = forget;
    this.address = options.address;
    this.onMessage = options.onMessage;
    this.#queue = new BoundedQueue(queueDatagrams, queueBytes);
    this.#bound = readBoundAddress(options.address);
    this.#isTransparent = options.transparent === true;
    for (const { version, words } of this.#bound) {
      if (words === undefined || this.#isTransparent || isOurs(router, version, words)) continue;
      throw new ConfigurationError('value', `${owner}: not an address of the gateway`, {
        word: formatAddress(words, version),
      });
    }
    this.#interface = options.interface === undefined ? 0 : interfaceIndex(router, options.interface);
    const { tracker } = router.engine;
    this.port =
      options.port === undefined || options.port === 0
        ? findEphemeralPort(
            { protocol: UDP, bound: this.#bound, owner },
            router.ports,
            tracker,
            router.engine.random,
            time.nowMs,
          )
        : options.port;
    this.#reservations = router.ports.reserveAll(
      this.#bound.map(({ version, words }) => ({
        version,
        protocol: UDP,
        port: this.port,
        owner,
        receive: (packet: Packet) => this.#receive(packet),
        ...(words === undefined ? {} : { address: words }),
        ...(this.#interface === 0 ? {} : { interface: this.#interface }),
        transparent: this.#isTransparent,
      })),
    );
  }

  // ---- in ----

  #receive(packet: Packet): void {
    const { router } = this.#sockets;
    const datagram = new Datagram(packet, router.engine.tracker, router.interfaces.name(packet.inInterface));
    const { onMessage } = this;
    if (onMessage === undefined) {
      if (this.#queue.push(datagram, datagram.bytes.length)) return;
      this.droppedDatagrams++;
      router.engine.drops.count(DropReason.ENDPOINT_QUEUE_FULL);
      return;
    }
    try {
      onMessage(datagram);
    } catch (error) {
      reportLater(error);
    }
  }

  /** Datagrams in order of arrival, as far as `onMessage` does not take them; ends when the endpoint is closed. */
  [Symbol.asyncIterator](): AsyncIterator<Datagram, undefined> {
    return this.#queue[Symbol.asyncIterator]();
  }

  // ---- out ----

  /** Answers a datagram from where it arrived, which the client sees as where it sent it to. Throws a SocketError. */
  reply(to: Datagram, bytes: Uint8Array): void {
    this.#send(bytes, to.endWords(1), to.endWords(0));
  }

  /**
   * Sends a datagram. Without `from` its source is the bound address; else the one that the peer's flow came to; else
   * what the route says. Throws a SocketError, EPERM for a source that is not ours and for a rule that drops it.
   */
  send(bytes: Uint8Array, to: SocketAddress | string, { from }: UdpSendOptions = {}): void {
    const peer = readSocketAddress(to);
    if (peer === undefined || peer.port === 0)
      throw new SocketError('EINVAL', `not a destination: ${String(to)}`);
    const bound = this.#bound.find(({ version }) => version === peer.version);
    if (bound === undefined) throw new SocketError('EINVAL', 'the endpoint is bound to the other family');
    if (from === undefined) {
      const words = bound.words ?? this.#sourceFor(peer);
      this.#send(bytes, { version: peer.version, words, port: this.port }, peer);
      return;
    }
    const claimed = readSocketAddress(from);
    if (claimed?.version !== peer.version) throw new SocketError('EINVAL', `not a source: ${String(from)}`);
    const flow = this.#claim(bound, claimed, peer);
    this.#send(bytes, flow.local, flow.peer);
  }

  /** The address that the peer's flow came to, or the route's. */
  #sourceFor(peer: SocketWords): AddressWords {
    const { router, time } = this.#sockets;
    const { tracker } = router.engine;
    for (const words of ownAddresses(router, peer.version)) {
      if (isAnswer(tracker, UDP, { version: peer.version, words, port: this.port }, peer, time.nowMs))
        return words;
    }
    const into = new Int32Array(4);
    if (router.sourceFor(peer.version, Int32Array.from(peer.words), 0, into, this.#interface) === 0) {
      throw new SocketError('ENETUNREACH', `no way to ${formatAddress(peer.words, peer.version)}`);
    }
    return [into[0]!, into[1]!, into[2]!, into[3]!];
  }

  /** The ends to send between so that the peer sees `claimed` as the source. */
  #claim(
    bound: BoundAddress,
    claimed: SocketWords,
    peer: SocketWords,
  ): { local: SocketWords; peer: SocketWords } {
    const { router, time } = this.#sockets;
    const { tracker } = router.engine;
    const { version } = peer;
    if (
      claimed.port === this.port &&
      isBoundTo(bound, claimed.words) &&
      isOurs(router, version, claimed.words)
    ) {
      return { local: claimed, peer };
    }
    // A transparent endpoint answers in the name of whom the peer asked.
    if (this.#isTransparent && isAnswer(tracker, UDP, claimed, peer, time.nowMs)) {
      return { local: claimed, peer };
    }
    for (const words of ownAddresses(router, version)) {
      if (!isBoundTo(bound, words)) continue;
      const local: SocketWords = { version, words, port: this.port };
      if (wasMeantFor(tracker, UDP, local, peer, claimed, time.nowMs)) return { local, peer };
    }
    const flow = flowOf(tracker, UDP, peer, claimed, time.nowMs);
    if (flow !== undefined && flow.local.port === this.port && isBoundTo(bound, flow.local.words)) {
      if (isOurs(router, version, flow.local.words)) return flow;
    }
    this.refusedSources++;
    router.engine.drops.count(DropReason.SOURCE_REFUSED);
    const text = formatSocketAddress(socketAddress(claimed.words, version, 0, claimed.port));
    throw new SocketError('EPERM', `${text} is not an address of ours, and no flow was meant for it`);
  }

  #send(payload: Uint8Array, from: SocketWords, to: SocketWords): void {
    const { router, time } = this.#sockets;
    if (this.#isClosed) throw new SocketError('EBADF', 'the endpoint is closed');
    const { settings } = router;
    const ends = {
      version: to.version,
      addresses: Int32Array.from([...from.words, ...to.words]),
      sourcePort: from.port,
      destinationPort: to.port,
    };
    const hops = to.version === 4 ? settings.ttl : settings.hopLimit;
    const bytes = makeDatagram(ends, payload, hops, to.version === 4 ? router.nextId() : 0);
    if (bytes === undefined) {
      throw new SocketError('EMSGSIZE', `${payload.length} bytes are more than a datagram can have`);
    }
    const nowMs = Math.max(time.nowMs, router.nowMs);
    let errno = router.sendLocal(bytes, nowMs, undefined, this.#interface);
    if (errno === EMSGSIZE) errno = sendParts(router, bytes, nowMs, this.#interface);
    if (errno !== 0)
      throw socketErrorOf(errno, formatSocketAddress(socketAddress(to.words, to.version, 0, to.port)));
  }

  /** Gives the port back. What waits can still be read. Twice does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const reservation of this.#reservations) reservation.release();
    this.#queue.close();
    this.#forget();
  }
}

/** Sends a packet that its link cannot carry as fragments; tracking puts them together again on the way. */
function sendParts(router: Router, bytes: Uint8Array, nowMs: number, oif: number): number {
  const packet = new Packet();
  packet.parse(bytes);
  findFrom(router.routes, packet.version, packet.addresses, 4, oif);
  const mtu = router.interfaces.mtu(router.routes.interface);
  const parts: Uint8Array[] = [];
  const emit = (part: Uint8Array): number => parts.push(part.slice());
  if (packet.version === 4) splitIpv4(packet, mtu, emit);
  else if (splitIpv6(packet, mtu, 1, router.nextId(), emit) > 0) return EMSGSIZE;
  for (const part of parts) {
    const errno = router.sendLocal(part, nowMs, undefined, oif);
    if (errno !== 0) return errno;
  }
  return 0;
}

function isBoundTo({ words: bound }: BoundAddress, words: AddressWords): boolean {
  return bound?.every((word, i) => word === words[i]) ?? true;
}

/** Whether an address is of one of our interfaces, or of a loopback prefix: all of those are ours (AnyIP). */
function isOurs(router: Router, version: number, words: AddressWords): boolean {
  const { interfaces } = router;
  const address = Int32Array.from(words);
  return interfaces.owner(version, address, 0) > 0 || interfaces.loopbacks.covers(version, address, 0);
}

/** Addresses of all interfaces. */
function* ownAddresses(router: Router, version: number): Iterable<AddressWords> {
  for (let index = 1; index <= router.interfaces.loopback; index++) {
    for (const address of router.interfaces.addresses(index)) {
      if (address.version === version) yield address.words;
    }
  }
}

/** Index of an interface by name. Throws a ConfigurationError. */
export function interfaceIndex(router: Router, name: string): number {
  const index = router.interfaceIndex(name);
  if (index === 0) throw new ConfigurationError('unknown', 'no such interface', { word: name });
  return index;
}

/** Throws `error` where nothing of ours is under way. */
export function reportLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
