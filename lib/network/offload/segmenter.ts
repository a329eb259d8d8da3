/**
 * Cuts TCP and UDP super-packets into the segments that they stand for, as a network card would. Hot.
 *
 * A super-packet is one IP packet with `gsoSizeBytes` set: its headers, then the payload of all segments. Each segment
 * is built in the super-packet's own buffer: headers are written in front of its share of the payload, over the share
 * before, which has left by then. So nothing is copied or allocated, and the buffer is spent afterwards.
 *
 * Per segment: lengths; IPv4 id one higher each; TCP sequence number, FIN and PSH on the last only, CWR on the first
 * only (RFC 3168 section 6.1.2); checksums whole. UDP without a checksum (IPv4) stays without.
 */
import { adjustChecksum16, fold, sumRange } from '../../wire/checksum.js';
import { ChecksumState, type Packet } from '../../wire/packet.js';

const PARTIAL = ChecksumState.PARTIAL;

const TCP = 6;
const IPV6_BYTES = 40;
const UDP_BYTES = 8;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const FIN_PSH = 0x09;
const CWR = 0x80;

/** Most segments of a UDP super-packet (UDP_MAX_SEGMENTS of Linux). */
export const MAX_UDP_SEGMENTS = 128;
/** Longest headers, IP and transport, of a super-packet. */
export const LONGEST_HEADERS_BYTES = 1024;

/** Takes segments: `bytes[start, end)` is one, valid during the call. */
export interface SegmentSink {
  segment(bytes: Uint8Array, start: number, end: number): void;
}

/** Bytes of IP and transport header of a TCP or UDP packet. */
export function headersBytes(packet: Packet): number {
  const at = packet.transport;
  const transportBytes = packet.protocol === TCP ? ((packet.bytes[at + 12] as number) >>> 4) << 2 : UDP_BYTES;
  return at - packet.start + transportBytes;
}

/** Length of the longest IP packet that the packet becomes on a link: its own, or that of its segments. */
export function longestBytes(packet: Packet): number {
  if (packet.gsoSizeBytes === 0) return packet.end - packet.start;
  return headersBytes(packet) + packet.gsoSizeBytes;
}

export class Segmenter {
  readonly #headers = new Uint8Array(LONGEST_HEADERS_BYTES);

  /** Gives the segments of a super-packet to `sink`, in order. The packet's bytes are spent; its view stays. */
  cut(packet: Packet, sink: SegmentSink): void {
    const { bytes, start, end, transport, version, gsoSizeBytes } = packet;
    const headers = this.#headers;
    const length = headersBytes(packet);
    const isTcp = packet.protocol === TCP ? 1 : 0;
    const header = transport - start;
    const checksumAt = transport - start + (isTcp === 1 ? TCP_CHECKSUM : UDP_CHECKSUM);
    for (let i = 0; i < length; i++) headers[i] = bytes[start + i] as number;

    const totalBytes = end - start;
    const id = packet.u16(start + 4);
    const ipChecksum = packet.u16(start + 10);
    const sequence = packet.i32(transport + 4);
    const flags = bytes[transport + 13] as number;
    const hasChecksum = packet.checksumState === PARTIAL ? 1 : 0;
    // The field is the sum of the pseudo header; the length in it is taken out, and each segment's own put in.
    const pseudo = fold(packet.u16(start + checksumAt) + (~(end - transport) & 0xffff));

    for (let at = start + length, i = 0; at < end; at += gsoSizeBytes, i++) {
      const first = at - length;
      const last = Math.min(at + gsoSizeBytes, end);
      for (let j = 0; j < length; j++) bytes[first + j] = headers[j] as number;
      if (version === 4) {
        const checksum = adjustChecksum16(ipChecksum, totalBytes, last - first);
        packet.setU16(first + 2, last - first);
        packet.setU16(first + 4, id + i);
        packet.setU16(first + 10, adjustChecksum16(checksum, id, (id + i) & 0xffff));
      } else packet.setU16(first + 4, last - first - IPV6_BYTES);
      const segment = first + header;
      if (isTcp === 1) {
        packet.setI32(segment + 4, (sequence + i * gsoSizeBytes) | 0);
        bytes[segment + 13] = flags & (i > 0 ? ~CWR : ~0) & (last < end ? ~FIN_PSH : ~0);
      } else packet.setU16(segment + 4, last - segment);
      if (hasChecksum === 1) {
        packet.setU16(first + checksumAt, 0);
        const sum = sumRange(bytes, segment, last, fold(pseudo + (last - segment)));
        packet.setU16(first + checksumAt, sum === 0xffff && isTcp === 0 ? 0xffff : ~sum & 0xffff);
      }
      sink.segment(bytes, first, last);
    }
  }
}
