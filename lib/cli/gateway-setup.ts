/**
 * A gateway made of a configuration; and the rehearsal, in which all of it is tried on a gateway that nothing is plugged
 * into. Whatever is refused is said of its place in the configuration. Cold.
 */
import { type Clock, ManualClock } from '../clock.js';
import type { DnsOptions } from '../network/dns-forwarder.js';
import { createGateway, type Gateway } from '../network/gateway.js';
import type {
  ChangeableOptions,
  GatewayInterfaceOptions,
  GatewayOptions,
} from '../network/gateway-options.js';
import { type PolicyOptions, PROTECTED } from '../network/policy/policy.js';
import type { RulesObservers } from '../rules/rules.js';
import { adaptersOf, type GatewayConfig, type LoadedConfig, linkOf } from './gateway-config.js';
import type { JSONPath } from './json-document.js';

/** What an uplink's lease makes up for. */
export interface Lease {
  readonly mac?: string;
  readonly address: string;
  readonly router: string | undefined;
  /** Addresses by which the uplink reaches the loopback of this host. */
  readonly hostAddresses?: readonly string[];
}

/** By interface name. */
export type Leases = ReadonlyMap<string, Lease>;

/** What a configuration needs from outside. */
export interface Surroundings {
  readonly leases: Leases;
  readonly answer: DnsOptions['answer'];
  readonly observers?: RulesObservers;
  readonly clock?: Clock;
}

/** A lease that nobody gave: for rehearsals. Its network is for documentation. */
const REHEARSED: Lease = { address: '192.0.2.2/24', router: '192.0.2.1' };
/** Connections that a rehearsal has room for. */
const FEW = 64;

/** Tries all of a configuration but its adapters. Throws a ConfigurationError. */
export function rehearse(loaded: LoadedConfig, leases?: Leases): void {
  const { config } = loaded;
  const given =
    leases ??
    new Map(config.interfaces.filter(takesLease).map(({ name }): [string, Lease] => [name, REHEARSED]));
  // Step by step, so that every fault has its place; then as a whole.
  const scratch = at(loaded, ['interfaces'], () =>
    createGateway({
      interfaces: interfacesOf(config, given),
      maxConnections: FEW,
      clock: new ManualClock(),
    }),
  );
  try {
    for (const [name, value] of Object.entries(config.sysctls ?? {})) {
      at(loaded, ['sysctls', name], () => scratch.sysctl(name, value));
    }
    for (const [i, route] of (config.routes ?? []).entries()) {
      at(loaded, ['routes', i], () => scratch.addRoute(route));
    }
    for (const [key, value] of Object.entries(changeableOf(config))) {
      at(loaded, [key], () => scratch.change({ [key]: value }));
    }
  } finally {
    scratch.close();
  }
  const surroundings = { leases: given, answer: () => undefined, clock: new ManualClock() };
  makeGateway(loaded, surroundings, { maxConnections: FEW }).close();
}

/** The gateway that a configuration describes, plugged into nothing. Throws a ConfigurationError. */
export function makeGateway(
  loaded: LoadedConfig,
  { leases, answer, observers, clock }: Surroundings,
  options: Pick<GatewayOptions, 'maxConnections'> = {},
): Gateway {
  const { config } = loaded;
  const { sysctls, tracking, invalid, maxConnections } = config;
  const gateway = at(loaded, [], () =>
    createGateway({
      interfaces: interfacesOf(config, leases),
      routes: routesOf(config, leases),
      ...(sysctls && { sysctls }),
      ...(tracking && { tracking }),
      ...(invalid && { invalid }),
      ...(maxConnections && { maxConnections }),
      ...changeableOf(config),
      ...(config.dns && { dns: dnsOf(config.dns, answer) }),
      ...(observers && { observers }),
      ...(clock && { clock }),
      ...options,
    }),
  );
  try {
    applySets(gateway, loaded);
    applyRules(gateway, loaded, [4, 6]);
    applyForwards(gateway, loaded);
    applyPolicy(gateway, loaded, leases);
  } catch (error) {
    gateway.close();
    throw error;
  }
  return gateway;
}

/** What `gateway.change` takes. */
export function changeableOf(config: GatewayConfig): ChangeableOptions {
  const { inactivity, keepalive, inside, timeWaitReuse, loopbackPrefixes } = config;
  return {
    ...(inactivity && { inactivity }),
    ...(keepalive && { keepalive }),
    ...(inside && { inside }),
    ...(timeWaitReuse && { timeWaitReuse }),
    ...(loopbackPrefixes && { loopbackPrefixes }),
  };
}

/** Whether an interface has no addresses but its lease's. */
export function takesLease(one: GatewayConfig['interfaces'][number]): boolean {
  return one.addresses === undefined && adaptersOf(one).some(({ type }) => type === 'passt');
}

/** Addresses of an interface: those given, else the lease's. */
export function addressesOf(one: GatewayConfig['interfaces'][number], leases: Leases): readonly string[] {
  const lease = leases.get(one.name);
  return one.addresses ?? (lease === undefined ? [] : [lease.address]);
}

/** Routes: those given, and a default route by the lease's router unless there is one. */
export function routesOf(config: GatewayConfig, leases: Leases): readonly string[] {
  const routes = config.routes ?? [];
  if (routes.some((route) => /^\s*(default|0\.0\.0\.0\/0)\b/.test(route))) return routes;
  const leased = config.interfaces
    .filter(takesLease)
    .flatMap(({ name }) => {
      const router = leases.get(name)?.router;
      return router === undefined ? [] : [`default via ${router} dev ${name}`];
    })
    .slice(0, 1);
  return [...routes, ...leased];
}

function interfacesOf(config: GatewayConfig, leases: Leases): GatewayInterfaceOptions[] {
  return config.interfaces.map((one) => {
    const { adapter: _, capture: __, addresses: ___, ...options } = one;
    const mac = options.mac ?? leases.get(one.name)?.mac;
    return {
      ...options,
      link: linkOf(one),
      addresses: addressesOf(one, leases),
      ...(mac === undefined ? {} : { mac }),
    };
  });
}

/** `servers` and `timeoutMs` are for whoever asks the servers. */
function dnsOf(
  { servers, timeoutMs, ...others }: NonNullable<GatewayConfig['dns']>,
  answer: DnsOptions['answer'],
): DnsOptions {
  return { ...others, answer };
}

function applySets({ engine }: Gateway, loaded: LoadedConfig): void {
  const { sets } = loaded;
  if (sets !== undefined) at(loaded, ['sets'], () => engine.sets.restore(sets.text, 0, sets.file));
}

/** Rules of the families, as their files had them. */
export function applyRules(gateway: Gateway, loaded: LoadedConfig, families: readonly (4 | 6)[]): void {
  for (const family of families) {
    const rules = loaded.rules[family];
    if (rules === undefined) continue;
    at(loaded, ['rules', `${family}`], () => gateway.restore(family, rules.text, rules.file));
  }
}

export function applyForwards(gateway: Gateway, loaded: LoadedConfig): void {
  at(loaded, ['forwards'], () => gateway.forwards.apply(loaded.config.forwards ?? []));
}

export function applyPolicy(gateway: Gateway, loaded: LoadedConfig, leases: Leases): void {
  at(loaded, ['policy'], () => gateway.policy(policyOf(loaded.config, leases)));
}

/** The policy: unless it says itself what it protects, the addresses by which uplinks reach this host are among it. */
function policyOf({ policy }: GatewayConfig, leases: Leases): PolicyOptions | undefined {
  const host = [...leases.values()].flatMap(({ hostAddresses = [] }) => hostAddresses);
  if (policy === undefined || policy.protect !== undefined || host.length === 0) return policy;
  return { ...policy, protect: [...PROTECTED, ...host] };
}

/** Does something with the value at `path`; errors are said of it. */
export function at<T>({ document }: LoadedConfig, path: JSONPath, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw document.blame(error, path);
  }
}
