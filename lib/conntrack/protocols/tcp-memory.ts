/**
 * What a TCP connection remembers of the last segment, packed into the entry's protocol words. Hot.
 *
 *   word 0   0-7 state | 8-10 class of the last segment | 11 its direction | 12-19 retransmissions
 *            20-23 window scale of the last ignored SYN | 24-31 its flags (TcpFlags below)
 *   word 1   sequence number of the last ACK segment (or ignored segment)
 *   word 2   its acknowledgement
 *   word 3   sequence number behind it
 *   word 4   its window field, not scaled (0-15)
 *
 * All zero is the memory of a new connection: class NONE, nothing seen.
 */
import type { Direction, Entries, EntryId } from '../entries.js';

/** Flags of one direction (`tdFlags`) and of the last ignored SYN; IP_CT_TCP_FLAG_* of Linux, same values. */
export const TcpFlags = {
  /** Sent the window scale option. */
  WINDOW_SCALE: 1,
  /** Permits SACK. */
  SACK_PERMITTED: 2,
  /** Was the first to close. */
  CLOSE_INIT: 4,
  /** Its window is not checked: picked up in the middle. */
  BE_LIBERAL: 8,
  /** Sent data that was not acknowledged yet. */
  DATA_UNACKNOWLEDGED: 16,
  /** `tdMaxAck` is valid. */
  MAXACK_SET: 32,
  /** The answer to the ignored SYN may be a challenge ACK (RFC 5961 section 4). */
  EXPECT_CHALLENGE_ACK: 64,
  /** Both ends sent a SYN. */
  SIMULTANEOUS_OPEN: 128,
} as const;

/** Class (bits 0-2) and direction (bit 3) of the last segment, in one number. */
export function last(entries: Entries, entry: EntryId): number {
  return (entries.protocolWord(entry, 0) >>> 8) & 15;
}

export function setLast(entries: Entries, entry: EntryId, flagClass: number, direction: Direction): void {
  const word = entries.protocolWord(entry, 0);
  entries.setProtocolWord(entry, 0, (word & ~0xf00) | (flagClass << 8) | (direction << 11));
}

/** Direction of the last segment alone; the class stays. */
export function setLastDirection(entries: Entries, entry: EntryId, direction: Direction): void {
  const word = entries.protocolWord(entry, 0);
  entries.setProtocolWord(entry, 0, (word & ~0x800) | (direction << 11));
}

/** Times that the last ACK segment came again, 0-255, wrapping. */
export function retransmissions(entries: Entries, entry: EntryId): number {
  return (entries.protocolWord(entry, 0) >>> 12) & 255;
}

export function setRetransmissions(entries: Entries, entry: EntryId, count: number): void {
  const word = entries.protocolWord(entry, 0);
  entries.setProtocolWord(entry, 0, (word & ~0xff000) | ((count & 255) << 12));
}

/** Window scale of the last ignored SYN. */
export function lastScale(entries: Entries, entry: EntryId): number {
  return (entries.protocolWord(entry, 0) >>> 20) & 15;
}

export function setLastScale(entries: Entries, entry: EntryId, scale: number): void {
  const word = entries.protocolWord(entry, 0);
  entries.setProtocolWord(entry, 0, (word & ~0xf00000) | (scale << 20));
}

/** Flags of the last ignored SYN, and SIMULTANEOUS_OPEN. */
export function lastFlags(entries: Entries, entry: EntryId): number {
  return entries.protocolWord(entry, 0) >>> 24;
}

export function setLastFlags(entries: Entries, entry: EntryId, flags: number): void {
  const word = entries.protocolWord(entry, 0);
  entries.setProtocolWord(entry, 0, (word & 0xffffff) | (flags << 24));
}

export function lastSequence(entries: Entries, entry: EntryId): number {
  return entries.protocolWord(entry, 1);
}

export function setLastSequence(entries: Entries, entry: EntryId, sequence: number): void {
  entries.setProtocolWord(entry, 1, sequence);
}

export function lastAcknowledgement(entries: Entries, entry: EntryId): number {
  return entries.protocolWord(entry, 2);
}

export function setLastAcknowledgement(entries: Entries, entry: EntryId, sequence: number): void {
  entries.setProtocolWord(entry, 2, sequence);
}

export function lastEnd(entries: Entries, entry: EntryId): number {
  return entries.protocolWord(entry, 3);
}

export function setLastEnd(entries: Entries, entry: EntryId, sequence: number): void {
  entries.setProtocolWord(entry, 3, sequence);
}

export function lastWindow(entries: Entries, entry: EntryId): number {
  return entries.protocolWord(entry, 4);
}

export function setLastWindow(entries: Entries, entry: EntryId, window: number): void {
  entries.setProtocolWord(entry, 4, window);
}
