/**
 * Asks a DHCPv4 server once for an address (RFC 2131: discover, offer, request, ack), over whatever carries Ethernet
 * frames: what an uplink that plays the router expects of its guest. Cold. The lease is not renewed: passt's never end.
 */
import { ConfigurationError } from '../errors.js';
import { type Mac, macHighAt, macLowAt, putMac } from '../network/mac.js';
import { formatAddress, maskPrefix } from '../wire/address.js';
import { fold, sumRange } from '../wire/checksum.js';

/** What a server granted. */
export interface DhcpLease {
  /** As an interface wants it: `10.0.2.15/24`. */
  readonly address: string;
  readonly routers: readonly string[];
  readonly nameServers: readonly string[];
  /** Largest IP packet of the link, if the server says. */
  readonly mtu: number | undefined;
  readonly server: string;
  /** Infinity if it never ends. */
  readonly durationMs: number;
}

const ETHERNET_BYTES = 14;
const UDP_AT = ETHERNET_BYTES + 20;
const BOOTP_AT = UDP_AT + 8;
/** Offsets in the BOOTP message (RFC 2131 section 2). */
const XID = 4;
const YIADDR = 16;
const CHADDR = 28;
const COOKIE = 236;
const OPTIONS = 240;
const MAGIC = [0x63, 0x82, 0x53, 0x63];
/** BOOTP's least length (RFC 1542 section 2.1): some servers drop shorter messages. */
const MESSAGE_BYTES = 300;

const Type = { DISCOVER: 1, OFFER: 2, REQUEST: 3, ACK: 5, NAK: 6 } as const;
const Option = {
  MASK: 1,
  ROUTERS: 3,
  NAME_SERVERS: 6,
  MTU: 26,
  ADDRESS: 50,
  LEASE_TIME: 51,
  TYPE: 53,
  SERVER: 54,
  PARAMETERS: 55,
  END: 255,
} as const;

/** What a server said, as far as a client wants to know. */
interface DhcpAnswer {
  readonly type: number;
  /** Four bytes. */
  readonly address: Uint8Array;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

export interface DhcpExchange {
  readonly mac: Mac;
  /** Any 32-bit number that the answers repeat. */
  readonly transaction: number;
  readonly send: (frame: Uint8Array) => void;
}

/** One exchange: `start` asks, frames from the link go to `receive`, `lease` resolves or rejects. */
export class DhcpClient {
  readonly lease: Promise<DhcpLease>;
  readonly #exchange: DhcpExchange;
  #offer: DhcpAnswer | undefined;
  #resolve: (lease: DhcpLease) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(exchange: DhcpExchange) {
    this.#exchange = exchange;
    this.lease = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  start(): void {
    const wanted = Uint8Array.of(Option.MASK, Option.ROUTERS, Option.NAME_SERVERS, Option.MTU);
    this.#send(Type.DISCOVER, [[Option.PARAMETERS, wanted]]);
  }

  /** Gives up. */
  fail(error: Error): void {
    this.#reject(error);
  }

  /** Looks at a frame; whatever is no answer to us is passed over. */
  receive(frame: Uint8Array): void {
    const answer = readAnswer(frame, this.#exchange);
    if (answer === undefined) return;
    const server = answer.options.get(Option.SERVER);
    if (answer.type === Type.OFFER && this.#offer === undefined && server?.length === 4) {
      this.#offer = answer;
      const wanted = Uint8Array.of(Option.MASK, Option.ROUTERS, Option.NAME_SERVERS, Option.MTU);
      this.#send(Type.REQUEST, [
        [Option.ADDRESS, answer.address],
        [Option.SERVER, server],
        [Option.PARAMETERS, wanted],
      ]);
    } else if (answer.type === Type.ACK && this.#offer !== undefined) {
      this.#resolve(leaseOf(answer));
    } else if (answer.type === Type.NAK) {
      this.#reject(new ConfigurationError('io', 'the DHCP server refuses the address that it offered'));
    }
  }

  #send(type: number, options: readonly (readonly [code: number, value: Uint8Array])[]): void {
    const frame = new Uint8Array(BOOTP_AT + MESSAGE_BYTES);
    const { mac, transaction } = this.#exchange;
    putMac(frame, 0, -1, 0xffff);
    putMac(frame, 6, mac.high, mac.low);
    frame[12] = 0x08;
    const bootp = frame.subarray(BOOTP_AT);
    bootp.set([1, 1, 6, 0]);
    put32(bootp, XID, transaction);
    bootp[10] = 0x80; // answers by broadcast: we have no address yet
    putMac(bootp, CHADDR, mac.high, mac.low);
    bootp.set(MAGIC, COOKIE);
    let at = OPTIONS;
    for (const [code, value] of [[Option.TYPE, Uint8Array.of(type)] as const, ...options]) {
      bootp.set([code, value.length], at);
      bootp.set(value, at + 2);
      at += 2 + value.length;
    }
    bootp[at] = Option.END;
    const ip = frame.subarray(ETHERNET_BYTES);
    ip.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
    put16(ip, 2, ip.length);
    ip.fill(255, 16, 20);
    put16(ip, 10, ~fold(sumRange(ip, 0, 20, 0)) & 0xffff);
    const udp = frame.subarray(UDP_AT);
    put16(udp, 0, 68);
    put16(udp, 2, 67);
    put16(udp, 4, udp.length); // without a checksum: 0 is allowed for IPv4
    this.#exchange.send(frame);
  }
}

/** The answer in a frame, if it is one to this exchange. */
function readAnswer(frame: Uint8Array, { mac, transaction }: DhcpExchange): DhcpAnswer | undefined {
  if (frame.length < BOOTP_AT || frame[12] !== 0x08 || frame[13] !== 0 || frame[ETHERNET_BYTES] >> 4 !== 4) {
    return undefined;
  }
  const udpAt = ETHERNET_BYTES + (frame[ETHERNET_BYTES] & 15) * 4;
  const isFragment = ((get16(frame, ETHERNET_BYTES + 6) & 0x3fff) as number) !== 0;
  if (frame[ETHERNET_BYTES + 9] !== 17 || isFragment || udpAt + 8 + OPTIONS > frame.length) return undefined;
  if (get16(frame, udpAt) !== 67 || get16(frame, udpAt + 2) !== 68) return undefined;
  const end = Math.min(frame.length, udpAt + get16(frame, udpAt + 4));
  const bootp = new Uint8Array(frame.subarray(udpAt + 8, end));
  if (bootp.length < OPTIONS || bootp[0] !== 2 || get32(bootp, XID) !== (transaction | 0)) return undefined;
  if (macHighAt(bootp, CHADDR) !== mac.high || macLowAt(bootp, CHADDR) !== mac.low) return undefined;
  if (MAGIC.some((byte, i) => bootp[COOKIE + i] !== byte)) return undefined;
  const options = readOptions(bootp);
  const type = options.get(Option.TYPE);
  if (type?.length !== 1) return undefined;
  return { type: type[0], address: bootp.subarray(YIADDR, YIADDR + 4), options };
}

function readOptions(bootp: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  let at = OPTIONS;
  while (at < bootp.length && bootp[at] !== Option.END) {
    const code = bootp[at++];
    if (code === 0) continue;
    const length = bootp[at++];
    if (length === undefined || at + length > bootp.length) break;
    options.set(code, bootp.subarray(at, at + length));
    at += length;
  }
  return options;
}

function leaseOf({ address, options }: DhcpAnswer): DhcpLease {
  const mask = options.get(Option.MASK);
  const prefix = mask?.length === 4 ? maskPrefix([get32(mask, 0), 0, 0, 0], 4) : undefined;
  const mtu = options.get(Option.MTU);
  const seconds = options.get(Option.LEASE_TIME);
  const count = seconds?.length === 4 ? get32(seconds, 0) >>> 0 : 0xffff_ffff;
  return {
    address: `${addressesIn(address)[0]}/${prefix ?? 32}`,
    routers: addressesIn(options.get(Option.ROUTERS)),
    nameServers: addressesIn(options.get(Option.NAME_SERVERS)),
    mtu: mtu?.length === 2 ? get16(mtu, 0) : undefined,
    server: addressesIn(options.get(Option.SERVER))[0] ?? '0.0.0.0',
    durationMs: count === 0xffff_ffff ? Number.POSITIVE_INFINITY : count * 1000,
  };
}

function addressesIn(bytes: Uint8Array | undefined): string[] {
  const addresses: string[] = [];
  for (let at = 0; bytes !== undefined && at + 4 <= bytes.length; at += 4) {
    addresses.push(formatAddress([get32(bytes, at)], 4));
  }
  return addresses;
}

function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function get32(bytes: Uint8Array, at: number): number {
  return (get16(bytes, at) << 16) | get16(bytes, at + 2);
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value & 0xffff);
}
