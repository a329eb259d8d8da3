/** C3: super-packets and partial checksums on their way through the router. */
import { describe, expect, it } from 'vitest';
import { DropReason } from '../../../lib/counters.js';
import type { OffloadKind } from '../../../lib/network/offload/features.js';
import type { Offload } from '../../../lib/network/port.js';
import { Router } from '../../../lib/network/router.js';
import { parsePacket } from '../../../lib/scenario/notation.js';
import { isRight, payloadByte, pseudoSum, superPacket, transportOf, words16 } from './packets.js';

const MASQUERADE = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';

function network(options: { wanMtu?: number; offloads?: OffloadKind[]; rules?: string } = {}) {
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: 9200 },
      {
        name: 'wan',
        addresses: ['203.0.113.1/24', '2001:db8:1::1/64'],
        mtu: options.wanMtu ?? 1500,
        offloads: options.offloads ?? [],
      },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    maxConnections: 256,
    seed: 1,
  });
  router.engine.restore(4, options.rules ?? MASQUERADE);
  router.engine.restore(6, options.rules ?? MASQUERADE);
  const sent: Uint8Array[] = [];
  const offloads: (Offload | undefined)[] = [];
  router.onTransmit = (_index, bytes, _origin, offload) => {
    sent.push(bytes.slice());
    offloads.push(offload === undefined ? undefined : { ...offload });
  };
  return { router, sent, offloads };
}

const V4 = { from: '10.0.0.2', to: '198.51.100.7' };
const V6 = { from: 'fd00:a::2', to: '2001:db8:2::7' };

function payloads(sent: Uint8Array[], headerBytes: number): number[] {
  return sent.flatMap((bytes) => [...bytes.subarray(headerBytes)]);
}

describe('a UDP super-packet', () => {
  it.each([V4, V6])(
    'of 9000 bytes at 1350 leaves as six datagrams of 1350 and one of 900 ($from)',
    (ends) => {
      const { router, sent } = network();
      const { bytes, offload } = superPacket({
        protocol: 'udp',
        ...ends,
        payloadBytes: 9000,
        gsoSizeBytes: 1350,
      });
      router.receive(1, bytes, 0, undefined, offload);
      const headers = transportOf(sent[0]!) + 8;
      expect(sent.map((one) => one.length - headers)).toEqual([1350, 1350, 1350, 1350, 1350, 1350, 900]);
      expect(sent.every((one) => isRight(one))).toBe(true);
      expect(payloads(sent, headers)).toEqual(Array.from({ length: 9000 }, (_, i) => payloadByte(i)));
    },
  );

  it('of 3000 bytes at 1200 gives the UDP lengths 1208, 1208 and 608', () => {
    const { router, sent } = network();
    const { bytes, offload } = superPacket({
      protocol: 'udp',
      ...V4,
      payloadBytes: 3000,
      gsoSizeBytes: 1200,
    });
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent.map((one) => words16(one, 24))).toEqual([1208, 1208, 608]);
    expect(sent.every((one) => isRight(one))).toBe(true);
  });

  it('may have 128 segments and no more', () => {
    const { router, sent } = network();
    const most = superPacket({ protocol: 'udp', ...V4, payloadBytes: 1280, gsoSizeBytes: 10 });
    router.receive(1, most.bytes, 0, undefined, most.offload);
    expect(sent).toHaveLength(128);
    const tooMany = superPacket({ protocol: 'udp', ...V4, payloadBytes: 1281, gsoSizeBytes: 10 });
    router.receive(1, tooMany.bytes, 0, undefined, tooMany.offload);
    expect(sent).toHaveLength(128);
    expect(router.engine.drops.get(DropReason.LINK_OFFLOAD)).toBe(1);
    const local = superPacket({
      protocol: 'udp',
      from: '203.0.113.1',
      to: V4.to,
      payloadBytes: 1281,
      gsoSizeBytes: 10,
    });
    expect(router.sendLocal(local.bytes, 0, local.offload)).toBe(22);
  });

  it('of our own whose segments do not fit the link is refused', () => {
    const { router, sent } = network({ wanMtu: 1280 });
    const of = { protocol: 'udp', from: '203.0.113.1', to: V4.to, payloadBytes: 9000 } as const;
    const fits = superPacket({ ...of, gsoSizeBytes: 1252 });
    expect(router.sendLocal(fits.bytes, 0, fits.offload)).toBe(0);
    expect(sent.map((one) => one.length)).toEqual([...new Array<number>(7).fill(1280), 236 + 28]);
    const tooLong = superPacket({ ...of, gsoSizeBytes: 1253 });
    expect(router.sendLocal(tooLong.bytes, 0, tooLong.offload)).toBe(90);
    const short = superPacket({ ...of, payloadBytes: 1000, gsoSizeBytes: 1253 });
    expect(router.sendLocal(short.bytes, 0, short.offload)).toBe(0);
    expect(sent).toHaveLength(9);
  });

  it('without a checksum stays without, over IPv4; over IPv6 that is invalid', () => {
    const { router, sent } = network();
    const four = superPacket({ protocol: 'udp', ...V4, payloadBytes: 3000, gsoSizeBytes: 1200 });
    four.bytes.fill(0, 26, 28);
    router.receive(1, four.bytes, 0, undefined, { ...four.offload, needsChecksum: 0 });
    expect(sent.map((one) => words16(one, 26))).toEqual([0, 0, 0]);
    const six = superPacket({ protocol: 'udp', ...V6, payloadBytes: 3000, gsoSizeBytes: 1200 });
    six.bytes.fill(0, 46, 48);
    router.receive(1, six.bytes, 0, undefined, { ...six.offload, needsChecksum: 0 });
    expect(sent).toHaveLength(3);
    expect(router.engine.drops.get(DropReason.LINK_OFFLOAD)).toBe(1);
  });

  it('for a local socket is delivered datagram by datagram', () => {
    const lengths: number[] = [];
    const { router } = network();
    router.ports.reserve({
      version: 4,
      protocol: 17,
      port: 53,
      owner: 'test',
      receive: (packet) => lengths.push(packet.lengthBytes - 28),
    });
    const { bytes, offload } = superPacket({
      protocol: 'udp',
      from: '10.0.0.2',
      to: '10.0.0.1',
      payloadBytes: 3000,
      gsoSizeBytes: 1200,
    });
    router.receive(1, bytes, 0, undefined, offload);
    expect(lengths).toEqual([1200, 1200, 600]);
  });
});

describe('a TCP super-packet', () => {
  const FLAGS = 0x80 | 0x10 | 0x08 | 0x01;
  const of = { protocol: 'tcp', payloadBytes: 3000, gsoSizeBytes: 1400, flags: FLAGS } as const;

  it.each([V4, V6])('is cut as hardware does: sequence, FIN, PSH and CWR ($from)', (ends) => {
    const { router, sent } = network({ rules: '*filter\nCOMMIT\n' });
    const { bytes, offload } = superPacket({ ...of, ...ends, sequence: 0xfffffa00, id: 0xffff });
    router.receive(1, bytes, 0, undefined, offload);
    const at = transportOf(sent[0]!);
    expect(sent.map((one) => one.length - at - 20)).toEqual([1400, 1400, 200]);
    const sequences = sent.map((one) => words16(one, at + 4) * 65536 + words16(one, at + 6));
    expect(sequences).toEqual([0xfffffa00, 0xffffff78, 0x4f0]);
    expect(sent.map((one) => one[at + 13])).toEqual([0x90, 0x10, 0x19]);
    if (at === 20) expect(sent.map((one) => words16(one, 4))).toEqual([0xffff, 0, 1]);
    expect(sent.every((one) => isRight(one))).toBe(true);
  });

  it('leaves whole by a link that cuts, its partial sum adjusted by NAT for the address alone', () => {
    const { router, sent, offloads } = network({ offloads: ['tcp4'] });
    const { bytes, offload } = superPacket({ ...of, ...V4, flags: 2, ports: [5000, 80] });
    router.engine.restore(
      4,
      '*nat\n-A POSTROUTING -o wan -j SNAT --to-source 203.0.113.1:7777\nCOMMIT\n'.replace(
        '-o wan',
        '-o wan -p tcp',
      ),
    );
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent).toHaveLength(1);
    expect(sent[0]!.length).toBe(3040);
    expect(words16(sent[0]!, 20)).toBe(7777);
    expect(words16(sent[0]!, 36)).toBe(pseudoSum(sent[0]!, 6, 3020));
    expect(offloads[0]).toEqual({
      needsChecksum: 1,
      checksumStart: 20,
      checksumOffset: 16,
      gsoType: 'tcp4',
      gsoSizeBytes: 1400,
      headerBytes: 40,
    });
  });

  it('is cut for a link that cuts another kind', () => {
    const { router, sent } = network({ offloads: ['tcp6', 'udp'] });
    const { bytes, offload } = superPacket({ ...of, ...V4, flags: 2 });
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent).toHaveLength(3);
    expect(sent.every((one) => isRight(one))).toBe(true);
  });

  it('is judged by the length of its segments where the MTU is', () => {
    const { router, sent } = network({ wanMtu: 1440, offloads: ['tcp4'], rules: '*filter\nCOMMIT\n' });
    const fits = superPacket({ ...of, ...V4, df: true });
    router.receive(1, fits.bytes, 0, undefined, fits.offload);
    expect(sent.map((one) => one.length)).toEqual([3040]);
    const tooLong = superPacket({ ...of, ...V4, df: true, gsoSizeBytes: 1401 });
    router.receive(1, tooLong.bytes, 0, undefined, tooLong.offload);
    expect(sent[1]!.subarray(20, 28)).toEqual(
      Uint8Array.of(3, 4, sent[1]![22]!, sent[1]![23]!, 0, 0, 5, 160),
    );
    const six = superPacket({ ...of, ...V6, gsoSizeBytes: 1381 });
    router.receive(1, six.bytes, 0, undefined, six.offload);
    expect([sent[2]![40], sent[2]![41], words16(sent[2]!, 46)]).toEqual([2, 0, 1440]);
    expect(sent).toHaveLength(3);
  });

  it('has its segments fragmented if they do not fit and DF is not set', () => {
    const { router, sent } = network({ wanMtu: 1000, rules: '*filter\nCOMMIT\n' });
    const { bytes, offload } = superPacket({ ...of, ...V4 });
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent.map((one) => [one.length, words16(one, 6)])).toEqual([
      [996, 0x2000],
      [464, 0x007a],
      [996, 0x2000],
      [464, 0x007a],
      [240, 0],
    ]);
  });

  it('of one segment only is an ordinary packet', () => {
    const { router, sent, offloads } = network({ offloads: ['tcp4'] });
    const { bytes, offload } = superPacket({ ...of, ...V4, flags: 2, payloadBytes: 1000 });
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent).toHaveLength(1);
    expect(offloads[0]).toMatchObject({ needsChecksum: 1, gsoType: 'none', gsoSizeBytes: 0 });
  });
});

describe('a partial checksum', () => {
  it.each([
    ['udp', V4],
    ['tcp', V4],
    ['udp', V6],
    ['tcp', V6],
  ] as const)('is completed on the way out, behind NAT: %s, %o', (protocol, ends) => {
    const { router, sent } = network();
    const { bytes, offload } = superPacket({
      protocol,
      ...ends,
      payloadBytes: 101,
      gsoSizeBytes: 0,
      flags: 2,
    });
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent).toHaveLength(1);
    expect(isRight(sent[0]!)).toBe(true);
  });

  it('leaves partial by a link that completes it', () => {
    const { router, sent, offloads } = network({ offloads: ['checksum'] });
    const { bytes, offload } = superPacket({ protocol: 'udp', ...V4, payloadBytes: 11, gsoSizeBytes: 0 });
    router.receive(1, bytes, 0, undefined, offload);
    expect(words16(sent[0]!, 26)).toBe(pseudoSum(sent[0]!, 17, 19));
    expect(offloads[0]).toMatchObject({
      needsChecksum: 1,
      checksumStart: 20,
      checksumOffset: 6,
      gsoType: 'none',
    });
  });

  it('is completed before the packet is fragmented', () => {
    const { router, sent } = network({ wanMtu: 1000, offloads: ['checksum'] });
    const { bytes, offload } = superPacket({ protocol: 'udp', ...V4, payloadBytes: 1500, gsoSizeBytes: 0 });
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent).toHaveLength(2);
    const whole = Uint8Array.from([...sent[0]!, ...sent[1]!.subarray(20)]);
    whole.set([whole.length >>> 8, whole.length & 255], 2);
    expect(words16(whole, 26)).not.toBe(pseudoSum(whole, 17, 1508));
    const sum = whole.subarray(20).reduce((total, byte, i) => total + (i % 2 === 0 ? byte * 256 : byte), 0);
    expect((sum + pseudoSum(whole, 17, 1508)) % 0xffff).toBe(0);
  });

  it('that sums up to 0 is sent as 0xffff', () => {
    const { router, sent } = network({ rules: '*filter\nCOMMIT\n' });
    const { bytes, offload } = superPacket({ protocol: 'udp', ...V4, payloadBytes: 2, gsoSizeBytes: 0 });
    bytes.fill(0, 28, 30);
    const rest = pseudoSum(bytes, 17, 10) + words16(bytes, 20) + words16(bytes, 22) + 10;
    const folded = (rest & 0xffff) + (rest >>> 16);
    bytes.set([(0xffff - folded) >>> 8, (0xffff - folded) & 255], 28);
    router.receive(1, bytes, 0, undefined, offload);
    expect(words16(sent[0]!, 26)).toBe(0xffff);
  });

  const HOP_BY_HOP = [0, 0, 1, 4, 0, 0, 0, 0];
  const DESTINATION = [0, 0, 1, 4, 0, 0, 0, 0];
  const ROUTING = [0, 0, 4, 0, 0, 0, 0, 0];
  const AUTHENTICATION = [0, 4, 0, 0, ...new Array<number>(20).fill(1)];
  it('has its transport header found behind IPv6 extension headers', () => {
    const chain: [number, number[]][] = [
      [0, HOP_BY_HOP],
      [60, DESTINATION],
      [43, ROUTING],
      [51, AUTHENTICATION],
      [60, DESTINATION],
    ];
    const bytes = chain.flatMap(([, header], i) => [chain[i + 1]?.[0] ?? 17, ...header.slice(1)]);
    const extensions = { first: 0, bytes };
    for (const gsoSizeBytes of [0, 1200]) {
      const { router, sent } = network();
      const { bytes: packet, offload } = superPacket({
        protocol: 'udp',
        ...V6,
        payloadBytes: gsoSizeBytes === 0 ? 100 : 3000,
        gsoSizeBytes,
        extensions,
      });
      router.receive(1, packet, 0, undefined, offload);
      expect(sent).toHaveLength(gsoSizeBytes === 0 ? 1 : 3);
      expect(sent.every((one) => isRight(one, bytes.length))).toBe(true);
      expect(sent[0]!.subarray(8, 12)).toEqual(Uint8Array.of(0x20, 0x01, 0x0d, 0xb8));
    }
  });

  it('behind an IPv6 fragment header is completed on arrival', () => {
    const { router, sent } = network({ rules: '*filter\nCOMMIT\n', offloads: ['checksum'] });
    const extensions = { first: 44, bytes: [17, 0, 0, 0, 0, 0, 0, 9] };
    const { bytes, offload } = superPacket({
      protocol: 'udp',
      ...V6,
      payloadBytes: 100,
      gsoSizeBytes: 0,
      extensions,
    });
    router.receive(1, bytes, 0, undefined, offload);
    expect(sent).toHaveLength(1);
    expect(isRight(sent[0]!, 8)).toBe(true);
  });

  it('is adjusted and completed for a packet that an ICMPv6 error then quotes, extension headers and all', () => {
    const { router, sent } = network();
    const chain = [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    const { bytes, offload } = superPacket({
      protocol: 'udp',
      ...V6,
      payloadBytes: 32,
      gsoSizeBytes: 0,
      extensions: { first: 0, bytes: chain },
    });
    const original = bytes.slice();
    router.receive(1, bytes, 0, undefined, offload);
    const quoted = sent[0]!;
    expect(isRight(quoted, 16)).toBe(true);
    const hex = Array.from(quoted, (byte) => byte.toString(16).padStart(2, '0')).join('');
    const error = parsePacket(`icmpv6 2001:db8:2::7 > 2001:db8:1::1 port-unreachable { raw ${hex} }`);
    router.receive(2, error, 0);
    expect(sent).toHaveLength(2);
    const inner = sent[1]!.subarray(48);
    expect(inner.subarray(8, 40)).toEqual(original.subarray(8, 40));
    // The quoted packet is as it was sent, but for its hop limit and its checksum, which is whole.
    expect(inner.subarray(40, 62)).toEqual(original.subarray(40, 62));
    expect(isRight(inner.slice(), 16)).toBe(true);
    expect(sent[1]!.subarray(24, 40)).toEqual(original.subarray(8, 24));
  });

  it.each([
    ['starts before the packet', { checksumStart: -2 }],
    ['ends behind the packet', { checksumStart: 100, checksumOffset: 28 }],
    ['is of no TCP packet, which should be cut', { gsoType: 'tcp4', gsoSizeBytes: 10 }],
    [
      'is elsewhere than in the UDP header that should be cut',
      { checksumStart: 24, gsoType: 'udp', gsoSizeBytes: 10 },
    ],
    ['is of segments without payload', { gsoType: 'udp', gsoSizeBytes: 0 }],
  ] as const)('is refused if it %s', (_, wrong) => {
    const { router, sent } = network();
    const { bytes, offload } = superPacket({ protocol: 'udp', ...V4, payloadBytes: 100, gsoSizeBytes: 0 });
    router.receive(1, bytes, 0, undefined, { ...offload, ...wrong });
    expect(sent).toHaveLength(0);
    expect(router.engine.drops.get(DropReason.LINK_OFFLOAD)).toBe(1);
  });

  it('that is not the packet’s own, as of a tunnel, is completed on arrival', () => {
    const { router, sent } = network({ offloads: ['checksum'], rules: '*filter\nCOMMIT\n' });
    const { bytes, offload } = superPacket({ protocol: 'udp', ...V4, payloadBytes: 100, gsoSizeBytes: 0 });
    bytes.fill(0, 26, 28);
    router.receive(1, bytes, 0, undefined, { ...offload, checksumStart: 60, checksumOffset: 6 });
    expect(words16(sent[0]!, 66)).not.toBe((payloadByte(38) << 8) | payloadByte(39));
    expect(words16(sent[0]!, 26)).toBe(0);
  });
});

it('ordinary packets leave without a word about offload', () => {
  const { router, offloads } = network({ offloads: ['checksum', 'tcp4', 'tcp6', 'udp'] });
  router.receive(1, parsePacket('udp 10.0.0.2:5000 > 8.8.8.8:53 len 5'), 0);
  expect(offloads).toEqual([undefined]);
});
