import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rewrite, rewriteAny, TARGET_PORT, TARGET_WORDS } from '../../lib/nat/rewrite.js';
import { sumPseudoHeader } from '../../lib/wire/checksum.js';
import { ChecksumState, Packet } from '../../lib/wire/packet.js';
import { actualChecksum, build, expectedChecksum, ipv4ChecksumIsRight } from './gateway.js';

const PROTOCOLS_4 = [1, 6, 17, 136, 132, 47, 50];
const PROTOCOLS_6 = [58, 6, 17, 136, 132, 47, 50];
const ICMP_QUERIES = [0, 8, 13, 14, 15, 16, 17, 18];

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const port = fc.integer({ min: 0, max: 65_535 });
const payload = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 });
const four = fc
  .tuple(fc.integer({ min: 1, max: 223 }), byte(), byte(), byte())
  .map((bytes) => bytes.join('.'));
const six = fc
  .array(fc.integer({ min: 1, max: 65_535 }), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.map((group) => group.toString(16)).join(':'));

function byte(): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: 255 });
}

const anyPacket = fc.oneof(
  packets(four, PROTOCOLS_4, fc.constantFrom(...ICMP_QUERIES)),
  packets(six, PROTOCOLS_6, fc.constantFrom(128, 129, 1, 135)),
);

function packets(addresses: fc.Arbitrary<string>, protocols: readonly number[], types: fc.Arbitrary<number>) {
  return fc.constantFrom(...protocols).chain((protocol) =>
    fc.record({
      protocol: fc.constant(protocol),
      source: addresses,
      destination: addresses,
      ports: fc.tuple(
        protocol === 1 || protocol === 58 ? types : protocol === 47 ? fc.constant(1) : port,
        port,
      ),
      payload,
    }),
  );
}

/** A view of the bytes, and what its `manip` end is now. */
function open(bytes: Uint8Array): Packet {
  const packet = new Packet();
  if (packet.parse(bytes) !== 0) throw new Error(`not a packet: ${packet.reason}`);
  return packet;
}

function end(packet: Packet, manip: number): Int32Array {
  const target = new Int32Array(TARGET_WORDS);
  target.set(packet.addresses.subarray(manip << 2, (manip << 2) + 4));
  const at = packet.transport;
  if (packet.protocol === 1 || packet.protocol === 58) target[TARGET_PORT] = packet.u16(at + 4);
  else if (packet.protocol === 47) target[TARGET_PORT] = packet.u16(at + 6);
  else if (packet.protocol !== 50) target[TARGET_PORT] = packet.u16(at + 2 * manip);
  return target;
}

function translate(bytes: Uint8Array, manip: number, target: Int32Array): 0 | 1 {
  const packet = open(bytes);
  return rewrite(packet, packet.start, packet.transport, packet.version, packet.protocol, manip, target);
}

describe('a translated packet', () => {
  it('has the checksums that a computation from nothing gives', () => {
    fc.assert(
      fc.property(
        anyPacket,
        fc.constantFrom(0, 1),
        word,
        word,
        word,
        word,
        port,
        (words, manip, a, b, c, d, to) => {
          const bytes = build(words);
          const version = bytes[0]! >>> 4;
          const target = Int32Array.from(version === 4 ? [a, 0, 0, 0, to] : [a, b, c, d, to]);
          expect(translate(bytes, manip, target)).toBe(1);
          if (version === 4) expect(ipv4ChecksumIsRight(bytes)).toBe(true);
          const transport = version === 4 ? 20 : 40;
          const expected = expectedChecksum(bytes, transport, words.protocol);
          if (expected !== undefined) {
            const actual = actualChecksum(bytes, transport, words.protocol);
            // The two zeros of one's complement are one number; which one stands there is history.
            expect(actual % 0xffff).toBe(expected % 0xffff);
            if (words.protocol === 132) expect(actual).toBe(expected);
          }
          const after = end(open(bytes), manip);
          expect(Array.from(after.subarray(0, 4))).toEqual(Array.from(target.subarray(0, 4)));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is what the way of all packets makes of it, byte for byte', () => {
    fc.assert(
      fc.property(
        packets(four, [6, 17], port),
        fc.constantFrom(0, 1),
        word,
        port,
        fc.boolean(),
        fc.constantFrom(ChecksumState.NONE, ChecksumState.UNNECESSARY, ChecksumState.PARTIAL),
        fc.nat(60),
        (words, manip, to, toPort, hasChecksum, state, cut) => {
          const bytes = build(words);
          if (!hasChecksum) bytes.fill(0, words.protocol === 17 ? 26 : 36, words.protocol === 17 ? 28 : 38);
          const twin = bytes.slice();
          const target = Int32Array.of(to, 0, 0, 0, toPort);
          const said = [rewrite, rewriteAny].map((way, i) => {
            const packet = open(i === 0 ? bytes : twin);
            packet.checksumState = state;
            // As a packet is that an error quotes.
            packet.end = Math.max(packet.end - cut, packet.transport);
            return way(packet, packet.start, packet.transport, 4, words.protocol, manip, target);
          });
          expect(said[0]).toBe(said[1]);
          expect(bytes).toEqual(twin);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('translated back is what it was, byte for byte', () => {
    fc.assert(
      fc.property(anyPacket, fc.constantFrom(0, 1), word, word, port, (words, manip, a, b, to) => {
        const bytes = build(words);
        const before = bytes.slice();
        const back = end(open(bytes), manip);
        const target = Int32Array.from(bytes[0]! >>> 4 === 4 ? [a, 0, 0, 0, to] : [a, b, b, a, to]);
        translate(bytes, manip, target);
        translate(bytes, manip, back);
        expect(bytes).toEqual(before);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps a wrong checksum wrong by the same amount', () => {
    const bytes = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 17, ports: [5000, 53] });
    bytes[27]! ^= 0x10;
    translate(bytes, 0, Int32Array.of(0x0a000003, 0, 0, 0, 6000));
    const expected = expectedChecksum(bytes, 20, 17)!;
    expect(Math.abs(actualChecksum(bytes, 20, 17) - expected)).toBe(0x10);
  });
});

describe('UDP', () => {
  it('without a checksum stays without', () => {
    const bytes = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 17, ports: [5000, 53] });
    bytes[26] = 0;
    bytes[27] = 0;
    translate(bytes, 0, Int32Array.of(0x0a000003, 0, 0, 0, 6000));
    expect(actualChecksum(bytes, 20, 17)).toBe(0);
    expect([bytes[20], bytes[21]]).toEqual([0x17, 0x70]);
  });

  it('is never left with a computed zero', () => {
    const bytes = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 17, ports: [5000, 53] });
    const to = (5000 + actualChecksum(bytes, 20, 17)) % 0xffff;
    translate(bytes, 0, Int32Array.of(0x0a000002, 0, 0, 0, to));
    expect(actualChecksum(bytes, 20, 17)).toBe(0xffff);
  });
});

describe('a partial checksum', () => {
  it.each([
    ['10.0.0.2', '198.51.100.7', 6],
    ['10.0.0.2', '198.51.100.7', 17],
    ['fd00:a::2', '2001:db8:2::7', 6],
    ['fd00:a::2', '2001:db8:2::7', 17],
  ])(
    'from %s to %s, protocol %i, stays the sum of the pseudo header; ports do not touch it',
    (source, destination, protocol) => {
      const bytes = build({ source, destination, protocol, ports: [5000, 53], payload: [1, 2, 3] });
      const packet = open(bytes);
      const at = packet.transport + (protocol === 6 ? 16 : 6);
      const lengthBytes = packet.end - packet.transport;
      packet.setU16(at, sumPseudoHeader(packet.addresses, protocol, lengthBytes));
      packet.checksumState = ChecksumState.PARTIAL;
      const target = Int32Array.of(
        0x0a0000ff,
        packet.version === 4 ? 0 : 77,
        packet.version === 4 ? 0 : -5,
        0,
        4321,
      );
      expect(rewrite(packet, 0, packet.transport, packet.version, protocol, 0, target)).toBe(1);
      packet.addresses.set(target.subarray(0, 4), 0);
      expect(packet.u16(at) % 0xffff).toBe(sumPseudoHeader(packet.addresses, protocol, lengthBytes) % 0xffff);
      expect(packet.u16(packet.transport)).toBe(4321);
    },
  );
});

describe('a header that is cut short', () => {
  const whole = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 6, ports: [5000, 80] });
  const target = Int32Array.of(0x0a000003, 0, 0, 0, 6000);

  function cut(protocol: number, transportBytes: number): { said: number; bytes: Uint8Array } {
    const bytes = whole.slice(0, 20 + transportBytes);
    const packet = new Packet();
    packet.bytes = bytes;
    packet.end = bytes.length;
    return { said: rewrite(packet, 0, 20, 4, protocol, 0, target), bytes };
  }

  it.each([6, 17, 136, 132, 1, 58, 47])('of protocol %i needs 8 bytes', (protocol) => {
    const short = cut(protocol, 7);
    expect(short.said).toBe(0);
    expect(short.bytes).toEqual(whole.slice(0, 27));
    expect(cut(protocol, 8).said).toBe(1);
  });

  it('of a protocol that NAT does not know needs nothing', () => {
    expect(cut(50, 0).said).toBe(1);
  });

  it('of TCP gets its port, and its checksum only when all 20 bytes are there', () => {
    const { bytes } = cut(6, 19);
    expect([bytes[20], bytes[21]]).toEqual([0x17, 0x70]);
    expect([bytes[36], bytes[37]]).toEqual([whole[36], whole[37]]);
    expect(cut(6, 20).bytes.slice(36, 38)).not.toEqual(whole.slice(36, 38));
  });
});

describe('what has no identifier', () => {
  it('an ICMP error keeps bytes 4 to 7', () => {
    const bytes = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 1, ports: [3, 1234] });
    translate(bytes, 0, Int32Array.of(0x0a000003, 0, 0, 0, 6000));
    expect([bytes[24], bytes[25]]).toEqual([1234 >>> 8, 1234 & 255]);
    expect(actualChecksum(bytes, 20, 1)).toBe(expectedChecksum(bytes, 20, 1));
  });

  it('GRE keeps its call id when its source changes, and version 0 always', () => {
    const pptp = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 47, ports: [1, 77] });
    translate(pptp, 0, Int32Array.of(0x0a000003, 0, 0, 0, 6000));
    expect(pptp[27]).toBe(77);
    translate(pptp, 1, Int32Array.of(0x0a000003, 0, 0, 0, 99));
    expect(pptp[27]).toBe(99);
    const plain = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 47, ports: [0, 77] });
    expect(translate(plain, 1, Int32Array.of(0x0a000003, 0, 0, 0, 99))).toBe(1);
    expect(plain[27]).toBe(77);
    const unknown = build({ source: '10.0.0.2', destination: '1.1.1.1', protocol: 47, ports: [2, 77] });
    expect(translate(unknown, 1, Int32Array.of(0x0a000003, 0, 0, 0, 99))).toBe(0);
  });
});
