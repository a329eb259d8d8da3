import { describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../../lib/errors.js';
import { PortProtocol, PortRegistry, type PortRequest } from '../../../lib/network/local/registry.js';
import { Router } from '../../../lib/network/router.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';

const WAN = 0xc0000201 | 0;
const LAN = 1;

/** A router between 10.0.0.0/24 and 192.0.2.0/24 that gives TCP and UDP the ports `range` of 192.0.2.1. */
function makeRouter(range: string): { router: Router; sent: string[]; send(text: string): string[] } {
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'], mtu: 1500 },
      { name: 'wan', addresses: ['192.0.2.1/24'], mtu: 1500 },
    ],
    routes: ['default via 192.0.2.254'],
    maxConnections: 64,
    seed: 1,
  });
  const snat = ['tcp', 'udp'].map(
    (name) => `-A POSTROUTING -o wan -p ${name} -j SNAT --to-source 192.0.2.1:${range}`,
  );
  router.engine.restore(4, `*nat\n${snat.join('\n')}\nCOMMIT\n`, 'rules');
  const sent: string[] = [];
  router.onTransmit = (_, bytes) => sent.push(formatPacket(bytes));
  const send = (text: string): string[] => {
    sent.length = 0;
    router.receive(LAN, parsePacket(text), 0);
    return [...sent];
  };
  return { router, sent, send };
}

function onWan(port: number, more: Partial<PortRequest> = {}): PortRequest {
  return { version: 4, protocol: PortProtocol.TCP, address: [WAN, 0, 0, 0], port, owner: 'test', ...more };
}

const syn = (from: string): string => `tcp ${from} > 198.51.100.1:80 SYN seq 1`;

describe('a reserved port', () => {
  it('is given to no connection: of 40000-40001 the first gets 40001, the second to the same server none (C5)', () => {
    const { router, send } = makeRouter('40000-40001');
    router.ports.reserve(onWan(40000));
    expect(send(syn('10.0.0.2:5000')).join()).toContain('192.0.2.1:40001 > 198.51.100.1:80');
    expect(send(syn('10.0.0.3:5000'))).toEqual([]);
    expect(router.engine.nat.exhaustedCount).toBe(1);
    expect(router.engine.drops.toObject()).toEqual({ 'nat-exhausted': 1 });
    expect(send('tcp 10.0.0.3:5000 > 198.51.100.2:80 SYN seq 1').join()).toContain('192.0.2.1:40001');
  });

  it('is taken even if it is the port that the connection has already', () => {
    const { router, send } = makeRouter('40000-40001');
    router.ports.reserve(onWan(40000));
    expect(send(syn('10.0.0.2:40000')).join()).toContain('192.0.2.1:40001');
  });

  it('is free for connections at once when it is given back, though the range was exhausted', () => {
    const { router, send } = makeRouter('40000-40300');
    const held = router.ports.reserve(onWan(40000));
    for (let i = 1; i <= 300; i++) router.ports.reserve(onWan(40000 + i));
    expect(send(syn('10.0.0.2:5000'))).toEqual([]);
    expect(send(syn('10.0.0.2:5001'))).toEqual([]);
    held.release();
    expect(send(syn('10.0.0.2:5002')).join()).toContain('192.0.2.1:40000');
  });

  it.each([
    ['another protocol', onWan(40000, { protocol: PortProtocol.UDP })],
    ['another address', onWan(40000, { address: [0x0a000001, 0, 0, 0] })],
    ['a socket as Linux has them', onWan(40000, { nat: 'shared' })],
  ])('does not hinder when it is of %s', (_, request) => {
    const { router, send } = makeRouter('40000-40000');
    router.ports.reserve(request);
    expect(send(syn('10.0.0.2:5000')).join()).toContain('192.0.2.1:40000');
  });

  it('of any address leaves connections alone that keep their own source', () => {
    const { router, send } = makeRouter('1024-65535');
    router.engine.restore(4, '*nat\nCOMMIT\n', 'rules');
    router.ports.reserve({ version: 4, protocol: PortProtocol.UDP, port: 53, owner: 'dns' });
    expect(send('udp 10.0.0.2:53 > 198.51.100.1:53').join()).toContain('10.0.0.2:53 > 198.51.100.1:53');
  });
});

it('a reply to a connection goes to it even when a local socket is bound to its port (C5)', () => {
  const { router, sent, send } = makeRouter('40000-40000');
  const heard: string[] = [];
  const request = onWan(40000, {
    protocol: PortProtocol.UDP,
    receive: (packet) => heard.push(formatPacket(packet.copyBytes())),
  });
  expect(send('udp 10.0.0.2:5000 > 198.51.100.1:53').join()).toContain('192.0.2.1:40000');
  router.ports.reserve(request);
  sent.length = 0;
  router.receive(2, parsePacket('udp 198.51.100.1:53 > 192.0.2.1:40000'), 1);
  expect(sent.join()).toContain('198.51.100.1:53 > 10.0.0.2:5000');
  expect(heard).toEqual([]);
  router.receive(2, parsePacket('udp 198.51.100.9:53 > 192.0.2.1:40000'), 1);
  expect(heard, "what belongs to no connection is the socket's").toHaveLength(1);
});

describe('the registry', () => {
  it('refuses a second owner of the same port, and names both', () => {
    const ports = new PortRegistry();
    ports.reserve(onWan(80, { owner: 'forward 80' }));
    expect(() => ports.reserve(onWan(80, { owner: 'proxy' }))).toThrow(ConfigurationError);
    expect(() => ports.reserve(onWan(80, { owner: 'proxy' }))).toThrow(
      'proxy: forward 80 has this port already',
    );
    expect(ports.count).toBe(1);
  });

  it('gives a packet to the most exact: address and interface, address, interface, any', () => {
    const ports = new PortRegistry();
    const any = { version: 4, protocol: PortProtocol.TCP, port: 80, owner: 'any' } as const;
    ports.reserve(any);
    ports.reserve({ ...any, interface: 2, owner: 'interface' });
    ports.reserve(onWan(80, { owner: 'address' }));
    ports.reserve(onWan(80, { owner: 'both', interface: 2 }));
    const owner = (word: number, by: number): string | undefined =>
      ports.find(4, 6, new Int32Array([word, 0, 0, 0]), 0, 80, by)?.request.owner;
    expect([owner(WAN, 2), owner(WAN, 1), owner(1, 2), owner(1, 1)]).toEqual([
      'both',
      'address',
      'interface',
      'any',
    ]);
  });

  it('says reserved exactly while somebody has the port apart from NAT', () => {
    const ports = new PortRegistry();
    const words = new Int32Array([WAN, 0, 0, 0]);
    const exact = ports.reserve(onWan(80));
    const any = ports.reserve({ version: 4, protocol: PortProtocol.TCP, port: 80, owner: 'any' });
    const shared = ports.reserve(onWan(80, { nat: 'shared', interface: 1 }));
    exact.release();
    exact.release();
    expect([ports.isReserved(4, 6, words, 0, 80), ports.count]).toEqual([1, 1]);
    any.release();
    expect([ports.isReserved(4, 6, words, 0, 80), ports.count]).toEqual([0, 0]);
    shared.release();
    expect([...ports.list()]).toEqual([]);
    expect(ports.isReserved(6, 6, words, 0, 80)).toBe(0);
    expect(ports.isReserved(4, 1, words, 0, 80)).toBe(0);
  });
});
