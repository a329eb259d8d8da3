/**
 * A running gateway made to be as another configuration says, all of it or nothing. Cold.
 *
 * The new configuration is rehearsed first, so that what follows is not expected to fail; should it, every step that was
 * done is undone in reverse. No packet passes in between. What cannot be changed while links are up is refused by name:
 * interfaces but for their addresses, sets, sizes. Rules, forwards and policies that are the same are not touched, and
 * keep counters and memories.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ConfigurationError } from '../errors.js';
import type { Gateway } from '../network/gateway.js';
import { GatewayConfigError, type LoadedConfig } from './gateway-config.js';
import {
  addressesOf,
  applyForwards,
  applyPolicy,
  applyRules,
  at,
  changeableOf,
  type Leases,
  rehearse,
  routesOf,
} from './gateway-setup.js';
import type { JSONPath } from './json-document.js';

/** Keys that only a restart changes. */
const FIXED = ['tracking', 'invalid', 'maxConnections'] as const;
const FIXED_OF_INTERFACES = [
  ...(['name', 'link', 'mtu', 'routeLocalnet', 'mac', 'adapter', 'capture'] as const),
  ...(['stations', 'dhcp', 'advertise'] as const),
];
const FIXED_OF_DNS = [
  ...(['on', 'maxInFlight', 'maxPerClient'] as const),
  ...(['maxConnections', 'maxConnectionsPerClient', 'idleMs'] as const),
];

/** Values of settings before the configuration set them, by name. */
export type Baseline = Map<string, number>;

/** Brings `gateway` from `before` to `next`. Throws a ConfigurationError, and nothing has changed then. */
export function reconfigure(
  gateway: Gateway,
  before: LoadedConfig,
  next: LoadedConfig,
  leases: Leases,
  baseline: Baseline,
): void {
  refuseFixed(before, next);
  rehearse(next, leases);
  const undo: (() => void)[] = [];
  try {
    changeSysctls(gateway, before, next, baseline, undo);
    const lost = changeAddresses(gateway, before, next, leases, undo);
    changeRoutes(gateway, before, next, leases, undo);
    if (!isDeepStrictEqual(changeableOf(before.config), changeableOf(next.config))) {
      at(next, [], () => gateway.change(changeableOf(next.config)));
      undo.push(() => gateway.change(changeableOf(before.config)));
    }
    changeRules(gateway, before, next, undo);
    if (!isDeepStrictEqual(before.config.forwards ?? [], next.config.forwards ?? [])) {
      applyForwards(gateway, next);
      undo.push(() => applyForwards(gateway, before));
    }
    if (!isDeepStrictEqual(before.config.policy, next.config.policy)) {
      applyPolicy(gateway, next, leases);
      undo.push(() => applyPolicy(gateway, before, leases));
    }
    // Last: connections that were masqueraded to such an address end, which nothing undoes.
    for (const [name, address] of lost) gateway.removeAddress(name, address);
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}

function refuseFixed({ config: old, sets }: LoadedConfig, next: LoadedConfig): void {
  const { config, document } = next;
  const faults: ConfigurationError[] = [];
  const compare = (path: JSONPath, one: unknown, other: unknown): void => {
    if (isDeepStrictEqual(one, other)) return;
    faults.push(
      document.errorAt(document.find(path), 'unsupported', `${path.at(-1)} changes with a restart only`),
    );
  };
  for (const key of FIXED) compare([key], old[key], config[key]);
  compare(['sets'], sets?.text, next.sets?.text);
  compare(['dns'], old.dns === undefined, config.dns === undefined);
  for (const key of FIXED_OF_DNS) compare(['dns', key], old.dns?.[key], config.dns?.[key]);
  compare(['interfaces'], old.interfaces.length, config.interfaces.length);
  for (const [i, one] of config.interfaces.entries()) {
    const was = old.interfaces[i];
    if (was === undefined) break;
    for (const key of FIXED_OF_INTERFACES) compare(['interfaces', i, key], was[key], one[key]);
    compare(['interfaces', i, 'addresses'], was.addresses === undefined, one.addresses === undefined);
  }
  if (faults.length > 0) throw new GatewayConfigError(faults);
}

function changeSysctls(
  gateway: Gateway,
  before: LoadedConfig,
  next: LoadedConfig,
  baseline: Baseline,
  undo: (() => void)[],
): void {
  const old = before.config.sysctls ?? {};
  const wanted = next.config.sysctls ?? {};
  for (const name of new Set([...Object.keys(old), ...Object.keys(wanted)])) {
    const value = wanted[name] ?? baseline.get(name);
    const now = gateway.getSysctl(name);
    if (value === undefined || old[name] === value) continue;
    if (now !== undefined && !baseline.has(name)) baseline.set(name, now);
    at(next, ['sysctls', name], () => gateway.sysctl(name, value));
    if (now !== undefined) undo.push(() => gateway.sysctl(name, now));
  }
}

/** Adds addresses; returns those that are to be taken away. */
function changeAddresses(
  gateway: Gateway,
  before: LoadedConfig,
  next: LoadedConfig,
  leases: Leases,
  undo: (() => void)[],
): [string, string][] {
  const lost: [string, string][] = [];
  for (const [i, one] of next.config.interfaces.entries()) {
    const { name } = one;
    const was = before.config.interfaces[i];
    const old = was === undefined ? [] : addressesOf(was, leases);
    const wanted = addressesOf(one, leases);
    for (const [j, address] of wanted.entries()) {
      if (old.includes(address)) continue;
      at(next, ['interfaces', i, 'addresses', j], () => gateway.addAddress(name, address));
      undo.push(() => gateway.removeAddress(name, address));
    }
    lost.push(...old.filter((address) => !wanted.includes(address)).map((a): [string, string] => [name, a]));
  }
  return lost;
}

function changeRoutes(
  gateway: Gateway,
  before: LoadedConfig,
  next: LoadedConfig,
  leases: Leases,
  undo: (() => void)[],
): void {
  const old = routesOf(before.config, leases);
  const wanted = routesOf(next.config, leases);
  if (isDeepStrictEqual(old, wanted)) return;
  // All anew, so that they are in the order in which they are written.
  for (const route of old) {
    gateway.removeRoute(route);
    undo.push(() => gateway.addRoute(route));
  }
  for (const [i, route] of wanted.entries()) {
    at(next, ['routes', i], () => gateway.addRoute(route));
    undo.push(() => gateway.removeRoute(route));
  }
}

function changeRules(gateway: Gateway, before: LoadedConfig, next: LoadedConfig, undo: (() => void)[]): void {
  for (const family of [4, 6] as const) {
    const old = before.rules[family]?.text;
    const wanted = next.rules[family];
    if (old === wanted?.text) continue;
    const saved = gateway.engine.save(family, 'with');
    undo.push(() => restoreOnly(gateway, family, saved));
    emptyTables(gateway, family, tablesOf(old ?? ''), tablesOf(wanted?.text ?? ''));
    applyRules(gateway, next, [family]);
  }
}

/** Puts back what was saved, and nothing else. */
function restoreOnly(gateway: Gateway, family: 4 | 6, saved: string): void {
  emptyTables(gateway, family, tablesOf(gateway.engine.save(family)), tablesOf(saved));
  gateway.restore(family, saved);
}

/** Takes the user's rules out of tables that no text has any more. */
function emptyTables(gateway: Gateway, family: 4 | 6, old: readonly string[], kept: readonly string[]): void {
  const gone = old.filter((table) => !kept.includes(table));
  if (gone.length > 0) gateway.restore(family, gone.map((table) => `*${table}\nCOMMIT\n`).join(''));
}

function tablesOf(text: string): string[] {
  return [...text.matchAll(/^\*(\w+)/gm)].map(([, name]) => name as string);
}
