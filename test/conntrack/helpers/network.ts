/**
 * A router between a LAN and the world, told packets in scenario notation. What leaves is kept as text, payloads as
 * strings. Interfaces: lan 10.0.0.1/24, wan 203.0.113.1/24.
 */
import { Router } from '../../../lib/network/router.js';
import { SeededRandom } from '../../../lib/random.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';

export const MASQUERADE = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
export const FTP = '*raw\n-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\nCOMMIT\n';
export const TFTP = '*raw\n-A PREROUTING -p udp --dport 69 -j CT --helper tftp\nCOMMIT\n';

/** A packet that left: where, its headers without the payload, and the payload as text. */
export interface Sent {
  readonly by: string;
  readonly head: string;
  readonly payload: string;
}

export class Network {
  readonly router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: 1500 },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'], mtu: 1500 },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    tracking: 'always',
    maxConnections: 256,
    seed: 1,
    random: new SeededRandom(1),
  });
  nowMs = 0;
  #sent: Sent[] = [];

  constructor(...rules: readonly string[]) {
    this.router.sysctl('net.ipv4.ip_forward', 1);
    this.router.sysctl('net.ipv6.conf.all.forwarding', 1);
    for (const text of rules) this.router.engine.restore(4, text);
    this.router.onTransmit = (index, bytes) => {
      const payloadAt = payloadOffset(bytes);
      this.#sent.push({
        by: index === 1 ? 'lan' : 'wan',
        head: formatPacket(bytes.slice()),
        payload: String.fromCharCode(...bytes.subarray(payloadAt)),
      });
    };
  }

  get engine() {
    return this.router.engine;
  }

  /** A packet from `lan` or `wan`; returns what left because of it. */
  packet(from: 'lan' | 'wan', text: string): readonly Sent[] {
    this.#sent = [];
    this.router.receive(from === 'lan' ? 1 : 2, parsePacket(text), this.nowMs);
    return this.#sent;
  }

  /** Whether a packet leaves at all. */
  passes(from: 'lan' | 'wan', text: string): boolean {
    return this.packet(from, text).length > 0;
  }

  /** Status bits of the connection with these ports; 0 without one. */
  status(sourcePort: number, destinationPort: number): number {
    const [found] = this.engine.connections.list({ original: { sourcePort, destinationPort } }, this.nowMs);
    return found?.status ?? 0;
  }
}

/** Text as the bytes of a packet's `data`. */
export function hex(text: string): string {
  return Array.from(text, (char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}

function payloadOffset(bytes: Uint8Array): number {
  const transport = bytes[0]! >>> 4 === 4 ? (bytes[0]! & 15) * 4 : 40;
  const protocol = bytes[0]! >>> 4 === 4 ? bytes[9]! : bytes[6]!;
  return transport + (protocol === 6 ? (bytes[transport + 12]! >>> 4) * 4 : 8);
}

/** One end of a TCP conversation, in its own view. */
interface End {
  readonly from: 'lan' | 'wan';
  readonly ends: string;
  next: number;
  awaited: number;
}

/** A control connection from `10.0.0.2:4000` to `198.51.100.7:21`, which the server sees as from `seenAs`. */
export class Control {
  readonly network: Network;
  readonly client: End;
  readonly server: End;

  constructor(network: Network, seenAs = '10.0.0.2:4000') {
    this.network = network;
    this.client = { from: 'lan', ends: '10.0.0.2:4000 > 198.51.100.7:21', next: 1001, awaited: 5001 };
    this.server = { from: 'wan', ends: `198.51.100.7:21 > ${seenAs}`, next: 5001, awaited: 1001 };
    network.packet('lan', `tcp ${this.client.ends} SYN seq 1000`);
    network.packet('wan', `tcp ${this.server.ends} SYN,ACK seq 5000 ack 1001`);
    network.packet('lan', `tcp ${this.client.ends} ACK seq 1001 ack 5001`);
  }

  /** A line from one end; what arrives is acknowledged. Returns the payload that left, undefined if nothing did. */
  say(by: 'client' | 'server', text: string): string | undefined {
    const [end, other] = by === 'client' ? [this.client, this.server] : [this.server, this.client];
    const [left] = this.network.packet(end.from, this.segment(end, text));
    if (left === undefined) return undefined;
    end.next += text.length;
    other.awaited += left.payload.length;
    this.network.packet(other.from, `tcp ${other.ends} ACK seq ${other.next} ack ${other.awaited}`);
    return left.payload;
  }

  segment(end: End, text: string, sequence = end.next): string {
    return `tcp ${end.ends} PSH,ACK seq ${sequence} ack ${end.awaited} data ${hex(text)}`;
  }

  /** Both ends have spoken a line: what follows is believed. */
  greet(): this {
    this.say('server', '220 ready\r\n');
    this.say('client', 'USER me\r\n');
    this.say('server', '230 in\r\n');
    return this;
  }
}
