/** DNS over TCP (RFC 7766), answered by the gateway; clients with a TCP of their own. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { DnsType, readDns } from '../../lib/network/dns.js';
import type { DnsClient, DnsOptions } from '../../lib/network/dns-forwarder.js';
import { DnsFraming, frameMessage } from '../../lib/network/dns-framing.js';
import { createGateway, type Gateway } from '../../lib/network/gateway.js';
import type { GatewayOptions } from '../../lib/network/gateway-options.js';
import { TcpEndpoint } from '../../lib/network/local/tcp-endpoint.js';
import { readSegment, writeSegment } from '../../lib/network/local/tcp-segment.js';
import { SeededRandom } from '../../lib/random.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import { answer, query, record, TO_QUESTION } from './dns-messages.js';

const GATEWAY = 0x0a000001;

class Bench {
  readonly clock = new ManualClock();
  readonly gateway: Gateway;
  readonly clients = new Map<string, Client>();
  /** UDP payloads and ICMP that left by `lan`. */
  readonly others: Uint8Array[] = [];
  readonly refused: Packet[] = [];

  constructor(
    respond: DnsOptions['answer'],
    dns: Partial<DnsOptions> = {},
    more: Partial<GatewayOptions> = {},
  ) {
    this.gateway = createGateway({
      clock: this.clock,
      random: new SeededRandom(3),
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64', 'fe80::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24'] },
      ],
      routes: ['default dev wan'],
      dns: { answer: respond, ...dns },
      ...more,
    });
    this.gateway.interface('lan').onTransmit = (bytes) => {
      const packet = new Packet();
      packet.parse(bytes.slice());
      const client = this.clients.get(`${packet.addresses[4]} ${packet.u16(packet.transport + 2)}`);
      if (packet.protocol === 6 && client !== undefined) client.take(packet);
      else this.others.push(bytes.slice(packet.transport + 8));
    };
  }

  /** Lets time pass, in steps that timers of TCP can live with. */
  async pass(ms: number): Promise<void> {
    for (const end = this.clock.nowMs() + ms; this.clock.nowMs() < end; ) {
      this.clock.advance(Math.min(20, end - this.clock.nowMs()));
      this.gateway.advance();
      for (const { endpoint } of this.clients.values()) {
        if (endpoint.nextMs() <= this.clock.nowMs()) endpoint.advance(this.clock.nowMs());
      }
      await settle();
    }
  }

  connect(port = 4000, host = 2): Client {
    const client = new Client(this, port, 0x0a000000 + host);
    this.clients.set(`${0x0a000000 + host} ${port}`, client);
    client.endpoint.connect(this.clock.nowMs());
    return client;
  }
}

/** A host on the lan with one TCP connection to port 53. */
class Client {
  readonly endpoint: TcpEndpoint;
  /** How often it was sent to. */
  segments: number[] = [];
  readonly #bench: Bench;
  readonly #framing = new DnsFraming(0, 0xffff);

  constructor(bench: Bench, port: number, address: number) {
    this.#bench = bench;
    const addresses = new Int32Array([address, 0, 0, 0, GATEWAY, 0, 0, 0]);
    const ends = { version: 4 as const, addresses, sourcePort: port, destinationPort: 53 };
    this.endpoint = new TcpEndpoint({
      mss: 1460,
      random: new SeededRandom(port),
      receiveBufferBytes: 20_000,
      transmit: (segment) => bench.gateway.interface('lan').receive(writeSegment(ends, segment, 64, 1)),
    });
  }

  take(packet: Packet): void {
    const segment = readSegment(packet);
    this.segments.push(segment.payload.length);
    this.endpoint.receive(segment, this.#bench.clock.nowMs());
  }

  /** Sends bytes as they are. */
  say(...pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) this.endpoint.write(piece, this.#bench.clock.nowMs());
  }

  ask(...queries: readonly Uint8Array[]): void {
    this.say(join(queries.map(frameMessage)));
  }

  /** Messages that have come. */
  heard(): Uint8Array[] {
    const messages: Uint8Array[] = [];
    for (let part = this.endpoint.read(); part !== undefined; part = this.endpoint.read()) {
      messages.push(...this.#framing.push(part));
    }
    return messages;
  }

  ids(): number[] {
    return this.heard().map((message) => readDns(message)!.id);
  }

  get state(): string {
    return this.endpoint.error ?? this.endpoint.state;
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

async function settle(): Promise<void> {
  for (let i = 0; i < 60; i++) await Promise.resolve();
}

const withAddress = (asked: Uint8Array): Uint8Array =>
  answer(asked, [record(TO_QUESTION, DnsType.A, 60, [93, 184, 216, 34])]);

/** An answer with an address and `bytes` of text. */
function longAnswer(asked: Uint8Array, bytes: number): Uint8Array {
  const texts = Array.from({ length: Math.ceil(bytes / 4000) }, () =>
    record(TO_QUESTION, 16, 60, new Array(4000).fill(7)),
  );
  const bare = asked.slice(0, readDns(asked)!.questionEnd);
  bare[11] = 0;
  return answer(bare, [...texts, record(TO_QUESTION, DnsType.A, 60, [93, 184, 216, 34])]);
}

const ids = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

describe('DNS over TCP', () => {
  it('is answered, length and message in one segment, and the function knows that it was TCP', async () => {
    const clients: DnsClient[] = [];
    const bench = new Bench((asked, from) => {
      clients.push(from);
      return withAddress(asked);
    });
    const client = bench.connect();
    client.segments.length = 0;
    client.ask(query('example.com', DnsType.A, 77));
    await settle();
    const [reply] = client.heard();
    expect(readDns(reply!)).toMatchObject({ id: 77, isAnswer: true, isTruncated: false });
    expect(reply!.slice(-4)).toEqual(Uint8Array.of(93, 184, 216, 34));
    expect(client.segments.filter((length) => length > 0)).toEqual([reply!.length + 2]);
    expect(clients).toEqual([
      { address: '10.0.0.2', port: 4000, interface: 'lan', server: '10.0.0.1', transport: 'tcp' },
    ]);
    bench.gateway.close();
  });

  it('takes several queries of a segment, and one in pieces of a byte', async () => {
    const bench = new Bench(withAddress);
    const client = bench.connect();
    client.ask(...ids(1, 20).map((id) => query('example.com', DnsType.A, id)));
    await settle();
    expect(client.ids()).toEqual(ids(1, 20));
    const framed = frameMessage(query('example.com', DnsType.A, 99));
    for (const byte of framed) {
      client.say(Uint8Array.of(byte));
      await bench.pass(1);
    }
    expect(client.ids()).toEqual([99]);
    expect(bench.gateway.dns!.counters).toMatchObject({
      queries: 21,
      answers: 21,
      connections: 1,
      cutOff: 0,
    });
    bench.gateway.close();
  });

  it('sends answers as they come, in whatever order', async () => {
    const ends: (() => void)[] = [];
    const bench = new Bench((asked) => new Promise((done) => ends.push(() => done(withAddress(asked)))));
    const client = bench.connect();
    client.ask(...ids(1, 3).map((id) => query('example.com', DnsType.A, id)));
    await settle();
    for (const n of [2, 0, 1]) {
      ends[n]!();
      await settle();
    }
    expect(client.ids()).toEqual([3, 1, 2]);
    bench.gateway.close();
  });

  it('has more queries than may be under way wait, and answers them all', async () => {
    const ends: (() => void)[] = [];
    const bench = new Bench((asked) => new Promise((done) => ends.push(() => done(withAddress(asked)))));
    const client = bench.connect();
    client.ask(...ids(1, 200).map((id) => query('example.com', DnsType.A, id)));
    await settle();
    expect(bench.gateway.dns!.inFlight).toBe(32);
    const heard: number[] = [];
    for (let n = 0; n < 200; n++) {
      ends[n]!();
      await bench.pass(20);
      expect(bench.gateway.dns!.inFlight).toBeLessThanOrEqual(32);
      heard.push(...client.ids());
    }
    expect(heard).toEqual(ids(1, 200));
    expect(bench.gateway.dns!.counters.refused).toBe(0);
    bench.gateway.close();
  });

  it('carries what was too long for UDP, and opens for it what the policy names', async () => {
    const bench = new Bench(
      (asked) => longAnswer(asked, 40_000),
      {},
      { policy: { allowOut: ['example.com:443'] } },
    );
    const reaches = () => {
      let sent = 0;
      bench.gateway.interface('wan').onTransmit = () => {
        sent++;
      };
      bench.gateway.interface('lan').receive(parsePacket('tcp 10.0.0.2:999 > 93.184.216.34:443 SYN seq 1'));
      return sent;
    };
    const asked = query('example.com');
    const hex = [...asked].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    expect(reaches()).toBe(0);
    // Over TCP first: over UDP the same answer would open it too.
    const client = bench.connect();
    client.ask(asked);
    const messages: Uint8Array[] = [];
    for (let i = 0; i < 60 && messages.length === 0; i++) {
      await bench.pass(20);
      messages.push(...client.heard());
    }
    expect(messages[0]!.length).toBeGreaterThan(40_000);
    expect(readDns(messages[0]!)).toMatchObject({ isTruncated: false, id: 0x1234 });
    expect(reaches()).toBe(1);
    bench.others.length = 0;
    bench.gateway.interface('lan').receive(parsePacket(`udp 10.0.0.2:4000 > 10.0.0.1:53 data ${hex}`));
    expect(readDns(bench.others[0]!)).toMatchObject({ isTruncated: true });
    expect(bench.others[0]!.length).toBeLessThan(512);
    bench.gateway.close();
  });

  it('says TC where a message over TCP could not be so long', async () => {
    const bench = new Bench((asked) => longAnswer(asked, 70_000));
    const client = bench.connect();
    client.ask(query('example.com'));
    await settle();
    expect(client.heard().map((message) => [message.length < 600, readDns(message)!.isTruncated])).toEqual([
      [true, true],
    ]);
    bench.gateway.close();
  });

  it('answers after the client has ended its side, and then ends too', async () => {
    let end = (): void => {};
    const bench = new Bench((asked) => new Promise((done) => (end = () => done(withAddress(asked)))));
    const client = bench.connect();
    client.ask(query('example.com'));
    client.endpoint.end(bench.clock.nowMs());
    await bench.pass(100);
    expect(client.state).toBe('FIN_WAIT_2');
    end();
    await bench.pass(100);
    expect(client.ids()).toEqual([0x1234]);
    expect(client.state).toBe('TIME_WAIT');
    expect(bench.gateway.dns!.connectionCount).toBe(0);
    bench.gateway.close();
  });

  it('is not there for the world outside, and its port is free where it is not', () => {
    const bench = new Bench(withAddress);
    const sent: Uint8Array[] = [];
    bench.gateway.interface('wan').onTransmit = (bytes) => sent.push(bytes.slice());
    bench.gateway.interface('wan').receive(parsePacket('tcp 198.51.100.9:4000 > 203.0.113.1:53 SYN seq 5'));
    expect(sent.map((bytes) => bytes[33]! & 4)).toEqual([4]);
    bench.gateway.forward('tcp', '53:10.0.0.9/53');
    bench.gateway.close();
  });

  it('reaches those whose address is of the link alone', () => {
    const bench = new Bench(withAddress);
    bench.gateway.addAddress('wan', 'fe80::9/64');
    bench.gateway.interface('lan').receive(parsePacket('tcp [fe80::77]:4000 > [fe80::1]:53 SYN seq 5'));
    expect(bench.others).toHaveLength(1);
    bench.gateway.close();
  });
});

describe('a client of DNS over TCP', () => {
  it('that says nothing more is shown the door after the idle time, and no earlier', async () => {
    const bench = new Bench(withAddress, { idleMs: 3000 });
    const client = bench.connect();
    await bench.pass(2900);
    client.ask(query('example.com'));
    await bench.pass(2900);
    expect([client.ids(), client.state]).toEqual([[0x1234], 'ESTABLISHED']);
    await bench.pass(200);
    expect(client.state).toBe('CLOSE_WAIT');
    client.endpoint.end(bench.clock.nowMs());
    await bench.pass(200);
    expect(client.state).toBe('CLOSED');
    expect(bench.gateway.dns!.counters.cutOff).toBe(0);
    expect(bench.gateway.dns!.connectionCount).toBe(0);
    bench.gateway.close();
  });

  it('is waited for no longer when it does not end its own side', async () => {
    const bench = new Bench(withAddress, { idleMs: 3000 });
    const client = bench.connect();
    await bench.pass(3100);
    expect(client.state).toBe('CLOSE_WAIT');
    await bench.pass(6000);
    expect(bench.gateway.dns!.connectionCount).toBe(0);
    bench.gateway.close();
  });

  it('whose answer takes longer than the idle time still gets it', async () => {
    let end = (): void => {};
    const bench = new Bench((asked) => new Promise((done) => (end = () => done(withAddress(asked)))), {
      idleMs: 500,
      timeoutMs: 5000,
    });
    const client = bench.connect();
    client.ask(query('example.com'));
    await bench.pass(4000);
    end();
    await bench.pass(40);
    expect(client.ids()).toEqual([0x1234]);
    bench.gateway.close();
  });

  it('gets SERVFAIL when its query times out', async () => {
    const bench = new Bench(() => new Promise(() => {}), { idleMs: 500 });
    const client = bench.connect();
    client.ask(query('example.com'));
    await bench.pass(5050);
    expect(client.heard().map((message) => readDns(message)!.code)).toEqual([2]);
    expect(bench.gateway.dns!.inFlight).toBe(0);
    bench.gateway.close();
  });

  it('that trickles a query is cut off: bytes alone are no sign of life', async () => {
    const bench = new Bench(withAddress, { idleMs: 1000 });
    const client = bench.connect();
    for (const byte of frameMessage(query('a.very.long.name.example.com'))) {
      client.say(Uint8Array.of(byte));
      await bench.pass(100);
    }
    expect(client.state).toBe('ECONNRESET');
    expect(bench.gateway.dns!.counters).toMatchObject({ queries: 0, cutOff: 1 });
    bench.gateway.close();
  });

  it('that does not read holds a bounded number of answers, for a bounded time', async () => {
    let asked = 0;
    const bench = new Bench(
      (one) => {
        asked++;
        return longAnswer(one, 60_000);
      },
      { idleMs: 1000 },
    );
    const client = bench.connect();
    client.ask(...ids(1, 300).map((id) => query('example.com', DnsType.A, id)));
    await bench.pass(500);
    expect(asked).toBeLessThanOrEqual(34);
    expect(bench.gateway.dns!.inFlight).toBeLessThanOrEqual(32);
    await bench.pass(2000);
    expect(bench.gateway.dns!.counters.cutOff).toBe(1);
    expect([bench.gateway.dns!.inFlight, bench.gateway.dns!.connectionCount]).toEqual([0, 0]);
    bench.gateway.close();
  });

  it.each([
    ['an empty message', Uint8Array.of(0, 0)],
    ['a message shorter than its header', frameMessage(new Uint8Array(11))],
    ['a message that is longer than a query', Uint8Array.of(0xff, 0xff)],
    ['an answer', frameMessage(withAddress(query('example.com')))],
    ['a message without a question', frameMessage(new Uint8Array(12))],
  ])('that sends %s is cut off, and what follows is not read', async (_, bytes) => {
    const bench = new Bench(withAddress);
    const client = bench.connect();
    client.say(bytes, frameMessage(query('example.com')));
    await settle();
    expect(client.state).toBe('ECONNRESET');
    expect(client.heard()).toEqual([]);
    expect(bench.gateway.dns!.counters).toMatchObject({ malformed: 1, cutOff: 1, answers: 0 });
    expect(bench.gateway.dns!.connectionCount).toBe(0);
    bench.gateway.close();
  });

  it('has a bounded number of queries under way on all its connections together', async () => {
    const bench = new Bench(() => new Promise(() => {}), { maxPerClient: 4, maxInFlight: 6 });
    const [one, two, other] = [bench.connect(4000), bench.connect(4001), bench.connect(4000, 3)];
    one.ask(...ids(1, 3).map((id) => query('example.com', DnsType.A, id)));
    two.ask(...ids(4, 3).map((id) => query('example.com', DnsType.A, id)));
    await settle();
    expect(two.heard().map((message) => [readDns(message)!.id, readDns(message)!.code])).toEqual([
      [5, 2],
      [6, 2],
    ]);
    other.ask(...ids(7, 3).map((id) => query('example.com', DnsType.A, id)));
    await settle();
    expect(other.ids()).toEqual([9]);
    expect(bench.gateway.dns!.counters.refused).toBe(3);
    bench.gateway.close();
  });

  it('loses its own oldest connection to its newest, and not those of others', async () => {
    const bench = new Bench(withAddress, { maxConnectionsPerClient: 3 });
    const other = bench.connect(4000, 3);
    const own: Client[] = [];
    for (let n = 0; n < 5; n++) {
      await bench.pass(20);
      own.push(bench.connect(5000 + n));
    }
    await bench.pass(20);
    expect(own.map(({ state }) => state)).toEqual([
      ...['ECONNRESET', 'ECONNRESET'],
      ...['ESTABLISHED', 'ESTABLISHED', 'ESTABLISHED'],
    ]);
    expect(other.state).toBe('ESTABLISHED');
    bench.gateway.close();
  });

  it('that has most connections gives one up for somebody else when there are too many', async () => {
    const bench = new Bench(withAddress, { maxConnections: 6, maxConnectionsPerClient: 5 });
    const quiet = bench.connect(4000, 3);
    await bench.pass(20);
    const greedy: Client[] = [];
    for (let n = 0; n < 5; n++) {
      greedy.push(bench.connect(5000 + n));
      await bench.pass(20);
    }
    const late = bench.connect(4000, 4);
    await bench.pass(20);
    expect([quiet.state, late.state]).toEqual(['ESTABLISHED', 'ESTABLISHED']);
    expect(greedy.filter(({ state }) => state === 'ECONNRESET')).toEqual([greedy[0]]);
    bench.gateway.close();
  });

  it('that only begins connections leaves room for others', async () => {
    const bench = new Bench(withAddress, { maxConnections: 8 });
    for (let port = 1000; port < 1200; port++) {
      bench.gateway.interface('lan').receive(parsePacket(`tcp 10.0.0.66:${port} > 10.0.0.1:53 SYN seq 5`));
    }
    const client = bench.connect();
    client.ask(query('example.com'));
    await settle();
    expect(client.ids()).toEqual([0x1234]);
    bench.gateway.close();
  });
});

it('after close nothing is asked or answered, and every client hears of it', async () => {
  const ends: (() => void)[] = [];
  const bench = new Bench((asked) => new Promise((done) => ends.push(() => done(withAddress(asked)))));
  const client = bench.connect();
  client.ask(query('example.com'));
  await settle();
  bench.gateway.close();
  expect(client.state).toBe('ECONNRESET');
  ends[0]!();
  await settle();
  expect(client.heard()).toEqual([]);
});

it('messages come out of a stream however it is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 }),
      fc.array(fc.nat(2500), { maxLength: 20 }),
      (messages, cuts) => {
        const stream = join(messages.map(frameMessage));
        const framing = new DnsFraming(1, 300);
        const at = [0, ...cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b), stream.length];
        const found = at.slice(1).flatMap((end, i) => [...framing.push(stream.subarray(at[i], end))]);
        expect(found).toEqual(messages);
        expect([framing.isPartial, framing.isBroken]).toEqual([false, false]);
      },
    ),
  );
});
