/**
 * The way and the source address of the router's own packets. Cold.
 */
import { AddressType } from '../host.js';
import { leadsOn } from './icmp-errors.js';
import type { Interfaces } from './interfaces.js';
import type { Routes } from './routes.js';

/**
 * Finds the route of a packet whose sender is bound to interface `oif`; 0: to none. Returns its type. As on Linux, what no
 * route over the interface leads to is taken to be on its link; this is so for IPv4 only.
 */
export function findFrom(
  routes: Routes,
  version: number,
  words: Int32Array,
  at: number,
  oif: number,
): AddressType {
  const type = routes.find(version, words, at, oif);
  if (type !== AddressType.UNSPEC || oif === 0 || version === 6) return type as AddressType;
  routes.interface = oif;
  return AddressType.UNICAST;
}

/**
 * Writes the source address for packets to `words[at..]` into `into[0..3]`; 0 if there is none. With `oif` > 0 they leave
 * by that interface.
 */
export function sourceFor(
  interfaces: Interfaces,
  routes: Routes,
  version: number,
  words: Int32Array,
  at: number,
  into: Int32Array,
  oif: number,
): 0 | 1 {
  const type = findFrom(routes, version, words, at, oif);
  if (!leadsOn(type)) return 0;
  if (routes.source(into, 0) === 1) return 1;
  if (type === AddressType.LOCAL) {
    // An address of a loopback prefix speaks for itself.
    for (let i = 0; i < 4; i++) into[i] = words[at + i] as number;
    return 1;
  }
  if (version === 6) {
    const found = interfaces.select6(routes.interface, words, at);
    if (found !== undefined) into.set(found);
    return found === undefined ? 0 : 1;
  }
  into[0] = interfaces.select4(routes.interface, routes.nextHop4(0));
  into.fill(0, 1, 4);
  return into[0] === 0 ? 0 : 1;
}
