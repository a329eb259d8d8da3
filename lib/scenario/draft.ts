/**
 * A packet as an object: what the notation says, before it is bytes. Cold.
 *
 * `encodeDraft` fills in lengths and checksums unless the draft gives others; `decodeDraft` gives only what differs from
 * what encoding would fill in. Bytes that a draft cannot hold (no whole IP header, headers behind an IPv6 fragment header)
 * decode to undefined; whoever needs them exactly writes them in hexadecimal.
 */
import type { AddressWords } from '../rules/ast.js';
import { checksum, locate, quoteOffset, setU16, transportChecksum, u16, u32 } from './fields.js';

export const Protocol = {
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  FRAGMENT: 44,
  ICMPV6: 58,
  SCTP: 132,
  UDPLITE: 136,
} as const;

/** An IPv6 extension header other than the fragment header. */
export interface ExtensionDraft {
  readonly type: number;
  /** From the length field on: everything but the next-header byte. */
  readonly body: Uint8Array;
}

export interface PacketDraft {
  version: 4 | 6;
  source: AddressWords;
  destination: AddressWords;
  protocol: number;
  /** Whether all that follows the network header is `payload`, whatever the protocol. */
  isOpaque: boolean;
  /** TTL or hop limit. */
  ttl: number;
  /** TOS or traffic class. */
  tos: number;
  /** IPv4 id, or that of an IPv6 fragment header. */
  id: number;
  /** IPv4 Don't Fragment. */
  df: boolean;
  moreFragments: boolean;
  /** In bytes. */
  fragmentOffset: number;
  /** IPv6: whether there is a fragment header. */
  hasFragmentHeader: boolean;
  /** IPv6 flow label. */
  flow: number;
  /** IPv4 options, a multiple of 4 bytes. */
  options: Uint8Array;
  extensions: ExtensionDraft[];
  /** TCP, UDP, UDP-Lite, SCTP. */
  sourcePort: number;
  destinationPort: number;
  tcp?: TcpDraft;
  icmp?: IcmpDraft;
  /** SCTP verification tag. */
  tag: number;
  /** UDP-Lite: checksum coverage, 0 is all. UDP: the length field, 0 for the real length. */
  coverage: number;
  /** What follows the transport header (the whole transport part of a later fragment or another protocol). */
  payload: Uint8Array;
  /** IPv4 total length or IPv6 payload length, if not the real one. */
  lengthField?: number;
  /** IPv4 header checksum, if not the right one. */
  headerSum?: number;
  /** Transport checksum, if not the right one. */
  sum?: number;
  /** Bytes that are left of it, as in an ICMP error's quote. */
  cut?: number;
}

export interface TcpDraft {
  flags: number;
  seq: number;
  ack: number;
  window: number;
  urgent: number;
  /** A multiple of 4 bytes, at most 40. */
  options: Uint8Array;
}

export interface IcmpDraft {
  type: number;
  code: number;
  /** Bytes 4 to 7. */
  rest: number;
}

export const NO_BYTES = new Uint8Array(0);
const NO_ADDRESS: AddressWords = [0, 0, 0, 0];

/** A draft with every default. */
export function newDraft(version: 4 | 6, protocol: number): PacketDraft {
  return {
    version,
    source: NO_ADDRESS,
    destination: NO_ADDRESS,
    protocol,
    isOpaque: false,
    ttl: 64,
    tos: 0,
    id: 0,
    df: false,
    moreFragments: false,
    fragmentOffset: 0,
    hasFragmentHeader: false,
    flow: 0,
    options: NO_BYTES,
    extensions: [],
    sourcePort: 0,
    destinationPort: 0,
    tag: 0,
    coverage: 0,
    payload: NO_BYTES,
  };
}

/** Length of the transport header that a draft has: 0 for later fragments and protocols not known here. */
export function transportHeaderBytes(draft: PacketDraft): number {
  if (draft.isOpaque || draft.fragmentOffset > 0) return 0;
  if (draft.tcp !== undefined) return 20 + draft.tcp.options.length;
  if (draft.icmp !== undefined) return 8;
  if (draft.protocol === Protocol.SCTP) return 12;
  return draft.protocol === Protocol.UDP || draft.protocol === Protocol.UDPLITE ? 8 : 0;
}

function setU32(bytes: Uint8Array, at: number, value: number): void {
  setU16(bytes, at, value >>> 16);
  setU16(bytes, at + 2, value & 0xffff);
}

function setAddress(bytes: Uint8Array, at: number, words: AddressWords, count: number): void {
  for (let i = 0; i < count; i++) setU32(bytes, at + 4 * i, words[i] as number);
}

function addressAt(bytes: Uint8Array, at: number, version: 4 | 6): AddressWords {
  const word = (i: number) => u32(bytes, at + 4 * i) | 0;
  return version === 4 ? [word(0), 0, 0, 0] : [word(0), word(1), word(2), word(3)];
}

/** The draft's bytes. */
export function encodeDraft(draft: PacketDraft): Uint8Array {
  const extensions = encodeExtensions(draft);
  const fixedBytes = draft.version === 4 ? 20 + draft.options.length : 40;
  const networkBytes = fixedBytes + extensions.length;
  const transport = encodeTransport(draft);
  const bytes = new Uint8Array(networkBytes + transport.length);
  bytes.set(transport, networkBytes);
  bytes.set(extensions, fixedBytes);
  if (draft.version === 4) encodeIpv4(draft, bytes);
  else encodeIpv6(draft, bytes);
  encodeTransportSum(draft, bytes, networkBytes);
  if (draft.version === 4) {
    setU16(bytes, 2, draft.lengthField ?? bytes.length);
    setU16(bytes, 10, draft.headerSum ?? checksum(bytes.subarray(0, fixedBytes)));
  }
  return draft.cut === undefined ? bytes : bytes.slice(0, draft.cut);
}

function encodeIpv4(draft: PacketDraft, bytes: Uint8Array): void {
  bytes[0] = 0x40 | ((20 + draft.options.length) >> 2);
  bytes[1] = draft.tos;
  setU16(bytes, 2, bytes.length);
  setU16(bytes, 4, draft.id);
  setU16(
    bytes,
    6,
    (draft.df ? 0x4000 : 0) | (draft.moreFragments ? 0x2000 : 0) | (draft.fragmentOffset >> 3),
  );
  bytes[8] = draft.ttl;
  bytes[9] = draft.protocol;
  setAddress(bytes, 12, draft.source, 1);
  setAddress(bytes, 16, draft.destination, 1);
  bytes.set(draft.options, 20);
}

function encodeIpv6(draft: PacketDraft, bytes: Uint8Array): void {
  setU32(bytes, 0, (0x60000000 | (draft.tos << 20) | draft.flow) >>> 0);
  setU16(bytes, 4, draft.lengthField ?? bytes.length - 40);
  const fragment = draft.hasFragmentHeader ? Protocol.FRAGMENT : draft.protocol;
  bytes[6] = draft.extensions[0]?.type ?? fragment;
  bytes[7] = draft.ttl;
  setAddress(bytes, 8, draft.source, 4);
  setAddress(bytes, 24, draft.destination, 4);
}

function encodeExtensions(draft: PacketDraft): Uint8Array {
  if (draft.version === 4) return NO_BYTES;
  const parts: number[] = [];
  for (const [i, { body }] of draft.extensions.entries()) {
    const behind = draft.hasFragmentHeader ? Protocol.FRAGMENT : draft.protocol;
    parts.push(draft.extensions[i + 1]?.type ?? behind, ...body);
  }
  if (draft.hasFragmentHeader) {
    const field = draft.fragmentOffset | (draft.moreFragments ? 1 : 0);
    const id = draft.id;
    parts.push(
      draft.protocol,
      0,
      field >> 8,
      field & 255,
      id >>> 24,
      (id >>> 16) & 255,
      (id >>> 8) & 255,
      id & 255,
    );
  }
  return Uint8Array.from(parts);
}

function encodeTransport(draft: PacketDraft): Uint8Array {
  const headerBytes = transportHeaderBytes(draft);
  const bytes = new Uint8Array(headerBytes + draft.payload.length);
  bytes.set(draft.payload, headerBytes);
  if (headerBytes === 0) return bytes;
  const { tcp, icmp } = draft;
  if (icmp !== undefined) {
    bytes[0] = icmp.type;
    bytes[1] = icmp.code;
    setU32(bytes, 4, icmp.rest);
    return bytes;
  }
  setU16(bytes, 0, draft.sourcePort);
  setU16(bytes, 2, draft.destinationPort);
  if (tcp !== undefined) {
    setU32(bytes, 4, tcp.seq);
    setU32(bytes, 8, tcp.ack);
    bytes[12] = (headerBytes >> 2) << 4;
    bytes[13] = tcp.flags;
    setU16(bytes, 14, tcp.window);
    setU16(bytes, 18, tcp.urgent);
    bytes.set(tcp.options, 20);
  } else if (draft.protocol === Protocol.SCTP) {
    setU32(bytes, 4, draft.tag);
  } else {
    const isUdp = draft.protocol === Protocol.UDP;
    setU16(bytes, 4, isUdp && draft.coverage === 0 ? bytes.length : draft.coverage);
  }
  return bytes;
}

function encodeTransportSum(draft: PacketDraft, bytes: Uint8Array, transport: number): void {
  const [offset, size] = sumField(draft);
  if (offset < 0) return;
  const at = transport + offset;
  const sum = draft.sum ?? rightSum(draft, bytes, transport);
  if (size === 4) setU32(bytes, at, sum);
  else setU16(bytes, at, sum);
}

/** Offset in the transport header and size of the checksum field; offset -1 without one. */
function sumField(draft: PacketDraft): readonly [number, number] {
  if (transportHeaderBytes(draft) === 0) return [-1, 0];
  if (draft.tcp !== undefined) return [16, 2];
  if (draft.icmp !== undefined) return [2, 2];
  return draft.protocol === Protocol.SCTP ? [8, 4] : [6, 2];
}

/** The checksum of a packet whose checksum field holds zero. A fragment's is not known: 0. */
function rightSum(draft: PacketDraft, bytes: Uint8Array, transport: number): number {
  if (draft.moreFragments || draft.fragmentOffset > 0) return 0;
  if (draft.protocol === Protocol.SCTP) return crc32c(bytes.subarray(transport));
  const at = { version: draft.version, protocol: draft.protocol, transport, isLater: false };
  if (draft.protocol !== Protocol.UDPLITE) return transportChecksum(bytes, at);
  const covered = draft.coverage === 0 ? bytes.length : Math.min(bytes.length, transport + draft.coverage);
  const length = Uint8Array.of((bytes.length - transport) >> 8, bytes.length - transport, 0, draft.protocol);
  const addresses = draft.version === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  return checksum(addresses, length, bytes.subarray(transport, covered)) || 0xffff;
}

/** CRC32c as SCTP stores it (RFC 9260 appendix A), as a big-endian field. */
function crc32c(bytes: Uint8Array): number {
  let register = -1;
  for (const byte of bytes) {
    register ^= byte;
    for (let bit = 0; bit < 8; bit++) register = (register >>> 1) ^ ((register & 1) === 0 ? 0 : 0x82f63b78);
  }
  const crc = ~register;
  return (((crc & 255) << 24) | ((crc & 0xff00) << 8) | ((crc >>> 8) & 0xff00) | (crc >>> 24)) >>> 0;
}

/** What the bytes say, or undefined if a draft cannot hold it. */
export function decodeDraft(bytes: Uint8Array): PacketDraft | undefined {
  const at = locate(bytes);
  if (at === undefined) return undefined;
  const draft = newDraft(at.version, at.protocol);
  draft.source = addressAt(bytes, at.version === 4 ? 12 : 8, at.version);
  draft.destination = addressAt(bytes, at.version === 4 ? 16 : 24, at.version);
  if (at.transport > bytes.length) return undefined;
  if (at.version === 4) decodeIpv4(draft, bytes, at.transport);
  else if (!decodeIpv6(draft, bytes, at.transport)) return undefined;
  const declared =
    (draft.lengthField ?? bytes.length - (at.version === 4 ? 0 : 40)) + (at.version === 4 ? 0 : 40);
  // A quote that was cut off: the rest is taken to be zero.
  let whole = bytes;
  if (declared > bytes.length && declared >= at.transport) {
    whole = new Uint8Array(declared);
    whole.set(bytes);
    draft.cut = bytes.length;
    delete draft.lengthField;
  }
  decodeTransport(draft, whole.subarray(at.transport));
  decodeSums(draft, whole, at.transport);
  return draft;
}

function decodeIpv4(draft: PacketDraft, bytes: Uint8Array, headerBytes: number): void {
  const field = u16(bytes, 6);
  draft.tos = bytes[1] as number;
  draft.id = u16(bytes, 4);
  draft.df = (field & 0x4000) !== 0;
  draft.moreFragments = (field & 0x2000) !== 0;
  draft.fragmentOffset = (field & 0x1fff) << 3;
  draft.ttl = bytes[8] as number;
  draft.options = bytes.slice(20, headerBytes);
  if (u16(bytes, 2) !== bytes.length) draft.lengthField = u16(bytes, 2);
  const header = bytes.slice(0, headerBytes);
  setU16(header, 10, 0);
  if (checksum(header) !== u16(bytes, 10)) draft.headerSum = u16(bytes, 10);
}

function decodeIpv6(draft: PacketDraft, bytes: Uint8Array, transport: number): boolean {
  const first = u32(bytes, 0);
  draft.tos = (first >>> 20) & 255;
  draft.flow = first & 0xfffff;
  draft.ttl = bytes[7] as number;
  if (u16(bytes, 4) !== bytes.length - 40) draft.lengthField = u16(bytes, 4);
  let type = bytes[6] as number;
  for (let at = 40; at < transport; ) {
    if (draft.hasFragmentHeader) return false;
    if (type === Protocol.FRAGMENT) {
      const field = u16(bytes, at + 2);
      draft.hasFragmentHeader = true;
      draft.fragmentOffset = field & 0xfff8;
      draft.moreFragments = (field & 1) !== 0;
      draft.id = u32(bytes, at + 4);
      type = bytes[at] as number;
      at += 8;
    } else {
      const headerBytes = ((bytes[at + 1] as number) + 1) * 8;
      draft.extensions.push({ type, body: bytes.slice(at + 1, at + headerBytes) });
      type = bytes[at] as number;
      at += headerBytes;
    }
  }
  return true;
}

function decodeTransport(draft: PacketDraft, transport: Uint8Array): void {
  const { protocol } = draft;
  const headerBytes = KNOWN_HEADER_BYTES.get(protocol);
  draft.payload = transport;
  draft.isOpaque = headerBytes === undefined || draft.fragmentOffset > 0 || transport.length < headerBytes;
  if (draft.isOpaque) return;
  draft.payload = transport.subarray(headerBytes);
  if (protocol === Protocol.ICMP || protocol === Protocol.ICMPV6) {
    draft.icmp = { type: transport[0] as number, code: transport[1] as number, rest: u32(transport, 4) };
    return;
  }
  draft.sourcePort = u16(transport, 0);
  draft.destinationPort = u16(transport, 2);
  if (protocol === Protocol.TCP) decodeTcp(draft, transport);
  if (protocol === Protocol.SCTP) draft.tag = u32(transport, 4);
  if (
    protocol === Protocol.UDPLITE ||
    (protocol === Protocol.UDP && u16(transport, 4) !== transport.length)
  ) {
    draft.coverage = u16(transport, 4);
  }
}

/** Least length of the transport headers that drafts have, bytes. */
const KNOWN_HEADER_BYTES: ReadonlyMap<number, number> = new Map<number, number>([
  [Protocol.ICMP, 8],
  [Protocol.ICMPV6, 8],
  [Protocol.TCP, 20],
  [Protocol.UDP, 8],
  [Protocol.UDPLITE, 8],
  [Protocol.SCTP, 12],
]);

function decodeTcp(draft: PacketDraft, transport: Uint8Array): void {
  const headerBytes = ((transport[12] as number) >> 4) * 4;
  const isReserved = ((transport[12] as number) & 15) !== 0;
  if (headerBytes < 20 || headerBytes > transport.length || isReserved) {
    draft.isOpaque = true;
    draft.payload = transport;
    return;
  }
  draft.tcp = {
    flags: transport[13] as number,
    seq: u32(transport, 4),
    ack: u32(transport, 8),
    window: u16(transport, 14),
    urgent: u16(transport, 18),
    options: transport.slice(20, headerBytes),
  };
  draft.payload = transport.subarray(headerBytes);
}

function decodeSums(draft: PacketDraft, bytes: Uint8Array, transport: number): void {
  const [offset, size] = sumField(draft);
  if (offset < 0) return;
  const at = transport + offset;
  const stored = size === 4 ? u32(bytes, at) : u16(bytes, at);
  const blank = bytes.slice();
  blank.fill(0, at, at + size);
  if (rightSum(draft, blank, transport) !== stored) draft.sum = stored;
}

/** The packet that an ICMP error quotes, decoded; undefined without one. */
export function decodeQuote(bytes: Uint8Array): Uint8Array | undefined {
  const at = quoteOffset(bytes);
  return at === undefined ? undefined : bytes.subarray(at);
}
