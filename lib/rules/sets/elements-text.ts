/**
 * Elements of sets as text: `10.0.0.0/24`, `10.0.0.1-10.0.0.9,udp:53`, `tcp:80-90`, `icmp:echo-request`. Cold.
 */
import { formatAddress, maskWords, parseAddress, prefixMask } from '../../wire/address.js';
import type { AddressWords, Family } from '../ast.js';
import { ICMP_TYPES, ICMP6_TYPES } from '../text/icmp-types.js';
import { portNumber, protocolName, protocolNumber } from '../text/names.js';
import type { SetElement } from './element.js';

const ICMP = 1;
const TCP = 6;
const ICMPV6 = 58;
/** Most elements that one line may stand for. */
const MOST = 65_536;

/** Inclusive ranges of keys' parts. */
export interface PortRange {
  readonly protocol: number;
  readonly low: number;
  readonly high: number;
}

/** A network: the address's first `prefix` bits. */
export interface Network {
  readonly words: AddressWords;
  readonly prefix: number;
}

/** `ADDRESS`, `ADDRESS/PREFIX` or `ADDRESS-ADDRESS` (IPv4) as networks that cover it; undefined if it is none. */
export function parseNetworks(text: string, family: Family): Network[] | undefined {
  const full = family === 4 ? 32 : 128;
  const [first = '', last] = text.split('-');
  if (last !== undefined)
    return family === 4 ? cover(parseAddress(first, 4), parseAddress(last, 4)) : undefined;
  const [address = '', length] = text.split('/');
  const words = parseAddress(address, family);
  const prefix = length === undefined ? full : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (words === undefined || !(prefix >= 1 && prefix <= full)) return undefined;
  return [{ words: maskWords(words, prefixMask(prefix, family)), prefix }];
}

/** The fewest networks that are together the range. */
function cover(low: AddressWords | undefined, high: AddressWords | undefined): Network[] | undefined {
  if (low === undefined || high === undefined) return undefined;
  const last = high[0] >>> 0;
  let at = low[0] >>> 0;
  if (at > last) return undefined;
  const found: Network[] = [];
  while (at <= last) {
    let prefix = 32;
    while (prefix > 1 && at % 2 ** (33 - prefix) === 0 && at + 2 ** (33 - prefix) - 1 <= last) prefix--;
    found.push({ words: [at | 0, 0, 0, 0], prefix });
    at += 2 ** (32 - prefix);
  }
  return found;
}

/** Every address of the networks; undefined if they are too many for one line. */
export function hostsOf(networks: readonly Network[], family: Family): AddressWords[] | undefined {
  const full = family === 4 ? 32 : 128;
  const hosts: AddressWords[] = [];
  for (const { words, prefix } of networks) {
    const count = 2 ** (full - prefix);
    if (hosts.length + count > MOST) return undefined;
    for (let i = 0; i < count; i++) {
      hosts.push(
        family === 4 ? [(words[0] + i) | 0, 0, 0, 0] : [words[0], words[1], words[2], (words[3] + i) | 0],
      );
    }
  }
  return hosts;
}

/** `[PROTOCOL:]PORT[-PORT]`, `icmp:TYPE`, `PROTOCOL:0`; TCP without a protocol. Undefined if it is none. */
export function parsePorts(text: string): PortRange | undefined {
  const colon = text.indexOf(':');
  const protocol = colon < 0 ? TCP : protocolNumber(text.slice(0, colon));
  const rest = text.slice(colon + 1);
  if (protocol === undefined) return undefined;
  if (protocol === ICMP || protocol === ICMPV6) {
    const icmp = parseIcmp(rest, protocol);
    return icmp === undefined ? undefined : { protocol, low: icmp, high: icmp };
  }
  const whole = portNumber(rest);
  if (whole !== undefined) return { protocol, low: whole, high: whole };
  const [first = '', last = ''] = rest.split('-');
  const low = portNumber(first);
  const high = portNumber(last);
  return low === undefined || high === undefined || low > high ? undefined : { protocol, low, high };
}

function parseIcmp(text: string, protocol: number): number | undefined {
  const named = (protocol === ICMP ? ICMP_TYPES : ICMP6_TYPES).get(text);
  if (named !== undefined) return (named.type << 8) | (named.codeLow === named.codeHigh ? named.codeLow : 0);
  const numbers = /^(\d{1,3})\/(\d{1,3})$/.exec(text);
  if (numbers === null || Number(numbers[1]) > 255 || Number(numbers[2]) > 255) return undefined;
  return (Number(numbers[1]) << 8) | Number(numbers[2]);
}

/** The element's address, with its prefix if that is not the whole. */
export function formatElementAddress(element: SetElement, family: Family, isNetwork: boolean): string {
  const address = formatAddress(element.key, family);
  const prefix = element.key[4] as number;
  return isNetwork && prefix !== (family === 4 ? 32 : 128) ? `${address}/${prefix}` : address;
}

export function formatElementPort(element: SetElement): string {
  const key = element.key[5] as number;
  const protocol = key >>> 16;
  const port = key & 0xffff;
  if (protocol !== ICMP && protocol !== ICMPV6) return `${protocolName(protocol)}:${port}`;
  const type = port >>> 8;
  const code = port & 255;
  for (const [name, codes] of protocol === ICMP ? ICMP_TYPES : ICMP6_TYPES) {
    const isWhole = codes.codeLow !== codes.codeHigh;
    if (codes.type === type && (isWhole ? code === 0 && codes.type !== 3 : codes.codeLow === code)) {
      if (name !== 'any') return `${protocolName(protocol)}:${name}`;
    }
  }
  return `${protocolName(protocol)}:${type}/${code}`;
}
