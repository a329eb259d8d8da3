/**
 * The services that a gateway has for its guests by option: DHCP, router advertisements, DNS. Cold.
 */
import type { EventEmitter } from 'eventemitter3';
import { ConfigurationError } from '../errors.js';
import type { Random } from '../random.js';
import { Advertisements } from './advertisements.js';
import { DhcpServer } from './dhcp.js';
import { type DnsAnswer, DnsForwarder, type DnsOptions } from './dns-forwarder.js';
import type { EthernetLink } from './ethernet.js';
import type { GatewayEvents, LeaseReport } from './gateway-events.js';
import type { GatewayInterfaceOptions } from './gateway-options.js';
import type { TcpSockets } from './local/tcp.js';
import type { NeighbourDiscovery } from './nd.js';
import type { Router } from './router.js';
import type { Timers } from './timers.js';

/** What services need of their gateway. */
export interface ServicesOwner {
  readonly router: Router;
  readonly tcp: TcpSockets;
  readonly timers: Timers;
  readonly nd: NeighbourDiscovery;
  readonly events: EventEmitter<GatewayEvents>;
  readonly nowMs: number;
  readonly isClosed: boolean;
}

export class GatewayServices {
  readonly dns: DnsForwarder | undefined;
  readonly #owner: ServicesOwner;
  /** By interface index. */
  readonly #dhcp = new Map<number, DhcpServer>();
  readonly #advertisements = new Map<number, Advertisements>();

  /** `links` has the Ethernet side of interfaces by index, `interfaces` the options of index 1, 2, ... */
  constructor(
    owner: ServicesOwner,
    interfaces: readonly GatewayInterfaceOptions[],
    links: readonly (EthernetLink | undefined)[],
    dns: DnsOptions | undefined,
    random: Random,
  ) {
    this.#owner = owner;
    const asked = dns === undefined ? [] : dnsInterfaces(owner.router, interfaces, dns);
    for (const [i, options] of interfaces.entries()) {
      const index = i + 1;
      const common = { answersDns: asked.includes(index) };
      const link = links[index];
      if (options.dhcp !== undefined) {
        if (link === undefined) {
          throw new ConfigurationError('conflict', `dhcp on ${options.name} needs Ethernet`, {
            word: options.name,
            expected: "link: 'ethernet'",
          });
        }
        const stations = options.stations ?? [];
        const server = new DhcpServer(this, link, options.name, { ...options.dhcp, ...common, stations });
        this.#dhcp.set(index, server);
        owner.timers.add(server);
      }
      if (options.advertise !== undefined) {
        const settings = { ...options.advertise, ...common };
        const wake = (atMs: number) => this.wake(atMs);
        const sender = new Advertisements(owner.router, index, link?.mac, settings, random, wake);
        this.#advertisements.set(index, sender);
        owner.timers.add(sender);
      }
    }
    owner.nd.onRouterSolicitation = (index, source) => {
      this.#advertisements.get(index)?.solicited(source, owner.router.nowMs);
    };
    this.dns = dns === undefined ? undefined : new DnsForwarder(this, dns, asked);
    if (this.dns !== undefined) owner.timers.add(this.dns);
  }

  dhcp(index: number): DhcpServer | undefined {
    return this.#dhcp.get(index);
  }

  /** An interface got or lost an address. */
  addressesChanged(index: number): void {
    this.#advertisements.get(index)?.addressesChanged(this.nowMs);
  }

  /** Says good-bye and gives the ports back. */
  close(): void {
    for (const sender of this.#advertisements.values()) sender.close();
    for (const server of this.#dhcp.values()) server.close();
    this.dns?.close();
  }

  // ---- what the services ask for ----

  get router(): Router {
    return this.#owner.router;
  }

  get tcp(): TcpSockets {
    return this.#owner.tcp;
  }

  get nowMs(): number {
    return this.#owner.router.nowMs;
  }

  get isClosed(): boolean {
    return this.#owner.isClosed;
  }

  wake(atMs: number): void {
    this.#owner.timers.wake(atMs);
  }

  begin(): void {
    this.#owner.router.nowMs = this.#owner.nowMs;
  }

  reportLease(report: LeaseReport): void {
    this.#owner.events.emit('lease', report);
  }

  reportAnswer(answer: DnsAnswer): void {
    this.#owner.events.emit('dns', answer);
  }
}

/** Interfaces that DNS is answered on: those named, else all that no default route leaves by. */
function dnsInterfaces(
  router: Router,
  interfaces: readonly GatewayInterfaceOptions[],
  { on }: DnsOptions,
): number[] {
  const names = interfaces.map(({ name }) => name);
  const unknown = on?.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new ConfigurationError('unknown', 'dns: no such interface', {
      word: unknown,
      expected: names.join(', '),
    });
  }
  const outward = new Set(
    ([4, 6] as const).flatMap((version) =>
      router.routes
        .list(version)
        .filter(({ prefix }) => prefix === 0)
        .map((route) => route.interface),
    ),
  );
  return names.flatMap((name, i) =>
    (on === undefined ? !outward.has(i + 1) : on.includes(name)) ? [i + 1] : [],
  );
}
