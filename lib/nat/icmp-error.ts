/**
 * ICMP errors about translated connections: the error's own address, and the packet that it quotes, are translated back
 * to what the receiver of the error knows. Hot, though errors are rare.
 *
 * The quoted packet went the other way, so the end that is changed in it is the opposite one, to the same address and
 * port. Its checksums are adjusted where they were quoted; the error's own is computed anew.
 */
import { Status } from '../conntrack/entries.js';
import { sumPseudoHeader, sumRange } from '../wire/checksum.js';
import { ChecksumState, type Packet } from '../wire/packet.js';
import { Quoted } from '../wire/quoted.js';
import { rewrite } from './rewrite.js';

const NONE = ChecksumState.NONE;
const PARTIAL = ChecksumState.PARTIAL;

const ICMP = 1;
const ICMPV6 = 58;
const ICMP_REDIRECT = 5;
const ICMPV6_REDIRECT = 137;
/** Bytes of an error before the packet that it quotes (RFC 792, RFC 4443). */
const ERROR_BYTES = 8;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const CHECKSUM_AT = 2;

const NAT = Status.SRC_NAT | Status.DST_NAT;
const DONE = Status.SRC_NAT_DONE | Status.DST_NAT_DONE;

/** The view of what is quoted. */
const quoted = new Quoted();

/**
 * Whether an error may go on as far as NAT is concerned: 1, or 0 when it is cut short, its checksum is wrong, or it is a
 * redirect for a connection that is translated (or not bound yet). `status` is the connection's.
 */
export function checkError(packet: Packet, status: number): 0 | 1 {
  const at = packet.transport;
  const quotedBytes = packet.version === 4 ? IPV4_BYTES : IPV6_BYTES;
  if (at + ERROR_BYTES + quotedBytes > packet.end) return 0;
  if (packet.checksumState === NONE && sumError(packet) !== 0xffff) return 0;
  if (packet.u8(at) === (packet.version === 4 ? ICMP_REDIRECT : ICMPV6_REDIRECT)) {
    if ((status & DONE) !== DONE || (status & NAT) !== 0) return 0;
  }
  return 1;
}

/**
 * Translates an error that passed {@link checkError}: `target` is what its `manip` end becomes, `protocol` the quoted
 * connection's. Returns 1, or 0 when the quoted transport header is too short: the error must be dropped.
 */
export function rewriteError(packet: Packet, protocol: number, manip: number, target: Int32Array): 0 | 1 {
  const version = packet.version;
  const at = packet.transport;
  const start = at + ERROR_BYTES;
  const transport = quoted.parse(packet, start) === 1 ? quoted.transport : -1;
  if (rewrite(packet, start, transport, version, protocol, 1 - manip, target) === 0) return 0;
  if (packet.checksumState !== PARTIAL) {
    packet.setU16(at + CHECKSUM_AT, 0);
    packet.setU16(at + CHECKSUM_AT, ~sumError(packet) & 0xffff);
  }
  return rewrite(packet, packet.start, at, version, version === 4 ? ICMP : ICMPV6, manip, target);
}

/** Sum over the error, for ICMPv6 with the pseudo header (RFC 4443 section 2.3); 0xffff if the checksum is right. */
function sumError(packet: Packet): number {
  const lengthBytes = packet.end - packet.transport;
  const initial = packet.version === 4 ? 0 : sumPseudoHeader(packet.addresses, ICMPV6, lengthBytes);
  return sumRange(packet.bytes, packet.transport, packet.end, initial);
}
