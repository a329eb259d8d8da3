/**
 * Ends of local traffic: an address and a port, as text and as words. Cold.
 */
import { ConfigurationError } from '../../errors.js';
import { type AddressWords, formatAddress, isZero, parseAddress } from '../../wire/address.js';

/** `{ address: '10.0.0.2', port: 53 }`; as text `10.0.0.2:53`, `[fd00::2]:53`. */
export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/** The same in words. */
export interface SocketWords {
  readonly version: 4 | 6;
  readonly words: AddressWords;
  readonly port: number;
}

const TEXT = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/;

/** Reads an end, port 0 included; undefined if it is none. */
export function readSocketAddress(from: SocketAddress | string): SocketWords | undefined {
  if (typeof from === 'string') {
    const parts = TEXT.exec(from);
    return parts === null ? undefined : readEnd(parts[1] ?? parts[2]!, Number(parts[3]));
  }
  return readEnd(from.address, from.port);
}

function readEnd(address: string, port: number): SocketWords | undefined {
  const version = address.includes(':') ? 6 : 4;
  const words = parseAddress(address, version);
  if (words === undefined || !Number.isInteger(port) || port < 0 || port > 0xffff) return undefined;
  return { version, words, port };
}

/** An end of `words[at..at+3]`. */
export function socketAddress(
  words: ArrayLike<number>,
  version: number,
  at: number,
  port: number,
): SocketAddress {
  return { address: formatAddress(words, version, at), port };
}

export function formatSocketAddress({ address, port }: SocketAddress): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Where an endpoint is bound: one part for each family. Throws a ConfigurationError. */
export interface BoundAddress {
  readonly version: 4 | 6;
  /** undefined: any address of ours. */
  readonly words: AddressWords | undefined;
}

/** `0.0.0.0` and `::` are every address of their family; undefined of both. Throws a ConfigurationError. */
export function readBoundAddress(address: string | undefined): BoundAddress[] {
  if (address === undefined) {
    return [
      { version: 4, words: undefined },
      { version: 6, words: undefined },
    ];
  }
  const version = address.includes(':') ? 6 : 4;
  const words = parseAddress(address, version);
  if (words === undefined) throw new ConfigurationError('value', 'not an address', { word: address });
  return [{ version, words: isZero(words) ? undefined : words }];
}
