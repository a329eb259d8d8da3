/**
 * UDP datagrams as bytes: what local endpoints and services read and write. Cold.
 */
import { sumPseudoHeader, sumRange } from '../../wire/checksum.js';
import type { Packet } from '../../wire/packet.js';
import { makeIpv4, makeIpv6, put16 } from '../../wire/segment.js';
import { UDP_HEADER_BYTES } from '../../wire/udp.js';

const UDP = 17;
/** Longest UDP header and payload that the lengths of both families can tell. */
const MOST_BYTES4 = 65_535 - 20;
const MOST_BYTES6 = 65_535;

/** Where a datagram goes. */
export interface DatagramEnds {
  readonly version: 4 | 6;
  /** [8] source words, destination words. */
  readonly addresses: Int32Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** Payload of a datagram whose lengths are good. Borrowed. */
export function payloadOf(packet: Packet): Uint8Array {
  return packet.bytes.subarray(packet.transport + UDP_HEADER_BYTES, packet.end);
}

/**
 * The IP packet of a datagram. `hops` is its TTL or hop limit, `id` the IPv4 identification. undefined if the payload is
 * longer than a datagram can be.
 */
export function makeDatagram(
  ends: DatagramEnds,
  payload: Uint8Array,
  hops: number,
  id: number,
): Uint8Array | undefined {
  const { version, addresses } = ends;
  const length = UDP_HEADER_BYTES + payload.length;
  if (length > (version === 4 ? MOST_BYTES4 : MOST_BYTES6)) return undefined;
  const [source, destination] = [addresses[0]!, addresses[4]!];
  const bytes =
    version === 4
      ? makeIpv4(
          { tos: 0, id, fragment: 0, ttl: hops, protocol: UDP, source, destination },
          new Uint8Array(0),
          length,
        )
      : makeIpv6({ trafficClass: 0, next: UDP, hopLimit: hops, addresses }, length);
  const at = bytes.length - length;
  put16(bytes, at, ends.sourcePort);
  put16(bytes, at + 2, ends.destinationPort);
  put16(bytes, at + 4, length);
  bytes.set(payload, at + UDP_HEADER_BYTES);
  const sum = ~sumRange(bytes, at, bytes.length, sumPseudoHeader(addresses, UDP, length)) & 0xffff;
  // A sum of zero would say that there is none (RFC 768).
  put16(bytes, at + 6, sum === 0 ? 0xffff : sum);
  return bytes;
}
