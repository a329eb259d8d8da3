/**
 * Translates one end of a packet in place: address, port or identifier, and the checksums that cover them. Hot.
 *
 * The packet may be the one that the view shows, or one quoted in an ICMP error behind it: everything is found by
 * offsets. Checksums are adjusted, not computed anew (RFC 1624), so a wrong one stays wrong; SCTP's CRC alone is
 * computed. A quoted header may end behind its first 8 bytes: what lies behind them is then left.
 */
import { adjustChecksum16, adjustChecksum32, fold } from '../wire/checksum.js';
import { crc32cRange, crc32cZeros } from '../wire/crc32c.js';
import { ChecksumState, type Packet } from '../wire/packet.js';
import { put16 } from '../wire/segment.js';

const PARTIAL = ChecksumState.PARTIAL;

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const GRE = 47;
const ICMPV6 = 58;
const SCTP = 132;
const UDPLITE = 136;

const TCP_BYTES = 20;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const SCTP_BYTES = 12;
const SCTP_CHECKSUM = 8;
const ICMP_CHECKSUM = 2;
const ICMP_IDENTIFIER = 4;
const ICMPV6_ECHO_REQUEST = 128;
const ICMPV6_ECHO_REPLY = 129;
const GRE_CALL_ID = 6;
/** First bytes of every transport header that NAT knows: with fewer the packet cannot be translated. */
const HEADER_BYTES = 8;

/** Where `target` has the port or identifier; words 0-3 are the address. */
export const TARGET_PORT = 4;
export const TARGET_WORDS = 5;

/**
 * Rewrites one end of the IP packet at `header` to `target` ([TARGET_WORDS]: address, port). `manip` is 0 for the source
 * and 1 for the destination; `transport` the offset of its transport header, -1 if it has none (only addresses are
 * changed then). Returns 1, or 0 when the transport header is too short: the packet must be dropped.
 */
export function rewrite(
  packet: Packet,
  header: number,
  transport: number,
  version: number,
  protocol: number,
  manip: number,
  target: Int32Array,
): 0 | 1 {
  if (
    version === 4 &&
    (protocol === UDP || protocol === TCP) &&
    transport >= 0 &&
    packet.end - transport >= TCP_BYTES &&
    packet.checksumState !== PARTIAL
  ) {
    rewriteFlow4(
      packet.bytes,
      header,
      transport,
      protocol,
      manip,
      target[0] as number,
      target[TARGET_PORT] as number,
    );
    return 1;
  }
  return rewriteAny(packet, header, transport, version, protocol, manip, target);
}

/**
 * The same of a TCP or UDP packet over IPv4 that has 20 bytes of its transport part, and whose checksum is not partial:
 * each checksum is adjusted once. Twin: {@link rewriteAny}.
 */
export function rewriteFlow4(
  bytes: Uint8Array,
  header: number,
  transport: number,
  protocol: number,
  manip: number,
  to: number,
  port: number,
): void {
  const at = header + 12 + (manip << 2);
  const portAt = transport + (manip << 1);
  const addresses = (~u16(bytes, at) & 0xffff) + (~u16(bytes, at + 2) & 0xffff) + (to >>> 16) + (to & 0xffff);
  const ports = (~u16(bytes, portAt) & 0xffff) + port;
  const headerSum = fold((~u16(bytes, header + 10) & 0xffff) + addresses);
  put16(bytes, header + 10, ~headerSum);
  put16(bytes, at, to >>> 16);
  put16(bytes, at + 2, to);
  put16(bytes, portAt, port);
  const checksumAt = transport + (protocol === UDP ? UDP_CHECKSUM : TCP_CHECKSUM);
  const before = u16(bytes, checksumAt);
  // No checksum is said by zero (RFC 768), and stays so.
  if (protocol === UDP && before === 0) return;
  const after = ~fold((~before & 0xffff) + addresses + ports) & 0xffff;
  put16(bytes, checksumAt, after === 0 && protocol === UDP ? 0xffff : after);
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** `rewrite` of whatever packet. */
export function rewriteAny(
  packet: Packet,
  header: number,
  transport: number,
  version: number,
  protocol: number,
  manip: number,
  target: Int32Array,
): 0 | 1 {
  if (transport >= 0 && rewriteTransport(packet, header, transport, version, protocol, manip, target) === 0) {
    return 0;
  }
  if (version === 4) {
    const at = header + 12 + (manip << 2);
    const after = target[0] as number;
    packet.setU16(header + 10, adjustChecksum32(packet.u16(header + 10), packet.i32(at), after));
    packet.setI32(at, after);
  } else {
    const at = header + 8 + (manip << 4);
    for (let i = 0; i < 4; i++) packet.setI32(at + (i << 2), target[i] as number);
  }
  return 1;
}

/** The transport header of the packet at `header`, whose addresses are still the old ones. */
function rewriteTransport(
  packet: Packet,
  header: number,
  at: number,
  version: number,
  protocol: number,
  manip: number,
  target: Int32Array,
): 0 | 1 {
  const rest = packet.end - at;
  switch (protocol) {
    case TCP: {
      if (rest < HEADER_BYTES) return 0;
      const checksumAt = rest >= TCP_BYTES ? at + TCP_CHECKSUM : -1;
      rewritePort(packet, header, at + (manip << 1), checksumAt, version, manip, target);
      return 1;
    }
    case UDP: {
      if (rest < HEADER_BYTES) return 0;
      // No checksum is said by zero (RFC 768), and stays so; a partial one is a sum, which may be zero.
      const hasNone = packet.u16(at + UDP_CHECKSUM) === 0 && packet.checksumState !== PARTIAL;
      const checksumAt = hasNone ? -1 : at + UDP_CHECKSUM;
      rewritePort(packet, header, at + (manip << 1), checksumAt, version, manip, target);
      if (checksumAt >= 0 && packet.u16(checksumAt) === 0) packet.setU16(checksumAt, 0xffff);
      return 1;
    }
    case UDPLITE: {
      if (rest < HEADER_BYTES) return 0;
      rewritePort(packet, header, at + (manip << 1), at + UDP_CHECKSUM, version, manip, target);
      if (packet.u16(at + UDP_CHECKSUM) === 0) packet.setU16(at + UDP_CHECKSUM, 0xffff);
      return 1;
    }
    case ICMP: {
      if (rest < HEADER_BYTES) return 0;
      if (isIcmpQuery(packet.u8(at)) === 1) {
        adjustField(packet, at + ICMP_CHECKSUM, at + ICMP_IDENTIFIER, target[TARGET_PORT] as number);
      }
      return 1;
    }
    case ICMPV6: {
      if (rest < HEADER_BYTES) return 0;
      adjustAddress(packet, header, at + ICMP_CHECKSUM, version, manip, target);
      const type = packet.u8(at);
      if (type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY) {
        adjustField(packet, at + ICMP_CHECKSUM, at + ICMP_IDENTIFIER, target[TARGET_PORT] as number);
      }
      return 1;
    }
    case SCTP: {
      if (rest < HEADER_BYTES) return 0;
      packet.setU16(at + (manip << 1), target[TARGET_PORT] as number);
      if (rest >= SCTP_BYTES && packet.checksumState !== PARTIAL) writeCrc(packet, at);
      return 1;
    }
    case GRE: {
      if (rest < HEADER_BYTES) return 0;
      const greVersion = packet.u8(at + 1) & 7;
      if (greVersion > 1 && manip === 1) return 0;
      if (greVersion === 1 && manip === 1) packet.setU16(at + GRE_CALL_ID, target[TARGET_PORT] as number);
      return 1;
    }
    default:
      return 1;
  }
}

/** Sets the port at `portAt` and adjusts the checksum at `checksumAt` (-1: none) for it and for the address. */
function rewritePort(
  packet: Packet,
  header: number,
  portAt: number,
  checksumAt: number,
  version: number,
  manip: number,
  target: Int32Array,
): void {
  const port = target[TARGET_PORT] as number;
  if (checksumAt < 0) {
    packet.setU16(portAt, port);
    return;
  }
  adjustAddress(packet, header, checksumAt, version, manip, target);
  adjustField(packet, checksumAt, portAt, port);
}

/** Adjusts the checksum at `checksumAt`, whose pseudo header has the address that `target` replaces. */
function adjustAddress(
  packet: Packet,
  header: number,
  checksumAt: number,
  version: number,
  manip: number,
  target: Int32Array,
): void {
  // A partial checksum is the pseudo header's sum itself, not its inverse.
  const inverse = packet.checksumState === PARTIAL ? 0xffff : 0;
  let checksum = packet.u16(checksumAt) ^ inverse;
  if (version === 4) {
    checksum = adjustChecksum32(checksum, packet.i32(header + 12 + (manip << 2)), target[0] as number);
  } else {
    const at = header + 8 + (manip << 4);
    for (let i = 0; i < 4; i++) {
      checksum = adjustChecksum32(checksum, packet.i32(at + (i << 2)), target[i] as number);
    }
  }
  packet.setU16(checksumAt, checksum ^ inverse);
}

/** Sets the 16-bit field at `at` and adjusts the checksum that covers it, unless that is partial. */
function adjustField(packet: Packet, checksumAt: number, at: number, value: number): void {
  if (packet.checksumState !== PARTIAL) {
    packet.setU16(checksumAt, adjustChecksum16(packet.u16(checksumAt), packet.u16(at), value));
  }
  packet.setU16(at, value);
}

/** Types with an identifier (RFC 792, RFC 950): 1 or 0. */
function isIcmpQuery(type: number): 0 | 1 {
  return type === 8 || type === 0 || (type >= 13 && type <= 18) ? 1 : 0;
}

/** CRC32c of the SCTP packet from `at` to the end of the view (RFC 9260 section 6.8). */
function writeCrc(packet: Packet, at: number): void {
  const bytes = packet.bytes;
  const checksumAt = at + SCTP_CHECKSUM;
  let register = crc32cRange(bytes, at, checksumAt, -1);
  register = crc32cZeros(4, register);
  register = ~crc32cRange(bytes, checksumAt + 4, packet.end, register);
  bytes[checksumAt] = register;
  bytes[checksumAt + 1] = register >>> 8;
  bytes[checksumAt + 2] = register >>> 16;
  bytes[checksumAt + 3] = register >>> 24;
}
