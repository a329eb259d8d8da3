/**
 * The short way of an IPv4 packet of an established flow: what parsing, tracking, rules, routing and NAT would do to it,
 * in one go. Hot.
 *
 * Twin: `Router.receive` without a flow cache. Only packets about which nothing is left to decide are taken: whole, sound,
 * without options, UDP or an ordinary segment of TCP, of a connection that is established and known to the cache. All the
 * rest is looked at and left alone, and goes the long way. Nothing is written before it is certain that the packet goes.
 *
 * One long function, and in it by hand what has functions elsewhere (`sumBytes`, `entries.account`): V8 writes no
 * more than some 900 bytes of bytecode into a function that calls others, and each call that stays costs a packet 5 to 10 ns.
 * Halves of words are sums, not ors, of bytes: of a sum the compiler knows how large it is, and needs no check.
 */
import type { TrackContext } from '../../conntrack/context.js';
import type { Entries, EntryId } from '../../conntrack/entries.js';
import { type Direction, NIL as NO_TUPLE, Status, type TupleId } from '../../conntrack/entries.js';
import {
  ASKED as ASKED_BITS,
  findTuple4,
  hasKey4,
  isAnswer,
  ORDINARY as ORDINARY_BITS,
} from '../../conntrack/established.js';
import { judgeTcp } from '../../conntrack/established-tcp.js';
import { Word } from '../../conntrack/layout.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { hash4 } from '../../memory/hash.js';
import { LONG_BYTES } from '../../wire/long-sum.js';
import { type Paths, PathWord } from './paths.js';
import { Shortcut } from './shortcut.js';

const NONE = Shortcut.NONE;
const NIL = NO_TUPLE as TupleId;
const LEARN = Shortcut.LEARN;
const BEGIN = Shortcut.BEGIN;
const ORDINARY = ORDINARY_BITS;
const ASKED = ASKED_BITS;
const ASSURED = Status.ASSURED;
const SRC_NAT = Status.SRC_NAT;

const TCP = 6;
const UDP = 17;
const HEADER_BYTES = 20;
const UDP_BYTES = 8;
const TCP_BYTES = 20;
/** A TCP header with timestamps: no-op, no-op, kind 8, ten bytes (RFC 7323 appendix A). */
const TIMESTAMPED_BYTES = 32;
const NO_OPS = 0x0101;
const TIMESTAMPS = 0x080a;
/** FIN, SYN, RST and ACK, of which the last alone must be set. */
const CONTROL = 0x17;
const ACK = 0x10;
/** Offsets that are taken: the compiler sees that what is added to one cannot overflow. */
const OFFSETS = 0x3fffffff;
/** Version 4, five words of header. */
const PLAIN = 0x45;
/** More fragments, offset, and the reserved bit. */
const FRAGMENT = 0xbfff;
/** TTL of 2, of which one is left, in front of the protocol. */
const TTL_OF_TWO = 0x200;
/** What the checksum's complement changes by when one is taken off the TTL. */
const TTL_CHANGE = 0xffff - 0x100;
const LONG = LONG_BYTES;
const SOURCE = Word.SOURCE;
const DESTINATION = Word.DESTINATION;
const PORTS = Word.PORTS;
const PACKETS = Word.PACKETS;
const BYTES = Word.BYTES;
const COUNT_HIGH = Word.COUNT_HIGH;
const FLOW_PATH = Word.FLOW_PATH;
const STATUS = Word.STATUS;
const EXPIRES = Word.EXPIRES;
const STREAM_AFTER = Word.STREAM_AFTER;
const CLOCKS = Word.ZONE;
const CLOCK_BITS = Word.CLOCK_BITS;
const EXTENSION = Word.EXTENSION;
const POLICY = Word.POLICY;
/** One byte more, in the word of what the counters carry. */
const BYTES_CARRY = 1 << 12;
const UDP_UNREPLIED = 0;
const UDP_STREAM = 1;
/** Words of a record, and of what is before its reply's line. */
const RECORD = 48;
const REPLY_LINE = 16;
const IN = PathWord.IN;
const OUT = PathWord.OUT;
const MTU = PathWord.MTU;
const TRANSLATES = PathWord.TRANSLATES;

export class Forward4 {
  readonly #context: TrackContext;
  readonly #table: ConntrackTable;
  readonly #entries: Entries;
  readonly #paths: Paths;
  /** One past the last byte of the packet that was forwarded last. */
  endOffset = 0;
  /** Hash of the tuple that was last found to be no connection's. */
  hash = 0;

  constructor(context: TrackContext, table: ConntrackTable, paths: Paths) {
    this.#context = context;
    this.#table = table;
    this.#entries = table.entries;
    this.#paths = paths;
  }

  /**
   * Forwards the packet at `at`, of an interface, in place. Returns NONE, LEARN or BEGIN if it has to go the long way, and is
   * as it was; else the interface that it leaves by, with its end in `endOffset`. `guess` is a tuple that is linked and
   * probably the packet's, or NIL.
   */
  forward(inInterface: number, bytes: Uint8Array, at: number, guess: TupleId): number {
    const start = at & OFFSETS;
    const available = bytes.length - at;
    if (available < HEADER_BYTES + UDP_BYTES || bytes[start] !== PLAIN || start !== at) return NONE;
    // The tuple first: its bucket is asked for, and comes while the header is looked at.
    const transport = start + HEADER_BYTES;
    const protocol = bytes[start + 9] as number;
    const sourcePort = ((bytes[transport] as number) << 8) + (bytes[transport + 1] as number);
    const destinationPort = ((bytes[transport + 2] as number) << 8) + (bytes[transport + 3] as number);
    const ports = (sourcePort << 16) | destinationPort;
    const source1 = ((bytes[start + 12] as number) << 8) + (bytes[start + 13] as number);
    const source2 = ((bytes[start + 14] as number) << 8) + (bytes[start + 15] as number);
    const source = (source1 << 16) | source2;
    const destination1 = ((bytes[start + 16] as number) << 8) + (bytes[start + 17] as number);
    const destination2 = ((bytes[start + 18] as number) << 8) + (bytes[start + 19] as number);
    const destination = (destination1 << 16) | destination2;
    const table = this.#table;
    const buckets = table.buckets;
    let hash = 0;
    let line = 0;
    let first = 0;
    if (guess < 0) {
      hash = table.isKeyed
        ? table.linkedHash4(source, destination, ports, protocol)
        : hash4(source, destination, ports, protocol, table.seed);
      line = buckets.lineOf(hash);
      first = buckets.lines[line] as number;
    }

    // The header in halves: ten that must sum up to a multiple of all ones, as the sum is not zero.
    const total = ((bytes[start + 2] as number) << 8) + (bytes[start + 3] as number);
    const id = ((bytes[start + 4] as number) << 8) + (bytes[start + 5] as number);
    const fragment = ((bytes[start + 6] as number) << 8) + (bytes[start + 7] as number);
    const life = ((bytes[start + 8] as number) << 8) + protocol;
    const headerChecksum = ((bytes[start + 10] as number) << 8) + (bytes[start + 11] as number);
    const addressSum = source1 + source2 + destination1 + destination2;
    const class1 = (PLAIN << 8) + (bytes[start + 1] as number);
    const headerSum = class1 + total + id + fragment + life + headerChecksum + addressSum;
    if (headerSum % 0xffff !== 0 || total > available || (fragment & FRAGMENT) !== 0 || life < TTL_OF_TWO)
      return NONE;
    if (protocol !== UDP && protocol !== TCP) return NONE;

    const entries = this.#entries;
    const words = entries.words;
    let tuple = guess;
    if (guess < 0) {
      tuple = findTuple4(words, buckets, line, first, hash, source, destination, ports, protocol);
      if (tuple < 0) {
        this.hash = hash;
        return BEGIN;
      }
    } else if (hasKey4(words, guess, source, destination, ports, protocol) === 0) {
      return this.forward(inInterface, bytes, start, NIL);
    }
    // By number, not by the record: its lines are asked for at a time, and come while the checksum is computed.
    const place = tuple % RECORD;
    const entry = (tuple - place) as EntryId;
    const direction = (place >>> 4) as Direction;
    const opposite = (entry + REPLY_LINE - place) as TupleId;
    const oppositePorts = words[opposite + PORTS] as number;
    const context = this.#context;
    const now = context.now;
    const status = words[entry + STATUS] as number;
    // It lives, is established, and has nothing that asks for the long way?
    if (
      (status & ASKED) !== ORDINARY ||
      (((words[entry + EXPIRES] as number) - now) | 0) <= 0 ||
      ((words[entry + CLOCKS] as number) & CLOCK_BITS) !== 0 ||
      words[entry + EXTENSION] !== 0 ||
      words[entry + POLICY] !== 0
    ) {
      return isAnswer(words, entry, direction) === 1 ? LEARN : NONE;
    }

    // The transport header, and the sum of what its checksum covers: of pseudo header and header, and then of the rest.
    const transportBytes = total - HEADER_BYTES;
    const end = start + total;
    let sum = addressSum + protocol + transportBytes + sourcePort + destinationPort;
    let rest = transport + UDP_BYTES;
    let checksumAt = transport + 6;
    let checksum = 0;
    let sequence = 0;
    let acknowledgement = 0;
    let window = 0;
    let payloadBytes = 0;
    if (protocol === UDP) {
      const udpBytes = ((bytes[transport + 4] as number) << 8) + (bytes[transport + 5] as number);
      if (udpBytes < UDP_BYTES || udpBytes > transportBytes) return NONE;
      checksum = ((bytes[checksumAt] as number) << 8) + (bytes[checksumAt + 1] as number);
      sum += udpBytes + checksum;
      if (checksum === 0) checksumAt = -1;
    } else {
      if (transportBytes < TCP_BYTES) return NONE;
      const control = ((bytes[transport + 12] as number) << 8) + (bytes[transport + 13] as number);
      if ((control & CONTROL) !== ACK) return NONE;
      const headerBytes = (control >>> 12) << 2;
      if (headerBytes !== TCP_BYTES) {
        if (headerBytes !== TIMESTAMPED_BYTES || transportBytes < TIMESTAMPED_BYTES) return NONE;
        if (u16(bytes, transport + 20) !== NO_OPS || u16(bytes, transport + 22) !== TIMESTAMPS) return NONE;
      }
      const sequence1 = ((bytes[transport + 4] as number) << 8) + (bytes[transport + 5] as number);
      const sequence2 = ((bytes[transport + 6] as number) << 8) + (bytes[transport + 7] as number);
      const ack1 = ((bytes[transport + 8] as number) << 8) + (bytes[transport + 9] as number);
      const ack2 = ((bytes[transport + 10] as number) << 8) + (bytes[transport + 11] as number);
      sequence = (sequence1 << 16) | sequence2;
      acknowledgement = (ack1 << 16) | ack2;
      window = ((bytes[transport + 14] as number) << 8) + (bytes[transport + 15] as number);
      payloadBytes = transportBytes - headerBytes;
      checksumAt = transport + 16;
      checksum = ((bytes[checksumAt] as number) << 8) + (bytes[checksumAt + 1] as number);
      sum += sequence1 + sequence2 + ack1 + ack2 + control + window + checksum;
      rest = checksumAt + 2;
    }
    const { settings } = context;
    if (checksumAt >= 0 && settings.checksum === 1) {
      if (end - rest >= LONG) sum += context.longSum.sum(bytes, rest, end);
      else {
        // As `sumBytes`.
        let high = 0;
        for (const last = end - 8; rest <= last; rest += 8) {
          high +=
            (bytes[rest] as number) +
            (bytes[rest + 2] as number) +
            (bytes[rest + 4] as number) +
            (bytes[rest + 6] as number);
          sum +=
            (bytes[rest + 1] as number) +
            (bytes[rest + 3] as number) +
            (bytes[rest + 5] as number) +
            (bytes[rest + 7] as number);
        }
        for (; rest < end - 1; rest += 2) {
          high += bytes[rest] as number;
          sum += bytes[rest + 1] as number;
        }
        if (rest < end) high += bytes[rest] as number;
        sum += high << 8;
      }
      if (sum % 0xffff !== 0) return NONE;
    }

    const paths = this.#paths;
    const path = paths.placeOf(words[tuple + FLOW_PATH] as number);
    const known = paths.words;
    if (path === 0 || known[path + IN] !== inInterface) return LEARN;
    if (total > (known[path + MTU] as number)) return NONE;
    if (protocol === UDP) {
      // As `trackUdp` and `entries.account`.
      const isStream = ((now - (words[entry + STREAM_AFTER] as number)) | 0) > 0;
      if (isStream && (status & ASSURED) === 0) return NONE;
      const timeouts = context.defaultTimeouts.udp;
      const expires = (now + (timeouts[isStream ? UDP_STREAM : UDP_UNREPLIED] as number)) | 0;
      if (((expires - (words[entry + EXPIRES] as number)) | 0) < 0) entries.setExpires(entry, expires);
      else words[entry + EXPIRES] = expires;
      if (settings.accounting === 1) {
        const packets = ((words[tuple + PACKETS] as number) + 1) | 0;
        const before = words[tuple + BYTES] as number;
        const after = (before + total) | 0;
        words[tuple + PACKETS] = packets;
        words[tuple + BYTES] = after;
        if (packets === 0) words[tuple + COUNT_HIGH] = (words[tuple + COUNT_HIGH] as number) + 1;
        if ((before & ~after) < 0)
          words[tuple + COUNT_HIGH] = (words[tuple + COUNT_HIGH] as number) + BYTES_CARRY;
      }
    } else {
      const behind = (sequence + payloadBytes) | 0;
      if (
        judgeTcp(context, entries, entry, direction, sequence, acknowledgement, window, behind, total) === 0
      ) {
        return NONE;
      }
    }

    // It goes. TTL and both ends of the translation in one adjustment of each checksum (RFC 1624 equation 3).
    let headerChange = (headerChecksum ^ 0xffff) + TTL_CHANGE;
    if (known[path + TRANSLATES] === 1) {
      let change = 0;
      let portChange = 0;
      if ((status & (SRC_NAT << direction)) !== 0) {
        const to = words[opposite + DESTINATION] as number;
        const port = oppositePorts & 0xffff;
        change = (source1 ^ 0xffff) + (source2 ^ 0xffff) + (to >>> 16) + (to & 0xffff);
        portChange = (sourcePort ^ 0xffff) + port;
        bytes[start + 12] = to >>> 24;
        bytes[start + 13] = to >>> 16;
        bytes[start + 14] = to >>> 8;
        bytes[start + 15] = to;
        bytes[transport] = port >>> 8;
        bytes[transport + 1] = port;
      }
      if ((status & (SRC_NAT << (1 - direction))) !== 0) {
        const to = words[opposite + SOURCE] as number;
        const port = oppositePorts >>> 16;
        change += (destination1 ^ 0xffff) + (destination2 ^ 0xffff) + (to >>> 16) + (to & 0xffff);
        portChange += (destinationPort ^ 0xffff) + port;
        bytes[start + 16] = to >>> 24;
        bytes[start + 17] = to >>> 16;
        bytes[start + 18] = to >>> 8;
        bytes[start + 19] = to;
        bytes[transport + 2] = port >>> 8;
        bytes[transport + 3] = port;
      }
      headerChange += change;
      if (change !== 0 && checksumAt >= 0) {
        let after = (checksum ^ 0xffff) + change + portChange;
        after = (after & 0xffff) + (after >>> 16);
        after = ~(after + (after >>> 16)) & 0xffff;
        if (after === 0 && protocol === UDP) after = 0xffff;
        bytes[checksumAt] = after >>> 8;
        bytes[checksumAt + 1] = after;
      }
    }
    bytes[start + 8] = (life >>> 8) - 1;
    headerChange = (headerChange & 0xffff) + (headerChange >>> 16);
    const headerAfter = ~(headerChange + (headerChange >>> 16));
    bytes[start + 10] = headerAfter >>> 8;
    bytes[start + 11] = headerAfter;
    const counts = paths.counts;
    counts[path] = (counts[path] as number) + 1;
    counts[path + 1] = (counts[path + 1] as number) + total;
    this.endOffset = end;
    return known[path + OUT] as number;
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) + (bytes[at + 1] as number);
}
