/**
 * The short way of an IPv6 packet of an established flow; see `forward4.ts`, of which this is the counterpart. Hot.
 *
 * Packets with extension headers, and datagrams without a checksum (RFC 8200 section 8.1), go the long way.
 */
import type { TrackContext } from '../../conntrack/context.js';
import type { Entries, EntryId } from '../../conntrack/entries.js';
import { Direction, Status, type TupleId } from '../../conntrack/entries.js';
import {
  findTuple6,
  hasKey6,
  isAnswer,
  isOrdinary,
  judgeTcp,
  judgeUdp,
} from '../../conntrack/established.js';
import { Word } from '../../conntrack/layout.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { KEY_KIND, KEY_PORTS, KEY_WORDS } from '../../conntrack/tuples.js';
import { Glance } from '../../wire/glance.js';
import { type Paths, PathWord } from './paths.js';
import { Shortcut } from './shortcut.js';

const NONE = Shortcut.NONE;
const LEARN = Shortcut.LEARN;
const SRC_NAT = Status.SRC_NAT;
const ORIGINAL = Direction.ORIGINAL;
const WIDE = Word.WIDE;
const PORTS_AT = Word.PORTS;
/** Words of a record, and of what is before its reply's line. */
const RECORD = 64;
const REPLY_LINE = 16;
const IN = PathWord.IN;
const OUT = PathWord.OUT;
const MTU = PathWord.MTU;
const TRANSLATES = PathWord.TRANSLATES;
const PORTS = KEY_PORTS;
const KIND = KEY_KIND;

const TCP = 6;
const UDP = 17;
const HEADER_BYTES = 40;
const UDP_BYTES = 8;
/** Words of an address. */
const ADDRESS = 4;
const SOURCE_AT = 8;
const DESTINATION_AT = 24;

export class Forward6 {
  readonly #context: TrackContext;
  readonly #table: ConntrackTable;
  readonly #entries: Entries;
  readonly #paths: Paths;
  readonly #glance = new Glance();
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
  forward(inInterface: number, bytes: Uint8Array, start: number, guess: TupleId): number {
    const available = bytes.length - start;
    if (available < HEADER_BYTES + UDP_BYTES || (bytes[start] as number) >>> 4 !== 6) return NONE;
    const protocol = bytes[start + 6] as number;
    const hopLimit = bytes[start + 7] as number;
    if ((protocol !== UDP && protocol !== TCP) || hopLimit <= 1) return NONE;
    const transportBytes = u16(bytes, start + 4);
    const total = HEADER_BYTES + transportBytes;
    if (total > available || transportBytes < UDP_BYTES) return NONE;
    const transport = start + HEADER_BYTES;
    const key = this.#key;
    const addressSum = readAddresses(bytes, start + SOURCE_AT, key);
    const sourcePort = u16(bytes, transport);
    const destinationPort = u16(bytes, transport + 2);
    const ports = (sourcePort << 16) | destinationPort;
    key[PORTS] = ports;
    key[KIND] = protocol;
    const table = this.#table;
    const buckets = table.buckets;
    const entries = this.#entries;
    const words = entries.words;
    let tuple = guess;
    if (guess < 0 || hasKey6(words, guess, key, ports, protocol) === 0) {
      const hash = table.linkedHash(key);
      const line = buckets.lineOf(hash);
      tuple = findTuple6(words, buckets, line, buckets.lines[line] as number, hash, key, ports, protocol);
      if (tuple < 0) return NONE;
    }
    const place = tuple & (RECORD - 1);
    const entry = (tuple - place) as EntryId;
    const direction = (place >>> 4) as Direction;
    const oppositePorts = words[entry + REPLY_LINE - place + PORTS_AT] as number;
    const context = this.#context;
    if (isOrdinary(words, entry, context.now) === 0)
      return isAnswer(words, entry, direction) === 1 ? LEARN : NONE;
    const end = start + total;
    const glance = this.#glance;
    const pseudoSum = addressSum + protocol + transportBytes;
    if (glance.read(bytes, protocol, transport, end, pseudoSum, context.settings.checksum) === 0) return NONE;
    if (glance.checksumAt < 0) return NONE;
    const paths = this.#paths;
    const path = paths.placeOf(entries.flowPath(tuple));
    const known = paths.words;
    if (path === 0 || known[path + IN] !== inInterface) return LEARN;
    const out = known[path + OUT] as number;
    if (total > (known[path + MTU] as number)) return NONE;
    if (direction === ORIGINAL) {
      const masqueraded = entries.masqueradeInterface(entry);
      if (masqueraded !== 0 && masqueraded !== out) return NONE;
    }
    const taken =
      protocol === UDP
        ? judgeUdp(context, entries, entry, direction, total)
        : judgeTcp(context, entries, entry, direction, glance, total);
    if (taken === 0) return NONE;

    if (known[path + TRANSLATES] === 1) {
      const opposite = (1 - direction) as Direction;
      const wide = entry + WIDE + (opposite << 3);
      const status = entries.status(entry);
      let change = 0;
      if ((status & (SRC_NAT << direction)) !== 0) {
        const port = oppositePorts & 0xffff;
        change =
          (~sourcePort & 0xffff) +
          port +
          moveAddress(bytes, start + SOURCE_AT, key, 0, words, wide + ADDRESS);
        bytes[transport] = port >>> 8;
        bytes[transport + 1] = port;
      }
      if ((status & (SRC_NAT << opposite)) !== 0) {
        const port = oppositePorts >>> 16;
        change +=
          (~destinationPort & 0xffff) +
          port +
          moveAddress(bytes, start + DESTINATION_AT, key, 4, words, wide);
        bytes[transport + 2] = port >>> 8;
        bytes[transport + 3] = port;
      }
      if (change !== 0) {
        const checksumAt = glance.checksumAt;
        let after = ~fold((~u16(bytes, checksumAt) & 0xffff) + change) & 0xffff;
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
    return out;
  }
}

/** Reads both addresses at `at` into `key`; returns the sum of their halves. */
function readAddresses(bytes: Uint8Array, at: number, key: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < 8; i++) {
    const high = u16(bytes, at);
    const low = u16(bytes, at + 2);
    key[i] = (high << 16) | low;
    sum += high + low;
    at += 4;
  }
  return sum;
}

/**
 * Writes the address `words[from..]` in the place of `key[old..]`, which stands at `at`; returns what a checksum that covers
 * it changes by (RFC 1624), not folded.
 */
function moveAddress(
  bytes: Uint8Array,
  at: number,
  key: Int32Array,
  old: number,
  words: Int32Array,
  from: number,
): number {
  let change = 0;
  for (let i = 0; i < ADDRESS; i++) {
    const before = ~(key[old + i] as number);
    const after = words[from + i] as number;
    change += (before >>> 16) + (before & 0xffff) + (after >>> 16) + (after & 0xffff);
    bytes[at] = after >>> 24;
    bytes[at + 1] = after >>> 16;
    bytes[at + 2] = after >>> 8;
    bytes[at + 3] = after;
    at += 4;
  }
  return change;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}
