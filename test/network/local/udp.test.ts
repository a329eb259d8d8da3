import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../lib/clock.js';
import { ConfigurationError } from '../../../lib/errors.js';
import type { Datagram } from '../../../lib/network/local/arrival.js';
import { SocketError } from '../../../lib/network/local/socket-error.js';
import { type UdpEndpoint, UdpSockets } from '../../../lib/network/local/udp.js';
import { Router } from '../../../lib/network/router.js';
import type { Random } from '../../../lib/random.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';

const LAN = 1;
const DMZ = 2;

interface Bench {
  readonly router: Router;
  readonly clock: ManualClock;
  readonly udp: UdpSockets;
  /** Packets that left: interface and notation. */
  readonly sent: string[];
  receive(index: number, text: string): void;
}

function makeBench({
  rules4 = '',
  rules6 = '',
  routes = ['default dev wan'],
  random = undefined as Random | undefined,
} = {}): Bench {
  const clock = new ManualClock();
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: 1500 },
      { name: 'dmz', addresses: ['10.0.1.1/24', 'fd00:b::1/64'], mtu: 1500 },
      { name: 'wan', addresses: ['192.0.2.1/24'], mtu: 1500 },
    ],
    routes,
    tracking: 'always',
    maxConnections: 64,
    seed: 1,
    ...(random === undefined ? {} : { random }),
  });
  if (rules4 !== '') router.engine.restore(4, `*nat\n${rules4}\nCOMMIT\n`, 'rules');
  if (rules6 !== '') router.engine.restore(6, `*nat\n${rules6}\nCOMMIT\n`, 'rules');
  const sent: string[] = [];
  router.onTransmit = (index, bytes) => sent.push(`${router.interfaces.name(index)} ${formatPacket(bytes)}`);
  const time = {
    get nowMs(): number {
      return clock.nowMs();
    },
  };
  return {
    router,
    clock,
    udp: new UdpSockets(router, time),
    sent,
    receive: (index, text) => router.receive(index, parsePacket(text), clock.nowMs()),
  };
}

/** Answers every datagram with its own bytes and keeps it. */
function echo(endpoint: UdpEndpoint): Datagram[] {
  const heard: Datagram[] = [];
  endpoint.onMessage = (datagram) => {
    heard.push(datagram);
    endpoint.reply(datagram, datagram.bytes);
  };
  return heard;
}

const REDIRECT_DNS = '-A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353';
const ask = (from: string, to: string): string => `udp ${from} > ${to} data 61626364`;

/** What a call throws. */
function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('an answer to a redirected datagram (C4)', () => {
  it('leaves from the address that the client asked', () => {
    const { udp, sent, receive } = makeBench({ rules4: REDIRECT_DNS });
    const heard = echo(udp.bind({ port: 5353 }));
    receive(LAN, ask('10.0.0.2:5000', '1.1.1.1:53'));
    expect(sent).toHaveLength(1);
    expect(sent[0]).toContain('lan udp 1.1.1.1:53 > 10.0.0.2:5000');
    expect(new TextDecoder().decode(heard[0]?.bytes)).toBe('abcd');
    expect(heard[0]?.from).toEqual({ address: '10.0.0.2', port: 5000 });
    expect(heard[0]?.to).toEqual({ address: '10.0.0.1', port: 5353 });
    expect(heard[0]?.originalDst).toEqual({ address: '1.1.1.1', port: 53 });
    expect(heard[0]?.interface).toBe('lan');
  });

  it('does so over IPv6', () => {
    const { udp, sent, receive } = makeBench({ rules6: REDIRECT_DNS });
    const heard = echo(udp.bind({ port: 5353 }));
    receive(LAN, ask('[fd00:a::2]:5000', '[2606:4700::1111]:53'));
    expect(sent[0]).toContain('lan udp [2606:4700::1111]:53 > [fd00:a::2]:5000');
    expect(heard[0]?.originalDst).toEqual({ address: '2606:4700::1111', port: 53 });
  });

  it.each(['reply', 'send'])('does so whichever interface it leaves by, with %s', (how) => {
    const { udp, sent, receive } = makeBench({ rules4: REDIRECT_DNS, routes: ['10.9.0.0/16 dev dmz'] });
    const endpoint = udp.bind({ port: 5353 });
    endpoint.onMessage = (datagram) => {
      if (how === 'reply') endpoint.reply(datagram, datagram.bytes);
      else endpoint.send(datagram.bytes, datagram.from);
    };
    receive(LAN, ask('10.9.0.2:5000', '1.1.1.1:53'));
    expect(sent.join()).toContain('dmz udp 1.1.1.1:53 > 10.9.0.2:5000');
  });

  it('does so later too, by `send` alone, from an endpoint of any address', () => {
    const { udp, sent, clock, receive } = makeBench({ rules4: REDIRECT_DNS });
    const endpoint = udp.bind({ port: 5353 });
    receive(LAN, ask('10.0.0.2:5000', '1.1.1.1:53'));
    clock.advance(5000);
    endpoint.send(new Uint8Array(2), '10.0.0.2:5000');
    expect(sent.join()).toContain('1.1.1.1:53 > 10.0.0.2:5000');
  });

  it('keeps two virtual addresses on one endpoint apart, for one client port', () => {
    const { udp, sent, receive } = makeBench({ rules4: REDIRECT_DNS });
    const heard = echo(udp.bind({ port: 5353 }));
    receive(LAN, ask('10.0.0.2:5000', '1.1.1.1:53'));
    receive(LAN, ask('10.0.0.2:5000', '8.8.8.8:53'));
    receive(LAN, ask('10.0.0.2:5000', '1.1.1.1:53'));
    expect(sent.map((text) => text.split(' > ')[0])).toEqual([
      'lan udp 1.1.1.1:53',
      'lan udp 8.8.8.8:53',
      'lan udp 1.1.1.1:53',
    ]);
    for (const text of sent) expect(text).toContain('> 10.0.0.2:5000');
    expect(heard.map(({ originalDst }) => originalDst.address)).toEqual(['1.1.1.1', '8.8.8.8', '1.1.1.1']);
    const [first, second, third] = heard.map(({ from }) => from.port);
    expect(first).toBe(5000);
    expect(second).not.toBe(5000);
    expect(third).toBe(5000);
  });

  it('comes back from 127.0.0.1 to a program of our own that asked 1.1.1.1', () => {
    const { udp } = makeBench({ rules4: '-A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 53' });
    const server = echo(udp.bind({ address: '127.0.0.1', port: 53 }));
    const answers: Datagram[] = [];
    const client = udp.bind({ onMessage: (datagram) => answers.push(datagram) });
    client.send(new Uint8Array([1]), '1.1.1.1:53');
    expect(server[0]?.to).toEqual({ address: '127.0.0.1', port: 53 });
    expect(server[0]?.originalDst).toEqual({ address: '1.1.1.1', port: 53 });
    expect(answers.map(({ from }) => from)).toEqual([{ address: '1.1.1.1', port: 53 }]);
  });
});

describe('a source that is not ours', () => {
  it('is refused with EPERM and counted when no flow was meant for it (C4)', () => {
    const { udp, sent, router } = makeBench({ rules4: REDIRECT_DNS });
    const endpoint = udp.bind({ port: 5353 });
    const error = errorOf(() => endpoint.send(new Uint8Array(1), '10.0.0.2:5000', { from: '1.1.1.1:53' }));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: 'EPERM' });
    expect(endpoint.refusedSources).toBe(1);
    expect(router.engine.drops.toObject()).toEqual({ 'source-refused': 1 });
    expect(sent).toEqual([]);
  });

  it('may be claimed while a flow is under way that was meant for it, and by no other endpoint', () => {
    const { udp, sent, clock, receive } = makeBench({ rules4: REDIRECT_DNS });
    const endpoint = udp.bind({ port: 5353 });
    const other = udp.bind({ port: 5354 });
    receive(LAN, ask('10.0.0.2:5000', '1.1.1.1:53'));
    endpoint.send(new Uint8Array(1), '10.0.0.2:5000', { from: { address: '1.1.1.1', port: 53 } });
    expect(sent.join()).toContain('1.1.1.1:53 > 10.0.0.2:5000');
    const claims = [
      () => other.send(new Uint8Array(1), '10.0.0.2:5000', { from: '1.1.1.1:53' }),
      () => endpoint.send(new Uint8Array(1), '10.0.0.2:5001', { from: '1.1.1.1:53' }),
      () => endpoint.send(new Uint8Array(1), '10.0.0.2:5000', { from: '1.1.1.1:54' }),
    ];
    for (const claim of claims) expect(errorOf(claim)).toMatchObject({ code: 'EPERM' });
    clock.advance(121_000);
    const late = errorOf(() => endpoint.send(new Uint8Array(1), '10.0.0.2:5000', { from: '1.1.1.1:53' }));
    expect(late, 'the flow is over').toMatchObject({ code: 'EPERM' });
    expect([endpoint.refusedSources, other.refusedSources]).toEqual([3, 1]);
  });

  it('may not be claimed through a flow that is forwarded', () => {
    const { udp, receive } = makeBench();
    receive(LAN, ask('10.0.0.2:5000', '192.0.2.9:53'));
    const endpoint = udp.bind({ port: 53 });
    const error = errorOf(() => endpoint.send(new Uint8Array(1), '10.0.0.2:5000', { from: '192.0.2.9:53' }));
    expect(error).toMatchObject({ code: 'EPERM' });
  });

  it('names the flow by either view of a client whose port NAT moved', () => {
    const { udp, sent, receive } = makeBench({ rules4: REDIRECT_DNS });
    const endpoint = udp.bind({ port: 5353 });
    receive(LAN, ask('10.0.0.2:5000', '1.1.1.1:53'));
    receive(LAN, ask('10.0.0.2:5000', '8.8.8.8:53'));
    endpoint.send(new Uint8Array(1), '10.0.0.2:5000', { from: '8.8.8.8:53' });
    expect(sent.join()).toContain('8.8.8.8:53 > 10.0.0.2:5000');
  });
});

describe('an endpoint', () => {
  it('takes only what comes to its address, its port and its interface', () => {
    const { udp, sent, receive } = makeBench();
    const heard: string[] = [];
    const note = (name: string) => ({ onMessage: () => heard.push(name) });
    udp.bind({ address: '10.0.0.1', port: 53, ...note('address') });
    udp.bind({ port: 53, interface: 'dmz', ...note('interface') });
    receive(LAN, ask('10.0.0.2:5000', '10.0.0.1:53'));
    receive(LAN, ask('10.0.0.2:5000', '10.0.1.1:53'));
    receive(DMZ, ask('10.0.1.2:5000', '10.0.1.1:53'));
    expect(heard).toEqual(['address', 'interface']);
    expect(sent.join()).toContain('icmp 10.0.1.1 > 10.0.0.2');
  });

  it('keeps datagrams for a reader, loses those that do not fit, and ends when it is closed', async () => {
    const { udp, router, receive } = makeBench();
    const endpoint = udp.bind({ port: 53, queueDatagrams: 2 });
    for (let i = 0; i < 3; i++) receive(LAN, ask(`10.0.0.2:500${i}`, '10.0.0.1:53'));
    expect(endpoint.droppedDatagrams).toBe(1);
    expect(router.engine.drops.toObject()).toEqual({ 'endpoint-queue-full': 1 });
    endpoint.close();
    const ports: number[] = [];
    for await (const { from } of endpoint) ports.push(from.port);
    expect(ports).toEqual([5000, 5001]);
  });

  it('hands a datagram to a reader that waits', async () => {
    const { udp, receive } = makeBench();
    const reader = udp.bind({ port: 53, queueDatagrams: 0 })[Symbol.asyncIterator]();
    const next = reader.next();
    receive(LAN, ask('10.0.0.2:5000', '10.0.0.1:53'));
    expect((await next).value?.from.port).toBe(5000);
  });

  it('gives its port back, once, and sends no more', () => {
    const { udp, sent, receive } = makeBench();
    const endpoint = udp.bind({ port: 53 });
    expect(() => udp.bind({ port: 53 })).toThrow(ConfigurationError);
    endpoint.close();
    endpoint.close();
    receive(LAN, ask('10.0.0.2:5000', '10.0.0.1:53'));
    expect(sent.join()).toContain('icmp 10.0.0.1 > 10.0.0.2');
    expect(errorOf(() => endpoint.send(new Uint8Array(1), '10.0.0.2:1'))).toMatchObject({ code: 'EBADF' });
    udp.bind({ port: 53 });
    udp.close();
    udp.bind({ port: 53 });
  });

  it('takes both families or none', () => {
    const { udp, router } = makeBench();
    udp.bind({ address: '::', port: 53 });
    expect(() => udp.bind({ port: 53 })).toThrow(ConfigurationError);
    expect([...router.ports.list()]).toHaveLength(1);
    expect(() => udp.bind({ address: '1.1.1.1', port: 54 })).toThrow('not an address of the gateway');
  });

  it('sends more than its link carries in fragments, and what no datagram carries not at all', () => {
    const { udp, sent, router } = makeBench();
    const endpoint = udp.bind({ port: 53 });
    for (const to of ['10.0.0.2:9', '[fd00:a::2]:9']) {
      sent.length = 0;
      endpoint.send(new Uint8Array(4000).fill(7), to);
      expect(sent).toHaveLength(3);
    }
    const error = errorOf(() => endpoint.send(new Uint8Array(65_508), '10.0.0.2:9'));
    expect(error).toMatchObject({ code: 'EMSGSIZE' });
    expect(router.engine.drops.toObject()).toEqual({});
  });

  it.each([
    ['to nowhere', [], '1.1.1.1:9', 'ENETUNREACH'],
    ['to everybody', ['default dev wan'], '255.255.255.255:9', 'EACCES'],
    ['to port 0', ['default dev wan'], '1.1.1.1:0', 'EINVAL'],
    ['to no address', ['default dev wan'], '1.1.1:9', 'EINVAL'],
    ['of a refused packet', ['default dev wan'], '1.1.1.9:9', 'EPERM'],
  ])('is told %s', (_, routes, to, code) => {
    const { udp, router } = makeBench({ routes });
    router.engine.restore(4, '*filter\n-A OUTPUT -d 1.1.1.9 -j DROP\nCOMMIT\n', 'rules');
    expect(errorOf(() => udp.bind().send(new Uint8Array(1), to))).toMatchObject({ code });
  });

  it('that throws does not harm the gateway', async () => {
    const { udp, sent, receive } = makeBench();
    const errors: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => errors.push(error));
    udp.bind({
      port: 53,
      onMessage: () => {
        throw new Error('mine');
      },
    });
    for (let i = 0; i < 1; i++) receive(LAN, ask('10.0.0.2:5000', '10.0.0.1:53'));
    await new Promise((resolve) => setImmediate(resolve));
    for (const listener of listeners) process.on('uncaughtException', listener);
    expect(errors.map(String)).toEqual(['Error: mine']);
    receive(LAN, 'icmp 10.0.0.2 > 10.0.0.1 echo-request id 1 seq 1');
    expect(sent.join()).toContain('echo-reply');
  });
});

describe('a port for whoever asks for none', () => {
  it('is from 32768 to 60999, and no two get the same', () => {
    const { udp } = makeBench();
    const ports = Array.from({ length: 200 }, () => udp.bind().port);
    expect(new Set(ports).size).toBe(200);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(32_768);
    expect(Math.max(...ports)).toBeLessThanOrEqual(60_999);
  });

  it('is none that NAT holds, until its connection is over (C5)', () => {
    const first = { u32: () => 0, pick: (from: number) => from };
    const { udp, clock, receive, sent } = makeBench({
      rules4: '-A POSTROUTING -o wan -p udp -j SNAT --to-source 192.0.2.1:32768-32769',
      random: first,
    });
    receive(LAN, ask('10.0.0.2:5000', '198.51.100.1:53'));
    receive(LAN, ask('10.0.0.3:5000', '198.51.100.1:53'));
    expect(sent.map((text) => /:(\d+) >/.exec(text)?.[1])).toEqual(['32768', '32769']);
    expect(udp.bind().port).toBe(32_770);
    expect(udp.bind({ address: '10.0.0.1' }).port, 'held on another address').toBe(32_768);
    clock.advance(31_000);
    expect(udp.bind({ address: '192.0.2.1' }).port).toBe(32_768);
  });
});
