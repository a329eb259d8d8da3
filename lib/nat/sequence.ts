/**
 * Shifts the sequence numbers of a TCP segment whose connection had segments made longer or shorter: its own number
 * forward, its acknowledgement and SACK blocks (RFC 2018) back. The checksum is adjusted. Hot for such connections.
 *
 * As on Linux, a SACK block that lies at an odd offset (no stack puts one there) leaves the checksum wrong.
 */
import type { Direction } from '../conntrack/entries.js';
import type { SequenceOffsets } from '../conntrack/sequence-offsets.js';
import { adjustChecksum32 } from '../wire/checksum.js';
import { ChecksumState, type Packet } from '../wire/packet.js';
import { TCP_HEADER_BYTES, tcpHeaderBytes } from '../wire/tcp.js';

const PARTIAL = ChecksumState.PARTIAL;

const SEQUENCE = 4;
const ACKNOWLEDGEMENT = 8;
const FLAGS = 13;
const CHECKSUM = 16;
const ACK = 16;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_SACK = 5;
const BLOCK_BYTES = 8;
const SACK_HEADER_BYTES = 2;

/** Returns 1, or 0 when the options are malformed: the segment must be dropped. */
export function shiftSequence(packet: Packet, offsets: SequenceOffsets, direction: Direction): 0 | 1 {
  const at = packet.transport;
  if (packet.end - at < TCP_HEADER_BYTES) return 0;
  const sequence = packet.i32(at + SEQUENCE);
  set(packet, at + SEQUENCE, (sequence + offsets.sent(direction, sequence)) | 0);
  if ((packet.u8(at + FLAGS) & ACK) === 0) return 1;
  const back = (1 - direction) as Direction;
  shiftBack(packet, at + ACKNOWLEDGEMENT, offsets, back);
  return shiftBlocks(packet, offsets, back);
}

/** SACK blocks of all SACK options. */
function shiftBlocks(packet: Packet, offsets: SequenceOffsets, back: Direction): 0 | 1 {
  const end = packet.transport + tcpHeaderBytes(packet);
  if (end > packet.end) return 0;
  let at = packet.transport + TCP_HEADER_BYTES;
  while (at < end) {
    const option = packet.u8(at);
    if (option === OPTION_END) return 1;
    if (option === OPTION_NOP) {
      at++;
      continue;
    }
    const optionBytes = at + 1 < end ? packet.u8(at + 1) : 0;
    if (optionBytes < SACK_HEADER_BYTES || at + optionBytes > end) return 0;
    if (option === OPTION_SACK && (optionBytes - SACK_HEADER_BYTES) % BLOCK_BYTES === 0) {
      for (let block = at + SACK_HEADER_BYTES; block < at + optionBytes; block += BLOCK_BYTES) {
        shiftBack(packet, block, offsets, back);
        shiftBack(packet, block + 4, offsets, back);
      }
    }
    at += optionBytes;
  }
  return 1;
}

/** A number of the other direction, as its receiver sees it. */
function shiftBack(packet: Packet, at: number, offsets: SequenceOffsets, direction: Direction): void {
  const number = packet.i32(at);
  set(packet, at, (number - offsets.received(direction, number)) | 0);
}

/** Sets a number and adjusts the checksum, unless that is partial and covers the pseudo header only. */
function set(packet: Packet, at: number, after: number): void {
  if (packet.checksumState !== PARTIAL) {
    const checksumAt = packet.transport + CHECKSUM;
    packet.setU16(checksumAt, adjustChecksum32(packet.u16(checksumAt), packet.i32(at), after));
  }
  packet.setI32(at, after);
}
