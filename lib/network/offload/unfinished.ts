/**
 * Packets that arrive unfinished: what their link left to be done is checked, noted in the view, or done. Hot.
 *
 * A checksum that covers the pseudo header only is noted (`checksumState` PARTIAL) if it is that of the TCP or UDP header
 * behind the packet's extension headers, as NAT and rules can keep such a one; any other is completed at once. A
 * super-packet is noted by `gsoSizeBytes`. Nothing that a link says is believed: offsets lie within the packet, and the
 * header is found by our own parser.
 */
import { DropReason } from '../../counters.js';
import { fold, sumRange } from '../../wire/checksum.js';
import { ChecksumState, type Packet } from '../../wire/packet.js';
import { hasTcpHeader } from '../../wire/tcp.js';
import type { Offload } from '../port.js';
import { headersBytes, LONGEST_HEADERS_BYTES, MAX_UDP_SEGMENTS } from './segmenter.js';

const PARTIAL = ChecksumState.PARTIAL;
const UNNECESSARY = ChecksumState.UNNECESSARY;
const NONE = DropReason.NONE;
const REFUSED = DropReason.LINK_OFFLOAD;

const TCP = 6;
const UDP = 17;
const UDP_BYTES = 8;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/**
 * Notes in a packet just parsed what `offload`, whose offsets are in `packet.bytes`, leaves to be done. Returns NONE, or
 * LINK_OFFLOAD if that is impossible: offsets outside of the packet, no TCP or UDP packet to cut, more than
 * MAX_UDP_SEGMENTS datagrams, or one over IPv6 without a checksum.
 */
export function noteOffload(packet: Packet, offload: Offload): DropReason {
  if (offload.gsoType !== 'none') return noteSuperPacket(packet, offload);
  if (offload.needsChecksum === 0) return NONE;
  const { checksumStart } = offload;
  const field = checksumStart + offload.checksumOffset;
  if (!(checksumStart >= packet.start && field >= checksumStart && field + 2 <= packet.end)) return REFUSED;
  if (hasOwnChecksum(packet, checksumStart, offload.checksumOffset) === 1) packet.checksumState = PARTIAL;
  else {
    complete(packet, checksumStart, field);
    // Only what covers the packet's own transport part makes it known to be right.
    if (checksumStart === packet.transport) packet.checksumState = UNNECESSARY;
  }
  return NONE;
}

/** Whether a checksum is that of the packet's own TCP or UDP header, and the packet is whole: 1 or 0. */
function hasOwnChecksum(packet: Packet, checksumStart: number, checksumOffset: number): 0 | 1 {
  if (checksumStart !== packet.transport || packet.brokenChain === 1) return 0;
  if (packet.fragmentHeader > 0 || packet.fragmentOffset > 0 || packet.moreFragments === 1) return 0;
  const protocol = packet.protocol;
  if (protocol === TCP) return checksumOffset === TCP_CHECKSUM ? 1 : 0;
  return protocol === UDP && checksumOffset === UDP_CHECKSUM ? 1 : 0;
}

function noteSuperPacket(packet: Packet, offload: Offload): DropReason {
  const { gsoType, gsoSizeBytes } = offload;
  const isUdp = gsoType === 'udp';
  const { transport, end, version } = packet;
  if (packet.protocol !== (isUdp ? UDP : TCP) || !(gsoSizeBytes > 0 && gsoSizeBytes <= 0xffff))
    return REFUSED;
  if (!isUdp && version !== (gsoType === 'tcp4' ? 4 : 6)) return REFUSED;
  const checksumOffset = isUdp ? UDP_CHECKSUM : TCP_CHECKSUM;
  if (hasOwnChecksum(packet, transport, checksumOffset) === 0) return REFUSED;
  if (isUdp) {
    if (end - transport < UDP_BYTES || packet.u16(transport + 4) !== end - transport) return REFUSED;
  } else if (hasTcpHeader(packet) === 0) return REFUSED;
  const headers = headersBytes(packet);
  if (headers > LONGEST_HEADERS_BYTES) return REFUSED;
  if (offload.needsChecksum === 0) {
    if (!isUdp || version !== 4 || packet.u16(transport + UDP_CHECKSUM) !== 0) return REFUSED;
  } else if (offload.checksumStart !== transport || offload.checksumOffset !== checksumOffset) {
    return REFUSED;
  } else packet.checksumState = PARTIAL;
  const payloadBytes = end - packet.start - headers;
  // One segment is an ordinary packet.
  if (payloadBytes <= gsoSizeBytes) return NONE;
  if (isUdp && payloadBytes > gsoSizeBytes * MAX_UDP_SEGMENTS) return REFUSED;
  packet.gsoSizeBytes = gsoSizeBytes;
  return NONE;
}

/** Completes a partial checksum of the packet's own TCP or UDP header. A sum of zero is sent as 0xffff (RFC 768). */
export function completeChecksum(packet: Packet): void {
  const at = packet.transport;
  complete(packet, at, at + (packet.protocol === TCP ? TCP_CHECKSUM : UDP_CHECKSUM));
  packet.checksumState = UNNECESSARY;
}

function complete(packet: Packet, from: number, field: number): void {
  const checksum = ~fold(sumRange(packet.bytes, from, packet.end, 0)) & 0xffff;
  packet.setU16(field, checksum === 0 ? 0xffff : checksum);
}
