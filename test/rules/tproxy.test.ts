/** TPROXY and the socket match, held to what Linux 6.18 did with the same rules, sockets and packets. */
import { describe, expect, it, test } from 'vitest';
import { ConfigurationError } from '../../lib/errors.js';
import { Router, type SocketOptions } from '../../lib/network/router.js';
import { Explainer } from '../../lib/scenario/explain.js';
import { parsePacket } from '../../lib/scenario/notation.js';

const LAN = 1;
const TPROXY = '-A PREROUTING -p udp -j TPROXY --on-port 9000 --tproxy-mark 1';
const BEHIND = '-A PREROUTING -p udp\n-A INPUT\n-A FORWARD';
const FILTER =
  '*filter\n-A INPUT -m socket -j ACCEPT\n-A INPUT -m socket --nowildcard --transparent -j ACCEPT\n' +
  '-A INPUT -m socket --nowildcard -j ACCEPT\nCOMMIT\n';
const rulesOf = (mangle: string) => `*mangle\n${mangle}\n${BEHIND}\nCOMMIT\n${FILTER}`;
const ASKED4 = 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 5';
const ASKED6 = 'udp [fd00:a::2]:5000 > [2001:db8:9::9]:53 len 5';

function makeRouter(sockets: readonly SocketOptions[], rules: string, family: 4 | 6 = 4, localMark?: string) {
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', '10.0.5.1/24', 'fd00:a::1/64'] },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    maxConnections: 16,
    buckets: 16,
    sockets,
    ...(localMark === undefined ? {} : { localMark }),
  });
  router.engine.restore(family, rules);
  return router;
}

/** Rules that counted: those of mangle by their chain and number, those of filter by number. */
function counted(router: Router, family: 4 | 6 = 4): string {
  return [...router.engine.rules(family).counters()]
    .filter(({ packets, number }) => packets > 0 && number !== 'policy')
    .map(({ table, chain, number }) => (table === 'filter' ? `filter ${number}` : `${chain} ${number}`))
    .join(', ');
}

const TAKEN = 'PREROUTING 1, INPUT 1, filter 1';
const TAKEN_BY_ANY = 'PREROUTING 1, INPUT 1, filter 2';
const DROPPED = 'PREROUTING 1';
const plain = (address: string | undefined, port = 9000): SocketOptions => ({
  protocol: 'udp',
  port,
  ...(address === undefined ? {} : { address }),
});
const transparent = (address: string, port = 9000): SocketOptions => ({
  ...plain(address, port),
  transparent: true,
});

describe('TPROXY', () => {
  test.each<[string, string, SocketOptions[], string]>([
    ['without a socket', TPROXY, [], DROPPED],
    ['a socket that is not transparent', TPROXY, [plain('0.0.0.0')], DROPPED],
    ['a transparent socket of any address', TPROXY, [transparent('0.0.0.0')], TAKEN_BY_ANY],
    ["one of the interface's first address", TPROXY, [transparent('10.0.0.1')], TAKEN],
    ["one of the interface's second address", TPROXY, [transparent('10.0.5.1')], DROPPED],
    ['one of loopback, not named', TPROXY, [transparent('127.0.0.1')], DROPPED],
    ['one of loopback', `${TPROXY} --on-ip 127.0.0.1`, [transparent('127.0.0.1')], TAKEN],
    ['one of an address of nobody', `${TPROXY} --on-ip 7.7.7.7`, [transparent('7.7.7.7')], TAKEN],
    ["the packet's port", TPROXY.replace('9000', '0'), [transparent('0.0.0.0', 53)], TAKEN_BY_ANY],
    [
      "the packet's port and address",
      `${TPROXY.replace('9000', '0')} --on-ip 1.1.1.1`,
      [transparent('1.1.1.1', 53)],
      TAKEN,
    ],
    ['the more exact one that is not', TPROXY, [plain('10.0.0.1'), transparent('0.0.0.0')], DROPPED],
    ['the more exact one that is', TPROXY, [transparent('10.0.0.1'), plain('0.0.0.0')], TAKEN],
  ])('%s', (_what, rule, sockets, expected) => {
    const router = makeRouter(sockets, rulesOf(rule));
    router.receive(LAN, parsePacket(ASKED4), 0);
    expect(counted(router)).toBe(expected);
    expect(router.engine.drops.toObject()).toEqual(
      expected === DROPPED ? { 'no-transparent-socket': 1 } : {},
    );
  });

  test.each<[string, string, SocketOptions[], string]>([
    ['without a socket', TPROXY, [], DROPPED],
    ['a socket that is not transparent', TPROXY, [plain('::')], DROPPED],
    ['a transparent socket of any address', TPROXY, [transparent('::')], TAKEN_BY_ANY],
    ["one of the interface's address", TPROXY, [transparent('fd00:a::1')], TAKEN],
    ['one of loopback', `${TPROXY} --on-ip ::1`, [transparent('::1')], TAKEN],
  ])('IPv6: %s', (_what, rule, sockets, expected) => {
    const router = makeRouter(sockets, rulesOf(rule), 6);
    router.receive(LAN, parsePacket(ASKED6), 0);
    expect(counted(router, 6)).toBe(expected);
  });

  it('takes packets whose TTL is used up, and those for an address of ours', () => {
    for (const packet of [`${ASKED4} ttl 1`, 'udp 10.0.0.2:5000 > 203.0.113.1:53 len 5']) {
      const router = makeRouter([transparent('0.0.0.0')], rulesOf(TPROXY));
      router.receive(LAN, parsePacket(packet), 0);
      expect(counted(router)).toBe(TAKEN_BY_ANY);
    }
  });

  it('drops a packet that ends within its header', () => {
    const router = makeRouter([transparent('0.0.0.0')], rulesOf(TPROXY));
    router.receive(LAN, parsePacket('ip 10.0.0.2 > 1.1.1.1 proto 17 data "abcd"'), 0);
    expect(router.engine.drops.toObject()).toEqual({ 'rule-malformed': 1 });
  });

  it('sets the bits of the mark that it was told to', () => {
    const marks = ['0x10/0xf0', '5', '0x0/0x0'].map((mark) => {
      const rules = `*mangle\n-A PREROUTING -j MARK --set-mark 0xff\n-A PREROUTING -p udp -j TPROXY --on-port 9000 --tproxy-mark ${mark}\n-A INPUT -m mark --mark 0x1f\n-A INPUT -m mark --mark 5\n-A INPUT -m mark --mark 0xff\nCOMMIT\n`;
      const router = makeRouter([transparent('0.0.0.0')], rules);
      router.receive(LAN, parsePacket(ASKED4), 0);
      return counted(router).split(', ').at(-1);
    });
    expect(marks).toEqual(['INPUT 1', 'INPUT 2', 'INPUT 3']);
  });

  it('sees fragments put together, tracked or not', () => {
    const router = makeRouter([transparent('0.0.0.0')], rulesOf(TPROXY));
    const whole = parsePacket(`udp 10.0.0.2:5000 > 1.1.1.1:53 len 64 ipid 7`);
    const part = (from: number, to: number, more: number): Uint8Array => {
      const bytes = new Uint8Array(20 + to - from);
      bytes.set(whole.subarray(0, 20));
      bytes.set(whole.subarray(20 + from, 20 + to), 20);
      bytes.set([0, bytes.length], 2);
      bytes.set([more ? 0x20 : 0, from / 8], 6);
      bytes.set([0, 0], 10);
      let sum = 0;
      for (let i = 0; i < 20; i += 2) sum += bytes[i]! * 256 + bytes[i + 1]!;
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      bytes.set([(~sum >>> 8) & 255, ~sum & 255], 10);
      return bytes;
    };
    expect(router.engine.isTracking(4)).toBe(0);
    router.receive(LAN, part(0, 32, 1), 0);
    router.receive(LAN, part(32, 72, 0), 0);
    expect(counted(router)).toBe(TAKEN_BY_ANY);
  });

  it('is told of by explain: who takes the packet, or that nobody does', () => {
    const explain = (sockets: SocketOptions[]) =>
      new Explainer(makeRouter(sockets, rulesOf(TPROXY))).receive(LAN, parsePacket(ASKED4), 0);
    const effects = JSON.stringify(explain([transparent('10.0.0.1')]).stages);
    expect(effects).toContain('the socket that takes it is socket, udp 10.0.0.1:9000');
    expect(effects).toContain('mark is 0x1');
    expect(explain([plain('10.0.0.1')])).toMatchObject({
      fate: 'dropped',
      reason: 'no-transparent-socket',
      place: 'mangle/PREROUTING 1',
    });
  });
});

describe('a mark that makes packets our own', () => {
  const rules = '*mangle\n-A PREROUTING -p udp -j MARK --set-mark 0x3\n-A INPUT\n-A FORWARD\nCOMMIT\n';
  test.each([
    [undefined, 'PREROUTING 1, FORWARD 1'],
    ['0x1/0x1', 'PREROUTING 1, INPUT 1'],
    ['3', 'PREROUTING 1, INPUT 1'],
    ['0x1', 'PREROUTING 1, FORWARD 1'],
  ])('%s', (localMark, expected) => {
    const router = makeRouter([], rules, 4, localMark);
    router.receive(LAN, parsePacket(ASKED4), 0);
    expect(counted(router)).toBe(expected);
    const six = makeRouter([], rules, 6, localMark);
    six.receive(LAN, parsePacket(ASKED6), 0);
    expect(counted(six, 6)).toBe(expected);
  });

  test.each(['', 'x', '0x1/0x0', '0x1/', '0x100000000', '-1'])('is refused: %j', (localMark) => {
    expect(() => makeRouter([], rules, 4, localMark)).toThrow(ConfigurationError);
  });
});

describe('socket --restore-skmark', () => {
  const restored = (words: string, socket: SocketOptions) => {
    const rules = `*mangle\n-A PREROUTING -j MARK --set-mark 5\n-A PREROUTING -p udp -m socket${words} --restore-skmark\n-A PREROUTING -m mark --mark 0\n-A PREROUTING -m mark --mark 5\nCOMMIT\n`;
    const router = makeRouter([socket], rules);
    router.receive(LAN, parsePacket('udp 10.0.0.2:5000 > 10.0.0.1:53 len 5'), 0);
    return counted(router);
  };
  test.each<[string, SocketOptions, string]>([
    ['', plain(undefined, 53), 'PREROUTING 1, PREROUTING 4'],
    [' --nowildcard', plain(undefined, 53), 'PREROUTING 1, PREROUTING 2, PREROUTING 3'],
    ['', plain('10.0.0.1', 53), 'PREROUTING 1, PREROUTING 2, PREROUTING 3'],
    [' --transparent', transparent('10.0.0.1', 53), 'PREROUTING 1, PREROUTING 2, PREROUTING 3'],
    [' --transparent', plain('10.0.0.1', 53), 'PREROUTING 1, PREROUTING 4'],
  ])('%s: a packet of a socket that matches gets its mark, 0', (words, socket, expected) => {
    expect(restored(words, socket)).toBe(expected);
  });
});
