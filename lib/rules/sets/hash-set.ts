/**
 * hash:ip, hash:net, hash:ip,port and hash:net,port: elements by key, networks by every prefix length in use, the
 * longest first. Hot; lookups allocate nothing.
 *
 * Key: words 0-3 address, 4 prefix length (networks), 5 protocol << 16 | port.
 */
import { type ElementFields, elementHolds, SetElement, type SetExtensions } from './element.js';
import { protocolPort } from './ports.js';
import { type AddOptions, EXCEPTION, NO, type PacketSet, type SetQuery, YES } from './set.js';

const PREFIX = 4;
const PORT = 5;
const KEY_WORDS = 6;

export interface HashSetOptions extends SetExtensions {
  readonly type: 'hash:ip' | 'hash:net' | 'hash:ip,port' | 'hash:net,port';
  readonly family: 4 | 6;
  readonly hashsize: number;
  readonly maxelem: number;
  /** A full set gives up an element for a new one. */
  readonly forceadd: boolean;
  /** [4] bits of an address that count; hash:ip and hash:ip,port only. */
  readonly mask: readonly number[] | undefined;
  /** How the mask was written. */
  readonly maskText: string | undefined;
}

export class HashSet implements PacketSet {
  readonly options: HashSetOptions;
  readonly dimensions: number;
  readonly family: 4 | 6;
  readonly hasExceptions: boolean;
  readonly #hasPort: boolean;
  readonly #full: number;
  readonly #elements = new Map<number, SetElement[]>();
  #count = 0;
  /** [129] elements by prefix length, and the lengths in use, longest first. */
  readonly #ofPrefix = new Int32Array(129);
  #prefixes: number[] = [];
  readonly #key = new Int32Array(KEY_WORDS);

  constructor(options: HashSetOptions) {
    this.options = options;
    this.family = options.family;
    this.hasExceptions = options.type.startsWith('hash:net');
    this.#hasPort = options.type.endsWith(',port');
    this.dimensions = this.#hasPort ? 2 : 1;
    this.#full = options.family === 4 ? 32 : 128;
  }

  get size(): number {
    return this.#count;
  }

  *elements(): Iterable<SetElement> {
    for (const found of this.#elements.values()) yield* found;
  }

  test(query: SetQuery): number {
    const key = this.#key;
    if (!this.#read(query, key)) return NO;
    if (!this.hasExceptions) {
      const element = this.find(key);
      return element !== undefined && this.#holds(element, query) ? YES : NO;
    }
    for (let i = 0; i < this.#prefixes.length; i++) {
      // From long to short, so that what was masked away is not missed.
      maskPrefix(key, this.#prefixes[i] as number);
      const element = this.find(key);
      if (element !== undefined && this.#holds(element, query))
        return element.nomatch === 1 ? EXCEPTION : YES;
    }
    return NO;
  }

  add(query: SetQuery, options: AddOptions): boolean {
    const key = this.#key;
    if (!this.#read(query, key)) return false;
    if (this.hasExceptions) maskPrefix(key, this.#prefixes[0] ?? this.#full);
    const { packet } = query;
    const counted = { packets: 1, bytes: packet.end - packet.start, timeoutSeconds: options.timeoutSeconds };
    return this.insert(key, counted, options.exist, query.nowMs) === 'added';
  }

  remove(query: SetQuery): boolean {
    const key = this.#key;
    if (!this.#read(query, key)) return false;
    if (this.hasExceptions) maskPrefix(key, this.#prefixes[0] ?? this.#full);
    return this.delete(key, query.nowMs);
  }

  /** The element with this very key, expired or not. */
  find(key: Int32Array): SetElement | undefined {
    const found = this.#elements.get(hashOf(key));
    if (found === undefined) return undefined;
    for (let i = 0; i < found.length; i++) if (isKey(found[i] as SetElement, key)) return found[i];
    return undefined;
  }

  /** Adds an element. One that is there already is written anew if `exist`, or if it has expired. */
  insert(key: Int32Array, fields: ElementFields, exist: boolean, nowMs: number): 'added' | 'there' | 'full' {
    const before = this.find(key);
    if (before !== undefined) {
      if (!exist && !before.hasExpired(nowMs)) return 'there';
      before.write(fields, this.options, nowMs);
      return 'added';
    }
    if (this.#count >= this.options.maxelem) this.#makeRoom(nowMs);
    if (this.#count >= this.options.maxelem) return 'full';
    const element = new SetElement(key);
    element.write(fields, this.options, nowMs);
    this.#link(element);
    return 'added';
  }

  /** Removes an element; false if there is none. */
  delete(key: Int32Array, nowMs: number): boolean {
    const element = this.find(key);
    if (element === undefined) return false;
    this.#unlink(element);
    return !element.hasExpired(nowMs);
  }

  clear(): void {
    this.#elements.clear();
    this.#count = 0;
    this.#ofPrefix.fill(0);
    this.#prefixes = [];
  }

  clone(): HashSet {
    const copy = new HashSet(this.options);
    for (const element of this.elements()) copy.#link(element.clone());
    return copy;
  }

  /** Reads the packet's key; false if it can be no element. */
  #read(query: SetQuery, key: Int32Array): boolean {
    const { packet } = query;
    const at = query.addressAt(0);
    const mask = this.options.mask;
    let bits = 0;
    for (let i = 0; i < 4; i++) {
      const word = packet.addresses[at + i] as number;
      key[i] = mask === undefined ? word : word & (mask[i] as number);
      bits |= key[i] as number;
    }
    key[PREFIX] = 0;
    key[PORT] = 0;
    if (!this.#hasPort) return bits !== 0 || this.hasExceptions;
    const port = protocolPort(packet, (query.sources >>> 1) & 1);
    key[PORT] = port;
    return port >= 0;
  }

  #holds(element: SetElement, query: SetQuery): boolean {
    const { packet, options } = query;
    if (!elementHolds(element, this.options, options, packet.end - packet.start, query.nowMs)) return false;
    query.found = element;
    return true;
  }

  #makeRoom(nowMs: number): void {
    if (this.options.timeoutSeconds !== undefined) {
      for (const element of [...this.elements()]) if (element.hasExpired(nowMs)) this.#unlink(element);
    }
    if (this.options.forceadd && this.#count >= this.options.maxelem) {
      const [first] = this.elements();
      if (first !== undefined) this.#unlink(first);
    }
  }

  #link(element: SetElement): void {
    const hash = hashOf(element.key);
    const found = this.#elements.get(hash);
    if (found === undefined) this.#elements.set(hash, [element]);
    else found.push(element);
    this.#count++;
    if (this.hasExceptions) this.#countPrefix(element.key[PREFIX] as number, 1);
  }

  #unlink(element: SetElement): void {
    const hash = hashOf(element.key);
    const found = this.#elements.get(hash) as SetElement[];
    if (found.length === 1) this.#elements.delete(hash);
    else found.splice(found.indexOf(element), 1);
    this.#count--;
    if (this.hasExceptions) this.#countPrefix(element.key[PREFIX] as number, -1);
  }

  #countPrefix(prefix: number, more: number): void {
    const before = this.#ofPrefix[prefix] as number;
    this.#ofPrefix[prefix] = before + more;
    if (before === 0 || before + more === 0) {
      this.#prefixes = [...this.#ofPrefix.keys()].filter((length) => this.#ofPrefix[length] !== 0).reverse();
    }
  }
}

/** Cuts the key's address to a prefix and says so in the key. */
export function maskPrefix(key: Int32Array, prefix: number): void {
  for (let i = 0; i < 4; i++) {
    const bits = prefix - 32 * i;
    if (bits <= 0) key[i] = 0;
    else if (bits < 32) key[i] = (key[i] as number) & (-1 << (32 - bits));
  }
  key[PREFIX] = prefix;
}

function isKey(element: SetElement, key: Int32Array): boolean {
  for (let i = 0; i < KEY_WORDS; i++) if (element.key[i] !== key[i]) return false;
  return true;
}

function hashOf(key: Int32Array): number {
  let hash = 0x27d4eb2f;
  for (let i = 0; i < KEY_WORDS; i++) {
    hash = Math.imul(hash ^ (key[i] as number), 0x85ebca6b);
    hash ^= hash >>> 13;
  }
  return hash;
}
