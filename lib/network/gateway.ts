/**
 * The sandbox network's centre: a router and engine with interfaces that links plug into, its services, and its time.
 *
 *   const gateway = createGateway({ interfaces: [{ name: 'lan', link: 'ethernet', addresses: ['10.0.0.1/24'] }, ...] });
 *   gateway.interface('lan').onTransmit = (frame) => guest.send(frame);
 *   guest.onFrame = (frame) => gateway.interface('lan').receive(frame);
 *
 * Time: one timer that never keeps a process alive does what is due (fragments, the reaper, neighbours, services);
 * with a clock of his own a caller says `advance` and it happens at once. `close` ends all of it: frames are then
 * counted and dropped. Packets never throw; what is configured wrongly throws a ConfigurationError and changes nothing.
 */
import { EventEmitter } from 'eventemitter3';
import { type Clock, systemClock } from '../clock.js';
import { TimeWait } from '../conntrack/time-wait.js';
import type { DropCounters } from '../counters.js';
import type { Engine } from '../engine.js';
import { ConfigurationError } from '../errors.js';
import { SeededRandom, unpredictableRandom } from '../random.js';
import { type AddressWords, formatAddress } from '../wire/address.js';
import type { DhcpServer } from './dhcp.js';
import type { DnsForwarder } from './dns-forwarder.js';
import { EthernetLink, type EthernetOwner } from './ethernet.js';
import type { ForwardHandle, ForwardProtocol, ForwardRequest, Forwards } from './forwards/forwards.js';
import { GatewayAccess } from './gateway-access.js';
import { checkGateway } from './gateway-check.js';
import type { GatewayEvents } from './gateway-events.js';
import {
  type FrameRecorder,
  GatewayInterface,
  type InterfaceLink,
  type InterfaceOwner,
} from './gateway-interface.js';
import type { ChangeableOptions, GatewayOptions } from './gateway-options.js';
import { GatewayServices } from './gateway-services.js';
import { DEFAULT_MTU, type InterfacePlan, planInterface } from './interface-plan.js';
import { parseInterfaceAddress } from './interfaces.js';
import { refuseOther } from './known.js';
import type { Origin, RouterOutput } from './link.js';
import { Liveness } from './liveness/liveness.js';
import { type KeptPort, keepPort } from './local/reserve.js';
import { TcpSockets } from './local/tcp.js';
import { UdpSockets } from './local/udp.js';
import { LoopbackPrefixes } from './loopback.js';
import { formatMac, type Mac, parseMac } from './mac.js';
import { NeighbourDiscovery } from './nd.js';
import type { NeighbourEvent } from './neighbours.js';
import type { OffloadKind } from './offload/features.js';
import type { Policy, PolicyOptions } from './policy/policy.js';
import type { Offload } from './port.js';
import { Router } from './router.js';
import { type Timed, Timers } from './timers.js';

/** Longest sleep of the timer: what became due without telling is found then, ms. */
const LONGEST_SLEEP_MS = 1000;

/** Makes a gateway; it runs at once. Throws a ConfigurationError. */
export function createGateway(options: GatewayOptions): Gateway {
  checkGateway(options);
  return new Gateway(options);
}

export class Gateway implements RouterOutput, InterfaceOwner, EthernetOwner {
  readonly router: Router;
  readonly engine: Engine;
  readonly events = new EventEmitter<GatewayEvents>();
  /** What is due by time alone; parts of the gateway add theirs. */
  readonly timers = new Timers();
  readonly nd: NeighbourDiscovery;
  /** What became of silent connections. */
  readonly liveness: Liveness;
  /** UDP endpoints of the gateway's own. */
  readonly udp: UdpSockets;
  /** TCP ports of the gateway's own: flows handed over, connections accepted. */
  readonly tcp: TcpSockets;
  readonly interfaces: readonly GatewayInterface[];
  readonly rules: GatewayRules;
  readonly services: GatewayServices;
  /** Forwards, policy, and the chains that they are. */
  readonly access: GatewayAccess;
  readonly #clock: Clock;
  /** By interface index; undefined for raw IP. */
  readonly #ethernet: (EthernetLink | undefined)[] = [];
  /** By interface index. */
  readonly #ports: (GatewayInterface | undefined)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #batchMs = -1;
  #isClosed = 0;

  constructor(options: GatewayOptions) {
    this.#clock = options.clock ?? systemClock;
    const random = options.random ?? unpredictableRandom();
    // Addresses of interfaces come from a generator of their own: NAT's picks do not depend on them.
    const macs = new SeededRandom(random.u32());
    const plans = options.interfaces.map((one) => planInterface(one, macs));
    this.router = new Router({
      ...options,
      random,
      reaper: { clock: this.#clock, ...options.reaper },
      interfaces: plans.map(({ options: { name, mtu, routeLocalnet }, addresses }) => ({
        name,
        addresses,
        mtu: mtu ?? DEFAULT_MTU,
        ...(routeLocalnet === undefined ? {} : { routeLocalnet }),
      })),
    });
    this.engine = this.router.engine;
    this.router.output = this;
    this.router.nowMs = this.nowMs;
    this.rules = new GatewayRules(this);
    this.nd = new NeighbourDiscovery(this.router);
    this.router.neighbourMessages = this.nd;
    for (const [name, value] of Object.entries(options.sysctls ?? {})) this.router.sysctl(name, value);
    this.interfaces = plans.map((plan, i) => this.#makeInterface(plan, i + 1));
    this.udp = new UdpSockets(this.router, this);
    this.tcp = new TcpSockets(this.router, this, this.timers);
    this.services = new GatewayServices(this, options.interfaces, this.#ethernet, options.dns, macs);
    for (const family of [4, 6] as const) {
      const text = options.rules?.[family];
      if (text !== undefined) this.engine.restore(family, text, `rules ${family}`);
    }
    this.access = new GatewayAccess(this.router, this.events, options);
    this.timers.add({
      nextMs: () => this.router.nextTimerMs(),
      advance: (nowMs) => this.router.advance(nowMs),
    });
    this.timers.add(reaperOf(this.engine));
    this.liveness = new Liveness(this.router, options);
    this.timers.add(this.liveness);
    this.engine.tick(this.router.nowMs);
    this.timers.onStep = (nowMs) => {
      this.router.nowMs = nowMs;
    };
    this.timers.onEarlier = (atMs) => this.#wake(atMs);
    this.#schedule();
  }

  #makeInterface(plan: InterfacePlan, index: number): GatewayInterface {
    const { name, link = 'ip', mtu = DEFAULT_MTU, neighbours = {}, stations = [] } = plan.options;
    const port = new GatewayInterface(this, { name, index, link, mtu, mac: plan.mac });
    this.#ports[index] = port;
    if (plan.mac === undefined) {
      port.connect(new RawLink(this.router, port));
      return port;
    }
    const ethernet = new EthernetLink(port, this, plan.mac, neighbours);
    this.#ethernet[index] = ethernet;
    port.connect(ethernet);
    this.nd.add(ethernet);
    this.timers.add(ethernet.neighbours);
    for (const station of stations) {
      const { version, words } = parseInterfaceAddress(station.address);
      ethernet.neighbours.pin(version, words, parseMac(station.mac), this.router.nowMs);
    }
    return port;
  }

  // ---- interfaces ----

  /** An interface by name. Throws a ConfigurationError if there is none. */
  interface(name: string): GatewayInterface {
    const found = this.interfaces.find((one) => one.name === name);
    if (found === undefined) {
      throw new ConfigurationError('unknown', 'no such interface', {
        word: name,
        expected: this.interfaces.map((one) => one.name).join(', '),
      });
    }
    return found;
  }

  /** The Ethernet side of an interface: its neighbours; undefined for raw IP. */
  ethernet(name: string): EthernetLink | undefined {
    return this.#ethernet[this.interface(name).index];
  }

  /** Gives an interface another address (`10.0.0.9/24`), and tells the stations on its link. */
  addAddress(name: string, text: string): void {
    const { index } = this.interface(name);
    this.#now();
    this.router.addAddress(index, text);
    const { version, words } = parseInterfaceAddress(text);
    this.#ethernet[index]?.announce(version, words);
    this.services.addressesChanged(index);
  }

  /** Takes an address away; connections that were masqueraded to it end. */
  removeAddress(name: string, text: string): void {
    const { index } = this.interface(name);
    this.#now();
    this.router.removeAddress(index, text);
    this.services.addressesChanged(index);
  }

  /**
   * Takes a link down or up again. While it is down nothing goes in or out, packets to it find no route, its neighbours
   * are forgotten, and connections that were masqueraded behind it end.
   */
  setLink(name: string, state: 'up' | 'down'): void {
    const port = this.interface(name);
    refuseOther('state of a link', state, ['up', 'down']);
    if (port.state === state || port.state === 'closed') return;
    const nowMs = this.#now();
    port.setState(state);
    this.router.routes.setLink(port.index, state);
    if (state === 'up') return;
    this.engine.tracker.begin(nowMs);
    this.engine.nat.interfaceGone(port.index);
    this.#ethernet[port.index]?.neighbours.clear();
  }

  /**
   * Has what passes over all interfaces recorded, in both directions, until the returned function is called; one
   * interface alone has a `capture` of its own. Files in Node: `captureToFile`.
   */
  capture(recorder: FrameRecorder): () => void {
    const stops = this.interfaces.map((one) => one.capture(recorder));
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Adds a route, as `ip route add`. */
  addRoute(text: string): void {
    this.router.routes.add(text);
  }

  removeRoute(text: string): void {
    this.router.routes.remove(text);
  }

  /** The DHCP server of an interface, to see and keep its leases; undefined without. */
  dhcp(name: string): DhcpServer | undefined {
    return this.services.dhcp(this.interface(name).index);
  }

  /** The DNS service; undefined without. */
  get dns(): DnsForwarder | undefined {
    return this.services.dns;
  }

  /**
   * Puts these options in the place of those before, what is left out included: silent connections, TIME_WAIT, loopback
   * prefixes. Connections stay. Throws a ConfigurationError, and nothing has changed then.
   */
  change(options: ChangeableOptions): void {
    const nowMs = this.#now();
    const { context } = this.engine.tracker;
    const { interfaces, routes } = this.router;
    const timeWait = options.timeWaitReuse && new TimeWait(options.timeWaitReuse);
    const loopbacks = new LoopbackPrefixes(options.loopbackPrefixes ?? []);
    this.liveness.change(options);
    if (timeWait === undefined || context.timeWait === undefined) context.timeWait = timeWait;
    else context.timeWait.follow(timeWait);
    interfaces.loopbacks.follow(loopbacks);
    routes.followPrefixes();
    this.engine.tick(nowMs);
    this.#schedule();
  }

  // ---- local endpoints ----

  /**
   * Keeps a port of the gateway's addresses from endpoints, forwards and NAT. Throws a ConfigurationError if somebody has
   * it.
   */
  reserve(protocol: 'tcp' | 'udp', address: string | undefined, port: number): KeptPort {
    return keepPort(this.router.ports, protocol, address, port);
  }

  // ---- forwards and policy ----

  /**
   * Forwards ports in passt's grammar: `forward('tcp', '8080:10.0.0.2/80')`. Throws a ConfigurationError, and nothing has
   * changed then.
   */
  forward(
    protocol: ForwardProtocol,
    spec: string,
    options?: Omit<ForwardRequest, 'protocol' | 'spec'>,
  ): ForwardHandle {
    const nowMs = this.#now();
    const handle = this.access.forwards.add(protocol, spec, options);
    this.engine.tick(nowMs);
    this.#schedule();
    return handle;
  }

  /** All forwards. */
  get forwards(): Forwards {
    return this.access.forwards;
  }

  /**
   * Puts a policy in the place of the one before, or takes it away; it holds from the next packet on, of connections that
   * there are too. Throws a ConfigurationError, and nothing has changed then.
   */
  policy(options: PolicyOptions | undefined): Policy {
    const nowMs = this.#now();
    if (options === undefined) this.access.policy.remove();
    else this.access.policy.apply(options);
    this.engine.tick(nowMs);
    this.#schedule();
    return this.access.policy;
  }

  // ---- rules and settings ----

  /** Replaces the tables that the iptables-save text has. Throws a ConfigurationError, and nothing has changed then. */
  restore(family: 4 | 6, text: string, file?: string): void {
    this.access.chains.restore(family, text, file);
    this.engine.tick(this.#now());
    this.#schedule();
  }

  /** Sets a setting by its name under /proc/sys. */
  sysctl(name: string, value: string | number): void {
    this.router.sysctl(name, value);
  }

  getSysctl(name: string): number | undefined {
    return this.router.getSysctl(name);
  }

  /** Why packets were dropped, by everything behind the interfaces. */
  get drops(): DropCounters {
    return this.engine.drops;
  }

  // ---- packets ----

  /** Time of what is done now, whole ms: the clock's, or the batch's. Fractions would be boxed on their way. */
  get nowMs(): number {
    return this.#batchMs >= 0 ? this.#batchMs : Math.floor(this.#clock.nowMs());
  }

  /** Runs `work`, for which the clock is read once: for adapters that have several frames at a time. */
  batch(work: () => void): void {
    const before = this.#batchMs;
    this.#batchMs = Math.floor(this.#clock.nowMs());
    try {
      work();
    } finally {
      this.#batchMs = before;
    }
  }

  transmit(
    interfaceIndex: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    origin: Origin,
    offload: Offload | undefined,
  ): void {
    const ethernet = this.#ethernet[interfaceIndex];
    if (ethernet !== undefined) {
      ethernet.transmit(bytes, start, end, origin, offload);
      return;
    }
    const isAll = start === 0 && end === bytes.length;
    this.#ports[interfaceIndex]?.transmit(isAll ? bytes : bytes.subarray(start, end), offload);
  }

  acceptOffloads(index: number, kinds: readonly OffloadKind[]): void {
    this.router.interfaces.setOffloads(index, kinds);
  }

  // ---- time ----

  /** Does all that is due up to `nowMs`, each thing at its time; without an argument up to the clock's time. */
  advance(nowMs = Math.floor(this.#clock.nowMs())): void {
    if (this.#isClosed === 1) return;
    try {
      this.timers.advance(nowMs);
      this.router.nowMs = nowMs;
      this.engine.tick(nowMs);
    } finally {
      // A listener that throws does not stop the clock.
      this.#schedule();
    }
  }

  /** The alarm. It may come late: what a stalled event loop missed of the sweeps over connections is not made up for. */
  #ring(): void {
    this.liveness.skipMissed(Math.floor(this.#clock.nowMs()));
    this.advance();
  }

  /** Ends the gateway: timers stop, interfaces close, connections are left as they are. Twice does nothing. */
  close(): void {
    if (this.#isClosed === 1) return;
    this.#now();
    this.services.close();
    this.udp.close();
    this.tcp.close();
    this.#isClosed = 1;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.timers.onEarlier = undefined;
    this.engine.reaper.stop();
    for (const port of this.interfaces) port.setState('closed');
  }

  get isClosed(): boolean {
    return this.#isClosed === 1;
  }

  #now(): number {
    const { nowMs } = this;
    this.router.nowMs = nowMs;
    return nowMs;
  }

  #wake(atMs: number): void {
    if (atMs < this.#timerMs) this.#schedule();
  }

  #schedule(): void {
    if (this.#isClosed === 1) return;
    clearTimeout(this.#timer);
    const nowMs = this.#clock.nowMs();
    const sleepMs = Math.min(LONGEST_SLEEP_MS, Math.max(0, this.timers.nextMs() - nowMs));
    this.#timerMs = nowMs + sleepMs;
    const timer = setTimeout(() => this.#ring(), sleepMs);
    if (typeof timer === 'object') timer.unref?.();
    this.#timer = timer;
  }

  // ---- reports ----

  reportNeighbour(port: GatewayInterface, event: NeighbourEvent): void {
    const { kind, version, words, station, claimant } = event;
    this.events.emit('neighbour', {
      kind,
      interface: port.name,
      address: formatAddress(words, version),
      ...(kind === 'unreachable' ? {} : { station: formatMac(station.high, station.low) }),
      ...(claimant === undefined ? {} : { claimant: formatMac(claimant.high, claimant.low) }),
    });
  }

  reportUsurper(port: GatewayInterface, words: AddressWords, version: 4 | 6, by: Mac): void {
    this.events.emit('neighbour', {
      kind: 'usurped',
      interface: port.name,
      address: formatAddress(words, version),
      station: port.mac ?? '',
      claimant: formatMac(by.high, by.low),
    });
  }
}

/** The rules of both families. */
export class GatewayRules {
  readonly #gateway: Gateway;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
  }

  /** As iptables-save prints them. */
  save(family: 4 | 6 = 4, counters: 'with' | 'without' = 'without'): string {
    return this.#gateway.engine.save(family, counters);
  }

  restore(family: 4 | 6, text: string, file?: string): void {
    this.#gateway.restore(family, text, file);
  }
}

/** An interface that carries IP packets as they are. */
class RawLink implements InterfaceLink {
  readonly #router: Router;
  readonly #index: number;

  constructor(router: Router, port: GatewayInterface) {
    this.#router = router;
    this.#index = port.index;
  }

  receive(packet: Uint8Array, nowMs: number, offload: Offload | undefined): void {
    this.#router.receive(this.#index, packet, nowMs, undefined, offload);
  }
}

function reaperOf({ reaper }: Engine): Timed {
  return { nextMs: () => reaper.nextMs, advance: (nowMs) => reaper.advance(nowMs) };
}
