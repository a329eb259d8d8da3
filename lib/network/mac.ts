/**
 * Ethernet addresses: text, bytes, and the two words (first 32 bits, last 16) in which packets and neighbours have them.
 */
import { ConfigurationError } from '../errors.js';
import type { Random } from '../random.js';
import type { AddressWords } from '../wire/address.js';

/** An Ethernet address: its first 32 bits as int32 and its last 16. */
export interface Mac {
  readonly high: number;
  readonly low: number;
}

export const BROADCAST_MAC: Mac = { high: -1, low: 0xffff };

/** Reads `52:54:00:12:34:56`; throws a ConfigurationError for anything else, and for addresses of groups. */
export function parseMac(text: string): Mac {
  const isMac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text);
  const bytes = text.split(':').map((part) => Number.parseInt(part, 16));
  const mac = isMac ? macAt(Uint8Array.from(bytes), 0) : undefined;
  if (mac === undefined || !isUnicastMac(mac.high, mac.low)) {
    throw new ConfigurationError('value', 'not the Ethernet address of a station', {
      word: text,
      expected: 'an address like 52:54:00:12:34:56',
    });
  }
  return mac;
}

export function formatMac(high: number, low: number): string {
  const bytes = [high >>> 24, (high >>> 16) & 255, (high >>> 8) & 255, high & 255, low >>> 8, low & 255];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The address whose six bytes are at `at`, which are there. */
export function macAt(bytes: Uint8Array, at: number): Mac {
  return { high: macHighAt(bytes, at), low: macLowAt(bytes, at) };
}

export function macHighAt(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

export function macLowAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number);
}

export function putMac(bytes: Uint8Array, at: number, high: number, low: number): void {
  bytes[at] = high >>> 24;
  bytes[at + 1] = high >>> 16;
  bytes[at + 2] = high >>> 8;
  bytes[at + 3] = high;
  bytes[at + 4] = low >>> 8;
  bytes[at + 5] = low;
}

/** Whether it can be one station's: neither a group's nor zero. */
export function isUnicastMac(high: number, low: number): boolean {
  return ((high >>> 24) & 1) === 0 && (high !== 0 || low !== 0);
}

/** A locally administered address that nobody else has. */
export function randomMac(random: Random): Mac {
  const high = (random.u32() & 0x00ffffff) | 0x02000000 | 0;
  return { high, low: random.u32() & 0xffff };
}

/** fe80::/64 with the interface id of the address (RFC 4291 appendix A). */
export function linkLocalOf({ high, low }: Mac): AddressWords {
  const upper = (high ^ 0x02000000) | 0;
  return [0xfe800000 | 0, 0, (upper & ~0xff) | 0xff, (0xfe << 24) | ((high & 0xff) << 16) | low];
}
