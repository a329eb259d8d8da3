/**
 * The packet view: one reused object through which every room sees one packet. Hot.
 *
 * Life: `parse` points the view at bytes and validates the network header once; from then on the accessors of
 * `wire/` cannot fail for the parts that the view calls valid. Hooks then write their metadata (interfaces, mark,
 * connection) into it. The next `parse` or `clear` ends that life: nothing may keep a view, or its `bytes`, longer
 * than the call that handed it over.
 *
 *   bytes:  ... | start: IPv4/IPv6 header | (options, extension headers) | transport: header, payload | end ...
 *
 * Invariants after `parse` returned NONE: start + 20 (40 for IPv6) <= transport <= end <= bytes.length; words 0-3
 * of `addresses` are the source, 4-7 the destination, host order, IPv4 in words 0 and 4 with the rest zero.
 * What it does not do: transport headers are not validated here (Linux lets rules and conntrack judge them):
 * `transportLengthBytes` says how much there is, and `hasPorts` whether ports can be read.
 */
import { DropReason } from '../counters.js';
import { parseIpv4 } from './ipv4.js';
import { parseIpv6 } from './ipv6.js';

/** What is known about the transport checksum of a packet. */
export const ChecksumState = {
  /** Nothing: it must be verified before it is believed. */
  NONE: 0,
  /** Verified, or made by ourselves. */
  UNNECESSARY: 1,
  /** The field holds the uninverted sum of the pseudo header only; the way out completes it (offload). */
  PARTIAL: 2,
} as const;
export type ChecksumState = (typeof ChecksumState)[keyof typeof ChecksumState];

/** How the packet stands to its connection; netfilter's ctinfo. Values up to REPLY's follow Linux. */
export const CtInfo = {
  /** No connection and not exempted: netfilter's INVALID. */
  INVALID: -1,
  ESTABLISHED: 0,
  RELATED: 1,
  NEW: 2,
  ESTABLISHED_REPLY: 3,
  RELATED_REPLY: 4,
  UNTRACKED: 7,
} as const;
export type CtInfo = (typeof CtInfo)[keyof typeof CtInfo];

/** How the link layer addressed the packet (PACKET_* of Linux). */
export const PacketType = { HOST: 0, BROADCAST: 1, MULTICAST: 2, OTHERHOST: 3, OUTGOING: 4 } as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** No entry attached. */
const NIL = -1;
const EMPTY = new Uint8Array(0);

export class Packet {
  /** The buffer that holds the packet, possibly with room before and behind. Borrowed. */
  bytes: Uint8Array = EMPTY;
  /** Offset of the IP header in `bytes`. */
  start = 0;
  /** One past the IP packet's last byte, by its length field; link padding lies behind it. */
  end = 0;
  /** 4 or 6; 0 when nothing is parsed. */
  version = 0;
  /** Offset of the transport header: behind IPv4 options or IPv6 extension headers. */
  transport = 0;
  /** Transport protocol number (for IPv6: the last next-header value; 44 is never left here). */
  protocol = 0;
  /** Fragment offset in bytes; 0 for whole packets and first fragments. */
  fragmentOffset = 0;
  /** 1 if more fragments follow, else 0. */
  moreFragments = 0;
  /** IPv6: offset of the fragment header, or 0. */
  fragmentHeader = 0;
  /** IPv6: 1 if the extension header chain could not be walked to a transport header, else 0. */
  brokenChain = 0;
  /** [8] source words 0-3, destination words 4-7. */
  readonly addresses = new Int32Array(8);
  /** A {@link ChecksumState}. */
  checksumState: number = ChecksumState.NONE;
  /**
   * Payload bytes of each segment that a TCP or UDP packet stands for (segmentation offload); 0 for an ordinary packet.
   * Its checksum is PARTIAL then, or (UDP over IPv4) there is none.
   */
  gsoSizeBytes = 0;

  /** Interface it came in by, 0 for locally sent. See `host.ts` for indices. */
  inInterface = 0;
  /** Interface it leaves by, 0 while not routed. */
  outInterface = 0;
  /** A {@link PacketType}. */
  packetType: number = PacketType.HOST;
  /** Source MAC address as two words (high 32 bits, low 16 bits); valid iff `hasMac` is 1. */
  macHigh = 0;
  macLow = 0;
  hasMac = 0;

  /** Firewall mark, int32 bits. */
  mark = 0;
  /** 1 if a local program sent it through a socket, which counts as the superuser's (the owner match). */
  fromSocket = 0;
  /** Number of the local socket that TPROXY gave it to (`Host.transparentSocket`), 0 for none. */
  socket = 0;
  /** Scheduling class that CLASSIFY sets; carried, without effect here. */
  priority = 0;
  /** 1 once the TRACE target was met. */
  traced = 0;
  /** Entry of the connection in its family's table, NIL (-1) without. */
  entry = NIL;
  /** A {@link CtInfo}. */
  ctinfo: number = CtInfo.INVALID;
  /**
   * Template that the CT target left for the tracker: zone in bits 0-15, bit 16 set when there is one, bits 17-18
   * the zone's direction (0 both, 1 original only, 2 reply only), bits 24-31 an index of the ruleset's CT options.
   */
  template = 0;
  /** 1 for an error or reset about an untracked packet: it is tracked itself, and CT rules cannot change that. */
  aboutUntracked = 0;
  /** Largest fragment that this packet arrived in, bytes of IP packet; 0 if it came whole. */
  fragmentMaxBytes = 0;
  /** 1 if the fragment that was largest carried DF (Linux then keeps DF on the way out). */
  fragmentDf = 0;
  /** Payload bytes of the fragments that this packet arrived in, in order; undefined if it came whole. */
  fragmentLengths: Int32Array | undefined = undefined;
  /** Why it was dropped, a {@link DropReason}. Set by whoever gives the verdict. */
  reason: DropReason = DropReason.NONE;

  /**
   * Points the view at the IP packet in `bytes[start, start + lengthBytes)` and validates its network header
   * (RFC 791, RFC 1122 section 3.2.1; RFC 8200). All metadata is reset. Returns NONE, or why the packet is none;
   * the view is then empty.
   */
  parse(bytes: Uint8Array, start = 0, lengthBytes = bytes.length - start): DropReason {
    this.clear();
    this.bytes = bytes;
    this.start = start;
    this.end = start + lengthBytes;
    return this.reparse();
  }

  /**
   * Reads the network header again after bytes, `start` or `end` changed; metadata stays. `end` is lowered to the
   * length that the header gives.
   */
  reparse(): DropReason {
    this.fragmentOffset = 0;
    this.moreFragments = 0;
    this.fragmentHeader = 0;
    this.brokenChain = 0;
    let reason: DropReason = DropReason.TRUNCATED;
    if (this.end > this.start) {
      const version = (this.bytes[this.start] as number) >>> 4;
      reason = version === 4 ? parseIpv4(this) : version === 6 ? parseIpv6(this) : DropReason.BAD_VERSION;
    }
    if (reason !== DropReason.NONE) this.version = 0;
    this.reason = reason;
    return reason;
  }

  /** Forgets packet and metadata; the buffer is let go. */
  clear(): void {
    this.bytes = EMPTY;
    this.start = 0;
    this.end = 0;
    this.version = 0;
    this.transport = 0;
    this.protocol = 0;
    this.checksumState = ChecksumState.NONE;
    this.gsoSizeBytes = 0;
    this.inInterface = 0;
    this.outInterface = 0;
    this.packetType = PacketType.HOST;
    this.hasMac = 0;
    this.mark = 0;
    this.fromSocket = 0;
    this.socket = 0;
    this.priority = 0;
    this.traced = 0;
    this.entry = NIL;
    this.ctinfo = CtInfo.INVALID;
    this.template = 0;
    this.aboutUntracked = 0;
    this.fragmentMaxBytes = 0;
    this.fragmentDf = 0;
    this.fragmentLengths = undefined;
    this.reason = DropReason.NONE;
  }

  /** Length of the IP packet in bytes, header included: what rule and connection counters add. */
  get lengthBytes(): number {
    return this.end - this.start;
  }

  /** Bytes from the transport header on. */
  get transportLengthBytes(): number {
    return this.end - this.transport;
  }

  /** 1 if this is a fragment other than the first: it has no transport header. */
  get isLaterFragment(): number {
    return this.fragmentOffset > 0 ? 1 : 0;
  }

  /** Byte at `offset` of `bytes`. */
  u8(offset: number): number {
    return this.bytes[offset] as number;
  }

  /** Big-endian 16-bit field at `offset`. */
  u16(offset: number): number {
    return ((this.bytes[offset] as number) << 8) | (this.bytes[offset + 1] as number);
  }

  /** Big-endian 32-bit field at `offset`, as int32. */
  i32(offset: number): number {
    const b = this.bytes;
    return (
      ((b[offset] as number) << 24) |
      ((b[offset + 1] as number) << 16) |
      ((b[offset + 2] as number) << 8) |
      (b[offset + 3] as number)
    );
  }

  setU16(offset: number, value: number): void {
    this.bytes[offset] = value >>> 8;
    this.bytes[offset + 1] = value;
  }

  setI32(offset: number, value: number): void {
    const b = this.bytes;
    b[offset] = value >>> 24;
    b[offset + 1] = value >>> 16;
    b[offset + 2] = value >>> 8;
    b[offset + 3] = value;
  }

  /** A copy of the IP packet's bytes, owned by the caller. */
  copyBytes(): Uint8Array {
    return this.bytes.slice(this.start, this.end);
  }
}
