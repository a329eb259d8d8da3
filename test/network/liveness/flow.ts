/**
 * A router between a client and a server, and what passes between them as text.
 *
 *     > SYN seq 999 | NEW#1 SYN_SENT :40000
 *     < SYN,ACK seq 4999 ack 1000 | #1 SYN_RECV
 *     +1248
 *
 * `>` is the client. Behind the bar: NEW if the packet began an entry, the number of the entry in the order of their
 * beginnings, the state afterwards, `closed` without an entry, and of a client's SYN the port that the server sees; or
 * `dropped` if the packet did not leave.
 */
import { expect } from 'vitest';
import { type Connection, Packet, parsePacket, Router, type RouterOptions } from '../../../lib/index.js';

export const SNAT = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
export const ONE_PORT = '*nat\n-A POSTROUTING -o wan -p tcp -j SNAT --to-source 203.0.113.1:7000\nCOMMIT\n';
export const NO_NAT = '*filter\n-A FORWARD -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n';

const LAN = 1;
const WAN = 2;
const CLIENT = '10.0.0.2';
const SERVER = '198.51.100.7';

export interface Sent {
  readonly interface: string;
  readonly bytes: Uint8Array;
}

export class Network {
  readonly router: Router;
  readonly sent: Sent[] = [];
  nowMs = 0;
  readonly #packet = new Packet();
  readonly #numbers = new Map<number, number>();

  constructor(rules: string, options: Partial<RouterOptions> = {}) {
    this.router = new Router({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24'] },
        { name: 'wan', addresses: ['203.0.113.1/24'] },
      ],
      routes: ['default dev wan'],
      maxConnections: 4096,
      seed: 1,
      ...options,
    });
    this.router.engine.restore(4, rules);
    this.router.onTransmit = (index, bytes) => {
      this.sent.push({ interface: this.router.interfaces.name(index), bytes: bytes.slice() });
    };
  }

  /** Sends a packet in; what leaves because of it. */
  send(from: 'lan' | 'wan', text: string): Sent[] {
    const before = this.sent.length;
    this.router.receive(from === 'lan' ? LAN : WAN, parsePacket(text), this.nowMs);
    return this.sent.slice(before);
  }

  /** Number of a connection in the order in which they were first seen. */
  number({ id }: Connection): string {
    const known = this.#numbers.get(id);
    if (known !== undefined) return `#${known}`;
    this.#numbers.set(id, this.#numbers.size + 1);
    return `NEW#${this.#numbers.size}`;
  }

  /** Ports of a packet: source and destination. */
  ports(bytes: Uint8Array): [number, number] {
    const packet = this.#packet;
    packet.parse(bytes);
    return [packet.u16(packet.transport), packet.u16(packet.transport + 2)];
  }
}

/** One conversation through a network. */
export class Flow {
  readonly network: Network;
  readonly clientPort: number;
  /** The client's port as the server knows it. */
  seenPort: number;

  constructor(network: Network, clientPort = 40000) {
    this.network = network;
    this.clientPort = clientPort;
    this.seenPort = clientPort;
  }

  /** Says every line and holds the network to what stands behind the bars. */
  say(text: string): void {
    const lines = text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    expect(lines.map((line) => this.#line(line)).join('\n')).toBe(lines.join('\n'));
  }

  /** One packet; what stands behind the bar. */
  packet(arrow: string, rest: string): string {
    const { network } = this;
    const isClient = arrow === '>';
    const outside = network.router.engine.save(4).includes('*nat') ? '203.0.113.1' : CLIENT;
    const ends = isClient
      ? `${CLIENT}:${this.clientPort} > ${SERVER}:80`
      : `${SERVER}:80 > ${outside}:${this.seenPort}`;
    const sent = network.send(isClient ? 'lan' : 'wan', `tcp ${ends} ${rest}`);
    if (sent.length === 0) return 'dropped';
    const [source, destination] = network.ports(sent[0]!.bytes);
    expect(sent.map((one) => one.interface)).toEqual([isClient ? 'wan' : 'lan']);
    if (isClient) this.seenPort = source;
    else expect(destination).toBe(this.clientPort);
    const { connection } = this;
    const seen = isClient && rest.startsWith('SYN') ? ` :${source}` : '';
    return (connection === undefined ? 'closed' : `${network.number(connection)} ${connection.state}`) + seen;
  }

  /** The flow's connection now. */
  get connection(): Connection | undefined {
    const { router, nowMs } = this.network;
    return router.engine.connections.list({ original: { sourcePort: this.clientPort } }, nowMs)[0];
  }

  #line(line: string): string {
    if (line.startsWith('+')) {
      this.network.nowMs += Number(line.slice(1));
      return line;
    }
    const [said = ''] = line.split(' | ');
    return `${said} | ${this.packet(said.slice(0, 1), said.slice(2))}`;
  }
}
