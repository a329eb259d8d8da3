/**
 * The ports of forwards in the router's register: what a new set needs is looked for among those that nobody else has,
 * and taken, each run of ports at once, in the place of the old ones. Cold.
 */
import { formatAddress } from '../../wire/address.js';
import type { Interfaces } from '../interfaces.js';
import { clashes, type PortRegistry, type PortRequest, type Reservation } from '../local/registry.js';
import { type ActiveForward, protocolNumberOf } from './active.js';
import type { Exception } from './chains.js';
import type { ForwardFailure } from './errors.js';
import type { PortIndex } from './port-index.js';
import { formatForward, type Ports } from './rule.js';

/** Owners of ports begin with this if they are forwards. */
const OWNER = 'forward ';

/** What a new set would take; nothing is taken before `commit`. */
export class PortDraft {
  readonly failures: ForwardFailure[] = [];
  readonly #registry: PortRegistry;
  readonly #held: ReadonlyMap<string, Reservation>;
  /** What is not of forwards, by family and protocol, in order of ports. */
  readonly #others = new Map<string, PortRequest[]>();
  readonly #wanted = new Map<string, PortRequest>();

  constructor(registry: PortRegistry, held: ReadonlyMap<string, Reservation>) {
    this.#registry = registry;
    this.#held = held;
    for (const request of registry.list()) {
      const { version, protocol, port: first, last = first, owner } = request;
      if (owner.startsWith(OWNER)) continue;
      const key = `${version} ${protocol}`;
      const there = this.#others.get(key) ?? [];
      for (let port = first; port <= last; port++)
        there.push(first === last ? request : { ...request, port, last: port });
      this.#others.set(key, there);
    }
    for (const there of this.#others.values()) there.sort((a, b) => a.port - b.port);
  }

  /** Plans to take the ports of a forward among `candidates`; returns those that it will have. */
  take(forward: ActiveForward, candidates: readonly Ports[]): Ports[] {
    const usable: Ports[] = [];
    const wanted = requestOf(forward);
    const others = this.#others.get(`${wanted.version} ${wanted.protocol}`) ?? [];
    const { protocol, rule } = forward;
    for (const { first, last } of candidates) {
      let from = first;
      for (let i = firstFrom(others, first); i < others.length; ) {
        const { port } = others[i] as PortRequest;
        if (port > last) break;
        const here: PortRequest[] = [];
        for (; i < others.length && (others[i] as PortRequest).port === port; i++) here.push(others[i]!);
        const rival = here.find((other) => meets(other, wanted));
        const isTaken =
          rule.effort === 'best' ? rival !== undefined : here.some((one) => clashes(one, wanted));
        if (!isTaken) continue;
        const name = formatForward(rule);
        this.failures.push({ errno: 'EADDRINUSE', protocol, port, rule: name, rival: rival?.owner ?? '' });
        if (port > from) usable.push({ first: from, last: port - 1 });
        from = port + 1;
      }
      if (from <= last) usable.push({ first: from, last });
    }
    const place = `${wanted.version} ${wanted.protocol} ${wanted.address ?? '*'} ${wanted.interface ?? 0} ${wanted.nat} ${wanted.owner}`;
    for (const { first, last } of usable) {
      this.#wanted.set(`${place} ${first}-${last}`, { ...wanted, port: first, last });
    }
    return usable;
  }

  /** Lets go of what no forward needs any more, and takes what they need; returns what is held from now on. */
  commit(): ReadonlyMap<string, Reservation> {
    const held = new Map<string, Reservation>();
    for (const [key, reservation] of this.#held) if (!this.#wanted.has(key)) reservation.release();
    for (const [key, request] of this.#wanted) {
      held.set(key, this.#held.get(key) ?? this.#registry.reserve(request));
    }
    return held;
  }
}

/** What a forward wants of each of its ports. */
function requestOf({ version, protocol, address, interfaceIndex, rule, first }: ActiveForward): PortRequest {
  return {
    version,
    protocol: protocolNumberOf(protocol),
    ...(address === undefined ? {} : { address }),
    ...(interfaceIndex === 0 ? {} : { interface: interfaceIndex }),
    port: first,
    // What is taken because it is free leaves NAT its ports.
    nat: rule.effort === 'best' ? 'shared' : 'apart',
    owner: `${OWNER}${formatForward(rule)}`,
  };
}

/** Index of the first request for `port` or a later one. */
function firstFrom(requests: readonly PortRequest[], port: number): number {
  let [low, high] = [0, requests.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((requests[middle] as PortRequest).port < port) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether packets may come that two requests of one port both want, on whichever address or interface. */
function meets(a: PortRequest, b: PortRequest): boolean {
  const hasAddress = a.address === undefined || b.address === undefined;
  const hasInterface = a.interface === undefined || b.interface === undefined;
  return (
    (hasAddress || a.address.every((word, i) => word === b.address?.[i])) &&
    (hasInterface || a.interface === b.interface)
  );
}

/** Services of the router whose place is more exact than a forward's, which must leave them alone. */
export function servicesOf(registry: PortRegistry, forwards: PortIndex, interfaces: Interfaces): Exception[] {
  const found: Exception[] = [];
  for (const request of registry.list()) {
    const { version, protocol, address, port, owner } = request;
    if (owner.startsWith(OWNER)) continue;
    const name = request.interface === undefined ? '' : interfaces.name(request.interface);
    const isWanted = forwards.at(version, protocol, port).some((forward) => rank(request) > rankOf(forward));
    if (!isWanted) continue;
    found.push({
      version,
      protocol: protocol === 6 ? 'tcp' : 'udp',
      address: address === undefined ? '' : formatAddress(address, version),
      interface: name,
      port,
    });
  }
  return found;
}

/** How exact a place is: an address before any, and then an interface before any. */
function rank(place: Pick<PortRequest, 'address' | 'interface'>): number {
  return (place.address === undefined ? 0 : 2) + (place.interface === undefined ? 0 : 1);
}

function rankOf({ address, interfaceIndex }: ActiveForward): number {
  return (address === undefined ? 0 : 2) + (interfaceIndex === 0 ? 0 : 1);
}
