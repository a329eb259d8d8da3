/**
 * TCP segments as the endpoint reads and writes them. Cold.
 */
import { sumPseudoHeader } from '../../wire/checksum.js';
import type { Packet } from '../../wire/packet.js';
import { makeIpv4, makeIpv6, put16, put32, sealTransport } from '../../wire/segment.js';
import {
  TCP_HAS_WINDOW_SCALE,
  TCP_HEADER_BYTES,
  tcpAcknowledgement,
  tcpFlags,
  tcpHeaderBytes,
  tcpMss,
  tcpSequence,
  tcpSynOptions,
  tcpWindow,
} from '../../wire/tcp.js';

const TCP = 6;
const MSS_OPTION = 2;
const SCALE_OPTION = 3;
const NOP = 1;

export interface TcpSegment {
  /** int32, as all sequence numbers here. */
  readonly sequence: number;
  readonly acknowledgement: number;
  /** `TcpFlag`s. */
  readonly flags: number;
  /** Window field, not scaled. */
  readonly window: number;
  /** Maximum segment size option, -1 without. */
  readonly mss: number;
  /** Window scale option, -1 without. */
  readonly scale: number;
  /** Borrowed. */
  readonly payload: Uint8Array;
}

/** Where a segment goes. */
export interface TcpEnds {
  readonly version: 4 | 6;
  /** [8] source words, destination words. */
  readonly addresses: Int32Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** The segment of a packet whose TCP header is good. */
export function readSegment(packet: Packet): TcpSegment {
  const options = tcpSynOptions(packet);
  return {
    sequence: tcpSequence(packet),
    acknowledgement: tcpAcknowledgement(packet),
    flags: tcpFlags(packet),
    window: tcpWindow(packet),
    mss: tcpMss(packet),
    scale: (options & TCP_HAS_WINDOW_SCALE) === 0 ? -1 : options & 255,
    payload: packet.bytes.subarray(packet.transport + tcpHeaderBytes(packet), packet.end),
  };
}

/** Its IP packet. `hops` is the TTL or hop limit, `id` the IPv4 identification. */
export function writeSegment(ends: TcpEnds, segment: TcpSegment, hops: number, id: number): Uint8Array {
  const { version, addresses } = ends;
  const headerBytes = TCP_HEADER_BYTES + (segment.mss < 0 ? 0 : 4) + (segment.scale < 0 ? 0 : 4);
  const length = headerBytes + segment.payload.length;
  const [source, destination] = [addresses[0]!, addresses[4]!];
  const bytes =
    version === 4
      ? makeIpv4(
          { tos: 0, id, fragment: 0, ttl: hops, protocol: TCP, source, destination },
          new Uint8Array(0),
          length,
        )
      : makeIpv6({ trafficClass: 0, next: TCP, hopLimit: hops, addresses }, length);
  const at = bytes.length - length;
  put16(bytes, at, ends.sourcePort);
  put16(bytes, at + 2, ends.destinationPort);
  put32(bytes, at + 4, segment.sequence);
  put32(bytes, at + 8, segment.acknowledgement);
  bytes[at + 12] = headerBytes << 2;
  bytes[at + 13] = segment.flags;
  put16(bytes, at + 14, segment.window);
  let option = at + TCP_HEADER_BYTES;
  if (segment.mss >= 0) {
    bytes.set([MSS_OPTION, 4, segment.mss >>> 8, segment.mss & 255], option);
    option += 4;
  }
  if (segment.scale >= 0) bytes.set([NOP, SCALE_OPTION, 3, segment.scale], option);
  bytes.set(segment.payload, at + headerBytes);
  sealTransport(bytes, at, at + 16, sumPseudoHeader(addresses, TCP, length));
  return bytes;
}
