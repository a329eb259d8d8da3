/**
 * The short way of an IPv6 packet of an established flow; see `forward4.ts`, of which this is the counterpart. Hot.
 *
 * Packets with extension headers, and datagrams without a checksum (RFC 8200 section 8.1), go the long way.
 */
import type { TrackContext } from '../../conntrack/context.js';
import type { Entries, EntryId } from '../../conntrack/entries.js';
import { type Direction, Status, type TupleId } from '../../conntrack/entries.js';
import {
  ASKED as ASKED_BITS,
  findTuple6,
  hasKey6,
  isAnswer,
  ORDINARY as ORDINARY_BITS,
} from '../../conntrack/established.js';
import { judgeTcp } from '../../conntrack/established-tcp.js';
import { Word } from '../../conntrack/layout.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { KEY_KIND, KEY_PORTS, KEY_WORDS } from '../../conntrack/tuples.js';
import { LONG_BYTES } from '../../wire/long-sum.js';
import { type Paths, PathWord } from './paths.js';
import { Shortcut } from './shortcut.js';

const NONE = Shortcut.NONE;
const LEARN = Shortcut.LEARN;
const ORDINARY = ORDINARY_BITS;
const ASKED = ASKED_BITS;
const ASSURED = Status.ASSURED;
const SRC_NAT = Status.SRC_NAT;
const WIDE = Word.WIDE;
const PORTS_AT = Word.PORTS;
/** Words of a record, and of what is before its reply's line. */
const RECORD = 64;
const REPLY_LINE = 16;
const IN = PathWord.IN;
const OUT = PathWord.OUT;
const MTU = PathWord.MTU;
const TRANSLATES = PathWord.TRANSLATES;
const { imul } = Math;
const PRIME_1 = 0x9e3779b1 | 0;
const PRIME_2 = 0x85ebca77 | 0;
const PRIME_3 = 0xc2b2ae3d | 0;
const PRIME_4 = 0x27d4eb2f | 0;

const TCP = 6;
const UDP = 17;
const HEADER_BYTES = 40;
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
const LONG = LONG_BYTES;
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
/** Sum of an address of ones. */
const ALL_ONES = 8 * 0xffff;
/** Words of an address. */
const ADDRESS = 4;
const SOURCE_AT = 8;
const DESTINATION_AT = 24;

export class Forward6 {
  readonly #context: TrackContext;
  readonly #table: ConntrackTable;
  readonly #entries: Entries;
  readonly #paths: Paths;
  readonly #key = new Int32Array(KEY_WORDS);
  /** One past the last byte of the packet that was forwarded last. */
  endOffset = 0;
  /** Of no use yet: packets of IPv6 that begin a connection go the long way. */
  hash = 0;

  constructor(context: TrackContext, table: ConntrackTable, paths: Paths) {
    this.#context = context;
    this.#table = table;
    this.#entries = table.entries;
    this.#paths = paths;
  }

  /** As `Forward4.forward`. */
  forward(inInterface: number, bytes: Uint8Array, at: number, guess: TupleId): number {
    const start = at & OFFSETS;
    const available = bytes.length - at;
    if (available < HEADER_BYTES + UDP_BYTES || (bytes[start] as number) >>> 4 !== 6 || start !== at)
      return NONE;
    const protocol = bytes[start + 6] as number;
    const hopLimit = bytes[start + 7] as number;
    if ((protocol !== UDP && protocol !== TCP) || hopLimit <= 1) return NONE;
    const transportBytes = ((bytes[start + 4] as number) << 8) + (bytes[start + 5] as number);
    const total = HEADER_BYTES + transportBytes;
    if (total > available || transportBytes < UDP_BYTES) return NONE;
    const transport = start + HEADER_BYTES;
    const sourcePort = ((bytes[transport] as number) << 8) + (bytes[transport + 1] as number);
    const destinationPort = ((bytes[transport + 2] as number) << 8) + (bytes[transport + 3] as number);
    const ports = (sourcePort << 16) | destinationPort;
    // Addresses in halves, of which the compiler knows that they are.
    const s1 = ((bytes[start + 8] as number) << 8) + (bytes[start + 9] as number);
    const s2 = ((bytes[start + 10] as number) << 8) + (bytes[start + 11] as number);
    const s3 = ((bytes[start + 12] as number) << 8) + (bytes[start + 13] as number);
    const s4 = ((bytes[start + 14] as number) << 8) + (bytes[start + 15] as number);
    const s5 = ((bytes[start + 16] as number) << 8) + (bytes[start + 17] as number);
    const s6 = ((bytes[start + 18] as number) << 8) + (bytes[start + 19] as number);
    const s7 = ((bytes[start + 20] as number) << 8) + (bytes[start + 21] as number);
    const s8 = ((bytes[start + 22] as number) << 8) + (bytes[start + 23] as number);
    const source1 = (s1 << 16) | s2;
    const source2 = (s3 << 16) | s4;
    const source3 = (s5 << 16) | s6;
    const source4 = (s7 << 16) | s8;
    const sourceSum = s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8;
    const d1 = ((bytes[start + 24] as number) << 8) + (bytes[start + 25] as number);
    const d2 = ((bytes[start + 26] as number) << 8) + (bytes[start + 27] as number);
    const d3 = ((bytes[start + 28] as number) << 8) + (bytes[start + 29] as number);
    const d4 = ((bytes[start + 30] as number) << 8) + (bytes[start + 31] as number);
    const d5 = ((bytes[start + 32] as number) << 8) + (bytes[start + 33] as number);
    const d6 = ((bytes[start + 34] as number) << 8) + (bytes[start + 35] as number);
    const d7 = ((bytes[start + 36] as number) << 8) + (bytes[start + 37] as number);
    const d8 = ((bytes[start + 38] as number) << 8) + (bytes[start + 39] as number);
    const destination1 = (d1 << 16) | d2;
    const destination2 = (d3 << 16) | d4;
    const destination3 = (d5 << 16) | d6;
    const destination4 = (d7 << 16) | d8;
    const destinationSum = d1 + d2 + d3 + d4 + d5 + d6 + d7 + d8;
    const table = this.#table;
    const entries = this.#entries;
    const words = entries.words;
    let tuple = guess;
    if (
      guess < 0 ||
      hasKey6(
        words,
        guess,
        source1,
        source2,
        source3,
        source4,
        destination1,
        destination2,
        destination3,
        destination4,
        ports,
        protocol,
      ) === 0
    ) {
      // As `hash10`: a call of it took a tenth of the packet's time.
      const { seed } = table;
      let v1 = (seed + PRIME_1 + PRIME_2 + imul(source1, PRIME_2)) | 0;
      let v2 = (seed + PRIME_2 + imul(source2, PRIME_2)) | 0;
      let v3 = (seed + imul(source3, PRIME_2)) | 0;
      let v4 = (seed - PRIME_1 + imul(source4, PRIME_2)) | 0;
      v1 = (imul((v1 << 13) | (v1 >>> 19), PRIME_1) + imul(destination1, PRIME_2)) | 0;
      v2 = (imul((v2 << 13) | (v2 >>> 19), PRIME_1) + imul(destination2, PRIME_2)) | 0;
      v3 = (imul((v3 << 13) | (v3 >>> 19), PRIME_1) + imul(destination3, PRIME_2)) | 0;
      v4 = (imul((v4 << 13) | (v4 >>> 19), PRIME_1) + imul(destination4, PRIME_2)) | 0;
      v1 = imul((v1 << 13) | (v1 >>> 19), PRIME_1);
      v2 = imul((v2 << 13) | (v2 >>> 19), PRIME_1);
      v3 = imul((v3 << 13) | (v3 >>> 19), PRIME_1);
      v4 = imul((v4 << 13) | (v4 >>> 19), PRIME_1);
      let hash =
        (((v1 << 1) | (v1 >>> 31)) +
          ((v2 << 7) | (v2 >>> 25)) +
          ((v3 << 12) | (v3 >>> 20)) +
          ((v4 << 18) | (v4 >>> 14)) +
          40) |
        0;
      hash = (hash + imul(ports, PRIME_3)) | 0;
      hash = (imul((hash << 17) | (hash >>> 15), PRIME_4) + imul(protocol, PRIME_3)) | 0;
      hash = imul((hash << 17) | (hash >>> 15), PRIME_4);
      hash = imul(hash ^ (hash >>> 15), PRIME_2);
      hash = imul(hash ^ (hash >>> 13), PRIME_3);
      hash ^= hash >>> 16;
      if (table.isKeyed)
        hash = this.#keyedHash(
          source1,
          source2,
          source3,
          source4,
          destination1,
          destination2,
          destination3,
          destination4,
          ports,
          protocol,
        );
      const { buckets } = table;
      const line = buckets.lineOf(hash);
      const first = buckets.lines[line] as number;
      tuple = findTuple6(
        words,
        buckets,
        line,
        first,
        hash,
        source1,
        source2,
        source3,
        source4,
        destination1,
        destination2,
        destination3,
        destination4,
        ports,
        protocol,
      );
      if (tuple < 0) return NONE;
    }
    const place = tuple & (RECORD - 1);
    const entry = (tuple - place) as EntryId;
    const direction = (place >>> 4) as Direction;
    const oppositePorts = words[entry + REPLY_LINE - place + PORTS_AT] as number;
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
    const end = start + total;
    let sum = sourceSum + destinationSum + protocol + transportBytes + sourcePort + destinationPort;
    let rest = transport + UDP_BYTES;
    let checksumAt = transport + 6;
    let checksum = 0;
    let sequence = 0;
    let acknowledgement = 0;
    let window = 0;
    let payloadBytes = 0;
    if (protocol === UDP) {
      const udpBytes = ((bytes[transport + 4] as number) << 8) + (bytes[transport + 5] as number);
      checksum = ((bytes[checksumAt] as number) << 8) + (bytes[checksumAt + 1] as number);
      if (udpBytes < UDP_BYTES || udpBytes > transportBytes || checksum === 0) return NONE;
      sum += udpBytes + checksum;
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
    if (settings.checksum === 1) {
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

    if (known[path + TRANSLATES] === 1) {
      const opposite = (1 - direction) as Direction;
      const wide = entry + WIDE + (opposite << 3);
      let change = 0;
      if ((status & (SRC_NAT << direction)) !== 0) {
        const port = oppositePorts & 0xffff;
        const to = writeAddress(bytes, start + SOURCE_AT, words, wide + ADDRESS);
        change = (sourcePort ^ 0xffff) + port + ALL_ONES - sourceSum + to;
        bytes[transport] = port >>> 8;
        bytes[transport + 1] = port;
      }
      if ((status & (SRC_NAT << opposite)) !== 0) {
        const port = oppositePorts >>> 16;
        const to = writeAddress(bytes, start + DESTINATION_AT, words, wide);
        change += (destinationPort ^ 0xffff) + port + ALL_ONES - destinationSum + to;
        bytes[transport + 2] = port >>> 8;
        bytes[transport + 3] = port;
      }
      if (change !== 0) {
        let after = ~fold((checksum ^ 0xffff) + change) & 0xffff;
        if (after === 0 && protocol === UDP) after = 0xffff;
        bytes[checksumAt] = after >>> 8;
        bytes[checksumAt + 1] = after;
      }
    }
    bytes[start + 7] = hopLimit - 1;
    const counts = paths.counts;
    counts[path] = (counts[path] as number) + 1;
    counts[path + 1] = (counts[path + 1] as number) + total;
    this.endOffset = end;
    return known[path + OUT] as number;
  }

  #keyedHash(
    source1: number,
    source2: number,
    source3: number,
    source4: number,
    destination1: number,
    destination2: number,
    destination3: number,
    destination4: number,
    ports: number,
    protocol: number,
  ): number {
    const key = this.#key;
    key[0] = source1;
    key[1] = source2;
    key[2] = source3;
    key[3] = source4;
    key[4] = destination1;
    key[5] = destination2;
    key[6] = destination3;
    key[7] = destination4;
    key[KEY_PORTS] = ports;
    key[KEY_KIND] = protocol;
    return this.#table.linkedHash(key);
  }
}

/** Writes the address `words[from..]` to `at`; returns the sum of its halves. */
function writeAddress(bytes: Uint8Array, at: number, words: Int32Array, from: number): number {
  let sum = 0;
  for (let i = 0; i < ADDRESS; i++) {
    const word = words[from + i] as number;
    const to = at + (i << 2);
    bytes[to] = word >>> 24;
    bytes[to + 1] = word >>> 16;
    bytes[to + 2] = word >>> 8;
    bytes[to + 3] = word;
    sum += (word >>> 16) + (word & 0xffff);
  }
  return sum;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) + (bytes[at + 1] as number);
}

function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}
