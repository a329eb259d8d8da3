/**
 * DHCPv4 messages (RFC 2131 section 2, RFC 2132): bytes to fields and back. Cold; safe against hostile bytes.
 *
 *   0 op | 1 htype | 2 hlen | 3 hops | 4 xid | 8 secs | 10 flags | 12 ciaddr | 16 yiaddr | 20 siaddr | 24 giaddr
 *   | 28 chaddr (16) | 44 sname (64) | 108 file (128) | 236 cookie | 240 options
 */
import { put16, put32 } from '../wire/segment.js';
import { type Mac, macAt, putMac } from './mac.js';

/** Message types (option 53). */
export const DhcpType = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;

/** Options that are read or written. */
export const DhcpOption = {
  SUBNET_MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN: 15,
  MTU: 26,
  BROADCAST: 28,
  REQUESTED_ADDRESS: 50,
  LEASE_SECONDS: 51,
  TYPE: 53,
  SERVER: 54,
  RENEWAL_SECONDS: 58,
  REBINDING_SECONDS: 59,
  CLIENT_ID: 61,
} as const;

const FIXED_BYTES = 240;
const COOKIE = 0x63825363;
const PAD = 0;
const END = 255;
/** Least size of a message: BOOTP's, for clients that insist on it. */
const LEAST_BYTES = 300;
const REQUEST = 1;
const REPLY = 2;
const ETHERNET = 1;
const BROADCAST_FLAG = 0x8000;

/** What a client sent. */
export interface DhcpRequest {
  readonly type: number;
  readonly xid: number;
  readonly seconds: number;
  /** 1 if the answer must go to all stations. */
  readonly broadcast: 0 | 1;
  readonly clientAddress: number;
  readonly relay: number;
  readonly mac: Mac;
  readonly requested: number;
  readonly server: number;
  readonly hostName: string;
}

/** Reads a client's message; undefined for anything else. */
export function readDhcp(bytes: Uint8Array): DhcpRequest | undefined {
  if (bytes.length < FIXED_BYTES || bytes[0] !== REQUEST || bytes[1] !== ETHERNET || bytes[2] !== 6) {
    return undefined;
  }
  if (i32(bytes, 236) !== COOKIE) return undefined;
  const options = readOptions(bytes);
  const type = options.get(DhcpOption.TYPE);
  if (type?.length !== 1) return undefined;
  return {
    type: type[0] as number,
    xid: i32(bytes, 4),
    seconds: ((bytes[8] as number) << 8) | (bytes[9] as number),
    broadcast: ((bytes[10] as number) & (BROADCAST_FLAG >>> 8)) === 0 ? 0 : 1,
    clientAddress: i32(bytes, 12),
    relay: i32(bytes, 24),
    mac: macAt(bytes, 28),
    requested: addressOption(options.get(DhcpOption.REQUESTED_ADDRESS)),
    server: addressOption(options.get(DhcpOption.SERVER)),
    hostName: hostNameOf(options.get(DhcpOption.HOST_NAME)),
  };
}

/** The options up to the end mark; those that run over the end are left out, repeated ones are joined (RFC 3396). */
function readOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  let at = FIXED_BYTES;
  while (at < bytes.length) {
    const code = bytes[at] as number;
    if (code === END) break;
    if (code === PAD) {
      at++;
      continue;
    }
    const end = at + 2 + (bytes[at + 1] ?? 0);
    if (at + 2 > bytes.length || end > bytes.length) break;
    const part = bytes.subarray(at + 2, end);
    const before = options.get(code);
    if (before === undefined) options.set(code, part);
    else if (before.length + part.length <= 255) {
      const joined = new Uint8Array(before.length + part.length);
      joined.set(before);
      joined.set(part, before.length);
      options.set(code, joined);
    }
    at = end;
  }
  return options;
}

function addressOption(value: Uint8Array | undefined): number {
  return value?.length === 4 ? i32(value, 0) : 0;
}

/** A host name of letters, digits, dots and hyphens; '' for anything else. */
function hostNameOf(value: Uint8Array | undefined): string {
  if (value === undefined || value.length > 63) return '';
  const text = String.fromCharCode(...value).replace(/\0+$/, '');
  return /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(text) ? text : '';
}

/** What the server sends. */
export interface DhcpReply {
  readonly type: number;
  readonly to: DhcpRequest;
  /** Address that the client gets; 0 in a NAK. */
  readonly address: number;
  readonly options: readonly (readonly [code: number, value: Uint8Array])[];
}

export function writeDhcp({ type, to, address, options }: DhcpReply): Uint8Array {
  const all = [[DhcpOption.TYPE, Uint8Array.of(type)] as const, ...options];
  const length = all.reduce((sum, [, value]) => sum + 2 + value.length, FIXED_BYTES + 1);
  const bytes = new Uint8Array(Math.max(LEAST_BYTES, length));
  bytes.set([REPLY, ETHERNET, 6]);
  put32(bytes, 4, to.xid);
  put16(bytes, 10, to.broadcast === 1 ? BROADCAST_FLAG : 0);
  if (type === DhcpType.ACK) put32(bytes, 12, to.clientAddress);
  put32(bytes, 16, address);
  putMac(bytes, 28, to.mac.high, to.mac.low);
  put32(bytes, 236, COOKIE);
  let at = FIXED_BYTES;
  for (const [code, value] of all) {
    bytes[at] = code;
    bytes[at + 1] = value.length;
    bytes.set(value, at + 2);
    at += 2 + value.length;
  }
  bytes[at] = END;
  return bytes;
}

/** Addresses or numbers as an option has them, 4 bytes each. */
export function words32(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  for (const [i, value] of values.entries()) put32(bytes, 4 * i, value);
  return bytes;
}

export function words16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

/** ASCII text of at most 255 bytes. */
export function asciiOption(text: string): Uint8Array {
  return Uint8Array.from([...text].slice(0, 255), (letter) => letter.charCodeAt(0) & 0x7f);
}

function i32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
