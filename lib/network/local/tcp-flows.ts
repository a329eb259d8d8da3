/**
 * TCP hand-over: the segments of flows to a port of the gateway's own, packets in and packets out, for a stack of the
 * user's or for `TcpEndpoint`. Cold.
 *
 * A flow begins with a SYN and ends when its taker closes it. Its packets have the local address that NAT gave it; on
 * the way out NAT turns them back, so the client only sees the address that it asked. Segments of no flow are answered
 * with a reset. Bounded: with all flows in use a lingering one gives way, or the SYN is dropped (`endpoint-flows-full`).
 */
import { DropReason } from '../../counters.js';
import { Packet } from '../../wire/packet.js';
import { TcpFlag, tcpFlags, tcpSequence } from '../../wire/tcp.js';
import { resetFor, swapped } from '../reject.js';
import type { Router } from '../router.js';
import { originalDestination } from './flows.js';
import type { Reservation } from './registry.js';
import { type SocketAddress, socketAddress } from './socket-address.js';
import { SocketError, socketErrorOf } from './socket-error.js';
import { type TcpEnds, type TcpSegment, writeSegment } from './tcp-segment.js';
import type { FlowTuple } from './tuples.js';
import { type LocalTime, reportLater } from './udp.js';

const TCP = 6;
const { SYN, RST, ACK } = TcpFlag;
const NO_BYTES = new Uint8Array(0);

/** What begins and ends flows. */
export interface FlowOwner {
  /** A flow began; its SYN follows to `onPacket`. */
  begin(flow: TcpFlow): void;
}

/** The flows of one port. */
export class TcpFlows {
  readonly router: Router;
  readonly time: LocalTime;
  /** Index of the interface that the port is bound to, or 0. */
  readonly oif: number;
  reservations: readonly Reservation[] = [];
  readonly #owner: FlowOwner;
  readonly #most: number;
  readonly #flows = new Map<string, TcpFlow>();

  constructor(router: Router, time: LocalTime, owner: FlowOwner, most: number, oif: number) {
    this.router = router;
    this.oif = oif;
    this.time = time;
    this.#owner = owner;
    this.#most = most;
  }

  get count(): number {
    return this.#flows.size;
  }

  [Symbol.iterator](): IterableIterator<TcpFlow> {
    return this.#flows.values();
  }

  /** Takes a segment whose checksum is good. */
  receive(packet: Packet): void {
    const key = keyOf(packet);
    const found = this.#flows.get(key);
    const isSyn = (tcpFlags(packet) & (SYN | ACK | RST)) === SYN;
    if (found !== undefined && isSyn && found.mayReopen?.(tcpSequence(packet)) === true) found.close();
    else if (found !== undefined) {
      found.take(packet);
      return;
    }
    if (!isSyn) {
      this.#refuse(packet);
      return;
    }
    if (this.#flows.size >= this.#most && !this.#makeRoom()) {
      this.router.engine.drops.count(DropReason.ENDPOINT_FLOWS_FULL);
      return;
    }
    const tuple = this.#register(packet);
    const flow = new TcpFlow(this, packet, () => {
      this.#flows.delete(key);
      tuple?.release();
    });
    this.#flows.set(key, flow);
    try {
      this.#owner.begin(flow);
    } catch (error) {
      flow.close();
      reportLater(error);
    }
    flow.take(packet);
  }

  /** Makes a flow's tuple known to rules. */
  #register({ version, addresses, transport, bytes }: Packet): FlowTuple | undefined {
    const reservation = this.reservations.find(({ request }) => request.version === version);
    if (reservation === undefined) return undefined;
    const sourcePort = ((bytes[transport] as number) << 8) | (bytes[transport + 1] as number);
    const destinationPort = ((bytes[transport + 2] as number) << 8) | (bytes[transport + 3] as number);
    return this.router.ports.flows.add(reservation, version, addresses, sourcePort, destinationPort);
  }

  /** Ends the oldest flow that only lingers. */
  #makeRoom(): boolean {
    for (const flow of this.#flows.values()) {
      if (flow.isLingering?.() !== true) continue;
      flow.close();
      return true;
    }
    return false;
  }

  /** Answers a segment of no flow (RFC 9293 section 3.10.7.1). */
  #refuse(packet: Packet): void {
    this.router.engine.drops.count(DropReason.NO_LOCAL_LISTENER);
    const reset = resetFor(packet);
    if (reset === undefined) return;
    const ends = endsOf(packet);
    const segment: TcpSegment = { ...reset, window: 0, mss: -1, scale: -1, payload: NO_BYTES };
    this.router.sendOwn(
      writeSegment(ends, segment, hopsOf(this.router, ends.version), 0),
      undefined,
      this.oif,
    );
  }

  /** Forgets all flows, and gives the port back. */
  close(): void {
    for (const reservation of this.reservations) reservation.release();
    for (const flow of [...this.#flows.values()]) flow.close();
  }
}

/** A TCP flow that was handed over. */
export class TcpFlow {
  readonly version: 4 | 6;
  /** The client. */
  readonly source: SocketAddress;
  /** The gateway's end, where NAT brought the flow to: what packets both ways have. */
  readonly destination: SocketAddress;
  /** Where the client wanted to go, as SO_ORIGINAL_DST tells; `destination` if nothing redirected it. */
  readonly originalDst: SocketAddress;
  /** Interface that it came in by. */
  readonly interface: string;
  /** Gets each packet of the flow: an IP packet, borrowed, its checksums good. Set it before `onFlow` returns. */
  onPacket: ((packet: Uint8Array) => void) | undefined = undefined;
  /** Told once when the flow is over for the gateway: it was closed, gave way, or its port was given back. */
  onClose: (() => void) | undefined = undefined;
  /** Whether it may be ended to make room. */
  isLingering: (() => boolean) | undefined = undefined;
  /** Whether a SYN of this sequence number ends it and begins another (RFC 9293 section 3.6.1). */
  mayReopen: ((sequence: number) => boolean) | undefined = undefined;
  /** As `onPacket`, for the endpoint: the view itself. */
  onSegment: ((packet: Packet) => void) | undefined = undefined;
  /** Ends of packets from here to the client. */
  readonly ends: TcpEnds;
  /** Index of the interface that they leave by whatever routes say, or 0. */
  readonly oif: number;
  readonly #flows: TcpFlows;
  readonly #forget: () => void;
  #isClosed = false;

  constructor(flows: TcpFlows, packet: Packet, forget: () => void) {
    const { router } = flows;
    const { addresses, transport } = packet;
    this.#flows = flows;
    this.oif = flows.oif;
    this.#forget = forget;
    this.version = packet.version as 4 | 6;
    this.ends = endsOf(packet);
    this.source = socketAddress(addresses, this.version, 0, packet.u16(transport));
    this.destination = socketAddress(addresses, this.version, 4, packet.u16(transport + 2));
    const original = new Int32Array(4);
    const port = originalDestination(router.engine.tracker, packet, original);
    this.originalDst = socketAddress(original, this.version, 0, port);
    this.interface = router.interfaces.name(packet.inInterface);
  }

  take(packet: Packet): void {
    if (this.#isClosed) return;
    try {
      if (this.onSegment !== undefined) this.onSegment(packet);
      else this.onPacket?.(packet.bytes.subarray(packet.start, packet.end));
    } catch (error) {
      reportLater(error);
    }
  }

  /**
   * Sends an IP packet of the flow, from `destination` to `source`. Throws a SocketError: EPERM, counted, for a packet of
   * another flow; EPERM for one that a rule drops; EBADF once the flow is closed.
   */
  send(packet: Uint8Array): void {
    const { router, time } = this.#flows;
    if (this.#isClosed) throw new SocketError('EBADF', 'the flow is closed');
    const view = new Packet();
    if (view.parse(packet) !== DropReason.NONE || !isBetween(view, this.ends)) {
      router.engine.drops.count(DropReason.SOURCE_REFUSED);
      throw new SocketError('EPERM', 'not a packet of this flow');
    }
    const errno = router.sendLocal(packet, Math.max(time.nowMs, router.nowMs), undefined, this.oif);
    if (errno !== 0) throw socketErrorOf(errno, this.source.address);
  }

  /** Lets the flow go: what still comes of it is answered with a reset. Twice does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#forget();
    this.onClose?.();
  }
}

export function hopsOf(router: Router, version: 4 | 6): number {
  return version === 4 ? router.settings.ttl : router.settings.hopLimit;
}

/** Ends of the answers to a packet. */
function endsOf(packet: Packet): TcpEnds {
  return {
    version: packet.version as 4 | 6,
    addresses: swapped(packet),
    sourcePort: packet.u16(packet.transport + 2),
    destinationPort: packet.u16(packet.transport),
  };
}

function isBetween(packet: Packet, { addresses, sourcePort, destinationPort }: TcpEnds): boolean {
  const { protocol, transport, fragmentOffset, brokenChain } = packet;
  if (protocol !== TCP || fragmentOffset > 0 || brokenChain === 1 || packet.transportLengthBytes < 20)
    return false;
  if (packet.u16(transport) !== sourcePort || packet.u16(transport + 2) !== destinationPort) return false;
  return addresses.every((word, i) => word === packet.addresses[i]);
}

/** Text of a packet's tuple; of a transparent port, flows have others' addresses and ports as destination. */
function keyOf({ addresses: a, version, transport, bytes: b }: Packet): string {
  const ports =
    (b[transport]! << 24) | (b[transport + 1]! << 16) | (b[transport + 2]! << 8) | b[transport + 3]!;
  if (version === 4) return `${a[0]} ${ports} ${a[4]}`;
  return `${a[0]} ${a[1]} ${a[2]} ${a[3]} ${ports} ${a[4]} ${a[5]} ${a[6]} ${a[7]}`;
}
