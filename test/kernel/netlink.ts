/**
 * The kernel's connection table over ctnetlink. A dump walks the whole hash table of the machine and is slow; so new
 * entries are learned from NEW events and read one by one. An event also tells in which step an entry was born.
 *
 * Message layouts: linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h. Netlink headers are in host order
 * (little-endian here), attributes' values in network order.
 */
import { formatAddress } from '../../lib/rules/text/address.js';
import type { TraceEntry, TraceTuple } from '../../lib/scenario/trace.js';
import * as libc from './libc.js';

const NETLINK_NETFILTER = 12;
const NFNLGRP_CONNTRACK_NEW = 1;
const HEADER_BYTES = 16;
/** Family, version, resource id. */
const FAMILY_BYTES = 4;
const CT_NEW = 0x100;
const CT_GET = 0x101;
const CT_DELETE = 0x102;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const NESTED = 0x8000;
const ENOENT = 2;

const Attribute = {
  ORIGINAL: 1,
  REPLY: 2,
  STATUS: 3,
  PROTOCOL: 4,
  TIMEOUT: 7,
  MARK: 8,
  COUNTERS_ORIGINAL: 9,
  COUNTERS_REPLY: 10,
  ZONE: 18,
} as const;

const SEEN_REPLY = 2;
const ASSURED = 4;
const ICMP = 1;
const ICMPV6 = 58;
const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [ICMP, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [47, 'gre'],
  [ICMPV6, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
]);
const TCP_STATES = [
  'NONE',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'FIN_WAIT',
  'CLOSE_WAIT',
  'LAST_ACK',
  'TIME_WAIT',
  'CLOSE',
  'SYN_SENT2',
];

/** An entry as read, without its number; `born` is known from its event. */
export type KernelEntry = Omit<TraceEntry, 'id'>;

type Attributes = ReadonlyMap<number, Uint8Array>;

interface Known {
  readonly family: number;
  /** Value of the original tuple's attribute. */
  readonly tuple: Uint8Array;
  readonly zone: Uint8Array | undefined;
  born: number;
}

export class Conntrack {
  readonly #requests: number;
  readonly #events: number;
  readonly #buffer = new Uint8Array(1 << 18);
  readonly #known = new Map<string, Known>();
  #sequence = 0;

  constructor() {
    this.#requests = openNetlink(0);
    this.#events = openNetlink(NFNLGRP_CONNTRACK_NEW);
  }

  /** All live entries by key; those that events have told of since the last call were born in `step`. */
  read(step: number): Map<string, KernelEntry> {
    this.#takeEvents(step);
    const entries = new Map<string, KernelEntry>();
    for (const [name, known] of this.#known) {
      const entry = this.#get(known);
      if (entry === undefined) this.#known.delete(name);
      else entries.set(entryKey(entry), entry);
    }
    return entries;
  }

  /** Keys of all entries by a full dump: slow, to check that events tell all. */
  dump(): Set<string> {
    const keys = new Set<string>();
    const sequence = this.#send(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 0, []);
    for (let isDone = false; !isDone; ) {
      const size = libc.receive(this.#requests, this.#buffer);
      for (const message of messages(this.#buffer, size)) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) isDone = true;
        else keys.add(entryKey(readEntry(message.body, 0)));
      }
    }
    return keys;
  }

  /** Deletes all entries, one by one: a flush would walk the machine's whole table. */
  flush(): void {
    this.#takeEvents(0);
    for (const known of this.#known.values()) this.#delete(known);
    this.#known.clear();
  }

  close(): void {
    libc.close(this.#requests);
    libc.close(this.#events);
  }

  #takeEvents(step: number): void {
    for (;;) {
      const size = libc.receiveNow(this.#events, this.#buffer);
      if (size === 0) return;
      for (const { type, body } of messages(this.#buffer, size)) {
        if (type !== CT_NEW) continue;
        const attributes = readAttributes(body.subarray(FAMILY_BYTES));
        const tuple = (attributes.get(Attribute.ORIGINAL) as Uint8Array).slice();
        const zone = attributes.get(Attribute.ZONE)?.slice();
        const family = body[0] as number;
        this.#known.set(`${family} ${tuple} ${zone}`, { family, tuple, zone, born: step });
      }
    }
  }

  /** Undefined too if the tuple has become the reply of another entry. */
  #get(known: Known): KernelEntry | undefined {
    const answer = this.#ask(CT_GET, NLM_F_REQUEST, known);
    if (answer === undefined) return undefined;
    const tuple = readAttributes(answer.subarray(FAMILY_BYTES)).get(Attribute.ORIGINAL);
    return `${tuple}` === `${known.tuple}` ? readEntry(answer, known.born) : undefined;
  }

  #delete(known: Known): void {
    this.#ask(CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, known);
  }

  /** The answer about one entry; undefined if there is none such, and for a plain acknowledgement. */
  #ask(type: number, flags: number, { family, tuple, zone }: Known): Uint8Array | undefined {
    const parts = [attribute(Attribute.ORIGINAL | NESTED, tuple)];
    if (zone !== undefined) parts.push(attribute(Attribute.ZONE, zone));
    const sequence = this.#send(type, flags, family, parts);
    const size = libc.receive(this.#requests, this.#buffer);
    const [message] = messages(this.#buffer, size);
    if (message === undefined || message.sequence !== sequence) throw new Error('ctnetlink: out of step');
    if (message.type !== NLMSG_ERROR) return message.body;
    const errno = -new DataView(message.body.buffer, message.body.byteOffset).getInt32(0, true);
    if (errno !== 0 && errno !== ENOENT) throw new libc.SystemError('ctnetlink', errno);
    return undefined;
  }

  #send(type: number, flags: number, family: number, parts: readonly Uint8Array[]): number {
    const length = parts.reduce((sum, part) => sum + part.length, HEADER_BYTES + FAMILY_BYTES);
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    this.#sequence++;
    view.setUint32(0, length, true);
    view.setUint16(4, type, true);
    view.setUint16(6, flags, true);
    view.setUint32(8, this.#sequence, true);
    bytes[HEADER_BYTES] = family;
    let at = HEADER_BYTES + FAMILY_BYTES;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    libc.send(this.#requests, bytes);
    return this.#sequence;
  }
}

/** What ids go by: family, protocol, original tuple, zone. */
export function entryKey({ l3, l4, orig, zone }: KernelEntry): string {
  const numbers = [orig.sport, orig.dport, orig.type, orig.code, orig.id].map((value) => value ?? -1);
  const texts = [l3, l4, orig.src, orig.dst].map((text) => `'${text}'`);
  return `(${[...texts, ...numbers, zone ?? 0].join(', ')})`;
}

function openNetlink(groups: number): number {
  const fd = libc.openSocket(libc.AF_NETLINK, libc.SOCK_RAW, NETLINK_NETFILTER);
  libc.setReceiveBuffer(fd, 1 << 22);
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, libc.AF_NETLINK, true);
  view.setUint32(8, groups, true);
  libc.bindSocket(fd, address);
  return fd;
}

interface Message {
  readonly type: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

function messages(buffer: Uint8Array, size: number): Message[] {
  const view = new DataView(buffer.buffer, buffer.byteOffset, size);
  const found: Message[] = [];
  for (let at = 0; at + HEADER_BYTES <= size; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES) break;
    found.push({
      type: view.getUint16(at + 4, true),
      sequence: view.getUint32(at + 8, true),
      body: buffer.subarray(at + HEADER_BYTES, at + length),
    });
    at += (length + 3) & ~3;
  }
  return found;
}

/** An attribute with its value, padded. */
function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((4 + value.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}

function readAttributes(bytes: Uint8Array): Attributes {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = new Map<number, Uint8Array>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4) break;
    found.set(view.getUint16(at + 2, true) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** An unsigned number in network order; counters fit a double. */
function numberOf(bytes: Uint8Array | undefined): number {
  let value = 0;
  for (const byte of bytes ?? []) value = value * 256 + byte;
  return value;
}

function nested(attributes: Attributes, type: number): Attributes {
  return readAttributes(attributes.get(type) ?? new Uint8Array(0));
}

function addressText(bytes: Uint8Array): string {
  const word = (i: number) => (bytes.length < 4 * i + 4 ? 0 : numberOf(bytes.subarray(4 * i, 4 * i + 4)) | 0);
  return formatAddress([word(0), word(1), word(2), word(3)], bytes.length === 4 ? 4 : 6);
}

function readTuple(bytes: Uint8Array): { protocol: number; version: 4 | 6; tuple: TraceTuple } {
  const attributes = readAttributes(bytes);
  const addresses = nested(attributes, 1);
  const transport = nested(attributes, 2);
  const version = addresses.has(1) ? 4 : 6;
  const [source, destination] = version === 4 ? [1, 2] : [3, 4];
  const ends = {
    src: addressText(addresses.get(source as number) as Uint8Array),
    dst: addressText(addresses.get(destination as number) as Uint8Array),
  };
  const protocol = numberOf(transport.get(1));
  const [id, type, code] = protocol === ICMP ? [4, 5, 6] : [7, 8, 9];
  if ((protocol === ICMP || protocol === ICMPV6) && transport.has(type as number)) {
    const number = (one: number | undefined) => numberOf(transport.get(one as number));
    return { protocol, version, tuple: { ...ends, type: number(type), code: number(code), id: number(id) } };
  }
  if (!transport.has(2)) return { protocol, version, tuple: ends };
  const ports = { sport: numberOf(transport.get(2)), dport: numberOf(transport.get(3)) };
  return { protocol, version, tuple: { ...ends, ...ports } };
}

function readEntry(body: Uint8Array, born: number): KernelEntry {
  const attributes = readAttributes(body.subarray(FAMILY_BYTES));
  const original = readTuple(attributes.get(Attribute.ORIGINAL) as Uint8Array);
  const reply = readTuple(attributes.get(Attribute.REPLY) as Uint8Array);
  const status = numberOf(attributes.get(Attribute.STATUS));
  const timeout = attributes.get(Attribute.TIMEOUT);
  const zone = numberOf(attributes.get(Attribute.ZONE));
  return {
    l3: original.version === 4 ? 'ipv4' : 'ipv6',
    l4: PROTOCOL_NAMES.get(original.protocol) ?? String(original.protocol),
    timeout: timeout === undefined ? null : numberOf(timeout) + 1,
    ...readProtocol(nested(attributes, Attribute.PROTOCOL)),
    orig: original.tuple,
    reply: reply.tuple,
    flags: [
      ...((status & SEEN_REPLY) === 0 ? ['UNREPLIED'] : []),
      ...((status & ASSURED) === 0 ? [] : ['ASSURED']),
    ],
    status,
    mark: numberOf(attributes.get(Attribute.MARK)),
    ...(zone === 0 ? {} : { zone }),
    ...readCounters(attributes),
    born,
  };
}

function readProtocol(protocol: Attributes): Pick<TraceEntry, 'state' | 'tcp'> {
  if (protocol.has(1)) {
    const tcp = nested(protocol, 1);
    const state = numberOf(tcp.get(1));
    // Each direction's flags come with their mask in a second byte.
    const word = (type: number) => tcp.get(type)?.[0] ?? 0;
    return { state: TCP_STATES[state] ?? String(state), tcp: [word(2), word(3), word(4), word(5)] };
  }
  return protocol.has(3) ? { state: `SCTP:${numberOf(nested(protocol, 3).get(1))}` } : {};
}

function readCounters(attributes: Attributes): Pick<TraceEntry, 'acct'> {
  if (!attributes.has(Attribute.COUNTERS_ORIGINAL)) return {};
  const original = nested(attributes, Attribute.COUNTERS_ORIGINAL);
  const reply = nested(attributes, Attribute.COUNTERS_REPLY);
  return {
    acct: [original.get(1), original.get(2), reply.get(1), reply.get(2)].map((value) => numberOf(value)),
  };
}
