/**
 * recent: addresses that were seen lately, in lists that rules share by name. Hot on the packets that the rule's other
 * conditions let through.
 *
 * A list remembers 100 addresses, the least recently seen goes first; of each the times of its last packets, as many as
 * the list's rules count (a power of two). Times are ticks of Linux's clock (4 ms).
 */
import type { Packet } from '../../wire/packet.js';
import type { RecentMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';
import type { Release, SharedStates } from '../shared.js';

/** Addresses per list (Linux's module parameter ip_list_tot). */
const LIST_ENTRIES = 100;
const DEFAULT_STAMPS = 32;
const FORWARD = 2;
const POSTROUTING = 4;
const TICK_MS = 4;
const TICKS_PER_SECOND = 250;

class RecentEntry {
  readonly family: number;
  readonly address = new Int32Array(4);
  ttl: number;
  /** Ring of ticks. */
  readonly stamps: Float64Array;
  /** Stamps in the ring. */
  count = 1;
  /** Where the next one goes. */
  index = 1;
  older: RecentEntry | undefined;
  newer: RecentEntry | undefined;

  constructor(family: number, address: Int32Array, ttl: number, tick: number, stamps: number) {
    this.family = family;
    this.address.set(address);
    this.ttl = ttl;
    this.stamps = new Float64Array(stamps);
    this.stamps[0] = tick;
  }

  is(family: number, address: Int32Array, ttl: number): boolean {
    if (this.family !== family || (ttl !== 0 && this.ttl !== 0 && ttl !== this.ttl)) return false;
    for (let i = 0; i < 4; i++) if (this.address[i] !== address[i]) return false;
    return true;
  }
}

export class RecentList {
  /** Mask of the rule that made the list: it counts for all. */
  readonly mask: Int32Array;
  /** By the sum of the address's words; few lists ever have two with the same. */
  readonly #entries = new Map<number, RecentEntry[]>();
  #oldest: RecentEntry | undefined;
  #newest: RecentEntry | undefined;
  #count = 0;
  #stamps: number;

  constructor(mask: Int32Array, stamps: number) {
    this.mask = mask;
    this.#stamps = stamps;
  }

  /** Makes room for so many stamps per address; the list is emptied if it had less. */
  reserve(stamps: number): void {
    if (stamps <= this.#stamps) return;
    this.#stamps = stamps;
    this.#entries.clear();
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#count = 0;
  }

  get oldest(): RecentEntry | undefined {
    return this.#oldest;
  }

  /** The entry of an address; `ttl` 0: whatever its TTL. */
  find(family: number, address: Int32Array, ttl: number): RecentEntry | undefined {
    const found = this.#entries.get(keyOf(address));
    if (found === undefined) return undefined;
    for (let i = 0; i < found.length; i++) {
      const entry = found[i] as RecentEntry;
      if (entry.is(family, address, ttl)) return entry;
    }
    return undefined;
  }

  add(family: number, address: Int32Array, ttl: number, tick: number): void {
    if (this.#count >= LIST_ENTRIES && this.#oldest !== undefined) this.remove(this.#oldest);
    const entry = new RecentEntry(family, address, ttl, tick, this.#stamps);
    const key = keyOf(address);
    const found = this.#entries.get(key);
    if (found === undefined) this.#entries.set(key, [entry]);
    else found.push(entry);
    this.#append(entry);
    this.#count++;
  }

  remove(entry: RecentEntry): void {
    const key = keyOf(entry.address);
    const found = this.#entries.get(key) as RecentEntry[];
    if (found.length === 1) this.#entries.delete(key);
    else found.splice(found.indexOf(entry), 1);
    this.#unlink(entry);
    this.#count--;
  }

  /** Notes another packet. */
  update(entry: RecentEntry, tick: number): void {
    entry.index &= entry.stamps.length - 1;
    entry.stamps[entry.index++] = tick;
    if (entry.index > entry.count) entry.count = entry.index;
    this.#unlink(entry);
    this.#append(entry);
  }

  #append(entry: RecentEntry): void {
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }

  #unlink(entry: RecentEntry): void {
    if (entry.older === undefined) this.#oldest = entry.newer;
    else entry.older.newer = entry.newer;
    if (entry.newer === undefined) this.#newest = entry.older;
    else entry.newer.older = entry.older;
  }
}

function keyOf(address: Int32Array): number {
  return (
    ((address[0] as number) ^ (address[1] as number) ^ (address[2] as number) ^ (address[3] as number)) | 0
  );
}

const SET = 0;
const REMOVE = 1;
const UPDATE = 2;
const CHECK = 3;
const ACTIONS = { set: SET, remove: REMOVE, update: UPDATE, rcheck: CHECK } as const;

export class RecentListMatch implements Match {
  readonly #list: RecentList;
  readonly #action: number;
  readonly #at: number;
  readonly #seconds: number;
  readonly #hitCount: number;
  readonly #reap: boolean;
  readonly #ttl: boolean;
  readonly #negated: 0 | 1;
  readonly #address = new Int32Array(4);

  constructor(spec: RecentMatch, shared: SharedStates, releases: Release[]) {
    const name = `recent/${spec.name}`;
    const stamps = spec.hitCount === 0 ? DEFAULT_STAMPS : 2 ** Math.ceil(Math.log2(spec.hitCount));
    this.#list = shared.use(name, () => new RecentList(Int32Array.from(spec.mask), stamps), releases);
    this.#list.reserve(stamps);
    this.#action = ACTIONS[spec.action];
    this.#at = spec.side === 'source' ? 0 : 4;
    this.#seconds = spec.seconds;
    this.#hitCount = spec.hitCount;
    this.#reap = spec.reap;
    this.#ttl = spec.ttl;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const list = this.#list;
    const address = this.#address;
    for (let i = 0; i < 4; i++) {
      address[i] = (packet.addresses[this.#at + i] as number) & (list.mask[i] as number);
    }
    const ttl = seenTtl(packet, context);
    const tick = Math.floor(context.nowMs / TICK_MS);
    const entry = list.find(packet.version, address, this.#ttl ? ttl : 0);
    const yes = (1 - this.#negated) as 0 | 1;
    if (entry === undefined) {
      if (this.#action !== SET) return this.#negated;
      list.add(packet.version, address, ttl, tick);
      return yes;
    }
    if (this.#action === REMOVE) {
      list.remove(entry);
      return yes;
    }
    if (this.#action === SET) {
      list.update(entry, tick);
      entry.ttl = ttl;
      return yes;
    }
    return this.#check(entry, tick, ttl);
  }

  #check(entry: RecentEntry, tick: number, ttl: number): 0 | 1 {
    const since = tick - this.#seconds * TICKS_PER_SECOND;
    const enough = this.#isEnough(entry, since);
    const answer = (enough ^ this.#negated) as 0 | 1;
    const updates = this.#action === UPDATE && answer === 1;
    let removed = false;
    if (this.#reap) removed = this.#reapOldest(entry, since, updates);
    if (updates && !removed) {
      this.#list.update(entry, tick);
      entry.ttl = ttl;
    }
    return answer;
  }

  /** Whether as many packets as asked came since then. */
  #isEnough(entry: RecentEntry, since: number): 0 | 1 {
    let hits = 0;
    for (let i = 0; i < entry.count; i++) {
      if (this.#seconds !== 0 && since > (entry.stamps[i] as number)) continue;
      if (this.#hitCount === 0 || ++hits >= this.#hitCount) return 1;
    }
    return 0;
  }

  /** Removes the list's oldest entry if its last packet is too old, unless it is about to be updated. */
  #reapOldest(entry: RecentEntry, since: number, updates: boolean): boolean {
    const oldest = this.#list.oldest;
    if (oldest === undefined || (oldest === entry && updates)) return false;
    if (since <= (oldest.stamps[oldest.index - 1] as number)) return false;
    this.#list.remove(oldest);
    return oldest === entry;
  }
}

/** The TTL with which the packet came in: forwarding has taken one away by the time it is known where it leaves. */
function seenTtl(packet: Packet, context: RuleContext): number {
  const hops = packet.u8(packet.start + (packet.version === 4 ? 8 : 7));
  const hook = context.hook;
  return packet.inInterface !== 0 && (hook === FORWARD || hook === POSTROUTING) ? (hops + 1) & 255 : hops;
}
