/**
 * Verification of a packet's transport checksum, for whoever wants to believe the transport header. Hot.
 *
 * The sum always runs over everything behind the network header, whatever the transport's own length field says.
 */
import { sumPseudoHeader, sumRange } from './checksum.js';
import { ChecksumState, type Packet } from './packet.js';

const NONE = ChecksumState.NONE;
const UNNECESSARY = ChecksumState.UNNECESSARY;

/**
 * Whether the checksum of the packet's transport part holds: 1 or 0. `pseudoProtocol` is the protocol in the pseudo
 * header, 0 for a checksum without one (ICMP, RFC 792). A packet verified once, or whose checksum is yet to be
 * completed, passes without a look; success is remembered in `checksumState`.
 */
export function verifyChecksum(packet: Packet, pseudoProtocol: number): 0 | 1 {
  if (packet.checksumState !== NONE) return 1;
  const lengthBytes = packet.end - packet.transport;
  const initial =
    pseudoProtocol === 0 ? 0xffff : sumPseudoHeader(packet.addresses, pseudoProtocol, lengthBytes);
  if (sumRange(packet.bytes, packet.transport, packet.end, initial) !== 0xffff) return 0;
  packet.checksumState = UNNECESSARY;
  return 1;
}

/**
 * The same for a checksum that covers only the first `coverageBytes` of the transport part (UDP-Lite, RFC 3828
 * section 3.1); the pseudo header has the whole length. Success is not remembered.
 */
export function verifyPartialChecksum(packet: Packet, pseudoProtocol: number, coverageBytes: number): 0 | 1 {
  if (packet.checksumState !== NONE) return 1;
  const initial = sumPseudoHeader(packet.addresses, pseudoProtocol, packet.end - packet.transport);
  const to = packet.transport + coverageBytes;
  return sumRange(packet.bytes, packet.transport, to, initial) === 0xffff ? 1 : 0;
}
