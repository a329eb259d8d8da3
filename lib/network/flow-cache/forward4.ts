/**
 * The short way of an IPv4 packet of an established flow: what parsing, tracking, rules, routing and NAT would do to it,
 * in one go. Hot.
 *
 * Twin: `Router.receive` without a flow cache. Only packets about which nothing is left to decide are taken: whole, sound,
 * without options, UDP or an ordinary segment of TCP, of a connection that is established and known to the cache. All the
 * rest is looked at and left alone, and goes the long way. Nothing is written before it is certain that the packet goes.
 */
import type { TrackContext } from '../../conntrack/context.js';
import type { Entries, EntryId } from '../../conntrack/entries.js';
import { Direction, NIL as NO_TUPLE, Status, type TupleId } from '../../conntrack/entries.js';
import {
  findTuple4,
  hasKey4,
  isAnswer,
  isOrdinary,
  judgeTcp,
  judgeUdp,
} from '../../conntrack/established.js';
import { Word } from '../../conntrack/layout.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { Glance } from '../../wire/glance.js';
import { type Paths, PathWord } from './paths.js';
import { Shortcut } from './shortcut.js';

const NONE = Shortcut.NONE;
const NIL = NO_TUPLE as TupleId;
const LEARN = Shortcut.LEARN;
const BEGIN = Shortcut.BEGIN;
const SRC_NAT = Status.SRC_NAT;
const ORIGINAL = Direction.ORIGINAL;

const TCP = 6;
const UDP = 17;
const HEADER_BYTES = 20;
const UDP_BYTES = 8;
/** Version 4, five words of header. */
const PLAIN = 0x45;
/** More fragments, offset, and the reserved bit. */
const FRAGMENT = 0xbfff;
/** TTL of 2, of which one is left, in front of the protocol. */
const TTL_OF_TWO = 0x200;
const SOURCE = Word.SOURCE;
const DESTINATION = Word.DESTINATION;
const PORTS = Word.PORTS;
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
  readonly #glance = new Glance();
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
   * Forwards the packet at `start`, of an interface, in place. Returns NONE, LEARN or BEGIN if it has to go the long way,
   * and is as it was; else the interface that it leaves by, with its end in `endOffset`. `guess` is a tuple that is linked and
   * probably the packet's, or NIL.
   */
  forward(inInterface: number, bytes: Uint8Array, start: number, guess: TupleId): number {
    const available = bytes.length - start;
    if (available < HEADER_BYTES + UDP_BYTES || bytes[start] !== PLAIN) return NONE;
    // The header in halves: ten that must sum up to all ones, and the ports.
    const total = u16(bytes, start + 2);
    const fragment = u16(bytes, start + 6);
    const life = u16(bytes, start + 8);
    const source1 = u16(bytes, start + 12);
    const source2 = u16(bytes, start + 14);
    const destination1 = u16(bytes, start + 16);
    const destination2 = u16(bytes, start + 18);
    const transport = start + HEADER_BYTES;
    const sourcePort = u16(bytes, transport);
    const destinationPort = u16(bytes, transport + 2);
    const source = (source1 << 16) | source2;
    const destination = (destination1 << 16) | destination2;
    const ports = (sourcePort << 16) | destinationPort;
    const protocol = life & 255;
    const table = this.#table;
    const buckets = table.buckets;
    let hash = 0;
    let line = 0;
    let first = 0;
    if (guess < 0) {
      // Asked for first, so that it comes while the header is looked at.
      hash = table.linkedHash4(source, destination, ports, protocol);
      line = buckets.lineOf(hash);
      first = buckets.lines[line] as number;
    }

    const addressSum = source1 + source2 + destination1 + destination2;
    const headerChecksum = u16(bytes, start + 10);
    const headerSum =
      u16(bytes, start) + total + u16(bytes, start + 4) + fragment + life + headerChecksum + addressSum;
    // A multiple of all ones: the same as folded to all ones, as it is not zero.
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
    if (isOrdinary(words, entry, context.now) === 0)
      return isAnswer(words, entry, direction) === 1 ? LEARN : NONE;
    const transportBytes = total - HEADER_BYTES;
    const end = start + total;
    const glance = this.#glance;
    const pseudoSum = addressSum + protocol + transportBytes;
    if (glance.read(bytes, protocol, transport, end, pseudoSum, context.settings.checksum) === 0) return NONE;
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

    // It goes. TTL and both ends of the translation in one adjustment of each checksum (RFC 1624 equation 3).
    const checksumAt = glance.checksumAt;
    let headerChange = (~headerChecksum & 0xffff) + (~life & 0xffff) + life - 0x100;
    if (known[path + TRANSLATES] === 1) {
      const status = entries.status(entry);
      let change = 0;
      let portChange = 0;
      if ((status & (SRC_NAT << direction)) !== 0) {
        const to = words[opposite + DESTINATION] as number;
        const port = oppositePorts & 0xffff;
        change = (~source >>> 16) + (~source & 0xffff) + (to >>> 16) + (to & 0xffff);
        portChange = (~sourcePort & 0xffff) + port;
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
        change += (~destination >>> 16) + (~destination & 0xffff) + (to >>> 16) + (to & 0xffff);
        portChange += (~destinationPort & 0xffff) + port;
        bytes[start + 16] = to >>> 24;
        bytes[start + 17] = to >>> 16;
        bytes[start + 18] = to >>> 8;
        bytes[start + 19] = to;
        bytes[transport + 2] = port >>> 8;
        bytes[transport + 3] = port;
      }
      headerChange += change;
      if (change !== 0 && checksumAt >= 0) {
        let after = (~u16(bytes, checksumAt) & 0xffff) + change + portChange;
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
    return out;
  }
}

function u16(b: Uint8Array, at: number): number {
  return ((b[at] as number) << 8) | (b[at + 1] as number);
}
