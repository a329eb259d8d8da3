/**
 * Router advertisements (RFC 4861 section 6.2) on one interface: the default route, prefixes for SLAAC (RFC 4862), MTU,
 * name servers and search domains (RFC 8106). Cold.
 *
 * Sent to all nodes three times within half a minute at first, then now and then; to a host that solicits at once, if it
 * has an address, else to all nodes, at most every three seconds. Prefixes that the interface lost are advertised as
 * deprecated a few times more; `close` says good-bye with a lifetime of 0.
 */
import { ConfigurationError } from '../errors.js';
import type { Random } from '../random.js';
import { type AddressWords, formatAddress, maskWords, parseAddress } from '../wire/address.js';
import { sumPseudoHeader } from '../wire/checksum.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import { makeIpv6, put16, put32, sealTransport } from '../wire/segment.js';
import { parseInterfaceAddress } from './interfaces.js';
import { type Mac, putMac } from './mac.js';
import type { Router } from './router.js';
import type { Timed } from './timers.js';

const ICMPV6 = 58;
const ADVERTISEMENT = 134;
const HOP_LIMIT = 255;
const HEADER_BYTES = 16;
const MANAGED = 0x80;
const OTHER = 0x40;
/** On-link and autonomous. */
const PREFIX_FLAGS = 0xc0;
const SLAAC_PREFIX = 64;
const MAX_INITIAL = 3;
const INITIAL_INTERVAL_MS = 16_000;
const LEAST_DELAY_MS = 3000;
const SOLICITED_DELAY_MS = 500;
/** Answers to single hosts in one second; more are answered all at once. */
const MAX_SINGLE = 10;
/** Times that a lost prefix is still advertised, as deprecated. */
const FAREWELLS = 3;
const ALL_NODES: AddressWords = [0xff020000 | 0, 0, 0, 1];

/** Options of an interface's router advertisements; `{}` advertises its /64 prefixes and a default route. */
export interface AdvertiseOptions {
  /** `fd00:a::/64`. Default: the /64 subnets of the interface's addresses. */
  readonly prefixes?: readonly string[];
  /** How long hosts take us for their default router, seconds; 0: not at all. Default 1800. */
  readonly lifetimeSeconds?: number;
  /** Of addresses made of the prefixes. Default 14,400 and 86,400. */
  readonly preferredSeconds?: number;
  readonly validSeconds?: number;
  /** Name servers. Default: the interface's address if the gateway answers DNS there, else none. */
  readonly dns?: readonly string[];
  /** Domains that host names are looked up in. */
  readonly search?: readonly string[];
  /** Longest time between two advertisements to all nodes, seconds. Default 600. */
  readonly intervalSeconds?: number;
  /** Flags that tell of DHCPv6. Default: neither. */
  readonly managed?: boolean;
  readonly other?: boolean;
}

interface Prefix {
  readonly words: AddressWords;
  readonly prefix: number;
}

export class Advertisements implements Timed {
  readonly #router: Router;
  readonly #index: number;
  readonly #mac: Mac | undefined;
  readonly #options: AdvertiseOptions;
  readonly #fixed: readonly Prefix[] | undefined;
  readonly #dns: readonly AddressWords[] | undefined;
  readonly #search: readonly Uint8Array[];
  readonly #answersDns: boolean;
  readonly #random: Random;
  readonly #wake: (atMs: number) => void;
  readonly #intervalMs: number;
  #prefixes: readonly Prefix[] = [];
  /** Lost prefixes, and how often they are still told of. */
  #lost: { readonly prefix: Prefix; left: number }[] = [];
  #nextMs: number;
  #sent = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #singles = 0;
  #singlesSinceMs = Number.NEGATIVE_INFINITY;

  constructor(
    router: Router,
    index: number,
    mac: Mac | undefined,
    options: AdvertiseOptions & { readonly answersDns: boolean },
    random: Random,
    wake: (atMs: number) => void,
  ) {
    this.#router = router;
    this.#index = index;
    this.#mac = mac;
    this.#options = options;
    this.#random = random;
    this.#wake = wake;
    this.#answersDns = options.answersDns;
    this.#fixed = options.prefixes?.map(readPrefix);
    this.#dns = options.dns?.map(readAddress);
    this.#search = (options.search ?? []).map(encodeName);
    this.#intervalMs = 1000 * check('intervalSeconds', options.intervalSeconds ?? 600, 4, 1800);
    check('lifetimeSeconds', options.lifetimeSeconds ?? 1800, 0, 9000);
    check('preferredSeconds', options.preferredSeconds ?? 14_400, 0, options.validSeconds ?? 86_400);
    check('validSeconds', options.validSeconds ?? 86_400, 0, 0xffffffff);
    this.#prefixes = this.#current();
    this.#nextMs = router.nowMs;
  }

  nextMs(): number {
    return this.#nextMs;
  }

  advance(nowMs: number): void {
    if (this.#nextMs > nowMs) return;
    this.#sent++;
    this.#lastMs = nowMs;
    const least = this.#intervalMs / 3;
    let intervalMs = least + (this.#random.pick(0, 1001) / 1000) * (this.#intervalMs - least);
    if (this.#sent < MAX_INITIAL) intervalMs = Math.min(intervalMs, INITIAL_INTERVAL_MS);
    this.#nextMs = nowMs + intervalMs;
    this.#send(ALL_NODES, this.#options.lifetimeSeconds ?? 1800);
    for (const lost of this.#lost) lost.left--;
    this.#lost = this.#lost.filter(({ left }) => left > 0);
  }

  /** A host asks. `source` is :: for one without an address. */
  solicited(source: AddressWords, nowMs: number): void {
    if (nowMs - this.#singlesSinceMs >= 1000) {
      this.#singlesSinceMs = nowMs;
      this.#singles = 0;
    }
    if (source.some((word) => word !== 0) && this.#singles < MAX_SINGLE) {
      this.#singles++;
      this.#send(source, this.#options.lifetimeSeconds ?? 1800);
      return;
    }
    const delayMs = this.#random.pick(0, SOLICITED_DELAY_MS + 1);
    this.#due(Math.max(nowMs + delayMs, this.#lastMs + LEAST_DELAY_MS));
  }

  /** The interface got or lost an address. */
  addressesChanged(nowMs: number): void {
    const before = this.#prefixes;
    this.#prefixes = this.#current();
    for (const prefix of before) {
      if (!this.#prefixes.some((one) => isSame(one, prefix))) this.#lost.push({ prefix, left: FAREWELLS });
    }
    this.#lost = this.#lost.filter(({ prefix }) => !this.#prefixes.some((one) => isSame(one, prefix)));
    this.#due(Math.max(nowMs, this.#lastMs + LEAST_DELAY_MS));
  }

  /** Tells all nodes that we are their router no longer. */
  close(): void {
    this.#nextMs = Number.POSITIVE_INFINITY;
    this.#send(ALL_NODES, 0);
  }

  #due(atMs: number): void {
    if (atMs >= this.#nextMs) return;
    this.#nextMs = atMs;
    this.#wake(atMs);
  }

  #current(): readonly Prefix[] {
    if (this.#fixed !== undefined) return this.#fixed;
    const found: Prefix[] = [];
    for (const { version, words, prefix, mask } of this.#router.interfaces.addresses(this.#index)) {
      if (version !== 6 || prefix !== SLAAC_PREFIX || words[0] >>> 22 === 0x3fa) continue;
      const one = { words: maskWords(words, mask), prefix };
      if (!found.some((other) => isSame(other, one))) found.push(one);
    }
    return found;
  }

  #servers(): readonly AddressWords[] {
    if (this.#dns !== undefined) return this.#dns;
    if (!this.#answersDns) return [];
    const own = this.#router.interfaces
      .addresses(this.#index)
      .find(({ version, words }) => version === 6 && words[0] >>> 22 !== 0x3fa);
    return own === undefined ? [] : [own.words];
  }

  #send(to: AddressWords, lifetimeSeconds: number): void {
    const own = this.#router.interfaces
      .addresses(this.#index)
      .find(({ version, words }) => version === 6 && words[0] >>> 22 === 0x3fa);
    if (own === undefined) return;
    const addresses = Int32Array.from([...own.words, ...to]);
    const options = this.#message(lifetimeSeconds);
    const length = HEADER_BYTES + options.reduce((sum, option) => sum + option.length, 0);
    const bytes = makeIpv6({ trafficClass: 0, next: ICMPV6, hopLimit: HOP_LIMIT, addresses }, length);
    const at = IPV6_HEADER_BYTES;
    bytes[at] = ADVERTISEMENT;
    bytes[at + 4] = this.#router.settings.hopLimit;
    bytes[at + 5] =
      (this.#options.managed === true ? MANAGED : 0) | (this.#options.other === true ? OTHER : 0);
    put16(bytes, at + 6, lifetimeSeconds);
    let end = at + HEADER_BYTES;
    for (const option of options) {
      bytes.set(option, end);
      end += option.length;
    }
    sealTransport(bytes, at, at + 2, sumPseudoHeader(addresses, ICMPV6, length));
    this.#router.sendOwn(bytes, undefined, this.#index);
  }

  #message(lifetimeSeconds: number): Uint8Array[] {
    const options: Uint8Array[] = [];
    if (this.#mac !== undefined) {
      const link = new Uint8Array(8);
      link.set([1, 1]);
      putMac(link, 2, this.#mac.high, this.#mac.low);
      options.push(link);
    }
    const mtu = Uint8Array.of(5, 1, 0, 0, 0, 0, 0, 0);
    put32(mtu, 4, this.#router.interfaces.mtu(this.#index));
    options.push(mtu);
    const { validSeconds = 86_400, preferredSeconds = 14_400 } = this.#options;
    for (const prefix of this.#prefixes) options.push(prefixOption(prefix, validSeconds, preferredSeconds));
    for (const { prefix } of this.#lost) options.push(prefixOption(prefix, 0, 0));
    const dnsSeconds = lifetimeSeconds === 0 ? 0 : (3 * this.#intervalMs) / 1000;
    const servers = this.#servers();
    if (servers.length > 0) options.push(serversOption(servers, dnsSeconds));
    if (this.#search.length > 0) options.push(searchOption(this.#search, dnsSeconds));
    return options;
  }
}

function prefixOption({ words, prefix }: Prefix, validSeconds: number, preferredSeconds: number): Uint8Array {
  const option = new Uint8Array(32);
  option.set([3, 4, prefix, PREFIX_FLAGS]);
  put32(option, 4, validSeconds);
  put32(option, 8, preferredSeconds);
  for (let i = 0; i < 4; i++) put32(option, 16 + 4 * i, words[i] as number);
  return option;
}

function serversOption(servers: readonly AddressWords[], seconds: number): Uint8Array {
  const option = new Uint8Array(8 + 16 * servers.length);
  option.set([25, option.length >> 3]);
  put32(option, 4, seconds);
  for (const [n, words] of servers.entries()) {
    for (let i = 0; i < 4; i++) put32(option, 8 + 16 * n + 4 * i, words[i] as number);
  }
  return option;
}

function searchOption(names: readonly Uint8Array[], seconds: number): Uint8Array {
  const length = names.reduce((sum, name) => sum + name.length, 8);
  const option = new Uint8Array((length + 7) & ~7);
  option.set([31, option.length >> 3]);
  put32(option, 4, seconds);
  let at = 8;
  for (const name of names) {
    option.set(name, at);
    at += name.length;
  }
  return option;
}

function isSame(a: Prefix, b: Prefix): boolean {
  return a.prefix === b.prefix && a.words.every((word, i) => word === b.words[i]);
}

function readPrefix(text: string): Prefix {
  const { version, words, prefix, mask } = parseInterfaceAddress(text);
  if (version === 6) return { words: maskWords(words, mask), prefix };
  throw new ConfigurationError('value', 'not a prefix that can be advertised', {
    word: text,
    expected: 'an IPv6 prefix like fd00:a::/64',
  });
}

function readAddress(text: string): AddressWords {
  const words = parseAddress(text, 6);
  if (words !== undefined) return words;
  throw new ConfigurationError('value', 'not a name server that can be advertised', {
    word: text,
    expected: `an IPv6 address like ${formatAddress([0x20010db8, 0, 0, 1], 6)}`,
  });
}

/** A domain as DNS writes it (RFC 1035 section 3.1). */
function encodeName(name: string): Uint8Array {
  const labels = name.replace(/\.$/, '').split('.');
  if (name.length > 253 || !labels.every((label) => /^[a-z0-9_-]{1,63}$/i.test(label))) {
    throw new ConfigurationError('value', 'not a domain', {
      word: name,
      expected: 'a name like example.com',
    });
  }
  const bytes = labels.flatMap((label) => [
    label.length,
    ...[...label].map((letter) => letter.charCodeAt(0)),
  ]);
  return Uint8Array.from([...bytes, 0]);
}

function check(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new ConfigurationError('value', `router advertisements: ${name} out of range`, {
    word: String(value),
    expected: `an integer from ${least} to ${most}`,
  });
}
