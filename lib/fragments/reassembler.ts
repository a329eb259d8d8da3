/**
 * Reassembly of IPv4 and IPv6 fragments, as conntrack does it before it looks at a packet (and a host before it
 * delivers one). Fragments are rare: this allocates.
 *
 * A datagram is known by family, side (came in, or locally sent), addresses, id and, for IPv4, protocol. `add` keeps
 * a fragment (STOLEN), refuses it (DROP), or turns the view into the whole packet, in a buffer of its own (ACCEPT).
 * Overlaps drop the whole datagram (RFC 5722, for IPv4 too), repeats of what is there are ignored. The view's
 * `fragmentLengths`, `fragmentMaxBytes` and `fragmentDf` keep what `split.ts` needs to send it on as it came.
 *
 * Bounded in time (a timeout from the first fragment on, after which `onExpire` hears of datagrams whose first
 * fragment is there) and in memory (above the high mark nothing is taken).
 */
import { DropReason } from '../counters.js';
import type { Packet } from '../wire/packet.js';
import { put16, sealIpv4 } from '../wire/segment.js';
import { Verdict } from '../wire/verdict.js';
import { Datagram, Insertion } from './datagram.js';

const ICMPV6_BYTES = 8;
const TCP = 6;
const TCP_BYTES = 20;
const UDP = 17;
const UDP_BYTES = 8;
const ICMPV6 = 58;

const IPV4_DF = 0x4000;
const IPV6_HEADER_BYTES = 40;
const FRAGMENT_HEADER_BYTES = 8;
const MAX_BYTES = 65535;
/** What a datagram, and each fragment that is kept, cost beside their bytes. */
const OVERHEAD_BYTES = 256;
/** Sources whose fragments are numbered for `maxDistance`. */
const SOURCES = 4096;
/** Combination of congestion bits that is no combination (RFC 3168 section 5.3). */
const BAD_ECN = -1;

/** Limits of one family, by the names of ipfrag_* and nf_conntrack_frag6_*. */
export interface FragmentLimits {
  /** How long a datagram may wait for its fragments. */
  timeoutMs: number;
  /** Above this nothing more is taken (high_thresh). */
  highBytes: number;
}

/** A datagram that ran out of time. */
export interface ExpiredDatagram {
  /** Its first fragment, whole. */
  readonly first: Uint8Array;
  /** Interface of the fragment that came last, 0 if it was sent locally. */
  readonly inInterface: number;
}

export class Reassembler {
  readonly limits4: FragmentLimits = { timeoutMs: 30_000, highBytes: 4 * 1024 * 1024 };
  readonly limits6: FragmentLimits = { timeoutMs: 60_000, highBytes: 4 * 1024 * 1024 };
  /** Fragments of other datagrams of an IPv4 source that may come in between (ipfrag_max_dist); 0 for any number. */
  maxDistance = 64;
  /** Told of datagrams that ran out of time and whose first fragment is there. */
  onExpire: ((expired: ExpiredDatagram) => void) | undefined = undefined;
  /** Bytes that waiting fragments take, both families. */
  heldBytes = 0;
  readonly #place: 'conntrack' | 'host';
  readonly #held = [0, 0];
  readonly #datagrams = new Map<string, Datagram>();
  readonly #sources = new Map<number, number>();

  /**
   * Where it stands: before conntrack, or in a host's own stack. Before conntrack an IPv6 fragment that contradicts the
   * length is dropped alone, everywhere else its datagram goes with it (as on Linux).
   */
  constructor(place: 'conntrack' | 'host' = 'conntrack') {
    this.#place = place;
  }

  /** Datagrams that wait. */
  get count(): number {
    return this.#datagrams.size;
  }

  /** When the next datagram runs out of time, ms; Infinity if none waits. */
  nextTimerMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const datagram of this.#datagrams.values()) next = Math.min(next, datagram.expiresMs);
    return next;
  }

  /** Gives up the datagrams whose time is over. */
  advance(nowMs: number): void {
    for (const [key, datagram] of this.#datagrams) {
      if (datagram.expiresMs > nowMs) continue;
      this.#forget(key, datagram);
      if (datagram.first !== undefined) {
        this.onExpire?.({ first: datagram.first, inInterface: datagram.inInterface });
      }
    }
  }

  /** Forgets all that waits. */
  clear(): void {
    for (const [key, datagram] of this.#datagrams) this.#forget(key, datagram);
  }

  /** Takes a fragment; packets that are none pass. See the file's header for the verdicts. */
  add(packet: Packet, nowMs: number): Verdict {
    if (packet.version === 6 ? packet.fragmentHeader === 0 : !isFragment(packet)) return Verdict.ACCEPT;
    this.advance(nowMs);
    return packet.version === 4 ? this.#add4(packet, nowMs) : this.#add6(packet, nowMs);
  }

  #add4(packet: Packet, nowMs: number): Verdict {
    const side = packet.inInterface === 0 ? 'o' : 'i';
    const { addresses, start } = packet;
    const key = `4${side}${addresses[0]},${addresses[4]},${packet.u16(start + 4)},${packet.protocol}`;
    const datagram = this.#datagram(key, packet, this.limits4, nowMs);
    if (datagram === undefined) return refuse(packet, DropReason.FRAGMENT_MEMORY);
    if (this.#isTooFar(datagram, addresses[0] as number)) this.#restart(datagram);
    const from = packet.fragmentOffset;
    let to = from + packet.transportLengthBytes;
    if (packet.moreFragments === 1) to &= ~7;
    const header = packet.transport - start;
    const hasDf = (packet.u16(start + 6) & IPV4_DF) !== 0;
    const insertion = this.#insert(datagram, packet, from, to, packet.u8(start + 1));
    if (insertion === Insertion.REPEAT) return refuse(packet, DropReason.FRAGMENT_BAD);
    if (insertion !== Insertion.TAKEN) return this.#discard(key, datagram, packet, insertion);
    const size = header + to - from;
    datagram.maxBytes = Math.max(datagram.maxBytes, size);
    if (hasDf) datagram.maxDfBytes = Math.max(datagram.maxDfBytes, size);
    if (from === 0) datagram.header = packet.bytes.slice(start, packet.transport);
    if (!datagram.isWhole) return Verdict.STOLEN;
    this.#forget(key, datagram);
    return whole4(packet, datagram);
  }

  #add6(packet: Packet, nowMs: number): Verdict {
    const { addresses, start, fragmentHeader: at } = packet;
    // Without the transport header in its first fragment a datagram is left alone (RFC 8200 section 4.5).
    if (packet.u16(start + 4) === 0 || isTruncatedFirst(packet)) return Verdict.ACCEPT;
    const side = packet.inInterface === 0 ? 'o' : 'i';
    const isLocalScope =
      (addresses[4] as number) >>> 24 === 0xff || (addresses[4] as number) >>> 22 === 0x3fa;
    const link = isLocalScope ? packet.inInterface : 0;
    const key = `6${side}${addresses.join()},${packet.i32(at + 4)},${link}`;
    const datagram = this.#datagram(key, packet, this.limits6, nowMs);
    if (datagram === undefined) return refuse(packet, DropReason.FRAGMENT_MEMORY);
    const from = packet.fragmentOffset;
    const to = from + packet.end - at - FRAGMENT_HEADER_BYTES;
    if (to > MAX_BYTES) return refuse(packet, DropReason.FRAGMENT_BAD);
    if (packet.moreFragments === 1 && (to & 7) !== 0) {
      this.#forget(key, datagram);
      return Verdict.ACCEPT;
    }
    const trafficClass = packet.u16(start) >>> 4;
    const insertion = this.#insert(datagram, packet, from, to, trafficClass);
    // As if it had been taken: the sender of a repeat hears of no error.
    if (insertion === Insertion.REPEAT) return Verdict.STOLEN;
    if (insertion === Insertion.CORRUPT && this.#place === 'conntrack') {
      return refuse(packet, DropReason.FRAGMENT_BAD);
    }
    if (insertion !== Insertion.TAKEN) return this.#discard(key, datagram, packet, insertion);
    datagram.maxBytes = Math.max(datagram.maxBytes, packet.end - start);
    if (from === 0) {
      datagram.header = packet.bytes.slice(start, at);
      datagram.next = packet.u8(at);
    }
    if (!datagram.isWhole) return Verdict.STOLEN;
    this.#forget(key, datagram);
    return whole6(packet, datagram);
  }

  /** The datagram of `key`, a new one if need be; undefined if memory is short. */
  #datagram(key: string, packet: Packet, limits: FragmentLimits, nowMs: number): Datagram | undefined {
    if ((this.#held[packet.version === 4 ? 0 : 1] as number) > limits.highBytes) return undefined;
    let datagram = this.#datagrams.get(key);
    if (datagram === undefined) {
      if (limits.highBytes === 0) return undefined;
      datagram = new Datagram(packet.version, nowMs + limits.timeoutMs);
      datagram.heldBytes = OVERHEAD_BYTES;
      this.#hold(packet.version, OVERHEAD_BYTES);
      this.#datagrams.set(key, datagram);
    }
    return datagram;
  }

  #insert(datagram: Datagram, packet: Packet, from: number, to: number, trafficClass: number): Insertion {
    const at = packet.version === 4 ? packet.transport : packet.fragmentHeader + FRAGMENT_HEADER_BYTES;
    const bytes = packet.bytes.slice(at, at + Math.max(0, to - from));
    const insertion = datagram.insert(bytes, from, packet.moreFragments);
    if (insertion !== Insertion.TAKEN) return insertion;
    datagram.inInterface = packet.inInterface;
    datagram.ecn |= 1 << (trafficClass & 3);
    const cost = bytes.length + OVERHEAD_BYTES;
    datagram.heldBytes += cost;
    this.#hold(datagram.version, cost);
    if (from === 0) datagram.first = packet.copyBytes();
    return insertion;
  }

  #discard(key: string, datagram: Datagram, packet: Packet, why: Insertion): Verdict {
    this.#forget(key, datagram);
    return refuse(packet, why === Insertion.OVERLAP ? DropReason.FRAGMENT_OVERLAP : DropReason.FRAGMENT_BAD);
  }

  #forget(key: string, datagram: Datagram): void {
    this.#datagrams.delete(key);
    this.#hold(datagram.version, -datagram.heldBytes);
    datagram.heldBytes = 0;
  }

  #hold(version: number, bytes: number): void {
    this.heldBytes += bytes;
    this.#held[version === 4 ? 0 : 1]! += bytes;
  }

  /** Whether more than `maxDistance` fragments of the source have come since the datagram's last one. */
  #isTooFar(datagram: Datagram, source: number): boolean {
    if (this.maxDistance === 0) return false;
    const number = (this.#sources.get(source) ?? 0) + 1;
    if (number === 1 && this.#sources.size >= SOURCES) this.#sources.clear();
    this.#sources.set(source, number);
    const distance = number - datagram.sourceNumber;
    datagram.sourceNumber = number;
    return !datagram.isEmpty && distance > this.maxDistance;
  }

  /** The id was used again: what is there belongs to another datagram. */
  #restart(datagram: Datagram): void {
    this.#hold(datagram.version, OVERHEAD_BYTES - datagram.heldBytes);
    datagram.restart();
    datagram.heldBytes = OVERHEAD_BYTES;
  }
}

function isFragment(packet: Packet): boolean {
  return packet.moreFragments === 1 || packet.fragmentOffset > 0;
}

function refuse(packet: Packet, reason: DropReason): Verdict {
  packet.reason = reason;
  return Verdict.DROP;
}

/** Whether a first fragment lacks part of its transport header. */
export function isTruncatedFirst(packet: Packet): boolean {
  if (packet.fragmentOffset > 0 || packet.brokenChain === 1) return false;
  let needed = 1;
  if (packet.protocol === TCP) needed = TCP_BYTES;
  else if (packet.protocol === UDP) needed = UDP_BYTES;
  else if (packet.protocol === ICMPV6) needed = ICMPV6_BYTES;
  return packet.transport + needed > packet.end;
}

/** Congestion bits of the whole from those of its fragments (RFC 3168 section 5.3), or BAD_ECN. */
function combineEcn(seen: number): number {
  if ((seen & 1) !== 0 && seen !== 1) return BAD_ECN;
  return (seen & 8) !== 0 && seen !== 8 ? 3 : 0;
}

/** Points the view at the whole IPv4 packet. */
function whole4(packet: Packet, datagram: Datagram): Verdict {
  const ecn = combineEcn(datagram.ecn);
  const header = datagram.header;
  const lengthBytes = header.length + datagram.endBytes;
  if (ecn === BAD_ECN || lengthBytes > MAX_BYTES) return refuse(packet, DropReason.FRAGMENT_BAD);
  const bytes = new Uint8Array(lengthBytes);
  bytes.set(header);
  datagram.copy(bytes, header.length);
  const keepsDf = datagram.maxDfBytes === datagram.maxBytes;
  put16(bytes, 2, lengthBytes);
  put16(bytes, 6, keepsDf ? IPV4_DF : 0);
  bytes[1]! |= ecn;
  sealIpv4(bytes, 0, header.length);
  return replace(packet, bytes, datagram, keepsDf ? 1 : 0);
}

/** Points the view at the whole IPv6 packet, its fragment header taken out. */
function whole6(packet: Packet, datagram: Datagram): Verdict {
  const ecn = combineEcn(datagram.ecn);
  const header = datagram.header;
  const payloadBytes = header.length - IPV6_HEADER_BYTES + datagram.endBytes;
  if (ecn === BAD_ECN || payloadBytes > MAX_BYTES) return refuse(packet, DropReason.FRAGMENT_BAD);
  const bytes = new Uint8Array(header.length + datagram.endBytes);
  bytes.set(header);
  datagram.copy(bytes, header.length);
  put16(bytes, 4, payloadBytes);
  bytes[1]! |= ecn << 4;
  bytes[lastNextField(bytes, header.length)] = datagram.next;
  return replace(packet, bytes, datagram, 0);
}

/** Offset of the next-header field that named the fragment header, which stood at `end`. */
function lastNextField(bytes: Uint8Array, end: number): number {
  let field = 6;
  let at = IPV6_HEADER_BYTES;
  while (at < end) {
    const isAuthentication = bytes[field] === 51;
    field = at;
    at += isAuthentication ? (bytes[at + 1]! + 2) << 2 : (bytes[at + 1]! + 1) << 3;
  }
  return field;
}

function replace(packet: Packet, bytes: Uint8Array, datagram: Datagram, keepsDf: number): Verdict {
  packet.bytes = bytes;
  packet.start = 0;
  packet.end = bytes.length;
  const reason = packet.reparse();
  if (reason !== DropReason.NONE) return refuse(packet, reason);
  packet.fragmentMaxBytes = datagram.maxBytes;
  packet.fragmentDf = keepsDf;
  packet.fragmentLengths = datagram.lengths();
  return Verdict.ACCEPT;
}
