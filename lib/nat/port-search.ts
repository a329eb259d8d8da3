/**
 * The search for a free port among those that a range gives. Hot on new connections only.
 *
 * Linux's first: up to 128 ports from where it begins, then half as many from a port drawn anew, and so on; it takes the
 * first that is free, and of a finished TCP connection's ports only those of the last 32 of a round. Where Linux gives up
 * after that, every port is looked at. A search that gets long goes on with the map of the peer's ports, which has the
 * same answers; then a port is found in microseconds though it is the last one.
 */
import type { EntryId } from '../conntrack/entries.js';
import type { ConntrackTable } from '../conntrack/table.js';
import { KEY_PORTS } from '../conntrack/tuples.js';
import type { Random } from '../random.js';
import { Claim, type Claims } from './claims.js';
import { PortHalf, type PortMap, PortMaps } from './port-maps.js';

const FREE = Claim.FREE;
const EVICTABLE = Claim.EVICTABLE;
const LOW = PortHalf.LOW;

/** Ports tried from the first start. */
const FIRST_ATTEMPTS = 128;
/** A round of fewer attempts than this is the last. */
const LAST_ROUND = 16;
/** Attempts left at which a finished TCP connection's tuple may be taken. */
const EVICTION_ATTEMPTS = 32;
/** Ports looked at one by one before a map is made. */
const LONG = 32;
/** Finished connections that may refuse to be evicted before that is remembered; and how long it is, ms. */
const MANY = 256;
const FRUITLESS_MS = 1000;

export class PortSearch {
  readonly maps: PortMaps;
  readonly #claims: Claims;
  readonly #random: Random;
  // The search under way.
  #entry = 0 as EntryId;
  #half: PortHalf = LOW;
  #first = 0;
  #size = 0;
  #now = 0;
  /** Finished connections asked for their port. */
  #refused = 0;

  constructor(table: ConntrackTable, claims: Claims, random: Random) {
    this.maps = new PortMaps(table, () => claims.context?.now ?? 0);
    this.#claims = claims;
    this.#random = random;
  }

  /**
   * Looks for a port among the `size` from `first` on, beginning `offset` above it, with which `entry` can have the tuple
   * that `claims` aim at, and puts it into the `half` of its ports. Returns 1, or 0 if there is none: the port is then the
   * one that was tried last.
   */
  run(entry: EntryId, half: PortHalf, first: number, size: number, offset: number, now: number): 0 | 1 {
    this.#entry = entry;
    this.#half = half;
    this.#first = first;
    this.#size = size;
    this.#now = now;
    const claims = this.#claims;
    let map = this.maps.find(claims.reply, half, now);
    if (map !== undefined && claims.isPlain(entry, now) === 0) map = undefined;
    let from = offset;
    let tried = 0;
    for (let attempts = Math.min(size, FIRST_ATTEMPTS); ; ) {
      for (let left = attempts; left > 0; ) {
        const evicts = left <= EVICTION_ATTEMPTS && claims.evicts(entry) === 1;
        if (map !== undefined) {
          const count = evicts || left <= EVICTION_ATTEMPTS ? left : left - EVICTION_ATTEMPTS;
          if ((evicts ? this.#takeOrEvict(map, from, count) : this.#take(map, from, count)) === 1) return 1;
          from = (from + count) % size;
          left -= count;
          continue;
        }
        this.#setPort(first + from);
        const taken = evicts ? claims.isTakenAndKept(entry, now) : claims.isTaken(entry, now);
        if (taken === 0) return 1;
        from = from + 1 === size ? 0 : from + 1;
        left--;
        if (++tried === LONG && left > 0 && claims.isPlain(entry, now) === 1) {
          map = this.maps.make(claims.reply, half, now);
        }
      }
      const last = first + (from === 0 ? size : from) - 1;
      if (attempts === size) return this.#fail(last);
      if (attempts < LAST_ROUND) {
        if (map === undefined ? this.#searchAll(from) === 1 : this.#searchMap(map, from) === 1) return 1;
        return this.#fail(last);
      }
      attempts >>= 1;
      from = this.#random.pick(first, size) - first;
    }
  }

  /** Takes the first free port of the `count` from `from` on, by the map: 1 if there is one, else 0. */
  #take(map: PortMap, from: number, count: number): 0 | 1 {
    const beyond = from + count - this.#size;
    if (beyond <= 0) return this.#takeBetween(map, from, from + count);
    return this.#takeBetween(map, from, this.#size) === 1 ? 1 : this.#takeBetween(map, 0, beyond);
  }

  #takeBetween(map: PortMap, from: number, to: number): 0 | 1 {
    const { maps } = this;
    const end = this.#first + to;
    let port = maps.free(map, this.#first + from, end, this.#now);
    for (; port >= 0; port = maps.free(map, port + 1, end, this.#now)) {
      this.#setPort(port);
      // It may be reserved.
      if (this.#claims.isTaken(this.#entry, this.#now) === 0) return 1;
    }
    return 0;
  }

  /** The same of ports that are free or can be had from finished connections. */
  #takeOrEvict(map: PortMap, from: number, count: number): 0 | 1 {
    const beyond = from + count - this.#size;
    if (beyond <= 0) return this.#evictBetween(map, from, from + count);
    return this.#evictBetween(map, from, this.#size) === 1 ? 1 : this.#evictBetween(map, 0, beyond);
  }

  #evictBetween(map: PortMap, from: number, to: number): 0 | 1 {
    const { maps } = this;
    const end = this.#first + to;
    let port = maps.freeOrFinished(map, this.#first + from, end, this.#now);
    for (; port >= 0; port = maps.freeOrFinished(map, port + 1, end, this.#now)) {
      this.#setPort(port);
      this.#refused++;
      if (this.#claims.isTakenAndKept(this.#entry, this.#now) === 0) return 1;
    }
    return 0;
  }

  /** Every port, by the map; then whether one can be had from a finished connection. */
  #searchMap(map: PortMap, from: number): 0 | 1 {
    if (this.#take(map, from, this.#size) === 1) return 1;
    if (this.#claims.evicts(this.#entry) === 0) return 0;
    const ageMs = (this.#now - map.fruitlessAt) | 0;
    const isSame = map.fruitlessFirst === this.#first && map.fruitlessSize === this.#size;
    if (isSame && ageMs >= 0 && ageMs < FRUITLESS_MS) return 0;
    this.#refused = 0;
    if (this.#takeOrEvict(map, from, this.#size) === 1) return 1;
    if (this.#refused <= MANY) return 0;
    map.fruitlessAt = this.#now;
    map.fruitlessFirst = this.#first;
    map.fruitlessSize = this.#size;
    return 0;
  }

  /** The same one by one. */
  #searchAll(from: number): 0 | 1 {
    const claims = this.#claims;
    let evictable = -1;
    let offset = from;
    for (let i = 0; i < this.#size; i++) {
      const port = this.#first + offset;
      this.#setPort(port);
      const claim = claims.look(this.#entry, this.#now);
      if (claim === FREE) return 1;
      if (evictable < 0 && claim === EVICTABLE) evictable = port;
      offset = offset + 1 === this.#size ? 0 : offset + 1;
    }
    if (evictable < 0) return 0;
    this.#setPort(evictable);
    return claims.isTakenAndKept(this.#entry, this.#now) === 0 ? 1 : 0;
  }

  #fail(last: number): 0 {
    this.#setPort(last);
    return 0;
  }

  #setPort(port: number): void {
    const reply = this.#claims.reply;
    const ports = reply[KEY_PORTS] as number;
    reply[KEY_PORTS] = this.#half === LOW ? (ports & ~0xffff) | port : (ports & 0xffff) | (port << 16);
  }
}
