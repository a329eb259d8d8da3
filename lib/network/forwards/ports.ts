/**
 * The ports of forwards in the router's register: all that a new set needs are taken before the old ones are let go.
 * Cold.
 */
import { ConfigurationError } from '../../errors.js';
import { formatAddress } from '../../wire/address.js';
import type { Interfaces } from '../interfaces.js';
import type { PortRegistry, PortRequest, Reservation } from '../local/registry.js';
import { type ActiveForward, protocolNumberOf } from './active.js';
import type { Exception } from './chains.js';
import type { ForwardFailure } from './errors.js';
import { formatForward, type Ports } from './rule.js';

/** Owners of ports begin with this if they are forwards. */
const OWNER = 'forward ';

/** What a new set would take; settled by `commit`, or `cancel`. */
export class PortDraft {
  readonly failures: ForwardFailure[] = [];
  readonly #registry: PortRegistry;
  readonly #held: ReadonlyMap<string, Reservation>;
  /** What is not of forwards. */
  readonly #others: readonly PortRequest[];
  readonly #wanted = new Map<string, Reservation>();
  readonly #added: Reservation[] = [];

  constructor(registry: PortRegistry, held: ReadonlyMap<string, Reservation>) {
    this.#registry = registry;
    this.#held = held;
    this.#others = [...registry.list()].filter(({ owner }) => !owner.startsWith(OWNER));
  }

  /** Takes the ports of a forward among `candidates`; returns those that it has now. */
  take(forward: ActiveForward, candidates: readonly Ports[]): Ports[] {
    const usable: Ports[] = [];
    for (const { first, last } of candidates) {
      let from = 0;
      for (let port = first; port <= last; port++) {
        if (this.#takePort(forward, port)) {
          if (from === 0) from = port;
        } else if (from !== 0) {
          usable.push({ first: from, last: port - 1 });
          from = 0;
        }
      }
      if (from !== 0) usable.push({ first: from, last });
    }
    return usable;
  }

  #takePort(forward: ActiveForward, port: number): boolean {
    const { version, protocol, address, interfaceIndex, rule } = forward;
    const key = `${version} ${protocol} ${address ?? '*'} ${interfaceIndex} ${port}`;
    const held = this.#held.get(key);
    if (held !== undefined) {
      this.#wanted.set(key, held);
      return true;
    }
    const request: PortRequest = {
      version,
      protocol: protocolNumberOf(protocol),
      ...(address === undefined ? {} : { address }),
      ...(interfaceIndex === 0 ? {} : { interface: interfaceIndex }),
      port,
      // What is taken because it is free leaves NAT its ports.
      nat: rule.effort === 'best' ? 'shared' : 'apart',
      owner: `${OWNER}${formatForward(rule)}`,
    };
    const rival = rule.effort === 'best' ? rivalOf(this.#others, request) : undefined;
    if (rival !== undefined) {
      this.#fail(forward, port, rival);
      return false;
    }
    try {
      const reservation = this.#registry.reserve(request);
      this.#wanted.set(key, reservation);
      this.#added.push(reservation);
      return true;
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      this.#fail(forward, port, rivalOf(this.#others, request) ?? 'somebody else');
      return false;
    }
  }

  #fail({ protocol, rule }: ActiveForward, port: number, rival: string): void {
    this.failures.push({ errno: 'EADDRINUSE', protocol, port, rule: formatForward(rule), rival });
  }

  /** Lets go of what no forward needs any more; returns what is held from now on. */
  commit(): ReadonlyMap<string, Reservation> {
    for (const [key, reservation] of this.#held) if (!this.#wanted.has(key)) reservation.release();
    return this.#wanted;
  }

  /** Gives back what was taken. */
  cancel(): void {
    for (const reservation of this.#added) reservation.release();
  }
}

/** Who else has the port, on whichever address or interface; undefined: nobody. */
function rivalOf(others: readonly PortRequest[], wanted: PortRequest): string | undefined {
  for (const request of others) {
    if (
      request.port === wanted.port &&
      request.protocol === wanted.protocol &&
      request.version === wanted.version &&
      (request.address === undefined ||
        wanted.address === undefined ||
        request.address.every((word, i) => word === wanted.address?.[i])) &&
      (request.interface === undefined ||
        wanted.interface === undefined ||
        request.interface === wanted.interface)
    ) {
      return request.owner;
    }
  }
  return undefined;
}

/** Services of the router whose place is more exact than a forward's, which must leave them alone. */
export function servicesOf(
  registry: PortRegistry,
  forwards: readonly ActiveForward[],
  interfaces: Interfaces,
): Exception[] {
  const found: Exception[] = [];
  for (const request of registry.list()) {
    const { version, protocol, address, port, owner } = request;
    if (owner.startsWith(OWNER)) continue;
    const name = request.interface === undefined ? '' : interfaces.name(request.interface);
    const isWanted = forwards.some(
      (forward) =>
        forward.version === version &&
        protocolNumberOf(forward.protocol) === protocol &&
        rank(request) > rankOf(forward) &&
        forward.usable.some(({ first, last }) => port >= first && port <= last),
    );
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
