import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../lib/clock.js';
import { ConfigurationError } from '../../../lib/errors.js';
import { TcpSockets } from '../../../lib/network/local/tcp.js';
import type { TcpConnection } from '../../../lib/network/local/tcp-connection.js';
import { TcpEndpoint } from '../../../lib/network/local/tcp-endpoint.js';
import type { TcpFlow } from '../../../lib/network/local/tcp-flows.js';
import { readSegment, writeSegment } from '../../../lib/network/local/tcp-segment.js';
import { Router } from '../../../lib/network/router.js';
import { SeededRandom } from '../../../lib/random.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';
import { Packet } from '../../../lib/wire/packet.js';

const LAN = 1;
const CLIENT = 0x0a000002;
const SERVER = 0x5db8d822;
const REDIRECT = '-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 3128';

class Bench {
  readonly clock = new ManualClock();
  readonly router: Router;
  readonly tcp: TcpSockets;
  readonly sent: string[] = [];
  readonly clients = new Map<number, Client>();

  constructor(rules = REDIRECT) {
    const { clock } = this;
    this.router = new Router({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: 1500 },
        { name: 'wan', addresses: ['192.0.2.1/24'], mtu: 1500 },
      ],
      routes: ['default dev wan'],
      maxConnections: 256,
      random: new SeededRandom(7),
      tracking: 'always',
      seed: 1,
    });
    if (rules !== '') {
      this.router.engine.restore(4, `*nat\n${rules}\nCOMMIT\n`, 'rules');
      this.router.engine.restore(6, `*nat\n${rules}\nCOMMIT\n`, 'rules');
    }
    this.tcp = new TcpSockets(this.router, {
      get nowMs(): number {
        return clock.nowMs();
      },
    });
    this.router.onTransmit = (index, bytes) => {
      this.sent.push(`${this.router.interfaces.name(index)} ${formatPacket(bytes)}`);
      const packet = new Packet();
      packet.parse(bytes);
      this.clients.get(packet.u16(packet.transport + 2))?.take(packet);
    };
  }

  receive(text: string): void {
    this.router.receive(LAN, parsePacket(text), this.clock.nowMs());
  }

  advance(ms: number): void {
    for (const end = this.clock.nowMs() + ms; this.clock.nowMs() < end; ) {
      this.clock.advance(Math.min(5, end - this.clock.nowMs()));
      const nowMs = this.clock.nowMs();
      if (this.tcp.nextMs() <= nowMs) this.tcp.advance(nowMs);
      for (const { endpoint } of this.clients.values())
        if (endpoint.nextMs() <= nowMs) endpoint.advance(nowMs);
    }
  }

  /** Lets promises run, and everything that they lead to. */
  async settle(): Promise<void> {
    for (let i = 0; i < 50; i++) await Promise.resolve();
  }

  connect(port: number, destination = SERVER): Client {
    const client = new Client(this, port, destination);
    this.clients.set(port, client);
    client.endpoint.connect(this.clock.nowMs());
    client.flush();
    return client;
  }
}

/** A host on the lan with one TCP connection. */
class Client {
  readonly endpoint: TcpEndpoint;
  readonly #bench: Bench;
  readonly #out: Uint8Array[] = [];
  #isFlushing = false;

  constructor(bench: Bench, port: number, destination: number) {
    this.#bench = bench;
    const addresses = new Int32Array([CLIENT, 0, 0, 0, destination, 0, 0, 0]);
    const ends = { version: 4 as const, addresses, sourcePort: port, destinationPort: 80 };
    this.endpoint = new TcpEndpoint({
      mss: 1460,
      random: new SeededRandom(port),
      transmit: (segment) => {
        this.#out.push(writeSegment(ends, segment, 64, 1));
        if (!this.#isInside) this.flush();
      },
    });
  }

  #isInside = false;

  take(packet: Packet): void {
    this.#isInside = true;
    this.endpoint.receive(readSegment(packet), this.#bench.clock.nowMs());
    this.#isInside = false;
    this.flush();
  }

  flush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    for (let one = this.#out.shift(); one !== undefined; one = this.#out.shift()) {
      this.#bench.router.receive(LAN, one, this.#bench.clock.nowMs());
    }
    this.#isFlushing = false;
  }

  say(text: string): void {
    this.endpoint.write(new TextEncoder().encode(text), this.#bench.clock.nowMs());
  }

  heard(): string {
    let text = '';
    for (let part = this.endpoint.read(); part !== undefined; part = this.endpoint.read()) {
      text += new TextDecoder().decode(part);
    }
    return text;
  }
}

function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

const SYN = 'tcp 10.0.0.2:5000 > 93.184.216.34:80 SYN seq 100';

describe('a handed-over flow', () => {
  it('begins with its SYN, knows where the client wanted to go, and is un-NATed on the way out', () => {
    const bench = new Bench();
    const flows: TcpFlow[] = [];
    const packets: string[] = [];
    bench.tcp.handOver({ port: 3128 }, (flow) => {
      flows.push(flow);
      flow.onPacket = (bytes) => packets.push(formatPacket(bytes));
    });
    bench.receive(SYN);
    bench.receive(SYN);
    expect(flows).toHaveLength(1);
    const [flow] = flows as [TcpFlow];
    expect(flow.source).toEqual({ address: '10.0.0.2', port: 5000 });
    expect(flow.destination).toEqual({ address: '10.0.0.1', port: 3128 });
    expect(flow.originalDst).toEqual({ address: '93.184.216.34', port: 80 });
    expect(flow.interface).toBe('lan');
    expect(packets).toHaveLength(2);
    expect(packets[0]).toContain('tcp 10.0.0.2:5000 > 10.0.0.1:3128 SYN seq 100');
    flow.send(parsePacket('tcp 10.0.0.1:3128 > 10.0.0.2:5000 SYN,ACK seq 7 ack 101'));
    expect(bench.sent.join()).toContain('lan tcp 93.184.216.34:80 > 10.0.0.2:5000 SYN,ACK seq 7 ack 101');
  });

  it.each([
    ['another client', 'tcp 10.0.0.1:3128 > 10.0.0.3:5000 ACK'],
    ['another port', 'tcp 10.0.0.1:3129 > 10.0.0.2:5000 ACK'],
    ['the address that the client asked', 'tcp 93.184.216.34:80 > 10.0.0.2:5000 ACK'],
    ['another protocol', 'udp 10.0.0.1:3128 > 10.0.0.2:5000'],
  ])('cannot send in the name of %s: EPERM, counted', (_, packet) => {
    const bench = new Bench();
    let flow: TcpFlow | undefined;
    bench.tcp.handOver({ port: 3128 }, (one) => {
      flow = one;
    });
    bench.receive(SYN);
    expect(errorOf(() => flow?.send(parsePacket(packet)))).toMatchObject({ code: 'EPERM' });
    expect(bench.router.engine.drops.toObject()).toEqual({ 'source-refused': 1 });
    expect(bench.sent).toEqual([]);
  });

  it('is over when it is closed: what still comes gets a reset, from the address that the client asked', () => {
    const bench = new Bench();
    const handOver = bench.tcp.handOver({ port: 3128 }, (flow) => {
      flow.onPacket = () => {
        flow.send(parsePacket('tcp 10.0.0.1:3128 > 10.0.0.2:5000 SYN,ACK seq 0 ack 101'));
        flow.close();
      };
    });
    bench.receive(SYN);
    expect(handOver.flowCount).toBe(0);
    bench.receive('tcp 10.0.0.2:5000 > 93.184.216.34:80 ACK seq 101 ack 1');
    expect(bench.sent.join()).toContain('tcp 93.184.216.34:80 > 10.0.0.2:5000 RST seq 1');
  });

  it('comes by DNAT to one of our addresses as well, and over IPv6', () => {
    const bench = new Bench('-A PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 8443');
    bench.router.engine.restore(
      4,
      '*nat\n-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 192.0.2.1:3128\nCOMMIT\n',
    );
    const originals: unknown[] = [];
    const note = (flow: TcpFlow): unknown => originals.push([flow.destination.address, flow.originalDst]);
    bench.tcp.handOver({ address: '192.0.2.1', port: 3128 }, note);
    bench.tcp.handOver({ port: 8443 }, note);
    bench.receive(SYN);
    bench.receive('tcp [fd00:a::2]:5000 > [2606:2800::1]:443 SYN seq 1');
    expect(originals).toEqual([
      ['192.0.2.1', { address: '93.184.216.34', port: 80 }],
      ['fd00:a::1', { address: '2606:2800::1', port: 443 }],
    ]);
  });

  it('is one of a bounded number', () => {
    const bench = new Bench('');
    const handOver = bench.tcp.handOver({ port: 80, maxFlows: 2 }, () => {});
    for (let i = 0; i < 3; i++) bench.receive(`tcp 10.0.0.2:500${i} > 10.0.0.1:80 SYN seq 1`);
    expect(handOver.flowCount).toBe(2);
    expect(bench.router.engine.drops.toObject()).toEqual({ 'endpoint-flows-full': 1 });
  });

  it('needs a port that nobody has', () => {
    const bench = new Bench();
    const handOver = bench.tcp.handOver({ port: 3128 }, () => {});
    expect(() => bench.tcp.listen({ port: 3128 })).toThrow(ConfigurationError);
    handOver.close();
    bench.tcp.listen({ port: 3128 });
    bench.tcp.close();
    expect([...bench.router.ports.list()]).toEqual([]);
  });
});

describe('an accepted connection', () => {
  it("is an egress proxy's: it knows where to, reads, answers and closes", async () => {
    const bench = new Bench();
    const listener = bench.tcp.listen({ port: 3128 });
    const served = (async () => {
      for await (const connection of listener) {
        const reader = connection.readable.getReader();
        const { value } = await reader.read();
        const writer = connection.writable.getWriter();
        const { address, port } = connection.originalDst;
        await writer.write(
          new TextEncoder().encode(`${address}:${port} says ${new TextDecoder().decode(value)}`),
        );
        await writer.close();
        return (await reader.read()).done;
      }
      return undefined;
    })();
    const client = bench.connect(5000);
    client.say('hello');
    await bench.settle();
    expect(client.heard()).toBe('93.184.216.34:80 says hello');
    expect(client.endpoint.isAtEnd).toBe(true);
    client.endpoint.end(bench.clock.nowMs());
    await bench.settle();
    expect(await served).toBe(true);
    expect(listener.connectionCount, 'lingers').toBe(1);
    bench.advance(60_000);
    expect(listener.connectionCount).toBe(0);
    for (const text of bench.sent) expect(text).toContain('lan tcp 93.184.216.34:80 > 10.0.0.2:5000');
  });

  it('makes a fast client wait for a slow reader, and loses nothing', async () => {
    const bench = new Bench();
    const accepted: TcpConnection[] = [];
    bench.tcp.listen({ port: 3128, receiveBufferBytes: 16_384, onConnection: (one) => accepted.push(one) });
    const client = bench.connect(5000);
    const out = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) & 255);
    expect(client.endpoint.write(out, bench.clock.nowMs())).toBe(200_000);
    bench.advance(2000);
    const reader = accepted[0]!.readable.getReader();
    const got: number[] = [];
    while (got.length < out.length) {
      const next = reader.read();
      bench.advance(300);
      const { value } = await next;
      got.push(...value!);
    }
    expect(Uint8Array.from(got)).toEqual(out);
  });

  it('makes a fast writer wait for a slow client', async () => {
    const bench = new Bench();
    const accepted: TcpConnection[] = [];
    bench.tcp.listen({ port: 3128, sendBufferBytes: 8192, onConnection: (one) => accepted.push(one) });
    const client = bench.connect(5000);
    let isWritten = false;
    const writer = accepted[0]!.writable.getWriter();
    const written = writer.write(new Uint8Array(300_000)).then(() => {
      isWritten = true;
    });
    for (let i = 0; i < 100; i++) {
      await bench.settle();
      bench.advance(50);
    }
    expect(isWritten).toBe(false);
    for (let i = 0; i < 100 && !isWritten; i++) {
      client.heard();
      await bench.settle();
      bench.advance(50);
    }
    await written;
  });

  it('tells reader, writer and `closed` of a reset', async () => {
    const bench = new Bench();
    const accepted: TcpConnection[] = [];
    bench.tcp.listen({ port: 3128, onConnection: (one) => accepted.push(one) });
    const client = bench.connect(5000);
    const connection = accepted[0]!;
    const reading = connection.readable.getReader().read();
    const writer = connection.writable.getWriter();
    writer.closed.catch(() => {});
    client.endpoint.abort();
    await expect(reading).rejects.toMatchObject({ code: 'ECONNRESET' });
    await expect(writer.write(new Uint8Array(1))).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(await connection.closed).toMatchObject({ code: 'ECONNRESET' });
  });

  it("is reset by abort, and by its listener's end", async () => {
    const bench = new Bench();
    const accepted: TcpConnection[] = [];
    const listener = bench.tcp.listen({ port: 3128, onConnection: (one) => accepted.push(one) });
    const clients = [bench.connect(5000), bench.connect(5001)] as const;
    accepted[0]!.abort();
    expect(clients.map(({ endpoint }) => endpoint.error)).toEqual(['ECONNRESET', undefined]);
    expect(listener.connectionCount).toBe(1);
    listener.close();
    expect(clients[1].endpoint.error).toBe('ECONNRESET');
    expect(await accepted[1]!.closed).toMatchObject({ code: 'ECONNABORTED' });
  });

  it('makes room for another when it is not finished yet or lingers, and only then', () => {
    const bench = new Bench('');
    const listener = bench.tcp.listen({ port: 80, maxFlows: 2 });
    for (let i = 0; i < 4; i++) bench.receive(`tcp 10.0.0.9:500${i} > 10.0.0.1:80 SYN seq 1`);
    expect(listener.connectionCount).toBe(2);
    bench.connect(6000, 0x0a000001);
    bench.connect(6001, 0x0a000001);
    bench.connect(6002, 0x0a000001);
    expect(bench.clients.get(6000)?.endpoint.state).toBe('ESTABLISHED');
    expect(bench.clients.get(6001)?.endpoint.state).toBe('ESTABLISHED');
    expect(bench.clients.get(6002)?.endpoint.state).toBe('SYN_SENT');
    expect(bench.router.engine.drops.get(49)).toBe(1);
  });

  it('whose answer was lost is repeated by the clock alone', () => {
    const bench = new Bench('');
    bench.tcp.listen({ port: 80 });
    bench.receive('tcp 10.0.0.9:5000 > 10.0.0.1:80 SYN seq 1');
    expect(bench.tcp.nextMs()).toBe(1000);
    bench.advance(63_001);
    expect(bench.sent.filter((text) => text.includes('SYN,ACK'))).toHaveLength(6);
    expect(bench.tcp.nextMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('waits in a bounded queue while nobody reads', () => {
    const bench = new Bench();
    bench.tcp.listen({ port: 3128, backlog: 1 });
    expect(bench.connect(5000).endpoint.error).toBe(undefined);
    expect(bench.connect(5001).endpoint.error).toBe('ECONNRESET');
  });
});
