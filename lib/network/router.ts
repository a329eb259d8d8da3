/**
 * A Linux router around the engine: interfaces, routes, forwarding, its own small stack and the errors that it sends.
 *
 *   link  -> receive: admit -> PREROUTING -> route -> forward: TTL, MTU, FORWARD, POSTROUTING, cut -> onTransmit
 *                                                  -> local:   whole, INPUT, own stack (answers go OUTPUT, POSTROUTING)
 *   local -> sendLocal: OUTPUT -> POSTROUTING -> onTransmit
 *
 * Life: packets are handled to the end within the call that brought them; only fragments wait, and `advance` gives
 * up those whose time is over. `receive` rewrites the bytes that it is given; what `onTransmit` gets is borrowed until
 * it returns. The way of an ordinary forwarded packet allocates nothing.
 * What it does not do: links with addresses (ARP, neighbours), redirects, policy routing, multicast routing, RA.
 */
import type { TrackContext } from '../conntrack/context.js';
import { DropReason } from '../counters.js';
import { Engine, NOT_OPENED } from '../engine.js';
import { ConfigurationError } from '../errors.js';
import { Reassembler } from '../fragments/reassembler.js';
import { AddressType } from '../host.js';
import { ChecksumState, CtInfo, type Packet, PacketType } from '../wire/packet.js';
import { Hook, Verdict } from '../wire/verdict.js';
import { copyForSelf } from './copy-for-self.js';
import type { NeighbourMessages, RouterCore } from './core.js';
import { EINVAL, EPERM } from './errno.js';
import { reportExpired } from './expired.js';
import type { FlowCache } from './flow-cache/flow-cache.js';
import { FlowCaches } from './flow-cache/flow-caches.js';
import { PREFETCH_PACKETS } from './flow-cache/prefetch.js';
import { Shortcut } from './flow-cache/shortcut.js';
import { icmpBit } from './icmp-errors.js';
import { Interfaces, parseInterfaceAddress } from './interfaces.js';
import { isLostFragment4 } from './kinds.js';
import { AnswerLimits } from './limits.js';
import { type LinkHeader, noteLink, type Origin, type RouterOutput } from './link.js';
import { PortRegistry } from './local/registry.js';
import { readSocket } from './local/socket-options.js';
import { addressOwn, prepareLocal, READY, versionOf } from './local-send.js';
import { deliver4 } from './local4.js';
import { deliver6 } from './local6.js';
import { deliverSegments } from './offload/arrivals.js';
import { Departures } from './offload/departures.js';
import { noteOffload } from './offload/unfinished.js';
import type { OptionsHost } from './options.js';
import { RouterOptionsHost } from './options-host.js';
import { type Passage, Passages } from './passage.js';
import { afterForward4, afterPostrouting4, beforeForward4, routeIncoming4, Way } from './path4.js';
import { admit6, admitOptions6, afterPostrouting6, beforeForward6, routeIncoming6 } from './path6.js';
import type { Offload } from './port.js';
import { RouterHost } from './router-host.js';
import type { RouterOptions } from './router-options.js';
import { Routes } from './routes.js';
import { defaultSettings, setLocalMark } from './settings.js';
import { sourceFor } from './source-address.js';
import { RouterSysctl } from './sysctl.js';
import { heard } from './verdicts.js';

const { PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING } = Hook;
const { ACCEPT, DROP } = Verdict;
const PARTIAL = ChecksumState.PARTIAL;
const NIL = -1;
const { NONE, LEARN, BEGIN } = Shortcut;
const FOR_HOST = PacketType.HOST;
const ICMP = 1;
const UDP = 17;
const ICMPV6 = 58;

export type { LinkHeader, Origin, RouterOutput } from './link.js';
export type { SocketOptions } from './local/socket-options.js';
export type { RouterOptions } from './router-options.js';

export class Router implements RouterCore {
  readonly engine: Engine;
  readonly host: RouterHost;
  readonly interfaces: Interfaces;
  readonly routes: Routes;
  readonly passages = new Passages();
  readonly optionsHost: OptionsHost = new RouterOptionsHost(this);
  readonly settings = defaultSettings();
  readonly limits = new AnswerLimits();
  readonly ports = new PortRegistry();
  neighbourMessages: NeighbourMessages | undefined = undefined;
  /** Gets each packet that leaves: interface, bytes (borrowed), and whether it is one of the router's own. */
  onTransmit: (interfaceIndex: number, bytes: Uint8Array, origin: Origin, offload?: Offload) => void =
    () => {};
  /** Takes what leaves in the place of `onTransmit`. */
  output: RouterOutput | undefined = undefined;
  icmpUnderWay = 0;
  /** Fragments for the router itself that conntrack left alone. */
  readonly #fragments = new Reassembler('host');
  readonly #emit: (bytes: Uint8Array) => void;
  readonly #sysctl: RouterSysctl;
  readonly #departures: Departures;
  readonly #flows: FlowCaches | undefined;
  readonly #time: TrackContext;
  #emitInterface = 0;
  #emitOrigin: Origin = 'forwarded';
  #id = 0xd2c1;
  /** Time at which fragments were looked at last. */
  #lookedMs = Number.NaN;

  constructor(options: RouterOptions) {
    this.interfaces = new Interfaces(options.interfaces, options.loopbackPrefixes);
    this.routes = new Routes(this.interfaces);
    for (const route of options.routes ?? []) this.routes.add(route);
    this.ports.reserveAll((options.sockets ?? []).flatMap(readSocket));
    if (options.localMark !== undefined) setLocalMark(this.settings, options.localMark);
    this.host = new RouterHost(this.interfaces, this.routes);
    this.engine = new Engine({ ...options, host: this.host });
    this.host.core = this;
    this.#time = this.engine.tracker.context;
    this.#departures = new Departures(this, this);
    this.engine.nat.keepFrom(this.ports);
    this.#sysctl = new RouterSysctl(this.settings, this.engine, this.#fragments, this.interfaces);
    if (options.flowCache !== false) this.#flows = new FlowCaches(this);
    for (const reassembler of [this.engine.reassembler, this.#fragments]) {
      reassembler.onExpire = (expired) => reportExpired(this, expired, reassembler === this.#fragments);
    }
    this.#emit = (bytes) =>
      this.transmit(this.#emitInterface, bytes, 0, bytes.length, this.#emitOrigin, undefined);
  }

  /** Index of an interface by name, 0 if there is none. */
  interfaceIndex(name: string): number {
    return this.interfaces.find(name);
  }

  /** Packets that the flow cache has sent the short way. */
  get flowCached(): number {
    return this.#flows?.forwarded ?? 0;
  }

  // ---- packets in ----

  /**
   * A packet from a link, at `nowMs`. Its bytes are rewritten. `header` says where in `bytes` it begins and what its link
   * header told; left out: at the beginning, and nothing. `offload` says what the link left to be done.
   */
  receive(
    interfaceIndex: number,
    bytes: Uint8Array,
    nowMs: number,
    header?: LinkHeader,
    offload?: Offload,
  ): void {
    this.#begin(nowMs);
    const start = header === undefined ? 0 : header.packetStart;
    const flows = this.#flows;
    let out = NONE as number;
    if (
      flows !== undefined &&
      offload === undefined &&
      (header === undefined || header.packetType === FOR_HOST)
    ) {
      out = flows.forward(interfaceIndex, bytes, start);
      if (out > 0) this.transmit(out, bytes, start, flows.last.endOffset, 'forwarded', undefined);
    }
    if (out <= 0) this.#take(out, interfaceIndex, bytes, start, header, offload);
  }

  /** The long way of a packet, of which the flow cache said `out`. */
  #take(
    out: number,
    interfaceIndex: number,
    bytes: Uint8Array,
    start: number,
    header: LinkHeader | undefined,
    offload: Offload | undefined,
  ): void {
    const passage = this.passages.take(1);
    if (passage === undefined) return;
    const learner = out === LEARN ? this.#flows?.last : undefined;
    const before = this.icmpUnderWay;
    try {
      if (out === BEGIN) noteLink(passage.packet, interfaceIndex, header);
      if (out !== BEGIN || this.#open(passage, bytes, start) === 0) {
        this.#receive(passage, interfaceIndex, bytes, start, header, offload, learner);
      }
    } catch (error) {
      learner?.end(passage);
      this.#unwind(passage, before);
      throw error;
    }
    this.passages.give();
  }

  /** A packet that may begin a connection. Returns 0, with nothing done, if it has to go the long way. */
  #open(passage: Passage, bytes: Uint8Array, start: number): 0 | 1 {
    const { packet } = passage;
    const verdict = this.engine.open(packet, bytes, start, (this.#flows as FlowCaches).last.hash);
    if (verdict === NOT_OPENED) return 0;
    if (heard(this.engine, verdict as Verdict, packet) === ACCEPT) this.#route(passage);
    this.engine.release(packet);
    return 1;
  }

  #receive(
    passage: Passage,
    interfaceIndex: number,
    bytes: Uint8Array,
    start: number,
    header: LinkHeader | undefined,
    offload: Offload | undefined,
    learner: FlowCache | undefined,
  ): void {
    learner?.begin(passage);
    const packet = passage.packet;
    let reason = packet.parse(bytes, start);
    if (offload !== undefined && reason === DropReason.NONE) reason = noteOffload(packet, offload);
    if (reason === DropReason.NONE) {
      noteLink(packet, interfaceIndex, header);
      this.#enter(passage);
      this.engine.release(packet);
    } else this.engine.drops.count(reason);
    learner?.end(passage);
  }

  /** A callback of the user's threw: what was under way is over, and the next packet finds nothing of it. */
  #unwind(passage: Passage, icmpUnderWay: number): void {
    this.icmpUnderWay = icmpUnderWay;
    this.passages.unwind(passage, (packet) => this.engine.release(packet));
  }

  /**
   * Packets from a link, `packets[0, count)`, as many calls of {@link receive} would take them, one after the other. With
   * many connections it is faster: their records are fetched for all at once.
   */
  processBatch(
    interfaceIndex: number,
    packets: readonly Uint8Array[],
    count: number,
    nowMs: number,
    header?: LinkHeader,
  ): void {
    for (let from = 0; from < count; from += PREFETCH_PACKETS) {
      const to = Math.min(count, from + PREFETCH_PACKETS);
      this.#flows?.prefetch(packets, from, to, header === undefined ? 0 : header.packetStart);
      for (let i = from; i < to; i++) this.receive(interfaceIndex, packets[i] as Uint8Array, nowMs, header);
    }
  }

  /**
   * Sends a packet as a local program would through a raw socket: total length, header checksum and, if they are 0,
   * id and source of an IPv4 header are filled in. `offload` says what is left to be done, as of UDP_SEGMENT. Returns 0 or
   * an error number: EINVAL for an offload that is impossible, or for more than 128 datagrams, EMSGSIZE for a packet or
   * segment that does not fit the link. With `oif` > 0 the packet leaves by that interface, as of a socket that is bound
   * to it (SO_BINDTODEVICE).
   */
  sendLocal(bytes: Uint8Array, nowMs: number, offload?: Offload, oif = 0): number {
    this.#begin(nowMs);
    const version = versionOf(bytes);
    if (version === 0) return EINVAL;
    const passage = this.passages.take(0);
    if (passage === undefined) return 0;
    passage.oif = oif;
    const before = this.icmpUnderWay;
    let errno: number;
    try {
      errno = this.#sendLocal(passage, bytes, version, offload);
    } catch (error) {
      this.#unwind(passage, before);
      throw error;
    }
    this.passages.give();
    return errno;
  }

  #sendLocal(passage: Passage, bytes: Uint8Array, version: number, offload: Offload | undefined): number {
    const packet = passage.packet;
    const errno = prepareLocal(this, passage, bytes, version, offload);
    if (errno !== READY) return errno;
    const sent = this.#output(passage);
    this.engine.release(packet);
    if (sent === 1) return 0;
    return packet.reason === DropReason.NO_ROUTE ? this.host.rerouteErrno : EPERM;
  }

  #begin(nowMs: number): void {
    if (nowMs === this.#lookedMs && nowMs === this.#time.nowMs) return;
    if (this.engine.reassembler.count > 0 || this.#fragments.count > 0) this.advance(nowMs);
    else this.engine.tracker.begin(nowMs);
    this.#lookedMs = nowMs;
  }

  // ---- the path ----

  #enter(passage: Passage): void {
    const packet = passage.packet;
    if (packet.version === 6 && admit6(this, passage) === 0) return;
    if (this.#run(PREROUTING, packet) === ACCEPT) this.#route(passage);
  }

  #route(passage: Passage): void {
    const packet = passage.packet;
    const way = packet.version === 4 ? routeIncoming4(this, passage) : routeIncoming6(this, passage);
    if (way === Way.FORWARD) this.#forward(passage);
    else if (way === Way.LOCAL) this.#deliver(passage);
  }

  #forward(passage: Passage): void {
    const packet = passage.packet;
    const goes = packet.version === 4 ? beforeForward4(this, passage) : beforeForward6(this, passage);
    if (goes === 0 || this.#run(FORWARD, packet) !== ACCEPT) return;
    if (packet.version === 4) afterForward4(this, passage);
    this.#post(passage);
  }

  #deliver(passage: Passage): void {
    const packet = passage.packet;
    if (packet.version === 4 && (packet.moreFragments === 1 || packet.fragmentOffset > 0)) {
      const verdict = this.#fragments.add(packet, this.nowMs);
      if (verdict === DROP) this.drop(passage, packet.reason);
      if (verdict !== ACCEPT) return;
    }
    if (this.#run(INPUT, packet) !== ACCEPT) return;
    if (packet.gsoSizeBytes > 0 && packet.protocol === UDP) {
      deliverSegments(this, passage, (one) => this.#handOver(one));
    } else this.#handOver(passage);
  }

  #handOver(passage: Passage): void {
    if (passage.packet.version === 4) deliver4(this, passage);
    else deliver6(this, passage, this.#fragments);
  }

  /** OUTPUT and on. Returns 1 unless the packet was dropped on the way. */
  #output(passage: Passage): 0 | 1 {
    const packet = passage.packet;
    const verdict = this.#run(OUTPUT, packet);
    if (verdict !== ACCEPT) return verdict === DROP && !isLostFragment4(packet) ? 0 : 1;
    return this.#post(passage);
  }

  /**
   * Packets of our own to everybody, or to the group of all hosts, reach ourselves too: a copy takes POSTROUTING and
   * comes in again by the interface that it would have left by.
   */
  #copyToSelf(passage: Passage): void {
    const packet = passage.packet;
    if (packet.outInterface === this.interfaces.loopback) return;
    const copy = copyForSelf(this.passages, passage);
    if (copy === undefined) return;
    const twin = copy.packet;
    if (this.#run(POSTROUTING, twin) === ACCEPT) {
      twin.inInterface = packet.outInterface;
      this.#loop(copy);
    } else if (packet.entry !== NIL) {
      // Whoever refused the copy refused its connection.
      packet.entry = NIL;
      packet.ctinfo = CtInfo.INVALID;
    }
    this.passages.give();
  }

  /** POSTROUTING and out. Returns 1 unless the packet was dropped on the way. */
  #post(passage: Passage): 0 | 1 {
    const packet = passage.packet;
    if (passage.isInput === 0) this.#copyToSelf(passage);
    const verdict = this.#run(POSTROUTING, packet);
    if (verdict !== ACCEPT) return verdict === DROP ? 0 : 1;
    const out = packet.outInterface;
    if (out === this.interfaces.loopback) {
      packet.inInterface = out;
      const before = this.icmpUnderWay;
      this.icmpUnderWay = 0;
      this.#loop(passage);
      this.icmpUnderWay = before;
      return 1;
    }
    const isUnfinished = packet.checksumState === PARTIAL || packet.gsoSizeBytes > 0;
    if (isUnfinished && this.#departures.depart(passage) === 1) return 1;
    this.#emitInterface = out;
    this.#emitOrigin = passage.isInput === 1 ? 'forwarded' : 'generated';
    const goes =
      packet.version === 4
        ? afterPostrouting4(this, passage, this.#emit)
        : afterPostrouting6(this, passage, this.#emit);
    if (goes === 1) {
      if (passage.learner !== undefined) passage.learner.learn(passage);
      this.transmit(out, packet.bytes, packet.start, packet.end, this.#emitOrigin, undefined);
    }
    return 1;
  }

  /** Gives a packet to its link, past all hooks. */
  transmit(
    out: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    origin: Origin,
    offload: Offload | undefined,
  ): void {
    if (this.output !== undefined) {
      this.output.transmit(out, bytes, start, end, origin, offload);
      return;
    }
    const isAll = start === 0 && end === bytes.length;
    this.onTransmit(out, isAll ? bytes : bytes.subarray(start, end), origin, offload);
  }

  /** A packet to ourselves comes in again; its connection stays attached. */
  #loop(passage: Passage): void {
    const packet = passage.packet;
    // What was on its way out before OUTPUT turned it round is for ourselves now.
    const isTurned = passage.routeType === AddressType.UNICAST;
    const routeType = isTurned ? AddressType.LOCAL : passage.routeType;
    packet.outInterface = 0;
    passage.isInput = 1;
    const before = packet.addresses[4];
    const low = packet.addresses[7];
    if (packet.version === 6) {
      const isLoopback = packet.inInterface === this.interfaces.loopback;
      const goes = isLoopback ? admitOptions6(this, passage) : admit6(this, passage);
      if (goes === 0) return;
    }
    if (this.#run(PREROUTING, packet) !== ACCEPT) return;
    if (packet.addresses[4] !== before || packet.addresses[7] !== low) {
      const type = this.routes.find(packet.version, packet.addresses, 4, 0);
      passage.routeType = type;
      packet.outInterface = this.routes.interface;
      if (type === AddressType.UNICAST) {
        this.#forward(passage);
        return;
      }
    }
    passage.routeType = routeType;
    this.#deliver(passage);
  }

  #run(hook: Hook, packet: Packet): Verdict {
    return heard(this.engine, this.engine.pass(hook, packet), packet);
  }

  // ---- what the parts use ----

  sendOwn(bytes: Uint8Array, about: Packet | undefined, oif: number): void {
    const passage = this.passages.take(0);
    if (passage === undefined) return;
    const packet = passage.packet;
    if (packet.parse(bytes) === DropReason.NONE) {
      addressOwn(this, passage, about, oif);
      const before = this.icmpUnderWay;
      if (packet.protocol === ICMP || packet.protocol === ICMPV6)
        this.icmpUnderWay |= icmpBit(packet.version);
      const out = packet.outInterface;
      if (out > 0 && !this.interfaces.isStranded(packet.version, packet.addresses, out))
        this.#output(passage);
      this.icmpUnderWay = before;
      this.engine.release(packet);
    }
    this.passages.give();
  }

  drop(passage: Passage, reason: DropReason): void {
    passage.packet.reason = reason;
    this.engine.drops.count(reason);
    this.engine.release(passage.packet);
  }

  nextId(): number {
    return (this.#id = this.#id >= 0xffff ? 1 : this.#id + 1);
  }

  sourceFor(version: number, words: Int32Array, at: number, into: Int32Array, oif = 0): 0 | 1 {
    return sourceFor(this.interfaces, this.routes, version, words, at, into, oif);
  }

  // ---- time ----

  /** Time of the packet under way, ms. */
  get nowMs(): number {
    return this.#time.nowMs || 0;
  }

  set nowMs(nowMs: number) {
    this.engine.tracker.begin(nowMs);
  }

  /** When `advance` has something to do next, ms; Infinity if nothing waits. */
  nextTimerMs(): number {
    return Math.min(this.engine.reassembler.nextTimerMs(), this.#fragments.nextTimerMs());
  }

  /** Does what was due up to `nowMs`, each thing at its time. */
  advance(nowMs: number): void {
    for (let due = this.nextTimerMs(); due <= nowMs; due = this.nextTimerMs()) {
      this.nowMs = due;
      this.engine.reassembler.advance(due);
      this.#fragments.advance(due);
    }
    this.nowMs = nowMs;
  }

  // ---- settings and addresses ----

  /** Sets a setting by its name under /proc/sys, as sysctl would. Throws a ConfigurationError for an unknown one. */
  sysctl(name: string, value: string | number): void {
    this.#sysctl.set(name, String(value));
    this.#flows?.forget();
  }

  /** Value of a setting; undefined for a name that is none. */
  getSysctl(name: string): number | undefined {
    return this.#sysctl.get(name);
  }

  /** Adds an address (`10.0.0.1/24`) to an interface. */
  addAddress(interfaceIndex: number, text: string): void {
    this.routes.addAddress(interfaceIndex, text);
  }

  /** Takes an address away; connections that were masqueraded to it end. */
  removeAddress(interfaceIndex: number, text: string): void {
    if (!this.routes.removeAddress(interfaceIndex, text)) {
      throw new ConfigurationError('unknown', 'the interface has no such address', { word: text });
    }
    const { version, words } = parseInterfaceAddress(text);
    this.engine.nat.addressGone(version, interfaceIndex, Int32Array.from(words), 0);
  }
}
