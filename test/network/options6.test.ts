import { describe, expect, it } from 'vitest';
import { DropReason } from '../../lib/counters.js';
import { Router } from '../../lib/network/router.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';

function makeRouter(tracking: 'auto' | 'always' = 'auto'): { router: Router; sent: string[] } {
  const router = new Router({
    interfaces: [
      { name: 'tun0', addresses: ['fd00:a::1/64'] },
      { name: 'tun1', addresses: ['2001:db8:1::1/64'] },
    ],
    routes: ['-6 default dev tun1'],
    tracking,
    maxConnections: 16,
    seed: 1,
  });
  const sent: string[] = [];
  router.onTransmit = (_, bytes) => sent.push(formatPacket(bytes));
  return { router, sent };
}

/** An options header's body: its length, then options of which the first begins 2 bytes behind the header's beginning. */
describe('an IPv6 hop-by-hop option', () => {
  it.each([
    ['IOAM at a multiple of four is passed over', '01 0100 310400000000 010400000000', 1],
    ['IOAM elsewhere is refused without an answer', '01 31020000 3e020000 010400000000', 0],
    [
      'a security label of no known domain is refused without an answer',
      '01 0708000000010005beea 01020000',
      0,
    ],
  ])('%s', (_, body, count) => {
    const { router, sent } = makeRouter();
    const ext = `0:${body.replaceAll(' ', '')}`;
    router.receive(1, parsePacket(`udp [fd00:a::2]:1 > [2001:db8:2::7]:2 ext ${ext}`), 0);
    expect(sent).toHaveLength(count);
    expect(router.engine.drops.get(DropReason.BAD_EXTENSION_HEADER)).toBe(1 - count);
  });

  it.each([
    ['right', '00 010400000000', DropReason.NO_LOCAL_LISTENER],
    ['too much padding', '01 01060000000000000000 01020000', DropReason.BAD_EXTENSION_HEADER],
  ])('is read when a packet of the router comes in by lo: %s', (_, body, reason) => {
    const { router, sent } = makeRouter();
    const ext = `0:${body.replaceAll(' ', '')}`;
    const packet = parsePacket(`udp [fd00:a::1]:1 > [2001:db8:1::1]:2 ext ${ext}`);
    expect(router.sendLocal(packet, 0)).toBe(0);
    expect(router.engine.drops.get(reason)).toBe(1);
    expect(sent).toEqual([]);
  });
});

describe('destination options in front of a fragment header that conntrack took out', () => {
  const options = 'ext 60:00fe0201020000 frag 0 fragid 7';

  it('are looked for where it was, as on Linux, when the packet came in: the UDP header is taken for them', () => {
    const { router, sent } = makeRouter('always');
    router.receive(1, parsePacket(`udp [fd00:a::2]:1 > [fd00:a::1]:2 ${options}`), 0);
    expect(sent).toEqual([]);
    router.receive(1, parsePacket('udp [fd00:a::2]:1 > [fd00:a::1]:2 frag 0 fragid 8'), 0);
    expect(sent.map((one) => one.split(' ')[4])).toEqual(['port-unreachable']);
  });

  it('are met when the packet is of the router itself', () => {
    const { router } = makeRouter('always');
    router.engine.restore(6, '*filter\n-A OUTPUT -p icmpv6 -m icmp6 --icmpv6-type 4/2\nCOMMIT\n');
    router.sendLocal(parsePacket(`udp [fd00:a::1]:1 > [2001:db8:1::1]:2 ${options}`), 0);
    expect(router.engine.save(6, 'with')).toMatch(/\[1:\d+\] -A OUTPUT/);
  });
});
