/**
 * The TCP flows of the router's own ports by their tuples, as they come in: what an established socket is on Linux. Rules
 * ask it per packet (`TPROXY`, `socket`), so `find` allocates nothing.
 */
import type { Reservation } from './registry.js';

/** Words of addresses, source in front. */
const WORDS = 8;

/** A flow that is under way, until `release`. */
export class FlowTuple {
  /** Who has the port that took it. */
  readonly reservation: Reservation;
  readonly version: number;
  /** [8] words of source and destination. */
  readonly addresses: Int32Array;
  /** Source port << 16 | destination port. */
  readonly ports: number;
  readonly #tuples: FlowTuples;

  constructor(
    tuples: FlowTuples,
    reservation: Reservation,
    version: number,
    addresses: Int32Array,
    ports: number,
  ) {
    this.#tuples = tuples;
    this.reservation = reservation;
    this.version = version;
    this.addresses = addresses.slice(0, WORDS);
    this.ports = ports;
  }

  /** The flow is over. Twice does nothing. */
  release(): void {
    this.#tuples.remove(this);
  }
}

export class FlowTuples {
  /** By hash. */
  readonly #buckets = new Map<number, FlowTuple[]>();

  add(
    reservation: Reservation,
    version: number,
    addresses: Int32Array,
    sourcePort: number,
    destinationPort: number,
  ): FlowTuple {
    const flow = new FlowTuple(this, reservation, version, addresses, (sourcePort << 16) | destinationPort);
    const hash = hashOf(flow.addresses, flow.ports);
    const bucket = this.#buckets.get(hash);
    if (bucket === undefined) this.#buckets.set(hash, [flow]);
    else bucket.push(flow);
    return flow;
  }

  /** The flow of packets from `addresses[0..3]` and `sourcePort` to `addresses[4..7]` and `destinationPort`. */
  find(
    version: number,
    addresses: Int32Array,
    sourcePort: number,
    destinationPort: number,
  ): FlowTuple | undefined {
    if (this.#buckets.size === 0) return undefined;
    const ports = (sourcePort << 16) | destinationPort;
    const bucket = this.#buckets.get(hashOf(addresses, ports));
    if (bucket === undefined) return undefined;
    for (let i = 0; i < bucket.length; i++) {
      const flow = bucket[i] as FlowTuple;
      if (flow.ports === ports && flow.version === version && isSame(flow.addresses, addresses)) return flow;
    }
    return undefined;
  }

  remove(flow: FlowTuple): void {
    const hash = hashOf(flow.addresses, flow.ports);
    const left = this.#buckets.get(hash)?.filter((other) => other !== flow) ?? [];
    if (left.length === 0) this.#buckets.delete(hash);
    else this.#buckets.set(hash, left);
  }
}

function hashOf(addresses: Int32Array, ports: number): number {
  let hash = Math.imul(ports, 0x9e3779b1);
  for (let i = 0; i < WORDS; i++) {
    hash = Math.imul(hash ^ (addresses[i] as number), 0x85ebca6b);
    hash ^= hash >>> 15;
  }
  return hash;
}

function isSame(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < WORDS; i++) if (a[i] !== b[i]) return false;
  return true;
}
