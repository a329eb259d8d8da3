/**
 * Packets of many flows, written one by one from templates: nothing of them is kept, so ten million flows need no room.
 * The same packets as in bench/peers/floor.c. Each has a slot of 64 bytes; all checksums are right.
 *
 * Flow `f` is a client's (1,024 flows per client, a port each) to a server of the client's own, port 443, so that
 * MASQUERADE can keep every port.
 */

/** Protocol and IP version. */
export type Kind = 'udp' | 'tcp' | 'udp6' | 'tcp6';

/** Bytes from one packet to the next. */
export const SLOT = 64;
/** Packets written, and then sent, at a time: few enough to lie in the cache nearest to the core but one. */
export const BURST = 256;

const UDP = 17;
const TCP = 6;
const SERVER_PORT = 443;
const SYN = 0x02;
const ACK = 0x10;

/** Last 32 bits of addresses; what is before them in IPv6 is the same for all. */
const WAN = 0xcb007101;
const CLIENTS = 0x0a010000;
const SERVERS = 0xc6120000;
const CLIENTS_PREFIX = [0xfd00, 0, 0, 0, 0, 0];
const SERVERS_PREFIX = [0x2001, 0xdb8, 1, 0, 0, 0];
const WAN_PREFIX = [0x2001, 0xdb8, 2, 0, 0, 0];

/** The router's own addresses. */
export const LAN_ADDRESSES: readonly string[] = ['10.0.0.1/8', 'fd00::1/64'];
export const WAN_ADDRESSES: readonly string[] = ['203.0.113.1/24', '2001:db8:2::cb00:7101/64'];
export const ROUTES: readonly string[] = ['default dev wan', '-6 default dev wan'];

/** A packet without addresses' last words and ports, and the sums of the rest. */
interface Template {
  readonly bytes: Uint8Array;
  /** One's complement sums, not folded: of the IPv4 header, and of pseudo header and segment. */
  readonly header: number;
  readonly segment: number;
}

function sumOf(view: DataView, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += view.getUint16(at);
  return sum;
}

function template(kind: Kind, isReply: boolean, flags: number): Template {
  const bytes = new Uint8Array(SLOT);
  const view = new DataView(bytes.buffer);
  const protocol = kind.startsWith('udp') ? UDP : TCP;
  const isWide = kind.endsWith('6');
  const transport = isWide ? 40 : 20;
  const length = packetBytes(kind);
  if (isWide) {
    view.setUint32(0, 0x60000000);
    view.setUint16(4, length - 40);
    view.setUint8(6, protocol);
    view.setUint8(7, 64);
    const [from, to] = isReply ? [SERVERS_PREFIX, WAN_PREFIX] : [CLIENTS_PREFIX, SERVERS_PREFIX];
    for (const [i, word] of from.entries()) view.setUint16(8 + 2 * i, word);
    for (const [i, word] of to.entries()) view.setUint16(24 + 2 * i, word);
  } else {
    view.setUint16(0, 0x4500);
    view.setUint16(2, length);
    view.setUint16(6, 0x4000);
    view.setUint8(8, 64);
    view.setUint8(9, protocol);
  }
  if (protocol === UDP) view.setUint16(transport + 4, length - transport);
  else {
    const begins = flags === SYN;
    view.setUint32(transport + 4, isReply ? (begins ? 5000 : 5001) : begins ? 1000 : 1001);
    view.setUint32(transport + 8, isReply ? 1001 : begins ? 0 : 5001);
    const headerBytes = length - transport;
    view.setUint16(transport + 12, (headerBytes << 10) | (isReply && begins ? SYN | ACK : flags));
    view.setUint16(transport + 14, 0xffff);
    if (headerBytes === 32) {
      view.setUint32(transport + 20, 0x0101080a);
      view.setUint32(transport + 24, 1);
    }
  }
  const prefixes = isWide ? sumOf(view, 8, 40) : 0;
  return {
    bytes,
    header: sumOf(view, 0, 20),
    segment: sumOf(view, transport, length) + prefixes + protocol + length - transport,
  };
}

/** Length of every packet of a kind: 52 bytes of IPv4; of IPv6 as many, or what TCP needs. */
export function packetBytes(kind: Kind): number {
  return kind === 'tcp6' ? 60 : 52;
}

export class Frames {
  readonly kind: Kind;
  /** One view per slot: [BURST] of `packetBytes(kind)` bytes. */
  readonly views: readonly Uint8Array[];
  /** All slots. */
  readonly bytes = new Uint8Array(BURST * SLOT);
  readonly #view = new DataView(this.bytes.buffer);
  readonly #source: number;
  readonly #destination: number;
  readonly #transport: number;
  readonly #checksum: number;
  readonly #first: Template;
  readonly #firstReply: Template;
  readonly #original: Template;
  readonly #reply: Template;

  constructor(kind: Kind) {
    this.kind = kind;
    const isWide = kind.endsWith('6');
    this.#source = isWide ? 20 : 12;
    this.#destination = isWide ? 36 : 16;
    this.#transport = isWide ? 40 : 20;
    this.#checksum = this.#transport + (kind.startsWith('udp') ? 6 : 16);
    this.#first = template(kind, false, SYN);
    this.#firstReply = template(kind, true, SYN);
    this.#original = template(kind, false, ACK);
    this.#reply = template(kind, true, ACK);
    const length = packetBytes(kind);
    this.views = Array.from({ length: BURST }, (_, i) => this.bytes.subarray(i * SLOT, i * SLOT + length));
  }

  /** An ordinary packet of a flow from its client. */
  original(slot: number, flow: number): void {
    const port = 20_000 + (flow & 1023);
    this.#write(this.#original, slot, clientOf(flow), serverOf(flow), port, SERVER_PORT);
  }

  /** The same from its server. */
  reply(slot: number, flow: number): void {
    this.#write(this.#reply, slot, serverOf(flow), WAN, SERVER_PORT, 20_000 + (flow & 1023));
  }

  /** The flow's first packet: a SYN, of TCP. */
  first(slot: number, flow: number): void {
    const port = 20_000 + (flow & 1023);
    this.#write(this.#first, slot, clientOf(flow), serverOf(flow), port, SERVER_PORT);
  }

  /** Its answer. */
  firstReply(slot: number, flow: number): void {
    this.#write(this.#firstReply, slot, serverOf(flow), WAN, SERVER_PORT, 20_000 + (flow & 1023));
  }

  /** A first packet whose port cannot be kept: all of `perServer` clients send from port 20,000 to one server. */
  colliding(slot: number, flow: number, perServer: number): void {
    const server = (SERVERS + ((flow / perServer) | 0)) | 0;
    this.#write(this.#first, slot, (CLIENTS + flow) | 0, server, 20_000, SERVER_PORT);
  }

  #write(from: Template, slot: number, source: number, destination: number, port: number, to: number): void {
    const at = slot * SLOT;
    const view = this.#view;
    this.bytes.set(from.bytes, at);
    view.setInt32(at + this.#source, source);
    view.setInt32(at + this.#destination, destination);
    view.setUint16(at + this.#transport, port);
    view.setUint16(at + this.#transport + 2, to);
    const addresses = (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff);
    if (this.#transport === 20) view.setUint16(at + 10, ~fold(from.header + addresses));
    view.setUint16(at + this.#checksum, ~fold(from.segment + addresses + port + to) & 0xffff || 0xffff);
  }
}

function clientOf(flow: number): number {
  return (CLIENTS + (flow >>> 10)) | 0;
}

function serverOf(flow: number): number {
  return (SERVERS + (flow >>> 10)) | 0;
}

function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}
