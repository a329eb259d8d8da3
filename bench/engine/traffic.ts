/**
 * A router's engine under load: two interfaces, MASQUERADE, a ctstate rule, and prebuilt packets of many flows that
 * are copied into one buffer and run through PREROUTING, FORWARD and POSTROUTING. Shared with the no-allocation test.
 */
import { Engine } from '../../lib/engine.js';
import { StaticHost } from '../../lib/host.js';
import { Router } from '../../lib/network/router.js';
import { SeededRandom } from '../../lib/random.js';
import { sumPseudoHeader, sumRange } from '../../lib/wire/checksum.js';
import { CtInfo, Packet } from '../../lib/wire/packet.js';
import { Hook, Verdict } from '../../lib/wire/verdict.js';
import { clientOf, clientPortOf, serverOf } from '../flows.js';
import { SEED } from '../subject.js';

export const RULES = `*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
COMMIT
`;

const LAN = 1;
const WAN = 2;
const WAN_ADDRESS = 0xcb007101 | 0;
const SERVER_PORT = 443;
const PROTOCOL_NUMBERS = { icmp: 1, tcp: 6, udp: 17 } as const;
const ECHO_REQUEST = 8;
/** Bytes of every packet, and of the slot that it is stored in. */
const PACKET_BYTES = 52;
const SLOT_WORDS = 16;

export type Protocol = 'tcp' | 'udp' | 'icmp';
/** `engine`: the three hooks, one after the other. `router`: what a router does around them, too. `plain`: without its flow cache. */
export type Path = 'engine' | 'router' | 'plain';

const SYN = 0x02;
const ACK = 0x10;

/** An IPv4 packet of 52 bytes, checksums right. ICMP is an echo request or reply whose identifier is `id`. */
function writePacket(
  bytes: Uint8Array,
  at: number,
  protocol: Protocol,
  from: readonly [address: number, port: number],
  to: readonly [address: number, port: number],
  tcp: { flags: number; sequence: number; acknowledgement: number },
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, PACKET_BYTES);
  for (let i = 0; i < PACKET_BYTES; i++) view.setUint8(i, 0);
  view.setUint16(0, 0x4500);
  view.setUint16(2, PACKET_BYTES);
  view.setUint16(6, 0x4000);
  view.setUint8(8, 64);
  view.setUint8(9, PROTOCOL_NUMBERS[protocol]);
  view.setInt32(12, from[0]);
  view.setInt32(16, to[0]);
  view.setUint16(10, ~sumRange(bytes, at, at + 20, 0) & 0xffff);
  const addresses = Int32Array.of(from[0], 0, 0, 0, to[0], 0, 0, 0);
  const transportBytes = PACKET_BYTES - 20;
  let pseudo = sumPseudoHeader(addresses, PROTOCOL_NUMBERS[protocol], transportBytes);
  let checksumAt = 26;
  if (protocol === 'icmp') {
    const isReply = from[1] === SERVER_PORT;
    view.setUint8(20, isReply ? 0 : ECHO_REQUEST);
    view.setUint16(24, isReply ? to[1] : from[1]);
    pseudo = 0;
    checksumAt = 22;
  } else {
    view.setUint16(20, from[1]);
    view.setUint16(22, to[1]);
  }
  if (protocol === 'tcp') {
    view.setUint32(24, tcp.sequence);
    view.setUint32(28, tcp.acknowledgement);
    view.setUint16(32, 0x8000 | tcp.flags); // 32 bytes of header: timestamps, as everywhere
    view.setUint16(34, 0xffff);
    view.setUint32(40, 0x0101080a);
    view.setUint32(44, 1);
    checksumAt = 36;
  } else if (protocol === 'udp') {
    view.setUint16(24, transportBytes);
  }
  view.setUint16(checksumAt, ~sumRange(bytes, at + 20, at + PACKET_BYTES, pseudo) & 0xffff || 0xffff);
}

export class Traffic {
  readonly engine: Engine;
  readonly packet = new Packet();
  readonly protocol: Protocol;
  readonly #flows: number;
  readonly #original: Int32Array;
  readonly #reply: Int32Array;
  readonly #buffer = new Int32Array(SLOT_WORDS);
  /** The packet under way. */
  readonly #bytes = new Uint8Array(this.#buffer.buffer, 0, PACKET_BYTES);
  readonly #router: Router | undefined;
  #transmitted = 0;

  /** Packets for `flows` flows; `maxConnections` of the engine are as many. */
  constructor(protocol: Protocol, flows: number, path: Path = 'engine') {
    this.protocol = protocol;
    this.#flows = flows;
    const options = { random: new SeededRandom(SEED), seed: SEED, maxConnections: flows, buckets: flows };
    if (path !== 'engine') {
      this.#router = new Router({
        ...options,
        flowCache: path === 'router',
        interfaces: [
          { name: 'lan', addresses: ['10.0.0.1/8'] },
          { name: 'wan', addresses: ['203.0.113.1/24'] },
        ],
        routes: ['default dev wan'],
      });
      this.#router.onTransmit = () => {
        this.#transmitted++;
      };
      this.engine = this.#router.engine;
    } else {
      const host = new StaticHost([
        { name: 'lan', address4: [0x0a000001] },
        { name: 'wan', address4: [WAN_ADDRESS] },
      ]);
      this.engine = new Engine({ ...options, host });
    }
    this.engine.restore(4, RULES);
    this.#original = new Int32Array(flows * SLOT_WORDS);
    this.#reply = new Int32Array(flows * SLOT_WORDS);
    this.#write(ACK, 1001, 5001);
  }

  /** Writes every flow's packet of both directions. */
  #write(flags: number, sequence: number, acknowledgement: number): void {
    const original = new Uint8Array(this.#original.buffer);
    const reply = new Uint8Array(this.#reply.buffer);
    for (let flow = 0; flow < this.#flows; flow++) {
      const at = flow * SLOT_WORDS * 4;
      const client = [clientOf(flow), clientPortOf(flow)] as const;
      const server = [serverOf(flow), SERVER_PORT] as const;
      const replyFlags = flags === SYN ? SYN | ACK : flags;
      writePacket(original, at, this.protocol, client, server, { flags, sequence, acknowledgement });
      writePacket(reply, at, this.protocol, server, [WAN_ADDRESS, client[1]], {
        flags: replyFlags,
        sequence: acknowledgement === 0 ? 5000 : acknowledgement,
        acknowledgement: flags === SYN ? sequence + 1 : sequence,
      });
    }
  }

  /** Makes every flow ESTABLISHED and ASSURED within 4,000 ms. */
  establish(startMs = 0): void {
    if (this.protocol === 'tcp') {
      this.#write(SYN, 1000, 0);
      for (let flow = 0; flow < this.#flows; flow++) {
        this.#expect(this.sendOriginal(flow, startMs), CtInfo.NEW);
        this.#expect(this.sendReply(flow, startMs), CtInfo.ESTABLISHED_REPLY);
      }
      this.#write(ACK, 1001, 5001);
    }
    for (const nowMs of [startMs + 1, startMs + 4000]) {
      for (let flow = 0; flow < this.#flows; flow++) {
        const first = this.protocol !== 'tcp' && nowMs === startMs + 1;
        this.#expect(this.sendOriginal(flow, nowMs), first ? CtInfo.NEW : CtInfo.ESTABLISHED);
        this.#expect(this.sendReply(flow, nowMs), CtInfo.ESTABLISHED_REPLY);
      }
    }
    if (this.engine.tracker.count !== this.#flows) {
      throw new Error(`${this.engine.tracker.count} connections, not ${this.#flows}`);
    }
  }

  #expect(verdict: Verdict, ctinfo: CtInfo): void {
    const isWrong = this.#router === undefined && this.packet.ctinfo !== ctinfo;
    if (verdict !== Verdict.ACCEPT || isWrong) {
      throw new Error(`verdict ${verdict}, reason ${this.packet.reason}, ctinfo ${this.packet.ctinfo}`);
    }
  }

  /** One packet from the flow's client, whole path. With the path `engine` its view is in `packet` until the next. */
  sendOriginal(flow: number, nowMs: number): Verdict {
    return this.#forward(this.#original, flow, LAN, WAN, nowMs);
  }

  /** One packet from the flow's server. */
  sendReply(flow: number, nowMs: number): Verdict {
    return this.#forward(this.#reply, flow, WAN, LAN, nowMs);
  }

  #forward(packets: Int32Array, flow: number, from: number, to: number, nowMs: number): Verdict {
    const buffer = this.#buffer;
    const at = flow * SLOT_WORDS;
    for (let i = 0; i < SLOT_WORDS; i++) buffer[i] = packets[at + i] as number;
    const { packet, engine } = this;
    if (this.#router !== undefined) {
      const before = this.#transmitted;
      this.#router.receive(from, this.#bytes, nowMs);
      return this.#transmitted === before ? Verdict.DROP : Verdict.ACCEPT;
    }
    packet.parse(this.#bytes);
    packet.inInterface = from;
    let verdict = engine.run(Hook.PREROUTING, packet, nowMs);
    if (verdict !== Verdict.ACCEPT) return verdict;
    packet.outInterface = to;
    verdict = engine.run(Hook.FORWARD, packet, nowMs);
    if (verdict !== Verdict.ACCEPT) return verdict;
    return engine.run(Hook.POSTROUTING, packet, nowMs);
  }
}
