/**
 * A tuple's key: layout, pack, invert, hash and equality, side by side. Hot.
 *
 * A key is KEY_WORDS int32 words in a caller-owned array:
 *
 *   0-3 source   4-7 destination   8 ports   9 kind      (IPv4 addresses in words 0 and 4, the rest zero)
 *
 * ports:  source port << 16 | destination port (TCP, UDP, UDP-Lite, SCTP)
 *         identifier << 16 | type << 8 | code  (ICMP, ICMPv6)
 *         key of the sender << 16 | key of the receiver (GRE version 1); 0 for every other protocol
 * kind:   protocol | zone << 8
 *
 * Inverting twice gives the key back. ICMP types without a reply of their own (RFC 792; RFC 4443) do not invert.
 */
import { hash4, hash10 } from '../memory/hash.js';
import type { Packet } from '../wire/packet.js';

/** Words of a key. */
export const KEY_WORDS = 10;
export const KEY_PORTS = 8;
export const KEY_KIND = 9;

const SOURCE = 0;
const DESTINATION = 4;
const PORTS = 8;
const KIND = 9;

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const GRE = 47;
const ICMPV6 = 58;
const SCTP = 132;
const UDPLITE = 136;

/** Protocol type that enhanced GRE carries (RFC 2637 section 4.1). */
const GRE_PPP = 0x880b;

/** Whether a protocol's tuple has ports: 1 or 0. */
export function hasPorts(protocol: number): number {
  return protocol === TCP || protocol === UDP || protocol === SCTP || protocol === UDPLITE ? 1 : 0;
}

/**
 * Packs the key of the packet whose transport header is at `transport`, ending at `end`. Returns 1, or 0 when the
 * bytes are too few for the protocol's ports or identifier (the packet is then INVALID).
 */
export function packKey(
  key: Int32Array,
  addresses: Int32Array,
  protocol: number,
  packet: Packet,
  transport: number,
  end: number,
  zone: number,
): 0 | 1 {
  for (let i = 0; i < 8; i++) key[i] = addresses[i] as number;
  key[KIND] = protocol | (zone << 8);
  let ports = 0;
  if (protocol === ICMP || protocol === ICMPV6) {
    if (transport + 8 > end) return 0;
    ports = (packet.u16(transport + 4) << 16) | packet.u16(transport);
  } else if (hasPorts(protocol) === 1) {
    if (transport + 4 > end) return 0;
    ports = packet.i32(transport);
  } else if (protocol === GRE) {
    ports = grePorts(packet, transport, end);
    if (ports < 0) return 0;
  }
  key[PORTS] = ports;
  return 1;
}

/**
 * Call id of enhanced GRE (RFC 2637 section 4.1); plain GRE is tracked by addresses alone. The sender's own id is
 * not in the packet: it stays 0. Returns -1 for version 1 that does not carry PPP.
 */
function grePorts(packet: Packet, transport: number, end: number): number {
  if (transport + 8 > end || (packet.u16(transport) & 7) !== 1) return 0;
  return packet.u16(transport + 2) === GRE_PPP ? packet.u16(transport + 6) : -1;
}

/**
 * Writes the inverse of `key` to `into` (another array): the key that the answer's packets have. Returns 1, or 0
 * for an ICMP type that asks for no reply.
 */
export function invertKey(into: Int32Array, key: Int32Array): 0 | 1 {
  for (let i = 0; i < 4; i++) {
    into[SOURCE + i] = key[DESTINATION + i] as number;
    into[DESTINATION + i] = key[SOURCE + i] as number;
  }
  const kind = key[KIND] as number;
  const ports = key[PORTS] as number;
  into[KIND] = kind;
  const protocol = kind & 255;
  if (protocol === ICMP || protocol === ICMPV6) {
    const type = (ports >>> 8) & 255;
    const reply = protocol === ICMP ? icmpReplyType(type) : icmpv6ReplyType(type);
    if (reply < 0) return 0;
    into[PORTS] = (ports & 0xffff00ff) | (reply << 8);
  } else {
    into[PORTS] = (ports << 16) | (ports >>> 16);
  }
  return 1;
}

/** Type that answers an ICMP query type (RFC 792, RFC 950), -1 for none. */
export function icmpReplyType(type: number): number {
  switch (type) {
    case 8:
      return 0;
    case 0:
      return 8;
    case 13:
      return 14;
    case 14:
      return 13;
    case 15:
      return 16;
    case 16:
      return 15;
    case 17:
      return 18;
    case 18:
      return 17;
    default:
      return -1;
  }
}

/** Type that answers an ICMPv6 query type (RFC 4443 section 4, RFC 4620), -1 for none. */
export function icmpv6ReplyType(type: number): number {
  switch (type) {
    case 128:
      return 129;
    case 129:
      return 128;
    case 139:
      return 140;
    case 140:
      return 139;
    default:
      return -1;
  }
}

/** In the place of a hash that nobody has needed yet. It may be one, too: to compute it anew does no harm. */
export const HASH_LATER = 0;

/** Hash of an IPv4 key. */
export function hashKey4(key: Int32Array, seed: number): number {
  return hash4(
    key[SOURCE] as number,
    key[DESTINATION] as number,
    key[PORTS] as number,
    key[KIND] as number,
    seed,
  );
}

/** Hash of an IPv6 key. */
export function hashKey6(key: Int32Array, seed: number): number {
  return hash10(key, seed);
}

/** Whether two keys are the same: 1 or 0. */
export function equalKeys(a: Int32Array, b: Int32Array): 0 | 1 {
  for (let i = 0; i < KEY_WORDS; i++) if (a[i] !== b[i]) return 0;
  return 1;
}

/** Copies a key. */
export function copyKey(into: Int32Array, from: Int32Array): void {
  for (let i = 0; i < KEY_WORDS; i++) into[i] = from[i] as number;
}

/** Writes the key of an IPv4 tuple in zone 0 to `key`, and returns it. */
export function writeKey4(
  key: Int32Array,
  source: number,
  destination: number,
  ports: number,
  kind: number,
): Int32Array {
  key.fill(0);
  key[SOURCE] = source;
  key[DESTINATION] = destination;
  key[PORTS] = ports;
  key[KIND] = kind;
  return key;
}
