/**
 * Targets that change TCP options: TCPMSS, TCPOPTSTRIP. Hot; only a SYN that gets an option it did not have moves to a
 * new buffer.
 */
import { DropReason } from '../../counters.js';
import type { Host } from '../../host.js';
import { adjustChecksum16, adjustChecksum32, fold } from '../../wire/checksum.js';
import { ChecksumState, type Packet } from '../../wire/packet.js';
import { Verdict } from '../../wire/verdict.js';
import type { Family, TcpmssTarget, TcpoptstripTarget } from '../ast.js';
import { CONTINUE, type RuleContext, type Target } from '../context.js';

const ON = CONTINUE;
const DROP = Verdict.DROP;
const TRUNCATED = DropReason.TRUNCATED;
const TOO_BIG = DropReason.TOO_BIG;
const PARTIAL = ChecksumState.PARTIAL;

const TCP_HEADER_BYTES = 20;
const TCP_HEADER_MOST_BYTES = 60;
const TCP_CHECKSUM = 16;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const MSS_BYTES = 4;

/** MSS of a sender that offers none (RFC 9293 section 3.7.1). */
const DEFAULT_MSS_4 = 536;
const DEFAULT_MSS_6 = 1220;

/** Length of the option at `at`; 1 for NOP, END and one whose length says 0. */
function optionBytes(packet: Packet, at: number): number {
  return packet.u8(at) <= OPTION_NOP ? 1 : packet.u8(at + 1) || 1;
}

/** Adjusts the TCP checksum for a changed 16-bit word of the segment, unless it is completed later anyway. */
function adjust(packet: Packet, transport: number, before: number, after: number): void {
  if (packet.checksumState === PARTIAL) return;
  const at = transport + TCP_CHECKSUM;
  packet.setU16(at, adjustChecksum16(packet.u16(at), before, after));
}

function drop(packet: Packet, reason: DropReason): number {
  packet.reason = reason;
  return DROP;
}

export class MssTarget implements Target {
  /** 0: clamp to the path's MTU. */
  readonly #mss: number;
  readonly #host: Host;
  /** Bytes of the IP and TCP headers without options. */
  readonly #headerBytes: number;
  readonly #defaultMss: number;

  constructor(spec: TcpmssTarget, family: Family, host: Host) {
    this.#mss = spec.mss === 'clamp-to-pmtu' ? 0 : spec.mss;
    this.#host = host;
    this.#headerBytes = family === 4 ? 40 : 60;
    this.#defaultMss = family === 4 ? DEFAULT_MSS_4 : DEFAULT_MSS_6;
  }

  act(packet: Packet, context: RuleContext): number {
    if (context.fragmentOffset !== 0) return ON;
    const transport = context.transport;
    const bytes = packet.end - transport;
    if (bytes < TCP_HEADER_BYTES) return drop(packet, TRUNCATED);
    const headerBytes = (packet.u8(transport + 12) >>> 4) << 2;
    if (headerBytes < TCP_HEADER_BYTES || headerBytes > bytes) return drop(packet, TRUNCATED);
    // The whole packet is made writable, in one piece: it does not leave in the fragments that it came in.
    packet.fragmentLengths = undefined;
    const mss = this.#limit(packet);
    if (mss <= 0) return drop(packet, TOO_BIG);
    const last = transport + headerBytes - MSS_BYTES;
    for (let at = transport + TCP_HEADER_BYTES; at <= last; at += optionBytes(packet, at)) {
      if (packet.u8(at) !== OPTION_MSS || packet.u8(at + 1) !== MSS_BYTES) continue;
      const before = packet.u16(at + 2);
      // Never raised: who offers a small one has a reason.
      if (before <= mss) return ON;
      packet.setU16(at + 2, mss);
      // Linux takes the value as an aligned word wherever the option stands.
      adjust(packet, transport, before, mss);
      return ON;
    }
    if (bytes === headerBytes && headerBytes < TCP_HEADER_MOST_BYTES) {
      this.#insert(packet, transport, Math.min(mss, this.#defaultMss));
    }
    return ON;
  }

  /** The MSS to set: the path's in both directions if it is to be clamped, as far as the host knows. */
  #limit(packet: Packet): number {
    if (this.#mss !== 0) return this.#mss;
    const out = this.#host.mtu(packet.outInterface);
    const back = packet.inInterface === 0 ? out : this.#host.mtu(packet.inInterface);
    return Math.min(out, back) - this.#headerBytes;
  }

  /** Puts the option in front of the others, in a buffer of its own. */
  #insert(packet: Packet, transport: number, mss: number): void {
    const start = packet.start;
    const options = transport + TCP_HEADER_BYTES;
    const grown = new Uint8Array(packet.end - start + MSS_BYTES);
    grown.set(packet.bytes.subarray(start, options));
    grown.set(packet.bytes.subarray(options, packet.end), options - start + MSS_BYTES);
    packet.bytes = grown;
    packet.transport -= start;
    if (packet.fragmentHeader > 0) packet.fragmentHeader -= start;
    packet.start = 0;
    packet.end = grown.length;
    const tcp = transport - start;
    const at = options - start;
    packet.setI32(at, (OPTION_MSS << 24) | (MSS_BYTES << 16) | mss);
    const word = packet.u16(tcp + 12);
    packet.setU16(tcp + 12, word + ((MSS_BYTES / 4) << 12));
    const bytes = grown.length - tcp;
    const field = tcp + TCP_CHECKSUM;
    if (packet.checksumState === PARTIAL) {
      packet.setU16(field, fold(packet.u16(field) + (~(bytes - MSS_BYTES) & 0xffff) + bytes));
    } else {
      let checksum = adjustChecksum16(packet.u16(field), bytes - MSS_BYTES, bytes);
      checksum = adjustChecksum32(checksum, 0, packet.i32(at));
      packet.setU16(field, adjustChecksum16(checksum, word, packet.u16(tcp + 12)));
    }
    this.#lengthen(packet);
  }

  /** The IP header's length after the option was put in. */
  #lengthen(packet: Packet): void {
    if (packet.version === 4) {
      const before = packet.u16(2);
      packet.setU16(10, adjustChecksum16(packet.u16(10), before, before + MSS_BYTES));
      packet.setU16(2, before + MSS_BYTES);
    } else {
      packet.setU16(4, packet.u16(4) + MSS_BYTES);
    }
  }
}

/** Overwrites TCP options with NOPs. */
export class StripOptionsTarget implements Target {
  /** [256] 1 for kinds to strip. */
  readonly #strip = new Uint8Array(256);

  constructor(spec: TcpoptstripTarget) {
    for (const kind of spec.options) this.#strip[kind] = 1;
  }

  act(packet: Packet, context: RuleContext): number {
    if (context.fragmentOffset !== 0) return ON;
    const transport = context.transport;
    const bytes = packet.end - transport;
    if (bytes < TCP_HEADER_BYTES) return drop(packet, TRUNCATED);
    const headerBytes = (packet.u8(transport + 12) >>> 4) << 2;
    if (headerBytes > bytes) return drop(packet, TRUNCATED);
    const end = transport + headerBytes;
    for (let at = transport + TCP_HEADER_BYTES; at < end - 1; ) {
      const length = optionBytes(packet, at);
      if (at + length > end) break;
      if (this.#strip[packet.u8(at)] === 1) this.#blank(packet, transport, at, length);
      at += length;
    }
    return ON;
  }

  #blank(packet: Packet, transport: number, from: number, length: number): void {
    for (let at = from; at < from + length; at++) {
      const shift = ((at - transport) & 1) === 0 ? 8 : 0;
      adjust(packet, transport, packet.u8(at) << shift, OPTION_NOP << shift);
      packet.bytes[at] = OPTION_NOP;
    }
  }
}
