/**
 * A gateway as a user makes it, for the rows of the documents that this project answers: everything here and in the tests
 * beside comes through the public door.
 *
 *     > SYN seq 999 | new SYN_SENT
 *     < SYN,ACK seq 4999 ack 1000 | SYN_RECV
 *     +1248
 *
 * is a TCP conversation: `>` is the client. Behind the bar stand the state of its connection afterwards, with `new` if the
 * packet began it, or `gone`, or `dropped` if the packet did not leave on the other side.
 */
import { expect } from 'vitest';
import {
  type Connection,
  createGateway,
  formatPacket,
  type Gateway,
  type GatewayOptions,
  ManualClock,
  parsePacket,
  SeededRandom,
} from '../../lib/index.js';

export const MASQUERADE = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
export const TRACKED = '*filter\n-A FORWARD -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n';

export class Lab {
  readonly clock: ManualClock;
  readonly gateway: Gateway;
  /** What left since it was asked last: interface, and packet in words. */
  #sent: string[] = [];

  constructor(rules: string | undefined, options: Partial<GatewayOptions> = {}, startMs = 0) {
    this.clock = new ManualClock(startMs);
    this.gateway = createGateway({
      clock: this.clock,
      random: new SeededRandom(1),
      seed: 1,
      maxConnections: 1024,
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/16', 'fd00:a::1/64'], mtu: 9200 },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
      ],
      routes: ['default dev wan', '-6 default dev wan'],
      ...(rules === undefined ? {} : { rules: { 4: rules, 6: rules } }),
      ...options,
    });
    for (const port of this.gateway.interfaces) {
      port.onTransmit = (bytes) => this.#sent.push(`${port.name} ${formatPacket(bytes)}`);
    }
  }

  /** Hands a packet to an interface; what leaves because of it. */
  send(name: 'lan' | 'wan', text: string): string[] {
    this.gateway.interface(name).receive(parsePacket(text));
    return this.take();
  }

  take(): string[] {
    return this.#sent.splice(0);
  }

  /** Lets time pass, up to `ms`. */
  until(ms: number): void {
    this.clock.advance(ms - this.clock.nowMs());
    this.gateway.advance();
  }

  /** Copies of what is in the table. */
  list(): Connection[] {
    return this.gateway.engine.connections.list({}, this.clock.nowMs());
  }

  /** Records in use, expired ones that nobody has met yet included. */
  get count(): number {
    return this.gateway.engine.tracker.count;
  }

  /** One datagram of each of `count` clients to the same port; they share nothing but the server. */
  flows(count: number, first = 0): void {
    for (let i = first; i < first + count; i++) {
      this.send('lan', `udp 10.0.${2 + (i >>> 8)}.${i & 255}:5000 > 198.51.100.7:53 len 1`);
    }
  }
}

/** One client's talk with one server through a lab. */
export class Talk {
  readonly lab: Lab;
  /** Port by which the server knows the client. */
  seenPort: number | undefined;
  readonly #client: string;
  readonly #server: string;
  #id: number | undefined;

  constructor(lab: Lab, client = '10.0.0.2:40000', server = '198.51.100.7:80') {
    this.lab = lab;
    this.#client = client;
    this.#server = server;
  }

  /** Says every line, and holds the gateway to what stands behind the bars. */
  say(text: string): this {
    const lines = text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    expect(lines.map((line) => this.#line(line)).join('\n')).toBe(lines.join('\n'));
    return this;
  }

  /** Its connection now. */
  get connection(): Connection | undefined {
    const [source, sourcePort] = this.#client.split(':') as [string, string];
    return this.lab.gateway.engine.connections.get(
      6,
      { source, sourcePort: Number(sourcePort) },
      this.lab.clock.nowMs(),
    );
  }

  #line(line: string): string {
    if (line.startsWith('+')) {
      this.lab.until(this.lab.clock.nowMs() + Number(line.slice(1)));
      return line;
    }
    const [said = ''] = line.split(' | ');
    return `${said} | ${said.startsWith('>') ? this.#out(said.slice(2)) : this.#back(said.slice(2))}`;
  }

  #out(rest: string): string {
    const sent = this.lab.send('lan', `tcp ${this.#client} > ${this.#server} ${rest}`);
    const left = /^wan tcp (\S+):(\d+) > /.exec(sent.join());
    if (left === null) return 'dropped';
    const port = Number(left[2]);
    expect(this.seenPort ?? port, 'all incarnations have one port').toBe(port);
    this.seenPort = port;
    return this.#state();
  }

  #back(rest: string): string {
    const { engine } = this.lab.gateway;
    const seen = engine.save(4).includes('MASQUERADE') ? `203.0.113.1:${this.seenPort}` : this.#client;
    const sent = this.lab.send('wan', `tcp ${this.#server} > ${seen} ${rest}`);
    if (!sent.join().startsWith(`lan tcp ${this.#server} > ${this.#client} `)) return 'dropped';
    return this.#state();
  }

  #state(): string {
    const { connection } = this;
    if (connection === undefined) return 'gone';
    const isNew = connection.id !== this.#id;
    this.#id = connection.id;
    return `${isNew ? 'new ' : ''}${connection.state}`;
  }
}

/** The handshake of a client and a server whose first numbers are 999 and 4999. */
export const HANDSHAKE = `
  > SYN seq 999 | new SYN_SENT
  < SYN,ACK seq 4999 ack 1000 | SYN_RECV
  > ACK seq 1000 ack 5000 | ESTABLISHED
`;
