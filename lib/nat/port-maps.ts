/**
 * Which ports of an address are taken towards one peer, a bit per port: a free one is found without looking at those
 * that are not. Hot on new connections only.
 *
 * A map is of a reply key with one port left out: the peer's address and port, NAT's address, the protocol and the zone
 * (ICMP: the identifier is what is left out). It is made when a search for a port has become long, and let go when
 * nobody searched it for a minute, when few of its ports are taken, or when another one needs its place.
 *
 * Ports are known 32 at a time: what a word says was looked up in the table when it was first asked for. From then on
 * the word follows the table as connections are linked and destroyed. Connections that expire unseen are not told of:
 * each word has a time before which none of its ports expires, and is looked up anew after that. So a map is never
 * behind the table, and never says more than 32 lookups a word cost.
 */
import { Direction, type Entries, type EntryId, NIL } from '../conntrack/entries.js';
import { type ConntrackTable, DestroyReason } from '../conntrack/table.js';
import { KEY_KIND, KEY_PORTS, KEY_WORDS } from '../conntrack/tuples.js';

const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;
const DISCARDED = DestroyReason.DISCARDED;
const TCP = 6;
/** TCP's state from which on a connection is finished, see `conntrack/protocols/tcp.ts`. */
const TCP_TIME_WAIT = 7;

/** Maps at a time, of 24.5 KiB each; the one not searched for longest gives way. */
const MAPS = 64;
/** How long a map is kept that nobody searches, ms. */
const IDLE_MS = 60_000;
/** Taken ports below which a map is not worth its upkeep. */
const FEW = 16;
/** Connections linked between two looks for maps that nobody searches; a power of two. */
const LOOK_EVERY = 1024;
/** Words of a map: 65,536 ports. */
const WORDS = 2048;
/** How long a word without connections is believed, ms: shorter than half the turn of int32 time. */
const LONG_MS = 0x3fffffff;

/** The half of a reply key's ports word that is left out. */
export const PortHalf = {
  /** The destination port: NAT changes sources. */
  LOW: 0,
  /** The source port, where NAT changes destinations; or ICMP's identifier. */
  HIGH: 16,
} as const;
export type PortHalf = (typeof PortHalf)[keyof typeof PortHalf];

/** One map. */
export class PortMap {
  /** Reply key, the half left out zero. */
  readonly key = new Int32Array(KEY_WORDS);
  half: PortHalf = PortHalf.LOW;
  /** Hash of `key`. */
  hash = 0;
  /** Bits of ports that are taken. */
  readonly taken = new Int32Array(WORDS);
  /** Bits of taken ports whose TCP connection was finished when it was last told of. */
  readonly finished = new Int32Array(WORDS);
  /** Per word: no port of it expires before this. */
  readonly until = new Int32Array(WORDS);
  /** Bits of words that are known. */
  readonly known = new Int32Array(WORDS >>> 5);
  /** Bits in `taken`. */
  count = 0;
  /** When it was last searched. */
  searchedAt = 0;
  /** Time from which on no owner of a range's port was worth evicting, and that range; `fruitlessSize` 0: not known. */
  fruitlessAt = 0;
  fruitlessFirst = 0;
  fruitlessSize = 0;

  isKnown(word: number): 0 | 1 {
    return (((this.known[word >>> 5] as number) >>> (word & 31)) & 1) as 0 | 1;
  }

  setKnown(word: number): void {
    this.known[word >>> 5] = (this.known[word >>> 5] as number) | (1 << (word & 31));
  }

  setUnknown(word: number): void {
    this.known[word >>> 5] = (this.known[word >>> 5] as number) & ~(1 << (word & 31));
  }

  take(port: number): void {
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    if (((this.taken[word] as number) & bit) !== 0) return;
    this.taken[word] = (this.taken[word] as number) | bit;
    this.count++;
  }

  give(port: number): void {
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    if (((this.taken[word] as number) & bit) === 0) return;
    this.taken[word] = (this.taken[word] as number) & ~bit;
    this.finished[word] = (this.finished[word] as number) & ~bit;
    this.count--;
  }

  finish(port: number): void {
    const word = port >>> 5;
    this.finished[word] = (this.finished[word] as number) | (1 << (port & 31));
  }

  /** Nothing is known any more. */
  forget(): void {
    this.known.fill(0);
    this.taken.fill(0);
    this.finished.fill(0);
    this.count = 0;
    this.fruitlessSize = 0;
  }
}

export class PortMaps {
  readonly #table: ConntrackTable;
  readonly #now: () => number;
  /** Maps in use, then those that were let go. */
  readonly #maps: PortMap[] = [];
  #held = 0;
  #linkedCount = 0;
  /** Maps in use by the half that they leave out, `half >>> 4`. */
  readonly #halves = new Int32Array(2);
  readonly #scratch = new Int32Array(KEY_WORDS);
  /** The tuple of an entry that is told of; and the one that is looked up, on the way of which entries end. */
  readonly #told = new Int32Array(KEY_WORDS);
  readonly #asked = new Int32Array(KEY_WORDS);

  /** `now` tells the tracker's time. */
  constructor(table: ConntrackTable, now: () => number) {
    this.#table = table;
    this.#now = now;
    table.observe((_table, entry, reason) => {
      if (this.#held > 0 && reason !== DISCARDED) this.#ended(entry);
    });
  }

  /** Maps in use. */
  get held(): number {
    return this.#held;
  }

  /** The map of `reply` with a half left out if there is one, to be searched at `now`. */
  find(reply: Int32Array, half: PortHalf, now: number): PortMap | undefined {
    if (this.#halves[half >>> 4] === 0) return undefined;
    const map = this.#find(this.#masked(reply, half), half);
    if (map === undefined) return undefined;
    const idleMs = (now - map.searchedAt) | 0;
    if (idleMs > IDLE_MS || idleMs < 0) map.forget();
    map.searchedAt = now;
    return map;
  }

  /** The same, made if there is none. */
  make(reply: Int32Array, half: PortHalf, now: number): PortMap {
    const found = this.find(reply, half, now);
    if (found !== undefined) return found;
    if (this.#held === MAPS) this.#drop(this.#oldest(now));
    const map = (this.#maps[this.#held] ??= new PortMap());
    const key = this.#masked(reply, half);
    map.forget();
    map.key.set(key);
    map.half = half;
    map.hash = this.#table.hashKey(key);
    map.searchedAt = now;
    this.#held++;
    this.#halves[half >>> 4] = (this.#halves[half >>> 4] as number) + 1;
    this.#listen();
    return map;
  }

  /** First port from `from` on, below `end`, that nobody has at `now`; -1 if there is none. */
  free(map: PortMap, from: number, end: number, now: number): number {
    return this.#next(map, from, end, now, 0);
  }

  /** The same, or whose owner is a TCP connection that may be finished. */
  freeOrFinished(map: PortMap, from: number, end: number, now: number): number {
    return this.#next(map, from, end, now, -1);
  }

  #next(map: PortMap, from: number, end: number, now: number, finished: number): number {
    for (let port = from; port < end; ) {
      const word = port >>> 5;
      if (map.isKnown(word) === 0 || ((now - (map.until[word] as number)) | 0) >= 0)
        this.#read(map, word, now);
      const wanted = ~(map.taken[word] as number) | ((map.finished[word] as number) & finished);
      const bits = wanted & (-1 << (port & 31));
      if (bits !== 0) {
        const found = (word << 5) + 31 - Math.clz32(bits & -bits);
        return found < end ? found : -1;
      }
      port = (word + 1) << 5;
    }
    return -1;
  }

  /** Looks the 32 ports of a word up. */
  #read(map: PortMap, word: number, now: number): void {
    const table = this.#table;
    const entries = table.entries;
    const key = this.#asked;
    key.set(map.key);
    const rest = map.key[KEY_PORTS] as number;
    let until = (now + LONG_MS) | 0;
    // Lookups reap what has expired, which is told to this map: bits are set where it can be heard.
    map.setKnown(word);
    for (let port = word << 5; port < (word + 1) << 5; port++) {
      key[KEY_PORTS] = rest | (port << map.half);
      const tuple = table.find(key, now);
      if (tuple === NIL) {
        map.give(port);
        continue;
      }
      map.take(port);
      const entry = entries.entryOf(tuple);
      if (isFinished(entries, entry) === 1) map.finish(port);
      const expires = entries.expires(entry);
      if (((expires - until) | 0) < 0) until = expires;
    }
    map.until[word] = until;
  }

  // ---- following the table ----

  /** The maps hear of what the table does while there are any. */
  #listen(): void {
    const table = this.#table;
    const isHeld = this.#held > 0;
    table.onLink = isHeld ? (entry) => this.#linked(entry) : undefined;
    table.onState = isHeld ? (entry) => this.#changed(entry) : undefined;
    table.entries.onShortened = isHeld ? (entry) => this.#shortened(entry) : undefined;
  }

  #linked(entry: EntryId): void {
    this.#linkedCount = (this.#linkedCount + 1) & (LOOK_EVERY - 1);
    if (this.#linkedCount === 0) this.#dropIdle();
    for (let direction: Direction = ORIGINAL; direction <= REPLY; direction++) {
      for (let half = 0; half <= 16; half += 16) {
        const map = this.#mapOf(entry, direction as Direction, half as PortHalf);
        if (map === undefined) continue;
        map.take(this.#portIn(map));
        if (isFinished(this.#table.entries, entry) === 1) map.finish(this.#portIn(map));
        this.#expiresIn(map, entry);
      }
    }
  }

  #changed(entry: EntryId): void {
    if (isFinished(this.#table.entries, entry) === 0) return;
    for (let half = 0; half <= 16; half += 16) {
      const map = this.#mapOf(entry, REPLY, half as PortHalf);
      if (map !== undefined) map.finish(this.#portIn(map));
    }
  }

  /** The entry now expires earlier than before. */
  #shortened(entry: EntryId): void {
    for (let direction: Direction = ORIGINAL; direction <= REPLY; direction++) {
      for (let half = 0; half <= 16; half += 16) {
        const map = this.#mapOf(entry, direction as Direction, half as PortHalf);
        if (map !== undefined) this.#expiresIn(map, entry);
      }
    }
  }

  #ended(entry: EntryId): void {
    for (let direction: Direction = ORIGINAL; direction <= REPLY; direction++) {
      for (let half = 0; half <= 16; half += 16) {
        const map = this.#mapOf(entry, direction as Direction, half as PortHalf);
        if (map === undefined) continue;
        const port = this.#portIn(map);
        map.give(port);
        // In zones that are meant for one direction, two connections may have the tuple.
        if ((map.key[KEY_KIND] as number) >>> 8 !== 0) map.setUnknown(port >>> 5);
        if (map.count < FEW) this.#drop(map);
      }
    }
  }

  #expiresIn(map: PortMap, entry: EntryId): void {
    const word = this.#portIn(map) >>> 5;
    const expires = this.#table.entries.expires(entry);
    if (((expires - (map.until[word] as number)) | 0) < 0) map.until[word] = expires;
  }

  /** The map that a tuple of the entry belongs to; `#portIn` then tells its port. */
  #mapOf(entry: EntryId, direction: Direction, half: PortHalf): PortMap | undefined {
    if (this.#halves[half >>> 4] === 0) return undefined;
    this.#table.entries.getKey(entry, direction, this.#told);
    return this.#find(this.#masked(this.#told, half), half);
  }

  #portIn(map: PortMap): number {
    return ((this.#told[KEY_PORTS] as number) >>> map.half) & 0xffff;
  }

  /** `key` with a half left out, in scratch. */
  #masked(key: Int32Array, half: PortHalf): Int32Array {
    const scratch = this.#scratch;
    for (let i = 0; i < KEY_WORDS; i++) scratch[i] = key[i] as number;
    scratch[KEY_PORTS] = (key[KEY_PORTS] as number) & (half === PortHalf.LOW ? ~0xffff : 0xffff);
    return scratch;
  }

  #find(masked: Int32Array, half: PortHalf): PortMap | undefined {
    const hash = this.#table.hashKey(masked);
    for (let i = 0; i < this.#held; i++) {
      const map = this.#maps[i] as PortMap;
      if (map.hash !== hash || map.half !== half) continue;
      let same = true;
      for (let word = 0; word < KEY_WORDS && same; word++) same = map.key[word] === masked[word];
      if (same) return map;
    }
    return undefined;
  }

  #oldest(now: number): PortMap {
    let oldest = this.#maps[0] as PortMap;
    for (const map of this.#maps) {
      if (((now - map.searchedAt) | 0) > ((now - oldest.searchedAt) | 0)) oldest = map;
    }
    return oldest;
  }

  #dropIdle(): void {
    const now = this.#now();
    for (let i = this.#held - 1; i >= 0; i--) {
      const map = this.#maps[i] as PortMap;
      if (((now - map.searchedAt) | 0) > IDLE_MS) this.#drop(map);
    }
  }

  #drop(map: PortMap): void {
    const at = this.#maps.indexOf(map);
    const last = --this.#held;
    this.#maps[at] = this.#maps[last] as PortMap;
    this.#maps[last] = map;
    this.#halves[map.half >>> 4] = (this.#halves[map.half >>> 4] as number) - 1;
    if (last === 0) this.#listen();
  }
}

/** Whether a connection is TCP's and over but for its time: 1 or 0. */
function isFinished(entries: Entries, entry: EntryId): 0 | 1 {
  return entries.protocol(entry) === TCP && entries.state(entry) >= TCP_TIME_WAIT ? 1 : 0;
}
