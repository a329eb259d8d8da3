/**
 * Routing: the longest prefix decides, local addresses before all (Linux's tables local and main). The lookup is
 * hot; what changes routes is cold.
 *
 *   row [24 words]: 0 prefix | 1-4 network | 5-8 mask | 9 type | 10 interface | 11 metric
 *                   12-15 gateway | 16 has gateway | 17-20 source | 21 has source
 *
 * Rows are kept sorted (longest prefix, then lowest metric, first come first) and walked: a router in a sandbox has
 * a handful. Types are the AddressType numbers of `host.ts`. What it does not do: policy rules, several tables,
 * multipath.
 */
import { ConfigurationError, type ErrorPlace } from '../errors.js';
import { AddressType } from '../host.js';
import type { AddressWords } from '../rules/ast.js';
import { maskWords, parseAddress, prefixMask } from '../wire/address.js';
import { type Interfaces, networkOf, parseInterfaceAddress } from './interfaces.js';

const LOCAL = AddressType.LOCAL;

const STRIDE = 24;
const PREFIX = 0;
const NETWORK = 1;
const MASK = 5;
const TYPE = 9;
const INTERFACE = 10;
const METRIC = 11;
const GATEWAY = 12;
const HAS_GATEWAY = 16;
const SOURCE = 17;
const HAS_SOURCE = 21;

/** A route as configuration gives it. */
export interface Route {
  readonly version: 4 | 6;
  readonly network: AddressWords;
  readonly prefix: number;
  readonly type: AddressType;
  /** 0 for routes that lead nowhere (unreachable, prohibit, blackhole). */
  readonly interface: number;
  readonly metric: number;
  readonly gateway?: AddressWords;
  readonly source?: AddressWords;
}

/** Rows of one table of one family. */
class RouteTable {
  #rows: Int32Array = new Int32Array(0);
  #heads: Int32Array = new Int32Array(0);
  #routes: Route[] = [];
  /** Interfaces whose routes are not searched. */
  readonly #down = new Set<number>();

  get rows(): Int32Array {
    return this.#rows;
  }

  /** [rows * 2] first word of network and mask of each row, close together: what IPv4 lookups pass by. */
  get heads(): Int32Array {
    return this.#heads;
  }

  get routes(): readonly Route[] {
    return this.#routes;
  }

  add(route: Route): void {
    const routes = [...this.#routes, route];
    routes.sort((a, b) => b.prefix - a.prefix || a.metric - b.metric);
    this.#build(routes);
  }

  remove(isIt: (route: Route) => boolean): void {
    this.#build(this.#routes.filter((route) => !isIt(route)));
  }

  setLink(index: number, state: 'up' | 'down'): void {
    if (state === 'down') this.#down.add(index);
    else this.#down.delete(index);
    this.#build(this.#routes);
  }

  #build(routes: Route[]): void {
    const searched = routes.filter((route) => !this.#down.has(route.interface));
    const rows = new Int32Array(searched.length * STRIDE);
    const heads = new Int32Array(searched.length * 2);
    for (const [i, route] of searched.entries()) {
      const row = i * STRIDE;
      rows[row + PREFIX] = route.prefix;
      rows.set(route.network, row + NETWORK);
      rows.set(prefixMask(route.prefix, route.version), row + MASK);
      heads[2 * i] = rows[row + NETWORK] as number;
      heads[2 * i + 1] = rows[row + MASK] as number;
      rows[row + TYPE] = route.type;
      rows[row + INTERFACE] = route.interface;
      rows[row + METRIC] = route.metric;
      if (route.gateway !== undefined) {
        rows.set(route.gateway, row + GATEWAY);
        rows[row + HAS_GATEWAY] = 1;
      }
      if (route.source !== undefined) {
        rows.set(route.source, row + SOURCE);
        rows[row + HAS_SOURCE] = 1;
      }
    }
    this.#rows = rows;
    this.#heads = heads;
    this.#routes = routes;
  }
}

/**
 * Routes of both families. `find` leaves its answer in the fields, which are valid until the next call: a lookup per
 * packet allocates nothing.
 */
export class Routes {
  readonly #interfaces: Interfaces;
  readonly #loopback: number;
  readonly #local4 = new RouteTable();
  readonly #local6 = new RouteTable();
  readonly #main4 = new RouteTable();
  readonly #main6 = new RouteTable();
  /** Local routes that are there for loopback prefixes. */
  #ofPrefixes: ReadonlySet<Route> = new Set();

  /** Another number after each change of routes, or of the interfaces' addresses. */
  generation = 0;
  /** Type of the route found: an {@link AddressType}; UNSPEC (0) if there is none. */
  type = 0;
  /** Interface that packets take by this route: for local addresses the loopback interface. */
  interface = 0;
  /** 1 if the route has a gateway, whose words are then `rows[row + 12 ..]`. */
  hasGateway = 0;
  #rows: Int32Array = new Int32Array(0);
  #row = 0;

  constructor(interfaces: Interfaces) {
    this.#interfaces = interfaces;
    this.#loopback = interfaces.loopback;
    for (let index = 1; index <= interfaces.count; index++) {
      this.#multicast(index);
      for (const address of interfaces.addresses(index)) this.#connect(index, address);
    }
    this.followPrefixes();
  }

  /** Makes every address of a loopback prefix local (AnyIP), and those of prefixes that are none any more not. */
  followPrefixes(): void {
    this.generation++;
    const gone = this.#ofPrefixes;
    for (const table of [this.#local4, this.#local6]) {
      if (gone.size > 0) table.remove((route) => gone.has(route));
    }
    const routes = this.#interfaces.loopbacks.added.map(
      ({ version, words, prefix }): Route => ({
        ...{ version, network: words, prefix },
        ...{ type: LOCAL, interface: this.#loopback, metric: 0 },
      }),
    );
    for (const route of routes) (route.version === 4 ? this.#local4 : this.#local6).add(route);
    this.#ofPrefixes = new Set(routes);
  }

  /**
   * Finds the route to `words[at..at+3]`; with `oif` > 0 only routes over that interface count. Returns its type,
   * UNSPEC if there is none; the other fields tell the rest.
   */
  find(version: number, words: Int32Array, at: number, oif: number): number {
    if (version === 4) return this.find4(words[at] as number, oif);
    if (this.#find6(this.#local6.rows, words, at, oif) === 0) this.#find6(this.#main6.rows, words, at, oif);
    return this.type;
  }

  /** The same for an IPv4 address. */
  find4(word: number, oif: number): number {
    if (this.#find4(this.#local4, word, oif) === 0) this.#find4(this.#main4, word, oif);
    return this.type;
  }

  /** Type of an IPv4 address by the local table alone (local, broadcast), UNSPEC if it is in none of its rows. */
  findLocal4(words: Int32Array, at: number, oif: number): number {
    this.#find4(this.#local4, words[at] as number, oif);
    return this.type;
  }

  /** Gateway of the route found, first word (IPv4), else the destination given. */
  nextHop4(destination: number): number {
    return this.hasGateway === 1 ? (this.#rows[this.#row + GATEWAY] as number) : destination;
  }

  /** Interface that the route found is about: for a local address the one that has it. 0 without a route. */
  get device(): number {
    return this.type === 0 ? 0 : (this.#rows[this.#row + INTERFACE] as number);
  }

  /** Whether the IPv6 address looked for is its link's subnet-router anycast address (RFC 4291 section 2.6.1). */
  isSubnetAnycast(words: Int32Array, at: number): boolean {
    const rows = this.#rows;
    const row = this.#row;
    if (this.type === 0 || this.hasGateway === 1 || (rows[row + PREFIX] as number) >= 127) return false;
    for (let i = 0; i < 4; i++) if (rows[row + NETWORK + i] !== words[at + i]) return false;
    return true;
  }

  /** Prefix length of the route found. */
  get prefix(): number {
    return this.type === 0 ? 0 : (this.#rows[this.#row + PREFIX] as number);
  }

  /** Gateway of the route found, else the destination given, as words into `into[0..3]`. */
  nextHop6(words: Int32Array, at: number, into: Int32Array): void {
    const from = this.hasGateway === 1 ? this.#rows : words;
    const first = this.hasGateway === 1 ? this.#row + GATEWAY : at;
    for (let i = 0; i < 4; i++) into[i] = from[first + i] as number;
  }

  /** Preferred source of the route found (its `src`), into `words[at..at+3]`; 0 if it has none. */
  source(words: Int32Array, at: number): 0 | 1 {
    if (this.type === 0 || this.#rows[this.#row + HAS_SOURCE] === 0) return 0;
    for (let i = 0; i < 4; i++) words[at + i] = this.#rows[this.#row + SOURCE + i] as number;
    return 1;
  }

  #find4(table: RouteTable, word: number, oif: number): 0 | 1 {
    const heads = table.heads;
    for (let i = 0; i < heads.length; i += 2) {
      if (((word ^ (heads[i] as number)) & (heads[i + 1] as number)) !== 0) continue;
      const rows = table.rows;
      const row = (i >> 1) * STRIDE;
      if (this.#leavesBy(rows, row, oif) === 0) continue;
      this.#take(rows, row);
      return 1;
    }
    return this.#miss();
  }

  #find6(rows: Int32Array, words: Int32Array, at: number, oif: number): 0 | 1 {
    for (let row = 0; row < rows.length; row += STRIDE) {
      if (this.#matches(rows, row, words, at) === 0 || this.#leavesBy(rows, row, oif) === 0) continue;
      this.#take(rows, row);
      return 1;
    }
    return this.#miss();
  }

  /** Whether a row counts for packets that must leave by `oif`, which is 0 if they need not: 1 or 0. */
  #leavesBy(rows: Int32Array, row: number, oif: number): 0 | 1 {
    return oif > 0 && rows[row + INTERFACE] !== oif && rows[row + INTERFACE] !== 0 ? 0 : 1;
  }

  #take(rows: Int32Array, row: number): void {
    this.#rows = rows;
    this.#row = row;
    this.type = rows[row + TYPE] as number;
    this.interface = this.type === LOCAL ? this.#loopback : (rows[row + INTERFACE] as number);
    this.hasGateway = rows[row + HAS_GATEWAY] as number;
  }

  #miss(): 0 {
    this.type = 0;
    this.interface = 0;
    this.hasGateway = 0;
    return 0;
  }

  #matches(rows: Int32Array, row: number, words: Int32Array, at: number): 0 | 1 {
    for (let i = 0; i < 4; i++) {
      const difference = (words[at + i] as number) ^ (rows[row + NETWORK + i] as number);
      if ((difference & (rows[row + MASK + i] as number)) !== 0) return 0;
    }
    return 1;
  }

  /** Adds a route in the words of `ip route add`; `-6` in front for IPv6. Throws a ConfigurationError. */
  add(text: string, place: ErrorPlace = {}): Route {
    const route = parseRoute(text, this.#interfaces, this, place);
    this.generation++;
    this.#main(route.version).add(route);
    return route;
  }

  /** Takes away the routes that `add` of the same text made. */
  remove(text: string): void {
    const gone = parseRoute(text, this.#interfaces, this, {});
    this.generation++;
    this.#main(gone.version).remove(
      (route) =>
        route.prefix === gone.prefix &&
        route.interface === gone.interface &&
        route.type === gone.type &&
        route.network.every((word, i) => word === gone.network[i]),
    );
  }

  /** Adds an address to an interface, with the routes that come with it. */
  addAddress(index: number, text: string): void {
    this.generation++;
    this.#connect(index, this.#interfaces.add(index, text));
  }

  /** Takes an address and its routes away; returns false if the interface does not have it. */
  removeAddress(index: number, text: string): boolean {
    this.generation++;
    const gone = this.#interfaces.remove(index, text);
    if (gone === undefined) return false;
    const isIts = (route: Route) =>
      route.interface === index && route.type !== AddressType.MULTICAST && route.gateway === undefined;
    for (const table of gone.version === 4 ? [this.#local4] : [this.#local6]) table.remove(isIts);
    this.#main(gone.version).remove(
      (route) =>
        isIts(route) &&
        route.prefix === gone.prefix &&
        route.network.every((word, i) => word === networkOf(gone)[i]),
    );
    for (const address of this.#interfaces.addresses(index)) {
      if (address.version === gone.version) this.#connect(index, address);
    }
    return true;
  }

  /** Routes over an interface that is down are kept, but not searched; the router's own addresses on it stay local. */
  setLink(index: number, state: 'up' | 'down'): void {
    this.generation++;
    this.#main4.setLink(index, state);
    this.#main6.setLink(index, state);
  }

  /** Routes of the main table, as they are searched. */
  list(version: 4 | 6): readonly Route[] {
    return this.#main(version).routes;
  }

  #main(version: 4 | 6): RouteTable {
    return version === 4 ? this.#main4 : this.#main6;
  }

  /** Local, broadcast and connected routes of an address. */
  #connect(index: number, address: ReturnType<typeof parseInterfaceAddress>): void {
    const { version, words, prefix, mask } = address;
    const common = { version, interface: index, metric: version === 4 ? 0 : 256 };
    const local = version === 4 ? this.#local4 : this.#local6;
    const bits = version === 4 ? 32 : 128;
    local.add({ ...common, network: words, prefix: bits, type: AddressType.LOCAL, source: words });
    const network = networkOf(address);
    if (index === this.#interfaces.loopback) {
      if (prefix < bits) local.add({ ...common, network, prefix, type: AddressType.LOCAL, source: words });
      return;
    }
    if (version === 4 && prefix < 31) {
      const broadcast: AddressWords = [words[0] | ~mask[0], 0, 0, 0];
      local.add({ ...common, network: broadcast, prefix: 32, type: AddressType.BROADCAST, source: words });
    }
    const main = this.#main(version);
    const isThere = main.routes.some(
      (route) =>
        route.interface === index &&
        route.prefix === prefix &&
        route.gateway === undefined &&
        route.network.every((word, i) => word === network[i]),
    );
    if (prefix === bits || isThere) return;
    const source = version === 4 ? { source: words } : {};
    main.add({ ...common, network, prefix, type: AddressType.UNICAST, ...source });
  }

  /** ff00::/8 lives on every link. */
  #multicast(index: number): void {
    if (index === this.#interfaces.loopback) return;
    this.#local6.add({
      version: 6,
      network: [0xff000000 | 0, 0, 0, 0],
      prefix: 8,
      type: AddressType.MULTICAST,
      interface: index,
      metric: 256,
    });
  }
}

const TYPES: Readonly<Record<string, AddressType>> = {
  unicast: AddressType.UNICAST,
  local: AddressType.LOCAL,
  broadcast: AddressType.BROADCAST,
  multicast: AddressType.MULTICAST,
  blackhole: AddressType.BLACKHOLE,
  unreachable: AddressType.UNREACHABLE,
  prohibit: AddressType.PROHIBIT,
};

/** Words with a value that say nothing to a router of ours. */
const WITHOUT_EFFECT = new Set(['proto', 'scope', 'pref']);

function parseRoute(text: string, interfaces: Interfaces, routes: Routes, place: ErrorPlace): Route {
  const words = text.trim().split(/\s+/);
  let at = 0;
  const fail = (message: string, word: string | undefined, expected: string): never => {
    throw new ConfigurationError('syntax', `route '${text}': ${message}`, {
      ...place,
      word: word ?? '',
      expected,
    });
  };
  const isSix = words[at] === '-6';
  if (isSix || words[at] === '-4') at++;
  const type = TYPES[words[at] ?? ''] ?? AddressType.UNICAST;
  if (TYPES[words[at] ?? ''] !== undefined) at++;
  const target = words[at++] ?? '';
  const version = isSix || target.includes(':') ? 6 : 4;
  const to =
    target === 'default'
      ? { version, words: [0, 0, 0, 0] as const, prefix: 0, mask: [0, 0, 0, 0] as const }
      : parseInterfaceAddress(target);
  if (to.version !== version) fail('address of the other family', target, 'an IPv6 prefix');
  if (maskWords(to.words, to.mask).some((word, i) => word !== to.words[i])) {
    fail('host bits are set', target, 'a prefix');
  }
  let gateway: AddressWords | undefined;
  let source: AddressWords | undefined;
  let index = 0;
  let metric = version === 4 ? 0 : 1024;
  const address = (value: string | undefined): AddressWords =>
    parseAddress(value ?? '', version) ?? fail('not an address', value, `an IPv${version} address`);
  while (at < words.length) {
    const word = words[at] as string;
    const value = words[at + 1];
    at += 2;
    if (word === 'via') gateway = address(value);
    else if (word === 'src') source = address(value);
    else if (word === 'dev') {
      index = interfaces.find(value ?? '');
      if (index === 0) fail('no such interface', value, 'the name of an interface');
    } else if (word === 'metric') {
      if (!/^\d{1,9}$/.test(value ?? '')) fail('not a metric', value, 'a number');
      metric = Number(value);
    } else if (word === 'onlink') at--;
    else if (!WITHOUT_EFFECT.has(word)) fail('unknown word', word, 'via, dev, src, metric');
  }
  if (type === AddressType.UNICAST && index === 0) {
    if (
      gateway !== undefined &&
      routes.find(version, Int32Array.from(gateway), 0, 0) === AddressType.UNICAST
    ) {
      index = routes.interface;
    } else fail('leads nowhere', target, 'dev NAME, or via an address on a link');
  }
  return {
    version,
    network: to.words,
    prefix: to.prefix,
    type,
    interface: index,
    metric,
    ...(gateway === undefined ? {} : { gateway }),
    ...(source === undefined ? {} : { source }),
  };
}
