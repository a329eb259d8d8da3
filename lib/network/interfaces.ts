/**
 * The router's interfaces: names, MTUs and addresses, and which address speaks for an interface. Cold, but for the
 * reads by index.
 *
 * Indices are 1, 2, ... in the order given; the loopback interface `lo` comes last. Addresses keep their order: the
 * first IPv4 address of a subnet is primary, later ones in the same subnet are secondary and never chosen.
 */
import { ConfigurationError } from '../errors.js';
import type { AddressWords } from '../rules/ast.js';
import { maskWords, parseAddress, prefixMask } from '../wire/address.js';
import { LoopbackPrefixes } from './loopback.js';
import { type OffloadKind, offloadBits } from './offload/features.js';
import { commonPrefix6, label6, scope6 } from './scope.js';

/** One interface of a router. */
export interface InterfaceOptions {
  /** Name; rules and routes know the interface by it unless `device` is given. */
  readonly name: string;
  /** Name of the device behind it. */
  readonly device?: string;
  /** `10.0.0.1/24` or `fd00::1/64`; without a prefix length a host address. */
  readonly addresses: readonly string[];
  /** Bytes. Default 1500. */
  readonly mtu?: number;
  /** What the link does to unfinished packets. Default nothing: every packet leaves finished. */
  readonly offloads?: readonly OffloadKind[];
  /** Whether IPv4 packets from and to 127.0.0.0/8 may come in and leave by it: route_localnet. Default no. */
  readonly routeLocalnet?: boolean;
}

/** An address of an interface. */
export interface InterfaceAddress {
  readonly version: 4 | 6;
  readonly words: AddressWords;
  readonly prefix: number;
  readonly mask: AddressWords;
  readonly isSecondary: boolean;
}

interface Interface {
  readonly name: string;
  readonly mtu: number;
  /** `OffloadBit`s. */
  offloads: number;
  /** 1 or 0. */
  routeLocalnet: number;
  addresses: InterfaceAddress[];
}

/** Words of a row: address, mask, interface, 1 if it is secondary. */
const ROW4 = 4;
const DEFAULT_MTU = 1500;
const LOOPBACK_MTU = 65536;
/** Smallest MTU that IPv4 links may have (RFC 791). */
const LEAST_MTU = 68;

export class Interfaces {
  readonly #all: Interface[] = [];
  /** [addresses * ROW4] The IPv4 addresses in order: what packets ask is answered from here. */
  #rows4 = new Int32Array(0);
  /** Index of `lo`. */
  readonly loopback: number;
  /** Addresses that are loopback's alone. */
  readonly loopbacks: LoopbackPrefixes;
  /** route_localnet of all interfaces, whatever their own says: 1 or 0. */
  allRouteLocalnet = 0;

  constructor(options: readonly InterfaceOptions[], loopbackPrefixes: readonly string[] = []) {
    this.loopbacks = new LoopbackPrefixes(loopbackPrefixes);
    for (const one of options) {
      const { name, device, addresses, mtu = DEFAULT_MTU, offloads = [] } = one;
      const known = device ?? name;
      if (known === '' || this.find(known) > 0 || known === 'lo') {
        throw new ConfigurationError('conflict', 'an interface needs a name of its own', { word: known });
      }
      if (!Number.isInteger(mtu) || mtu < LEAST_MTU || mtu > 65535) {
        throw new ConfigurationError('value', `MTU of ${known} out of range`, {
          word: String(mtu),
          expected: `${LEAST_MTU} to 65535 bytes`,
        });
      }
      const routeLocalnet = one.routeLocalnet === true ? 1 : 0;
      this.#all.push({ name: known, mtu, offloads: offloadBits(offloads), routeLocalnet, addresses: [] });
      for (const text of addresses) this.add(this.#all.length, text);
    }
    this.#all.push({ name: 'lo', mtu: LOOPBACK_MTU, offloads: 0, routeLocalnet: 0, addresses: [] });
    this.loopback = this.#all.length;
    this.add(this.loopback, '127.0.0.1/8');
    this.add(this.loopback, '::1/128');
  }

  /** Number of interfaces, `lo` included; indices go from 1 to it. */
  get count(): number {
    return this.#all.length;
  }

  /** Index of an interface by name, or 0. */
  find(name: string): number {
    return this.#all.findIndex((one) => one.name === name) + 1;
  }

  name(index: number): string {
    return this.#all[index - 1]?.name ?? '';
  }

  mtu(index: number): number {
    return this.#all[index - 1]?.mtu ?? 65535;
  }

  /** What an interface's link takes unfinished, as `OffloadBit`s. */
  offloads(index: number): number {
    return this.#all[index - 1]?.offloads ?? 0;
  }

  setOffloads(index: number, kinds: readonly OffloadKind[]): void {
    const one = this.#all[index - 1];
    if (one !== undefined) one.offloads = offloadBits(kinds);
  }

  /** Whether IPv4 loopback addresses may come in and leave by an interface: 1 or 0. */
  routesLocalnet(index: number): number {
    return this.allRouteLocalnet | (this.#all[index - 1] as Interface).routeLocalnet;
  }

  /**
   * Whether packets with the source in `addresses[0..3]` may not leave by `out`: loopback addresses do not leave the host,
   * but where route_localnet lets them.
   */
  isStranded(version: number, addresses: Int32Array, out: number): boolean {
    if (out === this.loopback || !this.loopbacks.covers(version, addresses, 0)) return false;
    return version === 6 || this.routesLocalnet(out) === 0;
  }

  /** The interface's own route_localnet; undefined for an index that is none. */
  routeLocalnet(index: number): number | undefined {
    return this.#all[index - 1]?.routeLocalnet;
  }

  setRouteLocalnet(index: number, value: number): void {
    const one = this.#all[index - 1];
    if (one !== undefined) one.routeLocalnet = value;
  }

  addresses(index: number): readonly InterfaceAddress[] {
    return this.#all[index - 1]?.addresses ?? [];
  }

  /** Adds `text` (`10.0.0.1/24`) to an interface; returns the address. Throws a ConfigurationError. */
  add(index: number, text: string): InterfaceAddress {
    const one = this.#all[index - 1];
    if (one === undefined)
      throw new ConfigurationError('unknown', 'no such interface', { word: String(index) });
    const parsed = parseInterfaceAddress(text);
    if (one.addresses.some((address) => sameAddress(address, parsed))) {
      throw new ConfigurationError('conflict', `${one.name} has this address already`, { word: text });
    }
    const isSecondary =
      parsed.version === 4 &&
      one.addresses.some(
        (other) =>
          other.version === 4 &&
          other.prefix === parsed.prefix &&
          inSubnet(other, parsed.words) &&
          !other.isSecondary,
      );
    const address = { ...parsed, isSecondary };
    one.addresses.push(address);
    this.#fillRows();
    return address;
  }

  /**
   * Takes an address away; returns it, or undefined if the interface does not have it. A secondary address of its subnet
   * takes its place (Linux's promote_secondaries, as distributions set it).
   */
  remove(index: number, text: string): InterfaceAddress | undefined {
    const one = this.#all[index - 1];
    if (one === undefined) return undefined;
    const parsed = parseInterfaceAddress(text);
    const found = one.addresses.find((address) => sameAddress(address, parsed));
    if (found === undefined) return undefined;
    one.addresses = one.addresses.filter((address) => address !== found);
    const heir = one.addresses.findIndex(
      (address) => address.isSecondary && address.prefix === found.prefix && inSubnet(found, address.words),
    );
    if (!found.isSecondary && heir >= 0)
      one.addresses[heir] = { ...one.addresses[heir]!, isSecondary: false };
    this.#fillRows();
    return found;
  }

  #fillRows(): void {
    this.#rows4 = Int32Array.from(
      this.#all.flatMap(({ addresses }, i) =>
        addresses
          .filter(({ version }) => version === 4)
          .flatMap(({ words, mask, isSecondary }) => [words[0], mask[0], i + 1, isSecondary ? 1 : 0]),
      ),
    );
  }

  /** Index of the interface that has the address, or 0. */
  owner(version: number, words: Int32Array, at: number): number {
    return version === 4 ? this.owner4(words[at] as number) : this.#owner6(words, at);
  }

  /** The same of an IPv4 address. */
  owner4(word: number): number {
    const rows = this.#rows4;
    for (let row = 0; row < rows.length; row += ROW4) {
      if (rows[row] === word) return rows[row + 2] as number;
    }
    return 0;
  }

  #owner6(words: Int32Array, at: number): number {
    for (let i = 0; i < this.#all.length; i++) {
      const addresses = (this.#all[i] as Interface).addresses;
      for (let j = 0; j < addresses.length; j++) {
        const address = addresses[j] as InterfaceAddress;
        if (
          address.version === 6 &&
          address.words[0] === words[at] &&
          address.words[1] === words[at + 1] &&
          address.words[2] === words[at + 2] &&
          address.words[3] === words[at + 3]
        ) {
          return i + 1;
        }
      }
    }
    return 0;
  }

  /**
   * IPv4 address that speaks for an interface towards `target`: the primary one whose subnet has the target, else
   * the first primary one, else one of another interface (but never loopback's for a target beyond). 0 if none.
   */
  select4(index: number, target: number): number {
    const first = this.#select4(index, target);
    if (first !== 0) return first;
    for (let other = 1; other < this.loopback; other++) {
      const found = this.#select4(other, 0);
      if (found !== 0) return found;
    }
    return 0;
  }

  #select4(index: number, target: number): number {
    const rows = this.#rows4;
    let found = 0;
    for (let row = 0; row < rows.length; row += ROW4) {
      if (rows[row + 2] !== index || rows[row + 3] === 1) continue;
      const word = rows[row] as number;
      if (((word ^ target) & (rows[row + 1] as number)) === 0) return word;
      if (found === 0) found = word;
    }
    return found;
  }

  /** The primary IPv4 address of an interface that has one of them only; else 0. */
  only4(index: number): number {
    const rows = this.#rows4;
    let only = -1;
    for (let row = 0; row < rows.length; row += ROW4) {
      if (rows[row + 2] !== index || rows[row + 3] === 1) continue;
      if (only >= 0) return 0;
      only = row;
    }
    return only < 0 ? 0 : (rows[only] as number);
  }

  /**
   * IPv6 source address for packets to `target[at..at+3]` that leave by interface `index`, by the rules of RFC 6724
   * section 5 that apply to static addresses: same address, scope, outgoing interface, label, longest prefix.
   */
  select6(index: number, target: Int32Array, at: number): AddressWords | undefined {
    const to: AddressWords = [target[at]!, target[at + 1]!, target[at + 2]!, target[at + 3]!];
    const scope = scope6(to);
    let best: AddressWords | undefined;
    let bestRank: number[] = [];
    for (let i = 1; i <= this.count; i++) {
      // Link-local and multicast targets belong to one link: so do their sources.
      if (i !== index && scope < GLOBAL_SCOPE) continue;
      for (const { version, words } of this.addresses(i)) {
        if (version !== 6) continue;
        const own = scope6(words);
        const rank = [
          words.every((word, k) => word === to[k]) ? 1 : 0,
          own >= scope ? 16 - own : own - 16,
          i === index ? 1 : 0,
          label6(words) === label6(to) ? 1 : 0,
          commonPrefix6(words, to),
        ];
        if (best === undefined || compareRanks(rank, bestRank) > 0) {
          best = words;
          bestRank = rank;
        }
      }
    }
    return best;
  }
}

const GLOBAL_SCOPE = 14;

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

/** Whether `words` lies in the address's subnet. */
export function inSubnet(address: InterfaceAddress, words: AddressWords): boolean {
  const mask = address.mask;
  return address.words.every((word, i) => (word & mask[i]!) === (words[i]! & mask[i]!));
}

function sameAddress(
  a: { words: AddressWords; version: number },
  b: { words: AddressWords; version: number },
) {
  return a.version === b.version && a.words.every((word, i) => word === b.words[i]);
}

/** `10.0.0.1/24` or `fd00::1/64` as numbers; throws a ConfigurationError. */
export function parseInterfaceAddress(text: string): Omit<InterfaceAddress, 'isSecondary'> {
  const [host = '', length, rest] = text.split('/');
  const version = host.includes(':') ? 6 : 4;
  const bits = version === 4 ? 32 : 128;
  const words = parseAddress(host, version);
  const prefix = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (words === undefined || rest !== undefined || !(prefix <= bits)) {
    throw new ConfigurationError('value', 'not an address', {
      word: text,
      expected: 'address/prefix length',
    });
  }
  return { version, words, prefix, mask: prefixMask(prefix, version) };
}

/** First address of the subnet. */
export function networkOf(address: Pick<InterfaceAddress, 'words' | 'mask'>): AddressWords {
  return maskWords(address.words, address.mask);
}
