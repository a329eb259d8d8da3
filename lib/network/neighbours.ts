/**
 * The neighbours of one Ethernet interface: which station has an address, and packets that wait for the answer. One
 * table and one state machine for ARP and neighbour discovery (RFC 4861 section 7.3), with Linux's times.
 *
 *              packet to it        time                             its own station is heard   another station claims it
 *   INCOMPLETE waits               asks all 3 times, then fails     answer: REACHABLE          (whoever answers has it)
 *   REACHABLE  goes                counts as STALE after ~30 s      stays                      claim noted: PROBE
 *   STALE      goes; DELAY         -                                answer: REACHABLE          claim noted: PROBE
 *   DELAY      goes                after 5 s PROBE                  answer: REACHABLE          claim noted: PROBE
 *   PROBE      goes                asks it 3 times, then the claim  answer: REACHABLE, the     (the first claim stays)
 *                                  has it, or it is forgotten       claim is refused
 *   PINNED     goes                -                                -                          refused
 *
 * Stations are hostile: an address is never taken over while its station still answers, and not without an event;
 * nothing is learned that nobody asked for and that did not ask us; table, addresses per station and waiting packets
 * are bounded. Hot: `resolve` for a known neighbour, which allocates nothing.
 */
import type { Random } from '../random.js';
import type { AddressWords } from '../wire/address.js';
import type { Origin } from './link.js';
import { isUnicastMac, type Mac } from './mac.js';
import type { Timed } from './timers.js';

/** What is known of a neighbour. */
export const NeighbourState = {
  INCOMPLETE: 0,
  REACHABLE: 1,
  STALE: 2,
  DELAY: 3,
  PROBE: 4,
  PINNED: 5,
} as const;
export type NeighbourState = (typeof NeighbourState)[keyof typeof NeighbourState];

const INCOMPLETE = NeighbourState.INCOMPLETE;
const REACHABLE = NeighbourState.REACHABLE;
const STALE = NeighbourState.STALE;
const DELAY = NeighbourState.DELAY;
const PROBE = NeighbourState.PROBE;
const PINNED = NeighbourState.PINNED;

/** Limits and times of a table; all have defaults. */
export interface NeighbourOptions {
  /** Most neighbours besides the pinned ones. Default 1024, as Linux's gc_thresh3. */
  readonly capacity?: number;
  /** Most addresses that one station may make known of its own accord. Default 64. */
  readonly addressesPerStation?: number;
  /** Packets that wait for one neighbour. Default 32; the oldest go first. */
  readonly queuePackets?: number;
  /** Bytes that wait for all neighbours of the interface. Default 1 MiB. */
  readonly queueBytes?: number;
  /** Between two questions, ms. Default 1000. */
  readonly retransmitMs?: number;
  /** Questions before a neighbour counts as gone. Default 3. */
  readonly probes?: number;
  /** How long an answer is believed, ms, times a random factor between 0.5 and 1.5. Default 30,000. */
  readonly reachableMs?: number;
  /** Between the first use of an old answer and the next question, ms. Default 5000. */
  readonly delayMs?: number;
}

/** A packet that waits. */
interface Waiting {
  readonly bytes: Uint8Array;
  readonly origin: Origin;
}

export class Neighbour implements Mac {
  readonly version: 4 | 6;
  readonly words: AddressWords;
  state: NeighbourState = INCOMPLETE;
  high = 0;
  low = 0;
  /** Station that claims the address while it is probed. */
  claim: Mac | undefined = undefined;
  /** When the state's next step is due; Infinity in states without. */
  dueMs = Number.POSITIVE_INFINITY;
  /** Questions asked in this state. */
  probes = 0;
  /** REACHABLE ends here. */
  freshUntilMs = 0;
  usedMs = Number.NEGATIVE_INFINITY;
  waiting: Waiting[] = [];
  next: Neighbour | undefined = undefined;

  constructor(version: 4 | 6, words: AddressWords) {
    this.version = version;
    this.words = words;
  }

  is(version: number, words: Int32Array, at: number): boolean {
    const own = this.words;
    if (own[0] !== words[at] || this.version !== version) return false;
    return (
      version === 4 || (own[1] === words[at + 1] && own[2] === words[at + 2] && own[3] === words[at + 3])
    );
  }

  has(mac: Mac): boolean {
    return this.high === mac.high && this.low === mac.low;
  }
}

/** What happened to a neighbour that somebody should know of. */
export interface NeighbourEvent {
  /**
   * `claimed`: another station says that it has the address; `refused`: it does not get it; `moved`: it has it now, the
   * old one did not answer; `unreachable`: nobody answered.
   */
  readonly kind: 'claimed' | 'refused' | 'moved' | 'unreachable';
  readonly version: 4 | 6;
  readonly words: AddressWords;
  /** Station that the table has. */
  readonly station: Mac;
  /** Station that claims the address, in the first three kinds. */
  readonly claimant?: Mac | undefined;
}

/** What a table needs of its interface. */
export interface NeighbourLink {
  /** Asks for the neighbour: all stations, or the one that is known. */
  ask(neighbour: Neighbour, whom: 'all' | 'station'): void;
  /** Sends a packet that waited. */
  send(neighbour: Neighbour, bytes: Uint8Array): void;
  /** A packet waited in vain, or found no room. */
  drop(bytes: Uint8Array, origin: Origin, why: 'unreachable' | 'full'): void;
  report(event: NeighbourEvent): void;
  /** Something is due at `atMs`. */
  wake(atMs: number): void;
}

export class Neighbours implements Timed {
  readonly #link: NeighbourLink;
  readonly #random: Random;
  readonly #seed: number;
  readonly #limits: Required<NeighbourOptions>;
  readonly #heads = new Map<number, Neighbour>();
  readonly #timed = new Set<Neighbour>();
  #count = 0;
  #pinned = 0;
  #waitingBytes = 0;

  constructor(link: NeighbourLink, random: Random, options: NeighbourOptions = {}) {
    this.#link = link;
    this.#random = random;
    this.#seed = random.u32() | 0;
    this.#limits = {
      capacity: 1024,
      addressesPerStation: 64,
      queuePackets: 32,
      queueBytes: 1 << 20,
      retransmitMs: 1000,
      probes: 3,
      reachableMs: 30_000,
      delayMs: 5000,
      ...options,
    };
  }

  get count(): number {
    return this.#count;
  }

  // ---- the way out ----

  /**
   * The neighbour with the address in `words[at..at+3]`, if packets can go to it now; undefined while nobody has
   * answered: the packet may then wait (`queue`).
   */
  resolve(version: number, words: Int32Array, at: number, nowMs: number): Neighbour | undefined {
    const found = this.find(version, words, at);
    if (found === undefined || found.state === INCOMPLETE) return undefined;
    if (found.state === REACHABLE && nowMs >= found.freshUntilMs) found.state = STALE;
    if (found.state === STALE) this.#step(found, DELAY, nowMs + this.#limits.delayMs);
    found.usedMs = nowMs;
    return found;
  }

  /** Keeps a packet (a copy, given away) until the neighbour is known, and asks for it if nobody did. */
  queue(version: 4 | 6, words: AddressWords, bytes: Uint8Array, origin: Origin, nowMs: number): void {
    let neighbour = this.find(version, Int32Array.from(words), 0);
    const isNew = neighbour === undefined;
    neighbour ??= this.#add(version, words, 'asked');
    if (neighbour === undefined || this.#waitingBytes + bytes.length > this.#limits.queueBytes) {
      this.#link.drop(bytes, origin, 'full');
      return;
    }
    neighbour.usedMs = nowMs;
    neighbour.waiting.push({ bytes, origin });
    this.#waitingBytes += bytes.length;
    if (neighbour.waiting.length > this.#limits.queuePackets) {
      const oldest = neighbour.waiting.shift() as Waiting;
      this.#waitingBytes -= oldest.bytes.length;
      this.#link.drop(oldest.bytes, oldest.origin, 'full');
    }
    if (isNew) this.#ask(neighbour, 'all', nowMs);
  }

  // ---- what stations say ----

  /** A station answered our question. */
  answered(version: 4 | 6, words: AddressWords, mac: Mac, nowMs: number): void {
    const neighbour = this.find(version, Int32Array.from(words), 0);
    if (neighbour === undefined || !isUnicastMac(mac.high, mac.low)) return;
    if (neighbour.state === INCOMPLETE || neighbour.has(mac)) this.#confirm(neighbour, mac, nowMs);
    else this.#claimed(neighbour, mac, nowMs);
  }

  /** A station said that it has the address, and nobody had asked: it changes nothing that it does not own. */
  announced(version: 4 | 6, words: AddressWords, mac: Mac, nowMs: number): void {
    const neighbour = this.find(version, Int32Array.from(words), 0);
    if (neighbour === undefined || !isUnicastMac(mac.high, mac.low)) return;
    if (neighbour.state === INCOMPLETE) this.#hear(neighbour, mac, nowMs);
    else if (!neighbour.has(mac)) this.#claimed(neighbour, mac, nowMs);
  }

  /** A station that has the address asked us for ours: we shall want to answer. */
  asked(version: 4 | 6, words: AddressWords, mac: Mac, nowMs: number): void {
    if (!isUnicastMac(mac.high, mac.low)) return;
    const neighbour = this.find(version, Int32Array.from(words), 0);
    if (neighbour !== undefined) {
      this.announced(version, words, mac, nowMs);
      return;
    }
    this.#makeRoomFor(mac);
    const made = this.#add(version, words, 'heard');
    if (made !== undefined) this.#hear(made, mac, nowMs);
  }

  /** Binds an address to a station until `unpin`: leases and configuration. Others who claim it are refused. */
  pin(version: 4 | 6, words: AddressWords, mac: Mac, nowMs: number): void {
    const neighbour = this.find(version, Int32Array.from(words), 0) ?? this.#add(version, words, 'pinned');
    if (neighbour === undefined) return;
    neighbour.high = mac.high;
    neighbour.low = mac.low;
    neighbour.claim = undefined;
    if (neighbour.state !== PINNED) this.#pinned++;
    this.#step(neighbour, PINNED, Number.POSITIVE_INFINITY);
    this.#flush(neighbour, nowMs);
  }

  unpin(version: 4 | 6, words: AddressWords): void {
    const neighbour = this.find(version, Int32Array.from(words), 0);
    if (neighbour?.state === PINNED) this.#remove(neighbour);
  }

  /** Forgets everything that is not pinned; waiting packets are dropped. */
  clear(): void {
    for (const neighbour of this.list()) if (neighbour.state !== PINNED) this.#fail(neighbour);
  }

  /** A copy of what is known. */
  list(): Neighbour[] {
    const all: Neighbour[] = [];
    for (const head of this.#heads.values()) {
      for (let one: Neighbour | undefined = head; one !== undefined; one = one.next) all.push(one);
    }
    return all;
  }

  find(version: number, words: Int32Array, at: number): Neighbour | undefined {
    let neighbour = this.#heads.get(this.#hash(version, words, at));
    while (neighbour !== undefined && !neighbour.is(version, words, at)) neighbour = neighbour.next;
    return neighbour;
  }

  // ---- time ----

  nextMs(): number {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const neighbour of this.#timed) if (neighbour.dueMs < dueMs) dueMs = neighbour.dueMs;
    return dueMs;
  }

  advance(nowMs: number): void {
    for (const neighbour of [...this.#timed]) if (neighbour.dueMs <= nowMs) this.#due(neighbour, nowMs);
  }

  #due(neighbour: Neighbour, nowMs: number): void {
    if (neighbour.state === DELAY) {
      this.#probe(neighbour, nowMs);
      return;
    }
    if (neighbour.probes < this.#limits.probes) {
      this.#ask(neighbour, neighbour.state === PROBE ? 'station' : 'all', nowMs);
      return;
    }
    const { claim } = neighbour;
    if (claim === undefined) {
      this.#fail(neighbour);
      return;
    }
    this.#report('moved', neighbour, claim);
    neighbour.claim = undefined;
    this.#hear(neighbour, claim, nowMs);
  }

  // ---- changes of state ----

  #confirm(neighbour: Neighbour, mac: Mac, nowMs: number): void {
    if (neighbour.state === PINNED) return;
    if (neighbour.claim !== undefined) this.#report('refused', neighbour, neighbour.claim);
    neighbour.claim = undefined;
    neighbour.high = mac.high;
    neighbour.low = mac.low;
    const factor = 0.5 + this.#random.pick(0, 1001) / 1000;
    neighbour.freshUntilMs = nowMs + this.#limits.reachableMs * factor;
    this.#step(neighbour, REACHABLE, Number.POSITIVE_INFINITY);
    this.#flush(neighbour, nowMs);
  }

  /** A station is known by its own word: good enough to send to, to be verified when used. */
  #hear(neighbour: Neighbour, mac: Mac, nowMs: number): void {
    neighbour.high = mac.high;
    neighbour.low = mac.low;
    this.#step(neighbour, STALE, Number.POSITIVE_INFINITY);
    this.#flush(neighbour, nowMs);
  }

  #claimed(neighbour: Neighbour, claimant: Mac, nowMs: number): void {
    if (neighbour.state === PINNED) {
      this.#report('refused', neighbour, claimant);
      return;
    }
    if (neighbour.claim !== undefined) return;
    neighbour.claim = claimant;
    this.#report('claimed', neighbour, claimant);
    if (neighbour.state !== PROBE) this.#probe(neighbour, nowMs);
  }

  #probe(neighbour: Neighbour, nowMs: number): void {
    this.#step(neighbour, PROBE, nowMs);
    this.#ask(neighbour, 'station', nowMs);
  }

  #ask(neighbour: Neighbour, whom: 'all' | 'station', nowMs: number): void {
    neighbour.probes++;
    neighbour.dueMs = nowMs + this.#limits.retransmitMs;
    this.#timed.add(neighbour);
    this.#link.wake(neighbour.dueMs);
    this.#link.ask(neighbour, whom);
  }

  #step(neighbour: Neighbour, state: NeighbourState, dueMs: number): void {
    neighbour.state = state;
    neighbour.probes = 0;
    neighbour.dueMs = dueMs;
    if (dueMs === Number.POSITIVE_INFINITY) this.#timed.delete(neighbour);
    else {
      this.#timed.add(neighbour);
      this.#link.wake(dueMs);
    }
  }

  #flush(neighbour: Neighbour, nowMs: number): void {
    if (neighbour.waiting.length === 0) return;
    const waiting = neighbour.waiting;
    neighbour.waiting = [];
    if (neighbour.state === STALE) this.#step(neighbour, DELAY, nowMs + this.#limits.delayMs);
    for (const { bytes } of waiting) {
      this.#waitingBytes -= bytes.length;
      this.#link.send(neighbour, bytes);
    }
  }

  #fail(neighbour: Neighbour): void {
    this.#remove(neighbour);
    if (neighbour.state === INCOMPLETE) this.#report('unreachable', neighbour, undefined);
    const waiting = neighbour.waiting;
    neighbour.waiting = [];
    for (const { bytes } of waiting) this.#waitingBytes -= bytes.length;
    for (const { bytes, origin } of waiting) this.#link.drop(bytes, origin, 'unreachable');
  }

  #report(kind: NeighbourEvent['kind'], neighbour: Neighbour, claimant: Mac | undefined): void {
    const { version, words, high, low } = neighbour;
    this.#link.report({ kind, version, words, station: { high, low }, claimant });
  }

  // ---- room ----

  #add(version: 4 | 6, words: AddressWords, why: 'asked' | 'heard' | 'pinned'): Neighbour | undefined {
    if (why === 'asked') this.#limitIncomplete();
    // Pinned ones are as many as configuration and leases say, and take no room from others.
    const isFull = this.#count - this.#pinned >= this.#limits.capacity;
    if (why !== 'pinned' && isFull && !this.#evict(() => true)) return undefined;
    const neighbour = new Neighbour(version, words);
    const hash = this.#hash(version, Int32Array.from(words), 0);
    neighbour.next = this.#heads.get(hash);
    this.#heads.set(hash, neighbour);
    this.#count++;
    return neighbour;
  }

  #remove(neighbour: Neighbour): void {
    const hash = this.#hash(neighbour.version, Int32Array.from(neighbour.words), 0);
    const head = this.#heads.get(hash);
    if (head === neighbour) {
      if (neighbour.next === undefined) this.#heads.delete(hash);
      else this.#heads.set(hash, neighbour.next);
    } else {
      let before = head;
      while (before !== undefined && before.next !== neighbour) before = before.next;
      if (before === undefined) return;
      before.next = neighbour.next;
    }
    neighbour.next = undefined;
    this.#timed.delete(neighbour);
    if (neighbour.state === PINNED) this.#pinned--;
    this.#count--;
  }

  /** Questions without an answer take a quarter of the table at most: the oldest gives way (RFC 6583). */
  #limitIncomplete(): void {
    let incomplete = 0;
    let oldest: Neighbour | undefined;
    for (const neighbour of this.#timed) {
      if (neighbour.state !== INCOMPLETE) continue;
      incomplete++;
      oldest ??= neighbour;
    }
    if (oldest !== undefined && incomplete >= Math.max(1, this.#limits.capacity >> 2)) this.#fail(oldest);
  }

  #makeRoomFor(mac: Mac): void {
    let own = 0;
    for (const neighbour of this.list()) if (neighbour.has(mac)) own++;
    if (own >= this.#limits.addressesPerStation) this.#evict((neighbour) => neighbour.has(mac));
  }

  /** Forgets, of those that may go, the one that was used least recently. */
  #evict(mayGo: (neighbour: Neighbour) => boolean): boolean {
    let victim: Neighbour | undefined;
    for (const neighbour of this.list()) {
      if (neighbour.state === PINNED || neighbour.state === PROBE || neighbour.state === INCOMPLETE) continue;
      if (!mayGo(neighbour)) continue;
      if (victim === undefined || neighbour.usedMs < victim.usedMs) victim = neighbour;
    }
    if (victim !== undefined) this.#remove(victim);
    return victim !== undefined;
  }

  #hash(version: number, words: Int32Array, at: number): number {
    let hash = Math.imul((words[at] as number) ^ this.#seed, 0x9e3779b1);
    if (version === 6) {
      for (let i = 1; i < 4; i++)
        hash = Math.imul((hash >>> 15) ^ hash ^ (words[at + i] as number), 0x85ebca77);
    }
    return ((hash >>> 16) ^ hash ^ version) | 0;
  }
}
