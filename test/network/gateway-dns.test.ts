import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DnsAddress, DnsType, readAddresses, readDns } from '../../lib/network/dns.js';
import type { DnsAnswer, DnsClient, DnsOptions } from '../../lib/network/dns-forwarder.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { formatAddress } from '../../lib/wire/address.js';
import { answer, nameBytes, query, record, TO_QUESTION } from './dns-messages.js';
import { type Bench, frame, GATEWAY_MAC, GUEST_MAC, greet, makeBench } from './gateway-frames.js';

const name = nameBytes;

function ask(bench: Bench, payload: Uint8Array, source = '10.0.0.2:4000'): void {
  const hex = [...payload].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const packet = parsePacket(`udp ${source} > 10.0.0.1:53 data ${hex}`);
  bench.receive('lan', frame(GATEWAY_MAC, GUEST_MAC, 0x0800, packet));
}

/** DNS messages that the guest got. */
function got(bench: Bench): Uint8Array[] {
  return bench.takeBytes().map(({ bytes }) => bytes.slice(14 + 28));
}

function makeService(respond: DnsOptions['answer'], more: Partial<DnsOptions> = {}): Bench {
  const bench = makeBench({}, { dns: { answer: respond, ...more } });
  greet(bench);
  return bench;
}

const settled = () => new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));

describe('the DNS service', () => {
  it('passes a query to the function and its answer back, from the address that was asked', async () => {
    const clients: DnsClient[] = [];
    const bench = makeService(async (asked, from) => {
      clients.push(from);
      return answer(asked, [record(TO_QUESTION, DnsType.A, 60, [93, 184, 216, 34])]);
    });
    ask(bench, query('example.com'));
    await settled();
    const [first] = bench.takeBytes();
    expect(first!.bytes.slice(26, 30).join('.')).toBe('10.0.0.1');
    const reply = first!.bytes.slice(42);
    expect(readDns(reply)).toMatchObject({ id: 0x1234, isAnswer: true, question: { name: 'example.com' } });
    expect(reply.slice(-4)).toEqual(Uint8Array.of(93, 184, 216, 34));
    expect(clients).toEqual([
      { address: '10.0.0.2', port: 4000, interface: 'lan', server: '10.0.0.1', transport: 'udp' },
    ]);
  });

  it('tells of the addresses before the guest gets them', () => {
    const bench = makeService((asked) =>
      answer(asked, [
        record(TO_QUESTION, DnsType.CNAME, 30, name('cdn.example.net')),
        record(name('cdn.example.net'), DnsType.A, 60, [192, 0, 2, 7]),
        record(name('other.example.org'), DnsType.A, 60, [192, 0, 2, 8]),
      ]),
    );
    const order: (DnsAnswer | 'sent')[] = [];
    bench.gateway.events.on('dns', (heard) => order.push(heard));
    bench.gateway.interface('lan').onTransmit = () => order.push('sent');
    ask(bench, query('Example.COM'));
    expect(order).toHaveLength(2);
    expect(order[0]).toMatchObject({
      client: { address: '10.0.0.2' },
      question: { name: 'example.com', type: DnsType.A },
      addresses: [{ version: 4, ttlSeconds: 30, owner: 'cdn.example.net' }],
    });
    expect(order[1]).toBe('sent');
  });

  it.each([
    ['throws', () => Promise.reject(new Error('no network'))],
    ['gives nothing', () => undefined],
    ['gives bytes that are no answer', () => Uint8Array.of(1, 2, 3)],
    ['gives the query back', (asked: Uint8Array) => asked],
    ['answers another question', () => answer(query('evil.example'), [])],
  ] as const)('says SERVFAIL when the function %s', async (_, respond) => {
    const bench = makeService(respond as DnsOptions['answer']);
    ask(bench, query('example.com'));
    await settled();
    const [reply] = got(bench);
    expect(readDns(reply!)).toMatchObject({ isAnswer: true, code: 2, question: { name: 'example.com' } });
    expect(bench.gateway.dns!.counters.failed).toBe(1);
  });

  it('gives up after five seconds and ignores an answer that comes later', async () => {
    let resolve: ((bytes: Uint8Array) => void) | undefined;
    const bench = makeService(
      () =>
        new Promise((done) => {
          resolve = done;
        }),
    );
    ask(bench, query('example.com'));
    bench.pass(4999);
    expect(got(bench)).toEqual([]);
    bench.pass(1);
    expect(got(bench).map((reply) => readDns(reply)?.code)).toEqual([2]);
    resolve!(answer(query('example.com'), []));
    await settled();
    expect(got(bench)).toEqual([]);
    expect(bench.gateway.dns!.inFlight).toBe(0);
  });

  it('has a bounded number of queries under way, for each asker and in all', () => {
    const bench = makeService(() => new Promise(() => {}), { maxInFlight: 10, maxPerClient: 4 });
    for (let n = 0; n < 20; n++) ask(bench, query('example.com'), `10.0.0.2:${4000 + n}`);
    expect(bench.gateway.dns!.inFlight).toBe(4);
    for (let host = 3; host < 20; host++) ask(bench, query('example.com'), `10.0.0.${host}:4000`);
    expect(bench.gateway.dns!.inFlight).toBe(10);
    expect(bench.gateway.dns!.counters.refused).toBe(27);
  });

  it('cuts an answer that the asker does not take, unless it says that it takes more', () => {
    const bench = makeService((asked) => {
      const bare = asked.slice(0, readDns(asked)!.questionEnd);
      bare[11] = 0;
      return answer(
        bare,
        Array.from({ length: 40 }, (_, n) => record(TO_QUESTION, DnsType.A, 60, [10, 9, 8, n])),
      );
    });
    ask(bench, query('example.com'));
    const [short] = got(bench);
    expect(readDns(short!)).toMatchObject({ isTruncated: true });
    expect(short!.length).toBeLessThan(512);
    ask(bench, query('example.com', DnsType.A, 7, [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]));
    const [long] = got(bench);
    expect(readDns(long!)).toMatchObject({ id: 7, isTruncated: false });
    expect(long!.length).toBeGreaterThan(600);
  });

  it('does not answer what is no query, and other operations than queries with NOTIMP', () => {
    const bench = makeService(() => {
      throw new Error('not to be asked');
    });
    const reply = answer(query('example.com'), []);
    const update = query('example.com');
    update[2] = 5 << 3;
    ask(bench, reply);
    ask(bench, Uint8Array.of(1, 2, 3));
    expect(got(bench)).toEqual([]);
    ask(bench, update);
    expect(got(bench).map((bytes) => bytes[3]! & 15)).toEqual([4]);
    expect(bench.gateway.dns!.counters.malformed).toBe(2);
  });

  it('is not there for the world outside, unless it is told to be', () => {
    const bench = makeService((asked) => answer(asked, []));
    const hex = [...query('example.com')].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    bench.receive('wan', parsePacket(`udp 198.51.100.9:4000 > 203.0.113.1:53 data ${hex}`));
    expect(bench.take()).toEqual([
      expect.stringContaining('wan icmp 203.0.113.1 > 198.51.100.9 port-unreachable'),
    ]);
  });
});

describe('reading DNS messages', () => {
  const read = (bytes: Uint8Array): DnsAddress[] => readAddresses(bytes, readDns(bytes)!);

  it('gives IPv6 addresses and follows aliases in any order', () => {
    const asked = query('a.test', DnsType.AAAA);
    const six = [0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 9];
    const found = read(
      answer(asked, [
        record(name('c.test'), DnsType.AAAA, 5, six),
        record(name('b.test'), DnsType.CNAME, 50, name('c.test')),
        record(name('a.test'), DnsType.CNAME, 7, name('b.test')),
      ]),
    );
    expect(found).toMatchObject([{ version: 6, ttlSeconds: 5, owner: 'c.test' }]);
    expect(formatAddress(found[0]!.words, 6)).toBe('2001:db8::9');
  });

  it('ends with aliases that go in circles, and with names that point at themselves or forward', () => {
    const asked = query('a.test');
    expect(
      read(
        answer(asked, [
          record(name('a.test'), DnsType.CNAME, 50, name('b.test')),
          record(name('b.test'), DnsType.CNAME, 50, name('a.test')),
        ]),
      ),
    ).toEqual([]);
    const loop = answer(asked, [record([0xc0, asked.length], DnsType.A, 50, [1, 1, 1, 1])]);
    expect(read(loop)).toEqual([]);
  });

  it('lets no name pass for another', () => {
    const bytes = query('xexample.com');
    // A label with a dot in it: "example.com" as one label would read like two.
    bytes.set([11, ...[...'example.com'].map((letter) => letter.charCodeAt(0))], 12);
    expect(readDns(bytes)?.question.name ?? '').not.toBe('example.com');
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (noise, hasHeader) => {
        const bytes = hasHeader ? Uint8Array.from([...answer(query('a.test'), []), ...noise]) : noise;
        if (hasHeader) bytes[7] = 255;
        const message = readDns(bytes);
        if (message !== undefined) {
          for (const { ttlSeconds } of readAddresses(bytes, message))
            expect(ttlSeconds).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
