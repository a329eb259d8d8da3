/**
 * The way out for packets that are not finished: they leave as they are where the link takes that, and are finished here
 * where it does not. Hot.
 *
 * What a link takes is told by bits (`OffloadBit`), by interface. A super-packet is judged by the length of its segments,
 * never by its own: whether they fit the link's MTU. Segments of IPv4 without DF that do not fit are fragmented, each.
 */
import { DropReason } from '../../counters.js';
import { splitIpv4 } from '../../fragments/split.js';
import { IPV4_DF } from '../../wire/ipv4.js';
import { ChecksumState, Packet } from '../../wire/packet.js';
import type { RouterCore } from '../core.js';
import { Icmp, Icmp6, sendError4, sendError6 } from '../icmp-errors.js';
import type { Origin } from '../link.js';
import type { Passage } from '../passage.js';
import type { Offload } from '../port.js';
import { OffloadBit } from './features.js';
import { headersBytes, longestBytes, Segmenter, type SegmentSink } from './segmenter.js';
import { completeChecksum } from './unfinished.js';

const PARTIAL = ChecksumState.PARTIAL;
const UNNECESSARY = ChecksumState.UNNECESSARY;
const { CHECKSUM, TCP4, TCP6, UDP: CUTS_UDP } = OffloadBit;

const TCP = 6;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/** What a departing packet leaves to its link; offsets are from the IP header. One for all, reused. */
class Left implements Offload {
  needsChecksum = 1;
  checksumStart = 0;
  checksumOffset = 0;
  gsoType: Offload['gsoType'] = 'none';
  gsoSizeBytes = 0;
  headerBytes = 0;

  /** Describes the packet, which is PARTIAL. */
  describe(packet: Packet): void {
    const isTcp = packet.protocol === TCP;
    this.checksumStart = packet.transport - packet.start;
    this.checksumOffset = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    this.gsoSizeBytes = packet.gsoSizeBytes;
    this.gsoType =
      packet.gsoSizeBytes === 0 ? 'none' : isTcp ? (packet.version === 4 ? 'tcp4' : 'tcp6') : 'udp';
    this.headerBytes = packet.gsoSizeBytes === 0 ? 0 : headersBytes(packet);
  }
}

/** Sends packets to links: `bytes[start, end)` is one. */
export interface Transmitter {
  transmit(
    out: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    origin: Origin,
    offload: Offload | undefined,
  ): void;
}

export class Departures implements SegmentSink {
  readonly #core: RouterCore;
  readonly #to: Transmitter;
  readonly #left = new Left();
  readonly #segmenter = new Segmenter();
  /** View of a segment that is fragmented. */
  readonly #view = new Packet();
  readonly #emit: (bytes: Uint8Array) => void;
  #out = 0;
  #origin: Origin = 'forwarded';
  #mtu = 0;
  #isCutting = 0;
  #inner: Departures | undefined = undefined;

  constructor(core: RouterCore, to: Transmitter) {
    this.#core = core;
    this.#to = to;
    this.#emit = (bytes) => to.transmit(this.#out, bytes, 0, bytes.length, this.#origin, undefined);
  }

  /**
   * Sends an unfinished packet (PARTIAL, or a super-packet) that is behind POSTROUTING. Returns 1 if it is gone; 0 if it
   * is an ordinary packet now that goes on.
   */
  depart(passage: Passage): 0 | 1 {
    const packet = passage.packet;
    const out = packet.outInterface;
    const { interfaces } = this.#core;
    const mtu = interfaces.mtu(out);
    const takes = interfaces.offloads(out);
    const origin = passage.isInput === 1 ? 'forwarded' : 'generated';
    const isPartial = packet.checksumState === PARTIAL;
    if (longestBytes(packet) <= mtu) {
      const needed = packet.gsoSizeBytes === 0 ? CHECKSUM : cutter(packet);
      if (isPartial && (takes & needed) !== 0 && packet.fragmentMaxBytes === 0) {
        this.#left.describe(packet);
        this.#to.transmit(out, packet.bytes, packet.start, packet.end, origin, this.#left);
        return 1;
      }
    } else if (packet.gsoSizeBytes > 0 && this.#refuse(passage, mtu) === 1) return 1;
    if (packet.gsoSizeBytes === 0) {
      completeChecksum(packet);
      return 0;
    }
    // What leaves may be answered within the call, and the answer be cut before this one is through.
    if (this.#isCutting === 1) {
      this.#inner ??= new Departures(this.#core, this.#to);
      return this.#inner.depart(passage);
    }
    this.#out = out;
    this.#origin = origin;
    this.#mtu = mtu;
    this.#isCutting = 1;
    try {
      this.#segmenter.cut(packet, this);
    } finally {
      this.#isCutting = 0;
    }
    return 1;
  }

  /** Segments that do not fit and must not be fragmented: their sender hears of it. Returns 1 if the packet is gone. */
  #refuse(passage: Passage, mtu: number): 0 | 1 {
    const packet = passage.packet;
    if (packet.version === 4) {
      if ((packet.u16(packet.start + 6) & IPV4_DF) === 0) return 0;
      sendError4(this.#core, passage, Icmp.UNREACHABLE, Icmp.FRAGMENTATION_NEEDED, mtu);
    } else sendError6(this.#core, passage, Icmp6.TOO_BIG, 0, mtu);
    this.#core.drop(passage, DropReason.TOO_BIG);
    return 1;
  }

  segment(bytes: Uint8Array, start: number, end: number): void {
    if (end - start <= this.#mtu) {
      this.#to.transmit(this.#out, bytes, start, end, this.#origin, undefined);
      return;
    }
    const view = this.#view;
    if (view.parse(bytes, start, end - start) === DropReason.NONE) {
      view.checksumState = UNNECESSARY;
      splitIpv4(view, this.#mtu, this.#emit);
    }
    view.clear();
  }
}

/** The bit of links that cut such a super-packet. */
function cutter(packet: Packet): number {
  if (packet.protocol !== TCP) return CUTS_UDP;
  return packet.version === 4 ? TCP4 : TCP6;
}
