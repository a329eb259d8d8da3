/**
 * TCP to the gateway itself: ports whose flows are handed over as packets, or accepted as connections. Cold.
 *
 * Timers of all connections are one part of the gateway's time. Segments of connections leave through a queue, so that
 * two ends within one gateway do not call each other without end.
 */
import type { Packet } from '../../wire/packet.js';
import type { Router } from '../router.js';
import { findFrom } from '../source-address.js';
import type { Timed, Timers } from '../timers.js';
import { findEphemeralPort } from './ephemeral.js';
import { BoundedQueue } from './queue.js';
import { PortProtocol, type PortRequest } from './registry.js';
import { readBoundAddress } from './socket-address.js';
import { TcpConnection } from './tcp-connection.js';
import { hopsOf, type TcpFlow, TcpFlows } from './tcp-flows.js';
import { readSegment, type TcpSegment, writeSegment } from './tcp-segment.js';
import { interfaceIndex, type LocalTime, reportLater } from './udp.js';

type NatSharing = NonNullable<PortRequest['nat']>;

const TCP = PortProtocol.TCP;
const DEFAULT_FLOWS = 4096;
const HEADERS_BYTES4 = 40;
const HEADERS_BYTES6 = 60;
const DEFAULT_BACKLOG = 128;
const NEVER = Number.POSITIVE_INFINITY;

export interface TcpPortOptions {
  /** An address of the gateway's. Default: all of them, of both families; `0.0.0.0` and `::` mean all of one. */
  readonly address?: string;
  /** Default: one that nobody has. */
  readonly port?: number;
  /** Only flows that come in by this interface; their packets leave by it, as with SO_BINDTODEVICE. */
  readonly interface?: string;
  /** Flows at a time: 4096 by default. */
  readonly maxFlows?: number;
  /** For errors and lists; `tcp` by default. */
  readonly owner?: string;
  /**
   * Takes flows that TPROXY gives it, whose destination is another host's: IP_TRANSPARENT of Linux. `address` may be any
   * then. Default no.
   */
  readonly transparent?: boolean;
}

export interface TcpListenOptions extends TcpPortOptions {
  /** Takes connections as they are made; without it they wait to be read by `for await`. */
  readonly onConnection?: (connection: TcpConnection) => void;
  /** Connections that wait to be read: 128 by default; further ones are reset. */
  readonly backlog?: number;
  readonly sendBufferBytes?: number;
  readonly receiveBufferBytes?: number;
  /** How long a closed connection's tuple is remembered: 60 s by default. */
  readonly timeWaitMs?: number;
}

/** A port whose flows are handed over. */
export interface TcpHandOver {
  readonly port: number;
  /** Flows under way. */
  readonly flowCount: number;
  /** Gives the port back and lets its flows go. Twice does nothing. */
  close(): void;
}

/** Makes TCP ports: `gateway.tcp`. */
export class TcpSockets implements Timed {
  readonly router: Router;
  readonly time: LocalTime;
  readonly #timers: Pick<Timers, 'add' | 'wake'> | undefined;
  readonly #open = new Set<TcpHandOver>();
  readonly #connections = new Set<TcpConnection>();
  readonly #outbox: { flow: TcpFlow; segment: TcpSegment }[] = [];
  readonly #removeTimer: (() => void) | undefined;
  #isDraining = false;
  /** While timers run: the moment that they run for, which the clock may have left behind; else -1. */
  #stepMs = -1;
  #nextMs = NEVER;

  /** Without `timers` the owner calls `advance` at `nextMs`. */
  constructor(router: Router, time: LocalTime, timers?: Pick<Timers, 'add' | 'wake'>) {
    this.router = router;
    this.time = time;
    this.#timers = timers;
    this.#removeTimer = timers?.add(this);
  }

  /**
   * Takes a port whose flows `onFlow` gets as packets. Throws a ConfigurationError for a port that somebody has, or an
   * address that is none.
   */
  handOver(options: TcpPortOptions, onFlow: (flow: TcpFlow) => void): TcpHandOver {
    return this.#take(options, onFlow, 'apart').handOver;
  }

  /**
   * Takes a port and accepts connections to it. Throws as `handOver` does. `nat`: whether NAT may give the port to
   * connections that pass, as on Linux (`shared`).
   */
  listen(options: TcpListenOptions = {}, nat: NatSharing = 'apart'): TcpListener {
    const listener = new TcpListener(options, (flow) => this.#accept(flow, listener, options));
    listener.handOver = this.#take(options, listener.onFlow, nat).handOver;
    return listener;
  }

  #take(options: TcpPortOptions, begin: (flow: TcpFlow) => void, nat: NatSharing): { handOver: TcpHandOver } {
    const { router, time } = this;
    const { owner = 'tcp', maxFlows = DEFAULT_FLOWS } = options;
    const bound = readBoundAddress(options.address);
    const { tracker, random } = router.engine;
    const port =
      options.port === undefined || options.port === 0
        ? findEphemeralPort({ protocol: TCP, bound, owner }, router.ports, tracker, random, time.nowMs)
        : options.port;
    const index = options.interface === undefined ? 0 : interfaceIndex(router, options.interface);
    const flows = new TcpFlows(router, time, { begin }, maxFlows, index);
    flows.reservations = router.ports.reserveAll(
      bound.map(({ version, words }) => ({
        version,
        protocol: TCP,
        port,
        owner,
        nat,
        receive: (packet: Packet) => flows.receive(packet),
        ...(words === undefined ? {} : { address: words }),
        ...(index === 0 ? {} : { interface: index }),
        ...(options.transparent === undefined ? {} : { transparent: options.transparent }),
      })),
    );
    const handOver: TcpHandOver = {
      port,
      get flowCount() {
        return flows.count;
      },
      close: () => {
        this.#open.delete(handOver);
        flows.close();
      },
    };
    this.#open.add(handOver);
    return { handOver };
  }

  #accept(flow: TcpFlow, listener: TcpListener, options: TcpListenOptions): void {
    const { router, time } = this;
    const { sendBufferBytes, receiveBufferBytes, timeWaitMs } = options;
    const settled = (): void => this.#settle(connection, flow);
    const settings = {
      mss: this.#mssTo(flow),
      random: router.engine.random,
      transmit: (segment: TcpSegment) => this.#post(flow, segment),
      ...(sendBufferBytes === undefined ? {} : { sendBufferBytes }),
      ...(receiveBufferBytes === undefined ? {} : { receiveBufferBytes }),
      ...(timeWaitMs === undefined ? {} : { timeWaitMs }),
    };
    const connection: TcpConnection = new TcpConnection(flow, time, settings, settled);
    const { endpoint } = connection;
    this.#connections.add(connection);
    let isOffered = false;
    flow.mayReopen = (sequence) => endpoint.mayReopen(sequence);
    flow.isLingering = () => endpoint.state === 'TIME_WAIT' || endpoint.state === 'SYN_RECEIVED';
    flow.onClose = () => {
      this.#connections.delete(connection);
      endpoint.abort();
    };
    flow.onSegment = (packet) => {
      const segment = readSegment(packet);
      if (endpoint.state === 'CLOSED' && endpoint.error === undefined) endpoint.accept(segment, time.nowMs);
      else endpoint.receive(segment, time.nowMs);
      if (!isOffered && endpoint.state !== 'SYN_RECEIVED' && !endpoint.isGone) {
        isOffered = true;
        listener.offer(connection);
      }
      settled();
    };
  }

  /** After anything happened to a connection: its flow goes with it, and its timers are heard of. */
  #settle(connection: TcpConnection, flow: TcpFlow): void {
    if (connection.endpoint.state === 'CLOSED') flow.close();
    else this.#expect(connection.endpoint.nextMs());
  }

  #expect(atMs: number): void {
    if (atMs >= this.#nextMs) return;
    this.#nextMs = atMs;
    this.#timers?.wake(atMs);
  }

  /** Largest payload of a segment to the flow's client. */
  #mssTo({ ends, oif }: TcpFlow): number {
    const { routes, interfaces } = this.router;
    findFrom(routes, ends.version, ends.addresses, 4, oif);
    const mtu = interfaces.mtu(routes.interface);
    return mtu - (ends.version === 4 ? HEADERS_BYTES4 : HEADERS_BYTES6);
  }

  // ---- packets out ----

  #post(flow: TcpFlow, segment: TcpSegment): void {
    this.#outbox.push({ flow, segment });
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      for (let one = this.#outbox.shift(); one !== undefined; one = this.#outbox.shift()) this.#transmit(one);
    } finally {
      this.#isDraining = false;
    }
  }

  /** What is not sent is lost, as on any link, and will be sent again. */
  #transmit({ flow: { ends, oif }, segment }: { flow: TcpFlow; segment: TcpSegment }): void {
    const { router, time } = this;
    const id = ends.version === 4 ? router.nextId() : 0;
    const bytes = writeSegment(ends, segment, hopsOf(router, ends.version), id);
    const nowMs = this.#stepMs >= 0 ? this.#stepMs : Math.max(time.nowMs, router.nowMs);
    router.sendLocal(bytes, nowMs, undefined, oif);
  }

  // ---- time ----

  nextMs(): number {
    return this.#nextMs;
  }

  advance(nowMs: number): void {
    this.#stepMs = nowMs;
    for (const { endpoint } of [...this.#connections]) {
      if (endpoint.nextMs() <= nowMs) endpoint.advance(nowMs);
    }
    this.#stepMs = -1;
    this.#nextMs = NEVER;
    for (const { endpoint } of this.#connections) this.#nextMs = Math.min(this.#nextMs, endpoint.nextMs());
  }

  /** Gives all ports back and lets all flows go. */
  close(): void {
    for (const one of [...this.#open]) one.close();
    this.#removeTimer?.();
  }
}

/** A port that accepts connections: an async iterable of them. */
export class TcpListener implements AsyncIterable<TcpConnection> {
  handOver: TcpHandOver | undefined = undefined;
  onConnection: ((connection: TcpConnection) => void) | undefined;
  readonly onFlow: (flow: TcpFlow) => void;
  readonly #queue: BoundedQueue<TcpConnection>;

  constructor(options: TcpListenOptions, onFlow: (flow: TcpFlow) => void) {
    this.onConnection = options.onConnection;
    this.onFlow = onFlow;
    this.#queue = new BoundedQueue(options.backlog ?? DEFAULT_BACKLOG);
  }

  get port(): number {
    return this.handOver?.port ?? 0;
  }

  /** Connections of this port, lingering ones included. */
  get connectionCount(): number {
    return this.handOver?.flowCount ?? 0;
  }

  offer(connection: TcpConnection): void {
    if (this.onConnection === undefined) {
      if (!this.#queue.push(connection)) connection.abort();
      return;
    }
    try {
      this.onConnection(connection);
    } catch (error) {
      connection.abort();
      reportLater(error);
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<TcpConnection, undefined> {
    return this.#queue[Symbol.asyncIterator]();
  }

  /** Gives the port back; its connections are reset. Twice does nothing. */
  close(): void {
    this.handOver?.close();
    this.#queue.close();
  }
}
