import { describe, expect, it } from 'vitest';
import { Router } from '../../lib/network/router.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';

/** A router with one link, on which tracking is on; what it sends is kept as text. */
function makeRouter(): { router: Router; sent: string[] } {
  const router = new Router({
    interfaces: [{ name: 'tun0', addresses: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: 1500 }],
    tracking: 'always',
    maxConnections: 64,
    seed: 1,
  });
  const sent: string[] = [];
  router.onTransmit = (_, bytes) => sent.push(formatPacket(bytes));
  return { router, sent };
}

describe('a raw socket', () => {
  const EPERM = 1;

  it.each([
    ['ip 10.0.0.1 > 10.0.0.4 proto udp len 16 mf ipid 7', 'an IPv4 fragment', 0],
    ['ip fd00:a::1 > fd00:a::4 proto udp len 16 mf fragid 7', 'an IPv6 fragment', EPERM],
  ])('that sends %s overlapping another hears of %s: %i', (packet, _, error) => {
    const { router, sent } = makeRouter();
    expect(router.sendLocal(parsePacket(`${packet} frag 24`), 0)).toBe(0);
    expect(router.sendLocal(parsePacket(`${packet} frag 24`), 0), 'a repeat').toBe(0);
    expect(router.sendLocal(parsePacket(`${packet} frag 16`), 0)).toBe(error);
    expect(sent).toEqual([]);
  });
});

describe('a datagram that stays incomplete', () => {
  const first = (version: number) =>
    version === 4
      ? parsePacket('udp 10.0.0.2:1 > 10.0.0.1:9 len 16 mf ipid 7')
      : parsePacket('udp [fd00:a::2]:1 > [fd00:a::1]:9 len 16 mf fragid 7');

  it.each([4, 6])('over IPv%i is given up before the packet that comes when its time is over', (version) => {
    for (const isTold of [false, true]) {
      const { router, sent } = makeRouter();
      router.receive(1, first(version), 0);
      // Whoever else sets the time: the next packet still looks after what waits.
      if (isTold) router.nowMs = 60_000;
      router.receive(1, parsePacket('icmp 10.0.0.2 > 10.0.0.1 echo-request id 1 seq 1'), 60_000);
      expect(sent).toHaveLength(2);
      expect(sent[0]).toContain('icmp');
      expect(router.engine.drops.toObject()).toMatchObject({ 'fragment-timeout': 1 });
    }
  });
});

describe('a TCP header over two fragments', () => {
  const fragments = (source: string, target: string) => [
    parsePacket(`ip ${source} > ${target} proto tcp data 0fa00035000003e80000000050020000 mf ipid 7`),
    parsePacket(`ip ${source} > ${target} proto tcp data ${'00'.repeat(84)} frag 16 ipid 7`),
  ];

  it('leaves in the same fragments when it is our own', () => {
    const { router, sent } = makeRouter();
    for (const one of fragments('10.0.0.1', '10.0.0.4')) expect(router.sendLocal(one, 0)).toBe(0);
    expect(sent).toHaveLength(2);
    expect(sent[0]).toContain('len 16 mf');
  });

  it('is whole in the first fragment again when it is our own and translated', () => {
    const { router, sent } = makeRouter();
    router.engine.restore(4, '*nat\n-A POSTROUTING -p tcp -j SNAT --to-source 10.0.0.20:9\nCOMMIT\n');
    for (const one of fragments('10.0.0.1', '10.0.0.4')) expect(router.sendLocal(one, 0)).toBe(0);
    expect(sent).toHaveLength(2);
    expect(sent[0]).toContain('tcp 10.0.0.20:9 >');
    expect(sent[0]).toContain('len 60 mf');
  });

  it('is whole in the first fragment again when it came in, where it was read', () => {
    const { router, sent } = makeRouter();
    for (const one of fragments('10.0.0.2', '10.0.0.4')) router.receive(1, one, 0);
    expect(sent).toHaveLength(2);
    expect(sent[0]).toContain('len 60 mf');
  });
});

it('a packet that TCPMSS looked at leaves in one piece, however it came in', () => {
  const { router, sent } = makeRouter();
  const rules = '*mangle\n-A FORWARD -p tcp -m tcp --syn -j TCPMSS --set-mss 1000\nCOMMIT\n';
  router.engine.restore(6, rules, 'rules');
  const header = '0fa00035000003e8000000005002faf0000000000000000000000000';
  const from = 'ip fd00:a::2 > fd00:a::4 proto tcp';
  router.receive(1, parsePacket(`${from} data ${header}${'00'.repeat(4)} frag 0 mf fragid 7`), 0);
  router.receive(1, parsePacket(`${from} data ${'00'.repeat(64)} frag 32 fragid 7`), 0);
  expect(sent).toHaveLength(1);
  expect(sent[0]).toContain('len 76 frag 0 ');
});

describe('a routing header to the router', () => {
  const ping = (type: string, left: string) =>
    parsePacket(
      `icmpv6 fd00:a::2 > fd00:a::1 echo-request id 7 seq 1 ext 43:02${type}${left}${'00'.repeat(20)}`,
    );

  it.each([
    ['03', '00'],
    ['03', '01'],
    ['04', '00'],
    ['04', '01'],
  ])('of type %s, which is switched off, is dropped unheard with %s segments left', (type, left) => {
    const { router, sent } = makeRouter();
    router.receive(1, ping(type, left), 0);
    expect(sent).toEqual([]);
  });

  it('of an unknown type is passed over without segments left and refused with them', () => {
    const { router, sent } = makeRouter();
    router.receive(1, ping('09', '00'), 0);
    router.receive(1, ping('09', '01'), 0);
    expect(sent.map((text) => text.split(' ', 5)[4])).toEqual(['echo-reply', 'bad-header']);
  });
});

describe('an IPv6 fragment to the router that nothing can be made of', () => {
  it('is refused when it ends before its headers do', () => {
    const { router, sent } = makeRouter();
    router.receive(1, parsePacket('ip fd00:a::2 > fd00:a::1 proto tcp len 8 frag 0 mf fragid 7'), 0);
    expect(sent.map((text) => text.split(' ', 5).slice(3, 5))).toEqual([['fd00:a::2', '4/3']]);
  });

  it('is refused when it is not the last and its length is odd', () => {
    const { router, sent } = makeRouter();
    router.receive(1, parsePacket('ip fd00:a::2 > fd00:a::1 proto udp len 30 frag 16 mf fragid 7'), 0);
    expect(sent.map((text) => text.split(' ', 7).slice(3, 7))).toEqual([
      ['fd00:a::2', 'bad-header', 'rest', '0x4'],
    ]);
  });
});

it("an ICMP packet of the router's own that OUTPUT rejects is dropped without an error about it", () => {
  const { router, sent } = makeRouter();
  router.engine.restore(4, '*filter\n-A OUTPUT -p icmp -j REJECT\nCOMMIT\n', 'rules');
  router.receive(1, parsePacket('icmp 10.0.0.2 > 10.0.0.1 echo-request id 7 seq 1'), 0);
  expect(sent).toEqual([]);
  const [rule] = router.engine.rules4
    .toRuleset()
    .tables[0]!.chains.find(({ name }) => name === 'OUTPUT')!.rules;
  expect(rule?.counters?.packets).toBe(1);
});

describe('a connection that REJECT resets', () => {
  const RULES = `*filter
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A OUTPUT -p tcp -j REJECT --reject-with icmp-host-unreachable
COMMIT
`;

  it('is closed only if it was confirmed before: the error about a refused reset confirms it as it is', () => {
    const { router } = makeRouter();
    router.engine.restore(4, RULES, 'rules');
    router.receive(1, parsePacket('tcp 10.0.0.2:4000 > 10.0.0.1:80 SYN seq 1'), 0);
    const { entries } = router.engine.tracker.table(4);
    const SYN_SENT = 1;
    expect(entries.state(entries.entryOfSlot(0))).toBe(SYN_SENT);
  });
});

it('a SYN that OUTPUT redirects to a closed port of our own is reset, and its connection is gone', () => {
  const { router, sent } = makeRouter();
  const rules = '*nat\n-A OUTPUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080\nCOMMIT\n';
  router.engine.restore(4, rules, 'rules');
  expect(router.sendLocal(parsePacket('tcp 10.0.0.1:4000 > 10.0.0.4:80 SYN seq 1'), 0)).toBe(0);
  expect(sent).toEqual([]);
  expect(router.engine.tracker.count).toBe(0);
});
