/**
 * Entries of a policy: who may be talked to, in one word. Cold.
 *
 *     entry    := [ protocol "/" ] place | protocol
 *     place    := "*" | ports | [ host ] [ ":" ports ]
 *     host     := address [ "/" prefix ] | name | "*." name       IPv6 in brackets when ports follow
 *     ports    := port [ "-" port ]
 *     protocol := tcp | udp | sctp | udplite | icmp | icmpv6 | gre | esp | ah | 0-255
 *
 * `tcp/443`, `93.184.216.0/24`, `[2001:db8::/32]:443`, `udp/10.0.0.9:53`, `example.com:443`, `*.example.com`, `:443`,
 * `icmp`. Ports without a protocol are those of TCP and UDP. `*.example.com` is every name below example.com at any
 * depth, and not example.com itself. Numbers alone say nothing: `443` is refused.
 */
import { ConfigurationError } from '../../errors.js';
import { type AddressWords, maskWords, parseAddress, prefixMask } from '../../wire/address.js';

/** Inclusive. */
export interface PortRange {
  readonly low: number;
  readonly high: number;
}

export interface Network {
  readonly version: 4 | 6;
  readonly words: AddressWords;
  readonly mask: AddressWords;
  readonly prefix: number;
}

export interface PolicyEntry {
  /** As it was written. */
  readonly text: string;
  /** Protocol numbers; undefined: all. */
  readonly protocols: readonly number[] | undefined;
  /** Undefined: every address, unless there is a name. */
  readonly network: Network | undefined;
  /** In lower case, with `*.` in front for the names below; undefined: none. */
  readonly domain: string | undefined;
  /** Undefined: all. */
  readonly ports: PortRange | undefined;
}

const NUMBERS: ReadonlyMap<string, number> = new Map([
  ['icmp', 1],
  ['tcp', 6],
  ['udp', 17],
  ['gre', 47],
  ['esp', 50],
  ['ah', 51],
  ['icmpv6', 58],
  ['ipv6-icmp', 58],
  ['sctp', 132],
  ['udplite', 136],
]);
const NAMES: ReadonlyMap<number, string> = new Map(
  [...NUMBERS].reverse().map(([name, number]) => [number, name]),
);
const TCP_AND_UDP: readonly number[] = [6, 17];
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 132, 136]);
const NAME_MAX = 253;
const LABEL_FORM = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
const EXPECTED = "as '93.184.216.0/24', 'tcp/443', 'example.com:443', '[2001:db8::1]:53' or '*'";

/** How an entry would name a protocol: `tcp`, `esp`, or its number. */
export function protocolWord(protocol: number): string {
  return NAMES.get(protocol) ?? String(protocol);
}

/** Reads an entry; `list` names it in errors (`allowOut`). Throws a ConfigurationError. */
export function parseEntry(text: string, list: string): PolicyEntry {
  const refuse = (message: string, expected = EXPECTED): never => {
    throw new ConfigurationError('value', `${list}: ${message}`, { word: text, expected });
  };
  const [protocols, place] = splitProtocol(text);
  const empty = { text, protocols, network: undefined, domain: undefined, ports: undefined };
  if (place === '' && text === '') refuse('an entry without a word');
  if (place === undefined || place === '*') return empty;
  if (protocols !== undefined && /^\d+(-\d+)?$/.test(place)) {
    return { ...empty, ports: readPorts(place, protocols, refuse) };
  }
  const [host, ports] = splitPorts(place);
  const range = ports === undefined ? undefined : readPorts(ports, protocols ?? TCP_AND_UDP, refuse);
  const common = { ...empty, protocols: protocols ?? (range && TCP_AND_UDP), ports: range };
  if (host === '' || host === '*') return range === undefined ? refuse('an entry that says nothing') : common;
  const network = readNetwork(host, refuse);
  if (network !== undefined) return { ...common, network };
  return { ...common, domain: readDomain(host, refuse) };
}

/** Protocols and the rest; the rest is undefined if there is only a protocol. */
function splitProtocol(text: string): readonly [readonly number[] | undefined, string | undefined] {
  const slash = text.indexOf('/');
  const word = slash < 0 ? text : text.slice(0, slash);
  const named = NUMBERS.get(word);
  const number =
    named ?? (slash >= 0 && /^\d{1,3}$/.test(word) && Number(word) < 256 ? Number(word) : undefined);
  if (number === undefined) return [undefined, text];
  return [[number], slash < 0 ? undefined : text.slice(slash + 1)];
}

/** Host and ports; brackets are taken off. */
function splitPorts(place: string): readonly [string, string | undefined] {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(place);
  if (bracketed !== null) return [bracketed[1] as string, bracketed[2]];
  const colon = place.indexOf(':');
  if (colon < 0 || place.indexOf(':', colon + 1) >= 0) return [place, undefined];
  return [place.slice(0, colon), place.slice(colon + 1)];
}

type Refuse = (message: string, expected?: string) => never;

function readPorts(text: string, protocols: readonly number[], refuse: Refuse): PortRange {
  if (protocols.some((number) => !WITH_PORTS.has(number))) refuse('the protocol has no ports');
  const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const low = Number(range?.[1] ?? 'none');
  const high = Number(range?.[2] ?? range?.[1] ?? 'none');
  if (!(low >= 1 && high <= 65535 && low <= high)) refuse('not ports', 'PORT or FIRST-LAST, 1 to 65535');
  return { low, high };
}

/** An address or a prefix; undefined if it looks like neither. */
export function readNetwork(text: string, refuse: Refuse): Network | undefined {
  const slash = text.indexOf('/');
  const host = slash < 0 ? text : text.slice(0, slash);
  const version = host.includes(':') ? 6 : 4;
  const words = parseAddress(host, version);
  if (words === undefined) {
    return slash >= 0 || version === 6 || /^[\d.]+$/.test(host) ? refuse('not an address') : undefined;
  }
  const bits = version === 4 ? 32 : 128;
  const length = slash < 0 ? String(bits) : text.slice(slash + 1);
  const prefix = /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (!(prefix <= bits)) refuse('not a prefix length', `0 to ${bits}`);
  const mask = prefixMask(prefix, version);
  return { version, words: maskWords(words, mask), mask, prefix };
}

function readDomain(text: string, refuse: Refuse): string {
  const name = normalName(text);
  const base = name.startsWith('*.') ? name.slice(2) : name;
  const labels = base.split('.');
  if (/[^\x20-\x7e]/.test(text)) refuse('a name with letters beyond ASCII', "its form with 'xn--'");
  if (base.length > NAME_MAX || labels.length < 2 || !labels.every((label) => LABEL_FORM.test(label))) {
    refuse('neither an address nor a domain name');
  }
  return name;
}

/** A name as it is compared: lower case, without the last dot. */
export function normalName(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}

/** Whether a normal name is what an entry's domain means. */
export function domainCovers(domain: string, name: string): boolean {
  return domain.startsWith('*.')
    ? name.endsWith(domain.slice(1)) && name.length > domain.length - 1
    : name === domain;
}

export function contains(network: Network, words: ArrayLike<number>, at = 0): boolean {
  return network.words.every((word, i) => ((words[at + i] as number) & (network.mask[i] as number)) === word);
}

/** Whether every address of `inner` is one of `outer`. */
export function isWithin(inner: Network, outer: Network): boolean {
  return inner.version === outer.version && inner.prefix >= outer.prefix && contains(outer, inner.words);
}
