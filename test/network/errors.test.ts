import { describe, expect, it } from 'vitest';
import { DropReason } from '../../lib/counters.js';
import { Router } from '../../lib/network/router.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';

function network(wanMtu = 1500, tracking: 'auto' | 'always' = 'always') {
  const router = new Router({
    interfaces: [
      { name: 'tun0', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
      { name: 'tun1', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'], mtu: wanMtu },
    ],
    routes: ['default dev tun1', '-6 default dev tun1', 'unreachable 192.0.2.0/24', 'prohibit 192.0.3.0/24'],
    tracking,
    maxConnections: 256,
    seed: 1,
  });
  for (const name of ['net.ipv4.icmp_ratelimit', 'net.ipv6.icmp.ratelimit']) router.sysctl(name, 0);
  const sent: string[] = [];
  const raw: Uint8Array[] = [];
  router.onTransmit = (index, bytes) => {
    raw.push(bytes.slice());
    sent.push(`${router.interfaces.name(index)} ${formatPacket(bytes)}`);
  };
  return { router, sent, raw };
}

/** What leaves after a packet from tun0, without the quoted packet. */
function answer(text: string, wanMtu?: number): string {
  const { router, sent } = network(wanMtu, 'auto');
  router.receive(1, parsePacket(text), 0);
  return sent.map((one) => one.replace(/ \{.*/, '').split(' ').slice(0, 6).join(' ')).join('; ');
}

const UDP = 'udp 10.0.0.2:5000 > 8.8.8.8:53 len 5';
const ERROR = `icmp 10.0.0.2 > 8.8.8.8 port-unreachable { udp 8.8.8.8:53 > 10.0.0.2:5000 len 5 }`;

describe('an error of the router', () => {
  it.each([
    ['TTL spent', `${UDP} ttl 1`, 'tun0 icmp 10.0.0.1 > 10.0.0.2 ttl-zero-during-transit'],
    ['port closed', 'udp 10.0.0.2:5 > 10.0.0.1:9 len 5', 'tun0 icmp 10.0.0.1 > 10.0.0.2 port-unreachable'],
    [
      'protocol unknown',
      'ip 10.0.0.2 > 10.0.0.1 proto 99 len 8',
      'tun0 icmp 10.0.0.1 > 10.0.0.2 protocol-unreachable',
    ],
    ['no route', 'udp 10.0.0.2:5 > 192.0.2.1:9', 'tun0 icmp 10.0.0.1 > 10.0.0.2 host-unreachable'],
    [
      'echo with TTL spent',
      'icmp 10.0.0.2 > 8.8.8.8 echo-request id 1 ttl 1',
      'tun0 icmp 10.0.0.1 > 10.0.0.2 ttl-zero-during-transit',
    ],
    [
      'closed port, IPv6',
      'udp [fd00:a::2]:5 > [fd00:a::1]:9',
      'tun0 icmpv6 fd00:a::1 > fd00:a::2 port-unreachable',
    ],
  ])('is sent: %s', (_, packet, expected) => {
    expect(answer(packet)).toBe(expected);
  });

  it.each([
    ['an ICMP error', `${ERROR} ttl 1`],
    ['an ICMP type that is no query', 'icmp 10.0.0.2 > 8.8.8.8 9/0 ttl 1'],
    ['a fragment after the first', 'ip 10.0.0.2 > 192.0.2.1 proto udp len 8 frag 8'],
    ['a directed broadcast', 'udp 10.0.0.2:5 > 10.0.0.255:9'],
    ['a limited broadcast', 'udp 10.0.0.2:5 > 255.255.255.255:9'],
    ['a group', 'udp 10.0.0.2:5 > 224.0.0.1:9'],
    ['a martian source', 'udp 127.0.0.1:5 > 8.8.8.8:9 ttl 1'],
    ['a source of our own', 'udp 203.0.113.1:5 > 10.0.0.1:9'],
    ['a wrong UDP checksum', 'udp 10.0.0.2:5 > 10.0.0.1:9 sum 0x1234'],
    ['an IPv6 group', 'udp [fd00:a::2]:5 > [ff02::1]:9'],
    ['an unspecified IPv6 source', 'udp [::]:5 > [2001:db8:2::7]:9 ttl 1'],
  ])('is never about %s', (_, packet) => {
    expect(answer(packet)).toBe('');
  });

  it('quotes up to 576 bytes of IPv4 and up to 1280 of IPv6', () => {
    const { router, raw } = network();
    router.receive(1, parsePacket('udp 10.0.0.2:5 > 8.8.8.8:9 len 1400 ttl 1'), 0);
    router.receive(1, parsePacket('udp [fd00:a::2]:5 > [2001:db8:2::7]:9 len 1400 ttl 1'), 0);
    expect(raw.map((bytes) => bytes.length)).toEqual([576, 1280]);
  });

  it('has control precedence, no DF, and belongs to no connection of its own', () => {
    const { router, raw } = network();
    router.receive(1, parsePacket(`${UDP} ttl 1 tos 0x1b`), 0);
    const [bytes] = raw as [Uint8Array];
    expect(bytes[1]).toBe(0xda);
    expect(bytes[6]! & 0x40).toBe(0);
    expect(router.engine.tracker.count).toBe(0);
  });

  it('about a missing route is limited to five at once and one a second', () => {
    const { router, sent } = network();
    const ask = (nowMs: number) => router.receive(1, parsePacket('udp 10.0.0.2:5 > 192.0.2.1:9'), nowMs);
    for (let i = 0; i < 9; i++) ask(i);
    expect(sent.length).toBe(5);
    ask(1500);
    expect(sent.length).toBe(6);
    expect(router.engine.drops.get(DropReason.NO_ROUTE)).toBe(10);
  });

  it('is limited per peer by icmp_ratelimit, but for those that path MTU discovery needs', () => {
    const { router, sent } = network(1400);
    router.sysctl('net.ipv4.icmp_ratelimit', 1000);
    const big = 'udp 10.0.0.2:5 > 8.8.8.8:9 len 1400 df';
    for (let i = 0; i < 10; i++) router.receive(1, parsePacket(big), 0);
    expect(sent.length).toBe(10);
    for (let i = 0; i < 10; i++) router.receive(1, parsePacket('udp 10.0.0.2:5 > 10.0.0.1:9'), 0);
    expect(sent.length).toBe(16);
  });
});

describe('a packet longer than the link', () => {
  const long = 'udp 10.0.0.2:5 > 8.8.8.8:9 len 1400';

  it('is cut without DF, and refused with it', () => {
    const { router, raw } = network(1300);
    router.receive(1, parsePacket(`${long} ipid 7`), 0);
    expect(raw.map((bytes) => bytes.length)).toEqual([1300, 148]);
    expect(answer(`${long} df`, 1300)).toBe('tun0 icmp 10.0.0.1 > 10.0.0.2 fragmentation-needed');
  });

  it('is refused in IPv6', () => {
    expect(answer('udp [fd00:a::2]:5 > [2001:db8:2::7]:9 len 1400', 1300)).toBe(
      'tun0 icmpv6 fd00:a::1 > fd00:a::2 packet-too-big',
    );
  });
});

describe('forwarding', () => {
  it('spends one TTL and keeps the checksum right, for every TTL', () => {
    for (let ttl = 2; ttl < 256; ttl++) {
      const { router, raw } = network();
      router.receive(1, parsePacket(`${UDP} ttl ${ttl}`), 0);
      expect(raw[0]).toEqual(parsePacket(`${UDP} ttl ${ttl - 1}`));
    }
  });

  it('can be switched off; what is for the router itself is answered still', () => {
    const { router, sent } = network();
    router.sysctl('net.ipv4.ip_forward', '0');
    router.receive(1, parsePacket(UDP), 0);
    expect(sent).toEqual([]);
    router.receive(1, parsePacket('icmp 10.0.0.2 > 10.0.0.1 echo-request id 1'), 0);
    expect(sent.length).toBe(1);
    expect(router.engine.drops.get(DropReason.NOT_FORWARDING)).toBe(1);
  });
});

describe('settings', () => {
  it('are known by name, and refused by name', () => {
    const { router } = network();
    router.sysctl('net.ipv4.ipfrag_time', '1');
    router.sysctl('net.netfilter.nf_conntrack_udp_timeout', '7');
    expect(router.getSysctl('net.ipv4.ipfrag_time')).toBe(1);
    expect(router.getSysctl('net.netfilter.nf_conntrack_udp_timeout')).toBe(7);
    expect(() => router.sysctl('net.ipv4.nonsense', '1')).toThrow(/no such setting/);
    expect(() => router.sysctl('net.ipv4.ip_forward', '2')).toThrow(/from 0 to 1/);
    expect(() => router.sysctl('net.ipv4.conf.all.rp_filter', '1')).toThrow(/cannot be changed/);
  });
});

describe('an answer to an untracked packet', () => {
  const rules = (forward: string) =>
    `*raw\n-A PREROUTING -j NOTRACK\n-A OUTPUT -j NOTRACK\nCOMMIT\n*filter\n-A FORWARD ${forward}\nCOMMIT\n` +
    '*mangle\n-A OUTPUT -m conntrack --ctstate INVALID\n-A OUTPUT -m conntrack --ctstate UNTRACKED\nCOMMIT\n';

  it.each([
    ['an error of REJECT', '-j REJECT', UDP, 'INVALID'],
    [
      'a reset of REJECT',
      '-p tcp -j REJECT --reject-with tcp-reset',
      'tcp 10.0.0.2:5 > 8.8.8.8:9 SYN',
      'INVALID',
    ],
    ['an error about TTL', '-j ACCEPT', `${UDP} ttl 1`, 'INVALID'],
    ['an error about a closed port', '-j ACCEPT', 'udp 10.0.0.2:5 > 10.0.0.1:9', 'UNTRACKED'],
    ['a reset of a closed port', '-j ACCEPT', 'tcp 10.0.0.2:5 > 10.0.0.1:9 SYN', 'UNTRACKED'],
  ])('%s is to NOTRACK in OUTPUT as on Linux', (_, forward, packet, state) => {
    const { router } = network(1500, 'auto');
    router.engine.restore(4, rules(forward));
    router.receive(1, parsePacket(packet), 0);
    const counted = [...router.engine.rules4.counters()].filter(
      ({ table, chain, packets, number }) =>
        table === 'mangle' && chain === 'OUTPUT' && packets > 0 && number !== 'policy',
    );
    expect(counted.map(({ number }) => ['', 'INVALID', 'UNTRACKED'][Number(number)])).toEqual([state]);
  });
});

describe('REJECT of a packet with a full timestamp option, which the router counts up before', () => {
  it.each([
    ['FORWARD', '8.8.8.8', 'auto', 'tcp-reset', 0],
    ['FORWARD', '8.8.8.8', 'auto', 'icmp-port-unreachable', 0],
    ['FORWARD', '8.8.8.8', 'always', 'tcp-reset', 0],
    ['FORWARD', '8.8.8.8', 'always', 'icmp-port-unreachable', 1],
    ['INPUT', '10.0.0.1', 'auto', 'tcp-reset', 0],
    ['INPUT', '10.0.0.1', 'auto', 'icmp-port-unreachable', 0],
    ['INPUT', '10.0.0.1', 'always', 'tcp-reset', 1],
    ['INPUT', '10.0.0.1', 'always', 'icmp-port-unreachable', 1],
  ] as const)('in %s, to %s, tracking %s, with %s: %i answers', (chain, target, tracking, answer, count) => {
    const { router, sent } = network(1500, tracking);
    const rules = `*filter\n-A ${chain} -p tcp -j REJECT --reject-with ${answer}\nCOMMIT\n`;
    router.engine.restore(4, rules);
    router.receive(1, parsePacket(`tcp 10.0.0.2:5 > ${target}:9 SYN options 4408090001020304`), 0);
    expect(sent).toHaveLength(count);
  });
});

describe('an error about a closed UDP port', () => {
  it.each([
    [4, '10.0.0.1:80', '203.0.113.9:1023', '203.0.113.1'],
    [6, '[fd00:a::1]:80', '[2001:db8:1::9]:1023', '2001:db8:1::1'],
  ] as const)('is tracked by what it quotes, not as its packet was: IPv%i', (family, own, peer, source) => {
    const { router, sent } = network(1500, 'auto');
    const lan = family === 4 ? '10.0.0.0/24' : 'fd00:a::/64';
    const rules = `*raw\n-A PREROUTING -i tun1 -j CT --zone 1\nCOMMIT\n*nat\n-A POSTROUTING -s ${lan} -o tun1 -j MASQUERADE\nCOMMIT\n`;
    router.engine.restore(family, rules);
    expect(router.sendLocal(parsePacket(`udp ${own} > ${peer} len 1`), 0)).toBe(0);
    router.receive(2, parsePacket(`udp ${peer} > ${own} len 1`), 0);
    expect(sent[1]).toContain(`${source} > ${peer.replace(/^\[?(.*?)\]?:\d+$/, '$1')} port-unreachable`);
  });
});
