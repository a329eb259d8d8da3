/**
 * The source address of the router's own packets. Cold.
 */
import { AddressType } from '../host.js';
import { leadsOn } from './icmp-errors.js';
import type { Interfaces } from './interfaces.js';
import type { Routes } from './routes.js';

/** Writes the source address for packets to `words[at..]` into `into[0..3]`; 0 if there is none. */
export function sourceFor(
  interfaces: Interfaces,
  routes: Routes,
  version: number,
  words: Int32Array,
  at: number,
  into: Int32Array,
): 0 | 1 {
  const type = routes.find(version, words, at, 0);
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
