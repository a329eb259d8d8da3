/**
 * When a connection in TIME_WAIT gives its 4-tuple to a new one: an option, as Linux's tracker asks for less. Hot.
 *
 * A SYN takes the tuple if the connection has been quiet for more than the delay, and the SYN is surely no old duplicate:
 * its timestamp is newer than the last one seen from its side (RFC 7323, RFC 6191 section 2; signed 32-bit), or, where
 * one of both has no timestamps, its sequence number is beyond the old end. FIN_WAIT and the states after it never give
 * theirs. A SYN that may not is dropped: its sender tries again, later.
 *
 * What must be remembered of every TCP connection for that is kept beside the records, only while the option is on:
 *   per record: 0 generation | 1 time of the last segment | 2 flags | 3, 4 last timestamp of original, reply
 */
import { ConfigurationError } from '../errors.js';
import type { Packet } from '../wire/packet.js';
import { findTcpOption } from '../wire/tcp.js';
import type { TrackContext } from './context.js';
import { Direction, type Entries, type EntryId } from './entries.js';
import type { ConntrackTable } from './table.js';

const WORDS = 5;
const GENERATION = 0;
const SEEN = 1;
const FLAGS = 2;
const STAMP = 3;

const TIMESTAMPS = 8;
const TIMESTAMPS_BYTES = 10;
const TCP_TIME_WAIT = 7;
const ORIGINAL = Direction.ORIGINAL;

/** Default of {@link TimeWaitOptions.delayMs}, as Linux's tcp_tw_reuse_delay. */
const DELAY_MS = 1000;
const LONGEST_MS = 86_400_000;

/** Options of TIME_WAIT reuse. */
export interface TimeWaitOptions {
  /** The tuple may be taken when this time has passed since the last segment, ms. Default 1000; at least 1. */
  readonly delayMs?: number;
}

export class TimeWait {
  delayMs: number;
  #words4 = new Int32Array(0);
  #words6 = new Int32Array(0);

  constructor(options: TimeWaitOptions) {
    this.delayMs = options.delayMs ?? DELAY_MS;
    if (!Number.isInteger(this.delayMs) || this.delayMs < 1 || this.delayMs > LONGEST_MS) {
      throw new ConfigurationError('value', 'delay of TIME_WAIT reuse out of range', {
        word: String(this.delayMs),
        expected: `an integer from 1 to ${LONGEST_MS} ms`,
      });
    }
  }

  /** Takes the delay of another; what is remembered stays. */
  follow({ delayMs }: TimeWait): void {
    this.delayMs = delayMs;
  }

  /** Remembers a valid segment of a connection. */
  see(
    context: TrackContext,
    table: ConntrackTable,
    entry: EntryId,
    direction: Direction,
    packet: Packet,
  ): void {
    const entries = table.entries;
    const words = this.#of(entries);
    const at = entries.slotOf(entry) * WORDS;
    const generation = entries.generation(entry);
    if (words[at + GENERATION] !== generation) {
      words[at + GENERATION] = generation;
      words[at + FLAGS] = 0;
    }
    words[at + SEEN] = context.now;
    const option = findTcpOption(packet, TIMESTAMPS, TIMESTAMPS_BYTES);
    if (option < 0) return;
    words[at + FLAGS] = (words[at + FLAGS] as number) | (1 << direction);
    words[at + STAMP + direction] = packet.i32(option + 2);
  }

  /** Whether `packet`, a SYN of `direction`, may take the tuple of `old`, which is in TIME_WAIT: 1 or 0. */
  admits(
    context: TrackContext,
    table: ConntrackTable,
    old: EntryId,
    direction: Direction,
    packet: Packet,
  ): 0 | 1 {
    if (this.#isQuiet(context, table.entries, old) === 0) return 0;
    const option = findTcpOption(packet, TIMESTAMPS, TIMESTAMPS_BYTES);
    const stamp = option < 0 ? 0 : packet.i32(option + 2);
    const sequence = packet.i32(packet.transport + 4);
    return this.#isNewer(table.entries, old, direction, option < 0 ? 0 : 1, stamp, sequence);
  }

  /** The same for `entry`, the connection that a SYN has begun. Both are meant in their original direction. */
  yields(context: TrackContext, table: ConntrackTable, old: EntryId, entry: EntryId): 0 | 1 {
    const entries = table.entries;
    if (entries.state(old) !== TCP_TIME_WAIT || this.#isQuiet(context, entries, old) === 0) return 0;
    const words = this.#of(entries);
    const at = entries.slotOf(entry) * WORDS;
    const isKnown = words[at + GENERATION] === entries.generation(entry);
    const hasStamp = isKnown && ((words[at + FLAGS] as number) & 1) !== 0 ? 1 : 0;
    const sequence = (entries.tdEnd(entry, ORIGINAL) - 1) | 0;
    return this.#isNewer(entries, old, ORIGINAL, hasStamp, words[at + STAMP] as number, sequence);
  }

  #isQuiet(context: TrackContext, entries: Entries, old: EntryId): 0 | 1 {
    const words = this.#of(entries);
    const at = entries.slotOf(old) * WORDS;
    // Of restored connections only the time that they have left is known.
    const seen =
      words[at + GENERATION] === entries.generation(old)
        ? (words[at + SEEN] as number)
        : entries.expires(old) - (context.timeouts.tcp[TCP_TIME_WAIT] as number);
    return ((context.now - seen) | 0) > this.delayMs ? 1 : 0;
  }

  #isNewer(
    entries: Entries,
    old: EntryId,
    direction: Direction,
    hasStamp: number,
    stamp: number,
    sequence: number,
  ): 0 | 1 {
    const words = this.#of(entries);
    const at = entries.slotOf(old) * WORDS;
    const isKnown = words[at + GENERATION] === entries.generation(old);
    if (hasStamp === 1 && isKnown && ((words[at + FLAGS] as number) & (1 << direction)) !== 0) {
      return ((stamp - (words[at + STAMP + direction] as number)) | 0) > 0 ? 1 : 0;
    }
    return ((sequence - entries.tdEnd(old, direction)) | 0) > 0 ? 1 : 0;
  }

  #of(entries: Entries): Int32Array {
    const words = entries.version === 4 ? this.#words4 : this.#words6;
    return words.length > 0 ? words : this.#make(entries);
  }

  #make(entries: Entries): Int32Array {
    const words = new Int32Array(entries.slots.capacity * WORDS);
    if (entries.version === 4) this.#words4 = words;
    else this.#words6 = words;
    return words;
  }
}
