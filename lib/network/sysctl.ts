/**
 * All settings around a router by their names under /proc/sys: its own, those of both reassemblers, and conntrack's.
 * Cold.
 */
import type { Engine } from '../engine.js';
import { ConfigurationError } from '../errors.js';
import type { FragmentLimits, Reassembler } from '../fragments/reassembler.js';
import type { Interfaces } from './interfaces.js';
import { getRouterSetting, parseSetting, type RouterSettings, setRouterSetting } from './settings.js';

const ROUTE_LOCALNET = /^net\.ipv4\.conf\.([^.]+)\.route_localnet$/;

export class RouterSysctl {
  readonly #settings: RouterSettings;
  readonly #engine: Engine;
  /** Fragments for the router itself that conntrack left alone. */
  readonly #fragments: Reassembler;
  readonly #interfaces: Interfaces;

  constructor(settings: RouterSettings, engine: Engine, fragments: Reassembler, interfaces: Interfaces) {
    this.#interfaces = interfaces;
    this.#settings = settings;
    this.#engine = engine;
    this.#fragments = fragments;
  }

  /** Throws a ConfigurationError for an unknown name or a bad value. */
  set(name: string, text: string): void {
    if (setRouterSetting(this.#settings, name, text)) return;
    const link = ROUTE_LOCALNET.exec(name)?.[1];
    if (link !== undefined) {
      this.#setRouteLocalnet(link, name, parseSetting(name, text, 0, 1));
      return;
    }
    const fragment = this.#fragmentSetting(name);
    if (fragment !== undefined) {
      const [limits, field, unit] = fragment;
      for (const one of limits) one[field] = parseSetting(name, text, 0, 0x7fffffff / unit) * unit;
      return;
    }
    if (name === 'net.ipv4.ipfrag_max_dist') {
      const distance = parseSetting(name, text, 0, 0x7fffffff);
      this.#engine.reassembler.maxDistance = distance;
      this.#fragments.maxDistance = distance;
      return;
    }
    const conntrack = conntrackName(name);
    if (conntrack === undefined) {
      throw new ConfigurationError('unknown', 'no such setting', { word: name });
    }
    this.#engine.sysctl.set(conntrack, parseSetting(name, text, 0, 0xffffffff));
  }

  /** undefined for a name that is none. */
  get(name: string): number | undefined {
    const own = getRouterSetting(this.#settings, name);
    if (own !== undefined) return own;
    const link = ROUTE_LOCALNET.exec(name)?.[1];
    if (link === 'all') return this.#interfaces.allRouteLocalnet;
    if (link !== undefined) return this.#interfaces.routeLocalnet(this.#interfaces.find(link));
    if (name === 'net.ipv4.ipfrag_max_dist') return this.#engine.reassembler.maxDistance;
    const fragment = this.#fragmentSetting(name);
    if (fragment !== undefined) return fragment[0][0]![fragment[1]] / fragment[2];
    const conntrack = conntrackName(name);
    return conntrack === undefined ? undefined : this.#engine.sysctl.get(conntrack);
  }

  /** `all` holds for each interface, `default` for those to come: there are none. */
  #setRouteLocalnet(link: string, name: string, value: number): void {
    const interfaces = this.#interfaces;
    const index = interfaces.find(link);
    if (link === 'all') interfaces.allRouteLocalnet = value;
    else if (index > 0) interfaces.setRouteLocalnet(index, value);
    else if (link !== 'default') throw new ConfigurationError('unknown', 'no such setting', { word: name });
  }

  #fragmentSetting(name: string): readonly [FragmentLimits[], keyof FragmentLimits, number] | undefined {
    const conntrack = this.#engine.reassembler;
    const local = this.#fragments;
    switch (name) {
      case 'net.ipv4.ipfrag_time':
        return [[conntrack.limits4, local.limits4], 'timeoutMs', 1000];
      case 'net.ipv4.ipfrag_high_thresh':
        return [[conntrack.limits4, local.limits4], 'highBytes', 1];
      case 'net.netfilter.nf_conntrack_frag6_timeout':
        return [[conntrack.limits6], 'timeoutMs', 1000];
      case 'net.netfilter.nf_conntrack_frag6_high_thresh':
        return [[conntrack.limits6], 'highBytes', 1];
      case 'net.ipv6.ip6frag_time':
        return [[local.limits6], 'timeoutMs', 1000];
      case 'net.ipv6.ip6frag_high_thresh':
        return [[local.limits6], 'highBytes', 1];
    }
    return undefined;
  }
}

function conntrackName(name: string): string | undefined {
  return /^net\.(?:netfilter\.)?(nf_conntrack_\w+)$/.exec(name)?.[1];
}
