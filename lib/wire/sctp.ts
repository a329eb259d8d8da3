/**
 * SCTP common header and chunks (RFC 9260 section 3). Hot.
 *
 *    0        1        2        3
 *    source port       destination port
 *    verification tag
 *    checksum (CRC32c, least significant byte first)
 *    chunk: type       flags    length, then its value, padded to 4 bytes
 *    ...
 *
 * Accessors may be used once `hasSctpHeader` returned 1. Chunks are visited by offset: `firstSctpChunk`, then
 * `nextSctpChunk` until -1.
 */
import { crc32cRange, crc32cZeros } from './crc32c.js';
import { ChecksumState, type Packet } from './packet.js';

export const SCTP_HEADER_BYTES = 12;
const CHUNK_HEADER_BYTES = 4;

const NONE = ChecksumState.NONE;
const UNNECESSARY = ChecksumState.UNNECESSARY;

/** Chunk types (RFC 9260 section 3.2 and the extensions in IANA's registry), ascending. */
export const SctpChunk = {
  DATA: 0,
  INIT: 1,
  INIT_ACK: 2,
  SACK: 3,
  HEARTBEAT: 4,
  HEARTBEAT_ACK: 5,
  ABORT: 6,
  SHUTDOWN: 7,
  SHUTDOWN_ACK: 8,
  ERROR: 9,
  COOKIE_ECHO: 10,
  COOKIE_ACK: 11,
  ECN_ECNE: 12,
  ECN_CWR: 13,
  SHUTDOWN_COMPLETE: 14,
  I_DATA: 64,
  ASCONF_ACK: 128,
  RE_CONFIG: 130,
  PAD: 132,
  FORWARD_TSN: 192,
  ASCONF: 193,
  I_FORWARD_TSN: 194,
} as const;

/** Whether the common header is there: 1 or 0. */
export function hasSctpHeader(packet: Packet): 0 | 1 {
  return packet.end - packet.transport >= SCTP_HEADER_BYTES ? 1 : 0;
}

/** Verification tag, int32. */
export function sctpTag(packet: Packet): number {
  return packet.i32(packet.transport + 4);
}

/** Offset of the first chunk, -1 for none. */
export function firstSctpChunk(packet: Packet): number {
  const at = packet.transport + SCTP_HEADER_BYTES;
  return at + CHUNK_HEADER_BYTES <= packet.end ? at : -1;
}

/** Offset of the chunk behind the one at `at`, -1 for none. A chunk of length 0 is followed by itself. */
export function nextSctpChunk(packet: Packet, at: number): number {
  const next = at + ((sctpChunkLengthBytes(packet, at) + 3) & ~3);
  return next + CHUNK_HEADER_BYTES <= packet.end ? next : -1;
}

/** Length field of the chunk at `at`: header and value, without padding. */
export function sctpChunkLengthBytes(packet: Packet, at: number): number {
  return packet.u16(at + 2);
}

/** CRC32c that the packet should carry, as the int32 that `packet.i32` reads from the checksum field. */
export function sctpChecksum(packet: Packet): number {
  const { bytes, transport } = packet;
  let register = crc32cRange(bytes, transport, transport + 8, -1);
  register = crc32cZeros(4, register);
  register = ~crc32cRange(bytes, transport + SCTP_HEADER_BYTES, packet.end, register);
  return (register << 24) | ((register & 0xff00) << 8) | ((register >>> 8) & 0xff00) | (register >>> 24);
}

/** Whether the checksum holds, 1 or 0; known good passes without a look, and success is remembered. */
export function verifySctpChecksum(packet: Packet): 0 | 1 {
  if (packet.checksumState !== NONE) return 1;
  if (packet.i32(packet.transport + 8) !== sctpChecksum(packet)) return 0;
  packet.checksumState = UNNECESSARY;
  return 1;
}
