/**
 * Which station has which address of a pool, and until when. Cold; bounded by the pool.
 *
 *   free -> offered (30 s) -> bound (the lease) -> expired or released -> bound again by the same station, or given to
 *   another when no address is left that nobody ever had. Declined addresses rest for an hour.
 *
 * A station gets the address again that it had, however long ago, as long as nobody needed it.
 */
import { formatMac, type Mac } from './mac.js';

/** How a lease stands. */
export type LeaseState = 'offered' | 'bound' | 'expired' | 'declined';

export class Lease {
  readonly address: number;
  mac: Mac;
  state: LeaseState = 'expired';
  /** End of the state, ms; for `expired` when it ended. */
  untilMs = 0;
  hostName = '';
  /** Fixed by configuration. */
  readonly isFixed: boolean;

  constructor(address: number, mac: Mac, isFixed: boolean) {
    this.address = address;
    this.mac = mac;
    this.isFixed = isFixed;
  }

  belongsTo(mac: Mac): boolean {
    return this.mac.high === mac.high && this.mac.low === mac.low;
  }

  get isHeld(): boolean {
    return this.state !== 'expired';
  }
}

/** Addresses that a station may decline before it is not believed any more. */
const MAX_DECLINED = 4;

export class Leases {
  readonly #byMac = new Map<string, Lease>();
  readonly #byAddress = new Map<number, Lease>();
  /** Addresses that nobody has had yet, in the order in which they are given. */
  readonly #unused: number[];
  #nextUnused = 0;
  readonly #pool: ReadonlySet<number>;
  readonly #declined = new Map<string, number>();
  /** While the pool is exhausted nothing is searched before this moment. */
  #exhaustedUntilMs = Number.NEGATIVE_INFINITY;
  #nextMs = Number.POSITIVE_INFINITY;
  readonly #onEnd: (lease: Lease) => void;

  /** `onEnd` is told when a lease or offer is over. */
  constructor(pool: readonly number[], onEnd: (lease: Lease) => void) {
    this.#pool = new Set(pool);
    this.#unused = [...pool];
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#pool.size;
  }

  /** Binds an address to a station for good; it need not be in the pool. */
  fix(address: number, mac: Mac, hostName: string): void {
    const lease = new Lease(address, mac, true);
    lease.hostName = hostName;
    this.#put(lease);
  }

  ofStation(mac: Mac): Lease | undefined {
    return this.#byMac.get(keyOf(mac));
  }

  ofAddress(address: number): Lease | undefined {
    return this.#byAddress.get(address);
  }

  /** The address for a station: its own, the one it asks for, a fresh one, the one that was free longest. */
  choose(mac: Mac, requested: number, nowMs: number): Lease | undefined {
    const own = this.ofStation(mac);
    if (own !== undefined && own.state !== 'declined') return own;
    const asked = requested !== 0 ? this.claim(mac, requested) : undefined;
    if (asked !== undefined) return asked;
    while (this.#nextUnused < this.#unused.length) {
      const address = this.#unused[this.#nextUnused++] as number;
      if (!this.#byAddress.has(address)) return this.#put(new Lease(address, mac, false));
    }
    return this.#reclaim(mac, nowMs);
  }

  /** The address that a station asks for, if it is in the pool and nobody has it. */
  claim(mac: Mac, address: number): Lease | undefined {
    const holder = this.#byAddress.get(address);
    if (holder?.belongsTo(mac) && holder.state !== 'declined') return holder;
    if (!this.#pool.has(address) || holder?.isHeld === true || holder?.isFixed === true) return undefined;
    const own = this.ofStation(mac);
    if (own !== undefined) {
      if (own.isFixed || own.state === 'declined') return undefined;
      this.end(own);
      this.#forget(own);
    }
    if (holder !== undefined) this.#forget(holder);
    return this.#put(new Lease(address, mac, false));
  }

  hold(lease: Lease, state: 'offered' | 'bound', untilMs: number): void {
    lease.state = state;
    lease.untilMs = untilMs;
    this.#nextMs = Math.min(this.#nextMs, untilMs);
  }

  /** A station found its address in use by another: it rests. Returns false for one that says so too often. */
  decline(lease: Lease, untilMs: number): boolean {
    const key = keyOf(lease.mac);
    const count = (this.#declined.get(key) ?? 0) + 1;
    if (count > MAX_DECLINED || lease.isFixed) return false;
    if (this.#declined.size >= 1024) this.#declined.clear();
    this.#declined.set(key, count);
    this.end(lease);
    this.#byMac.delete(key);
    lease.mac = { high: 0, low: 0 };
    lease.state = 'declined';
    lease.untilMs = untilMs;
    this.#nextMs = Math.min(this.#nextMs, untilMs);
    return true;
  }

  /** Ends an offer or lease; the station is remembered. */
  end(lease: Lease): void {
    if (!lease.isHeld) return;
    const hadStation = lease.state !== 'declined';
    lease.state = 'expired';
    this.#exhaustedUntilMs = Number.NEGATIVE_INFINITY;
    if (hadStation) this.#onEnd(lease);
  }

  nextMs(): number {
    return this.#nextMs;
  }

  advance(nowMs: number): void {
    let next = Number.POSITIVE_INFINITY;
    for (const lease of [...this.#byAddress.values()]) {
      if (!lease.isHeld) continue;
      if (lease.untilMs <= nowMs) this.end(lease);
      else next = Math.min(next, lease.untilMs);
    }
    this.#nextMs = next;
  }

  *list(): Iterable<Lease> {
    yield* this.#byAddress.values();
  }

  /** A lease from an earlier run; false if the address is not in the pool or taken. */
  restore(address: number, mac: Mac, hostName: string): Lease | undefined {
    if (this.ofStation(mac) !== undefined || this.#byAddress.has(address)) return undefined;
    const lease = this.claim(mac, address);
    if (lease !== undefined) lease.hostName = hostName;
    return lease;
  }

  #reclaim(mac: Mac, nowMs: number): Lease | undefined {
    if (nowMs < this.#exhaustedUntilMs) return undefined;
    let oldest: Lease | undefined;
    let soonest = Number.POSITIVE_INFINITY;
    for (const lease of this.#byAddress.values()) {
      if (lease.isFixed) continue;
      if (lease.isHeld) soonest = Math.min(soonest, lease.untilMs);
      else if (oldest === undefined || lease.untilMs < oldest.untilMs) oldest = lease;
    }
    if (oldest === undefined) {
      this.#exhaustedUntilMs = soonest;
      return undefined;
    }
    this.#forget(oldest);
    return this.#put(new Lease(oldest.address, mac, false));
  }

  #put(lease: Lease): Lease {
    this.#byMac.set(keyOf(lease.mac), lease);
    this.#byAddress.set(lease.address, lease);
    return lease;
  }

  #forget(lease: Lease): void {
    if (this.ofStation(lease.mac) === lease) this.#byMac.delete(keyOf(lease.mac));
    if (this.#byAddress.get(lease.address) === lease) this.#byAddress.delete(lease.address);
  }
}

function keyOf({ high, low }: Mac): string {
  return formatMac(high, low);
}
