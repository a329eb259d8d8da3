/**
 * A gateway as small as NAT's tests need: packets are tracked by their tuples alone, bound, and confirmed. And packets
 * made from words, with checksums computed the slow way.
 */
import { TrackContext } from '../../lib/conntrack/context.js';
import { Direction, type EntryId, NIL, Status } from '../../lib/conntrack/entries.js';
import { ConntrackTable } from '../../lib/conntrack/table.js';
import { invertKey, KEY_WORDS, packKey } from '../../lib/conntrack/tuples.js';
import { StaticHost, type StaticInterface } from '../../lib/host.js';
import { Nat, type NatRules } from '../../lib/nat/nat.js';
import { type Manip, type NatRange, NatRangeFlag } from '../../lib/nat/range.js';
import { type Random, SeededRandom } from '../../lib/random.js';
import { CtInfo, Packet } from '../../lib/wire/packet.js';
import { Hook, Verdict } from '../../lib/wire/verdict.js';

export const TIMEOUT_MS = 30_000;

/** Words of a dotted IPv4 or a full-form or `::`-shortened IPv6 address. */
export function words(text: string): Int32Array {
  const into = new Int32Array(4);
  if (!text.includes(':')) {
    into[0] = text.split('.').reduce((word, byte) => (word << 8) | Number(byte), 0);
    return into;
  }
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right];
  groups.forEach((group, i) => {
    into[i >> 1]! |= Number.parseInt(group, 16) << (i % 2 === 0 ? 16 : 0);
  });
  return into;
}

export function address(from: Int32Array, at: number, version: number): string {
  if (version === 4) {
    const word = from[at]!;
    return [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255].join('.');
  }
  return Array.from(from.subarray(at, at + 4), (word) =>
    [(word >>> 16).toString(16), (word & 0xffff).toString(16)].join(':'),
  ).join(':');
}

/** A range from text: `address`, `address-address`, `address:port-port`, or `:port-port` (IPv4), or nothing. */
export function range(text: string, flags = 0, basePort = 0): NatRange {
  const [addresses = '', ports] = text.split(':');
  const [low = '', high = low] = addresses.split('-');
  const [first, last = first] = (ports ?? '').split('-');
  return {
    flags:
      flags |
      (low === '' ? 0 : NatRangeFlag.MAP_IPS) |
      (ports === undefined ? 0 : NatRangeFlag.PROTO_SPECIFIED),
    minAddress: words(low === '' ? '0.0.0.0' : low),
    maxAddress: words(high === '' ? '0.0.0.0' : high),
    minPort: Number(first ?? 0),
    maxPort: Number(last ?? 0),
    basePort,
  };
}

/** Sum of 16-bit words, big-endian, folded: RFC 1071 by the book. */
function slowSum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

function slowCrc32c(bytes: readonly number[]): number {
  let register = 0xffffffff;
  for (const byte of bytes) {
    register = (register ^ byte) >>> 0;
    for (let bit = 0; bit < 8; bit++) {
      register = register % 2 === 1 ? ((register >>> 1) ^ 0x82f63b78) >>> 0 : register >>> 1;
    }
  }
  return ~register >>> 0;
}

/** Offset of the checksum in the transport header, by protocol. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6, 58: 2, 132: 8, 136: 6 };

/**
 * The transport checksum that the packet should have, as it stands in the header (SCTP: 4 bytes as a number);
 * undefined for protocols without. `transport` is the offset of the transport header in `bytes`.
 */
export function expectedChecksum(bytes: Uint8Array, transport: number, protocol: number): number | undefined {
  const at = CHECKSUM_AT[protocol];
  if (at === undefined) return undefined;
  const body = Array.from(bytes.subarray(transport));
  if (protocol === 132) {
    body.fill(0, 8, 12);
    const crc = slowCrc32c(body);
    return (((crc & 255) << 24) | ((crc & 0xff00) << 8) | ((crc >>> 8) & 0xff00) | (crc >>> 24)) >>> 0;
  }
  body[at] = 0;
  body[at + 1] = 0;
  const version = bytes[0]! >>> 4;
  const addresses = Array.from(version === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40));
  const pseudo = protocol === 1 ? [] : [...addresses, 0, protocol, body.length >>> 8, body.length & 255];
  const checksum = 0xffff - slowSum([...pseudo, ...body]);
  return checksum === 0 && (protocol === 17 || protocol === 136) ? 0xffff : checksum;
}

export function actualChecksum(bytes: Uint8Array, transport: number, protocol: number): number {
  const at = transport + CHECKSUM_AT[protocol]!;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return protocol === 132 ? view.getUint32(at) : view.getUint16(at);
}

export function ipv4ChecksumIsRight(bytes: Uint8Array): boolean {
  return slowSum(Array.from(bytes.subarray(0, (bytes[0]! & 15) * 4))) === 0xffff;
}

export interface PacketWords {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** Source and destination port; ICMP: type and identifier; GRE: version and call id. */
  readonly ports?: readonly [number, number];
  readonly payload?: readonly number[];
  /** ICMP errors: bytes 4-7 and what is quoted come from here instead. */
  readonly body?: readonly number[];
}

/** Bytes of an IP packet with right checksums. */
export function build(packet: PacketWords): Uint8Array {
  const version = packet.source.includes(':') ? 6 : 4;
  const [a, b] = packet.ports ?? [0, 0];
  const payload = packet.body ?? packet.payload ?? [];
  const transport = [...header(packet.protocol, a, b, payload.length), ...payload];
  const source = bytesOf(words(packet.source), version);
  const destination = bytesOf(words(packet.destination), version);
  const ip =
    version === 4
      ? [
          0x45,
          0,
          ...u16(20 + transport.length),
          0,
          1,
          0,
          0,
          64,
          packet.protocol,
          0,
          0,
          ...source,
          ...destination,
        ]
      : [0x60, 0, 0, 0, ...u16(transport.length), packet.protocol, 64, ...source, ...destination];
  if (version === 4) {
    const checksum = 0xffff - slowSum(ip);
    ip[10] = checksum >>> 8;
    ip[11] = checksum & 255;
  }
  const bytes = Uint8Array.from([...ip, ...transport]);
  const checksum = expectedChecksum(bytes, ip.length, packet.protocol);
  if (checksum !== undefined) {
    const view = new DataView(bytes.buffer);
    const at = ip.length + CHECKSUM_AT[packet.protocol]!;
    if (packet.protocol === 132) view.setUint32(at, checksum);
    else view.setUint16(at, checksum);
  }
  return bytes;
}

function header(protocol: number, a: number, b: number, payloadBytes: number): number[] {
  switch (protocol) {
    case 6:
      return [...u16(a), ...u16(b), 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xfa, 0xf0, 0, 0, 0, 0];
    case 17:
    case 136:
      return [...u16(a), ...u16(b), ...u16(8 + payloadBytes), 0, 0];
    case 1:
    case 58:
      return [a, 0, 0, 0, ...u16(b), 0, 1];
    case 132:
      return [...u16(a), ...u16(b), 1, 2, 3, 4, 0, 0, 0, 0];
    case 47:
      return [0x20, a, 0x88, 0x0b, ...u16(payloadBytes), ...u16(b)];
    default:
      return [];
  }
}

function u16(value: number): number[] {
  return [value >>> 8, value & 255];
}

function bytesOf(from: Int32Array, version: number): number[] {
  return Array.from(from.subarray(0, version === 4 ? 1 : 4)).flatMap((word) => [
    word >>> 24,
    (word >>> 16) & 255,
    (word >>> 8) & 255,
    word & 255,
  ]);
}

/** A random source that gives what it was told to give, then the beginning of the range. */
export class Script implements Random {
  readonly asked: [number, number][] = [];
  readonly #values: number[];

  constructor(...values: number[]) {
    this.#values = values;
  }

  u32(): number {
    return 0;
  }

  pick(first: number, size: number): number {
    this.asked.push([first, size]);
    return this.#values.shift() ?? first;
  }
}

export const INTERFACES: readonly StaticInterface[] = [
  { name: 'lan', address4: [...words('10.0.0.1').subarray(0, 1)], address6: [...words('fd00:a::1')] },
  { name: 'wan', address4: [...words('203.0.113.1').subarray(0, 1)], address6: [...words('2001:db8:1::1')] },
  { name: 'bare' },
];
export const LAN = 1;
export const WAN = 2;

/** Tracks by tuple, binds and confirms. `rules` decides per hook what a new connection's binding is. */
export class Gateway implements NatRules {
  readonly context = new TrackContext();
  readonly tables: { readonly 4: ConntrackTable; readonly 6: ConntrackTable };
  readonly nat: Nat;
  rule: (packet: Packet, hook: Hook) => Verdict = () => Verdict.ACCEPT;
  readonly #key = new Int32Array(KEY_WORDS);
  readonly #reply = new Int32Array(KEY_WORDS);

  constructor(random: Random = new SeededRandom(7), capacity = 1024) {
    this.tables = {
      4: new ConntrackTable(4, capacity, capacity, 1),
      6: new ConntrackTable(6, capacity, capacity, 1),
    };
    this.nat = new Nat(
      { context: this.context, eachTable: (made) => Object.values(this.tables).forEach(made) },
      new StaticHost(INTERFACES),
      random,
    );
  }

  table(packet: Packet): ConntrackTable {
    return packet.version === 4 ? this.tables[4] : this.tables[6];
  }

  /** A chain of each table at each hook. */
  readonly chains = new Int32Array(5).fill(-1);

  traverse(_table: number, hook: Hook, packet: Packet): Verdict {
    return this.rule(packet, hook);
  }

  /** A view of the bytes with its entry, made if there is none. */
  track(bytes: Uint8Array): Packet {
    const packet = new Packet();
    if (packet.parse(bytes) !== 0) throw new Error(`not a packet: ${packet.reason}`);
    const table = this.table(packet);
    packKey(this.#key, packet.addresses, packet.protocol, packet, packet.transport, packet.end, 0);
    const tuple = table.find(this.#key, this.context.now);
    if (tuple !== NIL) {
      const entry = table.entries.entryOf(tuple);
      packet.entry = entry;
      const isReply = table.entries.directionOf(tuple) === Direction.REPLY;
      if (isReply) table.entries.setStatus(entry, Status.SEEN_REPLY);
      const seen = (table.entries.status(entry) & Status.SEEN_REPLY) !== 0;
      packet.ctinfo = isReply ? CtInfo.ESTABLISHED_REPLY : seen ? CtInfo.ESTABLISHED : CtInfo.NEW;
      return packet;
    }
    const entry = table.take();
    if (entry === NIL) throw new Error('table full');
    table.setKey(entry, Direction.ORIGINAL, this.#key);
    invertKey(this.#reply, this.#key);
    table.setKey(entry, Direction.REPLY, this.#reply);
    packet.entry = entry;
    packet.ctinfo = CtInfo.NEW;
    return packet;
  }

  /** Links the packet's entry; false if its reply tuple is taken by then. */
  confirm(packet: Packet): boolean {
    const table = this.table(packet);
    const entry = packet.entry as EntryId;
    if ((table.entries.status(entry) & Status.CONFIRMED) !== 0) return true;
    table.entries.getKey(entry, Direction.REPLY, this.#key);
    if (table.find(this.#key, this.context.now) !== NIL) {
      table.discard(entry);
      return false;
    }
    table.entries.setExpires(entry, (this.context.now + TIMEOUT_MS) | 0);
    table.link(entry);
    return true;
  }

  /** The whole way of a forwarded packet. Returns the view, or undefined if it was dropped. */
  forward(bytes: Uint8Array, inInterface: number, outInterface: number): Packet | undefined {
    const packet = this.track(bytes);
    packet.inInterface = inInterface;
    if (this.nat.hook(packet, Hook.PREROUTING, this) !== Verdict.ACCEPT) return undefined;
    packet.outInterface = outInterface;
    if (this.nat.hook(packet, Hook.POSTROUTING, this) !== Verdict.ACCEPT) return undefined;
    return this.confirm(packet) ? packet : undefined;
  }

  /** An ICMP error about `connection`'s entry, translated at both hooks. */
  forwardError(bytes: Uint8Array, entry: EntryId, ctinfo: number, outInterface: number): Packet | undefined {
    const packet = new Packet();
    if (packet.parse(bytes) !== 0) throw new Error(`not a packet: ${packet.reason}`);
    packet.entry = entry;
    packet.ctinfo = ctinfo;
    if (this.nat.hook(packet, Hook.PREROUTING, this) !== Verdict.ACCEPT) return undefined;
    packet.outInterface = outInterface;
    return this.nat.hook(packet, Hook.POSTROUTING, this) === Verdict.ACCEPT ? packet : undefined;
  }

  /** Binds one end of a new connection with these bytes; the text of the tuple that its answers are expected with. */
  bind(bytes: Uint8Array, manip: Manip, to: NatRange): string {
    const packet = this.track(bytes);
    if (this.nat.setup(packet, to, manip) !== Verdict.ACCEPT) return 'refused';
    const text = this.replyText(packet);
    return this.confirm(packet) ? text : `taken ${text}`;
  }

  replyText(packet: Packet): string {
    const table = this.table(packet);
    table.entries.getKey(packet.entry as EntryId, Direction.REPLY, this.#key);
    return keyText(this.#key, table.version);
  }
}

export function keyText(key: Int32Array, version: number): string {
  const ports = key[8]!;
  const ends = [0, 4].map((at) => address(key, at, version));
  return `${ends[0]}:${ports >>> 16} > ${ends[1]}:${ports & 0xffff}`;
}
