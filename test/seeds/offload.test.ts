/**
 * Row C3: segmentation offload and partial checksums, through a gateway's interface and for datagrams of its own. TCP, links
 * that finish packets themselves, and what makes no sense are in `test/network/offload`; real devices in `test/node/tun.test.ts`.
 */
import { describe, expect, it } from 'vitest';
import { type Datagram, formatPacket, type Offload, parsePacket } from '../../lib/index.js';
import { Lab, MASQUERADE } from './lab.js';

const OUT4 = 'udp 10.0.0.2:5000 > 198.51.100.7:53';
const OUT6 = 'udp [fd00:a::2]:5000 > [2001:db8:2::7]:53';
const EINVAL = 22;
const EMSGSIZE = 90;

/** Offset of the UDP header of a packet without extension headers. */
const udpAt = (packet: Uint8Array): number => (packet[0]! >>> 4 === 4 ? 20 : 40);
const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
const put16 = (bytes: Uint8Array, at: number, value: number): void =>
  bytes.set([value >>> 8, value & 255], at);

/** One's complement sum, not inverted. */
function sum(bytes: Uint8Array, start = 0): number {
  let total = start;
  for (let i = 0; i < bytes.length; i++) total += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** Sum of the pseudo header: both addresses, protocol, length. */
function pseudo(packet: Uint8Array, at = udpAt(packet)): number {
  const addresses = packet[0]! >>> 4 === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  return sum(addresses, 17 + packet.length - at);
}

/** A datagram whose checksum is left to be finished, to be cut into pieces of `gsoSizeBytes` if that is not 0. */
function unfinished(ends: string, lengthBytes: number, gsoSizeBytes: number): [Uint8Array, Offload] {
  const packet = parsePacket(`${ends} len ${lengthBytes}`);
  const at = udpAt(packet);
  for (let i = at + 8; i < packet.length; i++) packet[i] = i * 7;
  put16(packet, at + 6, pseudo(packet));
  const gsoType = gsoSizeBytes === 0 ? 'none' : 'udp';
  return [
    packet,
    { needsChecksum: 1, checksumStart: at, checksumOffset: 6, gsoType, gsoSizeBytes, headerBytes: at + 8 },
  ];
}

/** What leaves by `wan` when a frame comes in by `lan`. */
function through(lab: Lab, [packet, offload]: [Uint8Array, Offload]): Uint8Array[] {
  const left: Uint8Array[] = [];
  lab.gateway.interface('wan').onTransmit = (bytes) => left.push(bytes.slice());
  lab.gateway.interface('lan').receive(packet, offload);
  return left;
}

describe('C3: a UDP datagram with a segment size', () => {
  it.each([
    [OUT4, 9000, 1350, [1358, 1358, 1358, 1358, 1358, 1358, 908]],
    [OUT6, 9000, 1350, [1358, 1358, 1358, 1358, 1358, 1358, 908]],
    [OUT4, 3000, 1200, [1208, 1208, 608]],
  ])(
    '%s of %i bytes at %i leaves with the UDP lengths %j and whole checksums',
    (ends, bytes, size, lengths) => {
      const left = through(new Lab(MASQUERADE), unfinished(ends, bytes, size));
      expect(left.map((packet) => u16(packet, udpAt(packet) + 4))).toEqual(lengths);
      for (const packet of left) {
        expect(formatPacket(packet)).toMatch(/^udp (203\.0\.113\.1|\[2001:db8:1::1\]):5000 > /);
        expect(sum(packet.subarray(udpAt(packet)), pseudo(packet))).toBe(0xffff);
      }
      const payload = left.flatMap((packet) => [...packet.subarray(udpAt(packet) + 8)]);
      const [sent] = unfinished(ends, bytes, size);
      expect(payload).toEqual([...sent.subarray(udpAt(sent) + 8)]);
    },
  );

  it('has at most 128 segments: of a link it is dropped and counted, of our own it is EINVAL', () => {
    const lab = new Lab(MASQUERADE);
    expect(through(lab, unfinished(OUT4, 128 * 20, 20))).toHaveLength(128);
    expect(through(lab, unfinished(OUT4, 128 * 20 + 1, 20))).toHaveLength(0);
    expect(lab.gateway.drops.toObject()).toEqual({ 'link-offload': 1 });
    const own = unfinished(OUT4.replace('10.0.0.2', '203.0.113.1'), 128 * 20 + 1, 20);
    expect(lab.gateway.router.sendLocal(own[0], 0, own[1])).toBe(EINVAL);
  });

  it('of our own has segments that fit the link with their headers, or it is EMSGSIZE', () => {
    const { router } = new Lab(MASQUERADE).gateway;
    const own = (size: number) => unfinished(OUT4.replace('10.0.0.2', '203.0.113.1'), 9000, size);
    const send = ([packet, offload]: [Uint8Array, Offload]) => router.sendLocal(packet, 0, offload);
    expect(send(own(1472))).toBe(0);
    expect(send(own(1473))).toBe(EMSGSIZE);
  });
});

describe('C3: checksums', () => {
  it('a partial one is adjusted by NAT for addresses alone, uninverted; ports do not touch it', () => {
    const lab = new Lab(undefined, {
      rules: { 4: '*nat\n-A POSTROUTING -o wan -p udp -j SNAT --to-source 203.0.113.1:7777\nCOMMIT\n' },
    });
    const wan = lab.gateway.interface('wan');
    wan.acceptOffloads(['checksum']);
    const [packet] = through(lab, unfinished(OUT4, 100, 0)) as [Uint8Array];
    expect(formatPacket(packet)).toContain('203.0.113.1:7777 > 198.51.100.7:53');
    expect(u16(packet, 26)).toBe(pseudo(packet));
  });

  it('one of 0 stays 0 over IPv4, through NAT and in segments; over IPv6 it is invalid', () => {
    const lab = new Lab(MASQUERADE);
    expect(lab.send('lan', `${OUT4} len 5 nosum`)).toEqual([expect.stringContaining('nosum')]);
    const [four, offload] = unfinished(OUT4, 3000, 1200);
    put16(four, 26, 0);
    expect(through(lab, [four, { ...offload, needsChecksum: 0 }]).map((one) => u16(one, 26))).toEqual([
      0, 0, 0,
    ]);
    const [six, offload6] = unfinished(OUT6, 3000, 1200);
    put16(six, 46, 0);
    expect(through(lab, [six, { ...offload6, needsChecksum: 0 }])).toEqual([]);
    expect(lab.gateway.drops.toObject()).toEqual({ 'link-offload': 1 });
    // One of a packet that is whole passes a router, as on Linux; a socket does not take it.
    const heard: Datagram[] = [];
    lab.gateway.udp.bind({ port: 53, onMessage: (datagram) => heard.push(datagram) });
    lab.send('lan', 'udp [fd00:a::2]:5000 > [fd00:a::1]:53 len 5 nosum');
    expect(heard).toEqual([]);
    lab.send('lan', 'udp 10.0.0.2:5000 > 10.0.0.1:53 len 5 nosum');
    expect(heard).toHaveLength(1);
  });

  it('one that is computed to be 0 is sent as 0xffff', () => {
    const [packet, offload] = unfinished(OUT4.replace('10.0.0.2', '10.0.0.3'), 2, 0);
    // The last two bytes make up for everything else, with the source that it will have.
    const lab = new Lab(MASQUERADE);
    const seen = packet.slice();
    seen.set([203, 0, 113, 1], 12);
    put16(packet, 28, 0xffff - sum(seen.subarray(20, 26), pseudo(seen)));
    const [left] = through(lab, [packet, offload]) as [Uint8Array];
    expect(formatPacket(left)).toContain('203.0.113.1:5000');
    expect(u16(left, 26)).toBe(0xffff);
  });

  const HEADERS: [number, number[]][] = [
    [0, [1, 4, 0, 0, 0, 0]],
    [43, [4, 0, 0, 0, 0, 0]],
    [60, [1, 4, 0, 0, 0, 0]],
    [51, new Array<number>(22).fill(1)],
  ];

  /** The datagram with hop-by-hop, routing, destination and AH headers in front, and where its UDP header is then. */
  function behindHeaders(ends: string): [Uint8Array, number] {
    const plain = parsePacket(`${ends} len 64`);
    const chain = HEADERS.flatMap(([type, rest], i) => [
      HEADERS[i + 1]?.[0] ?? 17,
      type === 51 ? 4 : 0,
      ...rest,
    ]);
    const packet = Uint8Array.from([...plain.subarray(0, 40), ...chain, ...plain.subarray(40)]);
    packet[6] = 0;
    put16(packet, 4, packet.length - 40);
    return [packet, 40 + chain.length];
  }

  it('are found behind IPv6 extension headers, and in what an ICMPv6 error quotes', () => {
    const lab = new Lab(MASQUERADE);
    const [packet, at] = behindHeaders(OUT6);
    put16(packet, at + 6, pseudo(packet, at));
    const offload = {
      needsChecksum: 1,
      checksumStart: at,
      checksumOffset: 6,
      gsoSizeBytes: 0,
      headerBytes: at + 8,
    };
    const [left] = through(lab, [packet.slice(), { ...offload, gsoType: 'none' }]) as [Uint8Array];
    expect(formatPacket(left)).toContain('2001:db8:1::1');
    expect(sum(left.subarray(at), pseudo(left, at))).toBe(0xffff);

    const hex = Array.from(left, (byte) => byte.toString(16).padStart(2, '0')).join('');
    const told: Uint8Array[] = [];
    lab.gateway.interface('lan').onTransmit = (bytes) => told.push(bytes.slice());
    lab.send('wan', `icmpv6 2001:db8:2::7 > 2001:db8:1::1 port-unreachable { raw ${hex} }`);
    const quoted = told[0]!.subarray(48);
    expect([...quoted.subarray(8, 40)]).toEqual([...packet.subarray(8, 40)]);
    expect(sum(quoted.subarray(at), pseudo(quoted, at))).toBe(0xffff);
  });

  it('behind an IPv6 fragment header are those of the first piece', () => {
    const lab = new Lab(MASQUERADE);
    const ends = '[fd00:a::2]:5000 > [2001:db8:2::7]:53';
    const [packet] = unfinished(`udp ${ends}`, 24, 0);
    put16(packet, 46, 0xffff - sum(packet.subarray(40, 46), sum(packet.subarray(48), pseudo(packet))));
    const piece = (from: number, to: number, field: number) =>
      Uint8Array.from([
        ...packet.subarray(0, 4),
        0,
        to - from + 8,
        44,
        64,
        ...packet.subarray(8, 40),
        17,
        0,
        0,
        field,
        0,
        0,
        0,
        9,
        ...packet.subarray(from, to),
      ]);
    const left: Uint8Array[] = [];
    lab.gateway.interface('wan').onTransmit = (bytes) => left.push(bytes.slice());
    lab.gateway.interface('lan').receive(piece(40, 56, 1));
    lab.gateway.interface('lan').receive(piece(56, 72, 16));
    const whole = Uint8Array.from([
      ...left[0]!.subarray(0, 40),
      ...left.flatMap((one) => [...one.subarray(48)]),
    ]);
    expect(formatPacket(left[0]!)).toContain('2001:db8:1::1');
    expect(sum(whole.subarray(40), pseudo(whole))).toBe(0xffff);
  });
});
