/** C1: loopback prefixes are configuration. */
import { describe, expect, it } from 'vitest';
import { DropReason, parsePacket } from '../../../lib/index.js';
import { Sandbox } from './sandbox.js';

const PREFIXES = ['fd00:1009:bacc::/48', '10.99.0.0/16', '127.0.0.0/8', '::1/128'];

function martians(sandbox: Sandbox): number {
  return sandbox.gateway.drops.get(DropReason.MARTIAN);
}

describe('an address of a loopback prefix', () => {
  const ends = [
    'udp 10.99.3.4:5000 > 198.51.100.7:53',
    'udp 10.0.0.2:5000 > 10.99.255.255:53',
    'udp 127.1.2.3:5000 > 198.51.100.7:53',
    'udp [fd00:1009:bacc:ffff::9]:5000 > [2001:db8:2::7]:53',
    'udp [fd00:a::2]:5000 > [fd00:1009:bacc::]:53',
    'udp [::1]:5000 > [2001:db8:2::7]:53',
  ];
  it.each(ends)('is a martian on every link, and leaves no entry: %s', (text) => {
    const sandbox = new Sandbox({ loopbackPrefixes: PREFIXES, tracking: 'always' });
    for (const name of ['lan', 'dmz', 'wan']) {
      const before = martians(sandbox);
      expect(sandbox.receive(name, `${text} len 5`)).toEqual([]);
      expect(martians(sandbox)).toBe(before + 1);
      expect(sandbox.count).toBe(0);
    }
    sandbox.gateway.close();
  });

  it.each(['10.98.255.255', '10.100.0.0', 'fd00:1009:bacb:ffff::1', 'fd00:1009:bacd::', '::2'])(
    'does not begin or end one further: %s',
    (address) => {
      const sandbox = new Sandbox({ loopbackPrefixes: PREFIXES });
      const isSix = address.includes(':');
      const [from, to] = isSix ? ['[fd00:a::2]:1', `[${address}]:53`] : ['10.0.0.2:1', `${address}:53`];
      expect(sandbox.receive('lan', `udp ${from} > ${to} len 5`)).toHaveLength(1);
      expect(martians(sandbox)).toBe(0);
      sandbox.gateway.close();
    },
  );

  it.each([
    ['10.99.7.7', 4],
    ['127.200.0.9', 4],
    ['fd00:1009:bacc:12::34', 6],
  ])('is local on loopback, and can be bound: %s', (address, version) => {
    const sandbox = new Sandbox({ loopbackPrefixes: PREFIXES });
    const { router } = sandbox.gateway;
    const got: number[] = [];
    sandbox.gateway.udp.bind({ address, port: 53, onMessage: ({ bytes }) => got.push(bytes.length) });
    const host = version === 4 ? address : `[${address}]`;
    const text = `udp ${host}:4000 > ${host}:53 len 5`;
    expect(router.sendLocal(parsePacket(text), 0)).toBe(0);
    expect(got).toEqual([5]);
    expect(martians(sandbox)).toBe(0);
    expect(sandbox.take()).toEqual([]);
    // Another address of the prefix is local as well, but nobody has it: an ICMP error, on loopback.
    const other = version === 4 ? '10.99.0.1' : '[fd00:1009:bacc::1]';
    expect(router.sendLocal(parsePacket(`udp ${host}:4000 > ${other}:53 len 5`), 0)).toBe(0);
    expect(got).toHaveLength(1);
    expect(sandbox.take()).toEqual([]);
    expect(sandbox.gateway.drops.get(DropReason.NO_LOCAL_LISTENER)).toBe(1);
    sandbox.gateway.close();
  });

  it.each(['udp 10.99.7.7:1 > 198.51.100.7:53', 'udp [fd00:1009:bacc::7]:1 > [2001:db8:2::7]:53'])(
    'leaves by no link: %s',
    (text) => {
      const sandbox = new Sandbox({ loopbackPrefixes: PREFIXES });
      expect(sandbox.gateway.router.sendLocal(parsePacket(text), 0)).toBe(22);
      expect(sandbox.take()).toEqual([]);
      sandbox.gateway.close();
    },
  );
});

it.each(['fd00::1/48', '10.0.0.0/33', 'nonsense', 'ff02::/16', '224.0.0.0/4', '0.0.0.0/0', '::/0'])(
  'no loopback prefix: %s',
  (text) => {
    expect(() => new Sandbox({ loopbackPrefixes: [text] })).toThrow(/loopback prefix/);
  },
);
