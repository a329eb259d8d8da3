/**
 * The opening of a connection: an IPv4 packet that begins one is parsed and tracked in one go. Hot.
 *
 * Twin: `Packet.parse` and `Tracker.track`, which take every packet. Only packets about which nothing is to be asked are
 * taken here: whole, sound, without options, a UDP datagram or a SYN; no zone, no helper, nothing expected, room in the
 * table. All the rest is looked at and left alone, and goes the other way. What comes of it is the same; only expired
 * entries that a lookup would have met stay until the reaper comes.
 */
import { sumBytes } from '../wire/checksum.js';
import { LONG_BYTES } from '../wire/long-sum.js';
import { ChecksumState, CtInfo, type Packet } from '../wire/packet.js';
import { hasTcpHeader } from '../wire/tcp.js';
import { verifyChecksum } from '../wire/transport.js';
import { Track, type TrackContext } from './context.js';
import { Direction, NIL } from './entries.js';
import { Word } from './layout.js';
import { trackTcp } from './protocols/tcp.js';
import { beginUdp } from './protocols/udp.js';
import type { ConntrackTable } from './table.js';
import type { Tracker } from './tracker.js';
import { HASH_LATER } from './tuples.js';

const ORIGINAL = Direction.ORIGINAL;
const NEW = CtInfo.NEW;
const NONE = ChecksumState.NONE;
const UNNECESSARY = ChecksumState.UNNECESSARY;
const TRACK_ACCEPT = Track.ACCEPT;

const TCP = 6;
const UDP = 17;
const PREROUTING = 0;
const HEADER_BYTES = 20;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
/** FIN, SYN, RST, PSH, ACK and URG, of which the second alone must be set. */
const CONTROL = 0x3f;
const SYN = 0x02;
const HASH = Word.HASH;
const ABSENT_AT = Word.NEXT;
const SOURCE = Word.SOURCE;
const DESTINATION = Word.DESTINATION;
const PORTS = Word.PORTS;
const KIND = Word.KIND;
const BORN = Word.BORN;
const REPLY_LINE = 16;

export class Opening {
  readonly #tracker: Tracker;
  #table: ConntrackTable | undefined;

  constructor(tracker: Tracker) {
    this.#tracker = tracker;
    tracker.eachTable((table) => {
      if (table.version === 4) this.#table = table;
    });
  }

  /**
   * Parses and tracks the packet at `start`, of UDP or TCP; its IPv4 header is known to be sound, without options and of no
   * fragment, its tuple in zone 0, with this hash (`table.hashKey`), to be no connection's; and its view is clear but for what
   * its link told. Returns 1 if it began a connection, not confirmed yet: view, entry and ctinfo are those that `parse` and
   * `track` would have left. Returns 0 if they must do it: nothing was done then but to the view.
   */
  open(packet: Packet, bytes: Uint8Array, start: number, hash: number): 0 | 1 {
    const table = this.#table as ConntrackTable;
    const total = u16(bytes, start + 2);
    const source1 = u16(bytes, start + 12);
    const source2 = u16(bytes, start + 14);
    const destination1 = u16(bytes, start + 16);
    const destination2 = u16(bytes, start + 18);
    const addressSum = source1 + source2 + destination1 + destination2;
    const protocol = bytes[start + 9] as number;
    const transport = start + HEADER_BYTES;
    const source = (source1 << 16) | source2;
    const destination = (destination1 << 16) | destination2;
    const sourcePort = u16(bytes, transport);
    const destinationPort = u16(bytes, transport + 2);
    const ports = (sourcePort << 16) | destinationPort;
    if (table.foresight !== undefined) table.foresight.touch(source, destination, ports, protocol);
    const end = start + total;
    const transportBytes = total - HEADER_BYTES;
    const tracker = this.#tracker;
    const context = tracker.context;
    let checksumState: ChecksumState = NONE;
    if (protocol === UDP) {
      const udpBytes = u16(bytes, transport + 4);
      if (udpBytes < UDP_BYTES || udpBytes > transportBytes) return 0;
      if (context.settings.checksum === 1 && u16(bytes, transport + 6) !== 0) {
        const isLong = transportBytes >= LONG_BYTES;
        const sum = isLong ? context.longSum.sum(bytes, transport, end) : sumBytes(bytes, transport, end);
        // A multiple of all ones: the same as folded to all ones, as it is not zero.
        if ((sum + addressSum + UDP + transportBytes) % 0xffff !== 0) return 0;
        checksumState = UNNECESSARY;
      }
    } else if (transportBytes < TCP_BYTES || ((bytes[transport + 13] as number) & CONTROL) !== SYN) return 0;
    if (tracker.mayOpen() === 0 || table.isRekeyed === 1) return 0;

    show(packet, bytes, start, total, protocol, source, destination);
    packet.checksumState = checksumState;
    if (protocol === TCP && isSound(context, packet) === 0) return 0;
    const entry = table.take();
    if (entry === NIL) return 0;
    const words = table.entries.words;
    words[entry + HASH] = hash;
    words[entry + ABSENT_AT] = table.links;
    words[entry + SOURCE] = source;
    words[entry + DESTINATION] = destination;
    words[entry + PORTS] = ports;
    words[entry + KIND] = protocol;
    const reply = entry + REPLY_LINE;
    // NAT may change it yet: whoever needs its hash computes it.
    words[reply + HASH] = HASH_LATER;
    words[reply + ABSENT_AT] = 0;
    words[reply + SOURCE] = destination;
    words[reply + DESTINATION] = source;
    words[reply + PORTS] = (destinationPort << 16) | sourcePort;
    words[reply + KIND] = protocol;
    words[entry + BORN] = context.now;
    packet.entry = entry;
    packet.ctinfo = NEW;
    if (protocol === UDP) {
      beginUdp(context, words, entry, total);
      return 1;
    }
    if (trackTcp(context, table, entry, ORIGINAL, packet, PREROUTING) === TRACK_ACCEPT) return 1;
    packet.entry = NIL;
    table.discard(entry);
    return 0;
  }
}

/** Whether `trackTcp` would take the segment for one, and its checksum, if that is asked for, is right: 1 or 0. */
function isSound({ settings }: TrackContext, packet: Packet): 0 | 1 {
  return hasTcpHeader(packet) === 1 && (settings.checksum === 0 || verifyChecksum(packet, TCP) === 1) ? 1 : 0;
}

/** Points the view, which was clear, at a packet without options that is no fragment. */
function show(
  packet: Packet,
  bytes: Uint8Array,
  start: number,
  total: number,
  protocol: number,
  source: number,
  destination: number,
): void {
  packet.bytes = bytes;
  packet.start = start;
  packet.end = start + total;
  packet.version = 4;
  packet.transport = start + HEADER_BYTES;
  packet.protocol = protocol;
  packet.fragmentOffset = 0;
  packet.moreFragments = 0;
  packet.fragmentHeader = 0;
  packet.brokenChain = 0;
  const addresses = packet.addresses;
  addresses[0] = source;
  addresses[1] = 0;
  addresses[2] = 0;
  addresses[3] = 0;
  addresses[4] = destination;
  addresses[5] = 0;
  addresses[6] = 0;
  addresses[7] = 0;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}
