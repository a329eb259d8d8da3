/**
 * TCP header (RFC 9293 section 3.1) and its options. Hot.
 *
 *    0        1        2        3
 *    source port       destination port
 *    sequence
 *    acknowledgement
 *    doff|res flags    window
 *    checksum          urgent pointer
 *    options (doff > 5)
 *
 * `hasTcpHeader` is the door: the accessors may be used once it returned 1. Options are walked only as far as they
 * are well formed; what follows a malformed one does not exist.
 */
import type { Packet } from './packet.js';

export const TCP_HEADER_BYTES = 20;

/** Control bits as they stand in the header's byte 13. */
export const TcpFlag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 } as const;

const FIN = 1;
const SYN = 2;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;

/** Largest window scale (RFC 7323 section 2.3). */
const MAX_SCALE = 14;

/** Bits of {@link tcpSynOptions} above the scale. */
export const TCP_HAS_WINDOW_SCALE = 0x100;
export const TCP_HAS_SACK_PERMITTED = 0x200;

/** Whether the whole header, options included, is there and its length field is possible: 1 or 0. */
export function hasTcpHeader(packet: Packet): 0 | 1 {
  const lengthBytes = packet.end - packet.transport;
  if (lengthBytes < TCP_HEADER_BYTES) return 0;
  const headerBytes = tcpHeaderBytes(packet);
  return headerBytes >= TCP_HEADER_BYTES && headerBytes <= lengthBytes ? 1 : 0;
}

/** Header length with options, bytes; 0-60 before `hasTcpHeader` was asked. */
export function tcpHeaderBytes(packet: Packet): number {
  return ((packet.bytes[packet.transport + 12] as number) >>> 4) << 2;
}

/** The eight control bits. */
export function tcpFlags(packet: Packet): number {
  return packet.bytes[packet.transport + 13] as number;
}

export function tcpSequence(packet: Packet): number {
  return packet.i32(packet.transport + 4);
}

export function tcpAcknowledgement(packet: Packet): number {
  return packet.i32(packet.transport + 8);
}

/** Window field, not scaled. */
export function tcpWindow(packet: Packet): number {
  return packet.u16(packet.transport + 14);
}

/** Sequence number behind the segment: SYN and FIN count one each. int32. */
export function tcpEnd(packet: Packet): number {
  const flags = tcpFlags(packet);
  const payloadBytes = packet.end - packet.transport - tcpHeaderBytes(packet);
  return (
    (tcpSequence(packet) + payloadBytes + ((flags & SYN) === 0 ? 0 : 1) + ((flags & FIN) === 0 ? 0 : 1)) | 0
  );
}

/**
 * Offset in `packet.bytes` of the first option of `kind` with a length byte of at least `minimumBytes`, or -1. The
 * option lies within the header as a whole.
 */
export function findTcpOption(packet: Packet, kind: number, minimumBytes: number): number {
  const bytes = packet.bytes;
  const end = packet.transport + tcpHeaderBytes(packet);
  let at = packet.transport + TCP_HEADER_BYTES;
  while (at < end) {
    const option = bytes[at] as number;
    if (option === OPTION_END) return -1;
    if (option === OPTION_NOP) {
      at++;
      continue;
    }
    if (at + 2 > end) return -1;
    const optionBytes = bytes[at + 1] as number;
    if (optionBytes < 2 || at + optionBytes > end) return -1;
    if (option === kind && optionBytes >= minimumBytes) return at;
    at += optionBytes;
  }
  return -1;
}

/** Maximum segment size that the options offer (RFC 9293 section 3.7.1), -1 for none. */
export function tcpMss(packet: Packet): number {
  const at = findTcpOption(packet, OPTION_MSS, 4);
  return at < 0 || packet.bytes[at + 1] !== 4 ? -1 : packet.u16(at + 2);
}

/** Whether the header has options at all: 1 or 0. */
export function hasTcpOptions(packet: Packet): 0 | 1 {
  return tcpHeaderBytes(packet) > TCP_HEADER_BYTES ? 1 : 0;
}

/**
 * What a SYN's options offer: the window scale in bits 0-7 (at most 14, RFC 7323 section 2.3), TCP_HAS_WINDOW_SCALE,
 * TCP_HAS_SACK_PERMITTED. Of a repeated option the last counts.
 */
export function tcpSynOptions(packet: Packet): number {
  const bytes = packet.bytes;
  const end = packet.transport + tcpHeaderBytes(packet);
  let at = packet.transport + TCP_HEADER_BYTES;
  let offered = 0;
  while (at < end) {
    const option = bytes[at] as number;
    if (option === OPTION_END) break;
    if (option === OPTION_NOP) {
      at++;
      continue;
    }
    if (at + 2 > end) break;
    const optionBytes = bytes[at + 1] as number;
    if (optionBytes < 2 || at + optionBytes > end) break;
    if (option === OPTION_SACK_PERMITTED && optionBytes === 2) offered |= TCP_HAS_SACK_PERMITTED;
    else if (option === OPTION_WINDOW_SCALE && optionBytes === 3) {
      const scale = bytes[at + 2] as number;
      offered = (offered & ~255) | TCP_HAS_WINDOW_SCALE | Math.min(scale, MAX_SCALE);
    }
    at += optionBytes;
  }
  return offered;
}

/**
 * Highest right edge that the packet's SACK blocks report (RFC 2018 section 3), or `acknowledgement` if that is
 * higher or there is none.
 */
export function tcpHighestSack(packet: Packet, acknowledgement: number): number {
  const bytes = packet.bytes;
  const end = packet.transport + tcpHeaderBytes(packet);
  let at = packet.transport + TCP_HEADER_BYTES;
  let highest = acknowledgement;
  while (at < end) {
    const option = bytes[at] as number;
    if (option === OPTION_END) break;
    if (option === OPTION_NOP) {
      at++;
      continue;
    }
    if (at + 2 > end) break;
    const optionBytes = bytes[at + 1] as number;
    if (optionBytes < 2 || at + optionBytes > end) break;
    if (option === OPTION_SACK && optionBytes >= 10 && ((optionBytes - 2) & 7) === 0) {
      for (let block = at + 2; block < at + optionBytes; block += 8) {
        const right = packet.i32(block + 4);
        if (((highest - right) | 0) < 0) highest = right;
      }
      break;
    }
    at += optionBytes;
  }
  return highest;
}
