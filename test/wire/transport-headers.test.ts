import { describe, expect, it } from 'vitest';
import { parsePacket } from '../../lib/scenario/notation.js';
import { hasIcmpHeader, icmpCode, icmpType, isIcmpError, isIcmpv6Error } from '../../lib/wire/icmp.js';
import { ChecksumState, Packet } from '../../lib/wire/packet.js';
import { Quoted } from '../../lib/wire/quoted.js';
import {
  firstSctpChunk,
  hasSctpHeader,
  nextSctpChunk,
  SctpChunk,
  sctpChecksum,
  sctpTag,
  verifySctpChecksum,
} from '../../lib/wire/sctp.js';
import { verifyChecksum, verifyPartialChecksum } from '../../lib/wire/transport.js';
import { hasUdpHeader, hasUdpLength, udpChecksum, udpLiteCoverageBytes } from '../../lib/wire/udp.js';

function packetOf(notation: string): Packet {
  const packet = new Packet();
  expect(packet.parse(parsePacket(notation))).toBe(0);
  return packet;
}

const UDP4 = 'udp 10.0.0.2:5000 > 198.51.100.7:53';
const UDP6 = 'udp [fd00:a::2]:5000 > [2001:db8:2::7]:53';
const LITE = 'udplite 10.0.0.2:5000 > 198.51.100.7:53';
const SCTP = 'sctp 10.0.0.2:5000 > 198.51.100.7:6000';

describe('transport checksums', () => {
  it.each([
    [`${UDP4} len 5`, 17],
    [`${UDP6} len 5`, 17],
    ['tcp 10.0.0.2:1 > 198.51.100.7:2 ACK len 1', 6],
    ['tcp [fd00:a::2]:1 > [2001:db8:2::7]:2 ACK len 2', 6],
    ['icmp 10.0.0.2 > 198.51.100.7 8/0 id 1 len 3', 0],
    ['icmpv6 fd00:a::2 > 2001:db8:2::7 128/0 id 1 len 3', 58],
  ])('of %s hold, and no longer when a bit flips', (notation, pseudoProtocol) => {
    const right = packetOf(notation);
    expect(verifyChecksum(right, pseudoProtocol)).toBe(1);
    expect(right.checksumState).toBe(ChecksumState.UNNECESSARY);
    const wrong = packetOf(notation);
    wrong.bytes[wrong.end - 1] = (wrong.bytes[wrong.end - 1] as number) ^ 4;
    expect(verifyChecksum(wrong, pseudoProtocol)).toBe(0);
    expect(wrong.checksumState).toBe(ChecksumState.NONE);
  });

  it('are not looked at when they are known to be good or yet to be completed', () => {
    for (const state of [ChecksumState.UNNECESSARY, ChecksumState.PARTIAL]) {
      const packet = packetOf(`${UDP4} len 5 sum 1`);
      packet.checksumState = state;
      expect(verifyChecksum(packet, 17)).toBe(1);
      expect(verifyPartialChecksum(packet, 17, 8)).toBe(1);
    }
  });

  it('may cover only a part', () => {
    const packet = packetOf(`${LITE} cover 8 len 5`);
    packet.bytes[packet.end - 1] = 77;
    expect(verifyPartialChecksum(packet, 136, 8)).toBe(1);
    expect(verifyPartialChecksum(packet, 136, 13)).toBe(0);
    expect(packet.checksumState).toBe(ChecksumState.NONE);
  });
});

describe('UDP header', () => {
  it('must be eight bytes, its length between them and what there is', () => {
    expect(hasUdpHeader(packetOf(`${UDP4} cut 27 iplen 27`))).toBe(0);
    expect(hasUdpHeader(packetOf(UDP4))).toBe(1);
    const lengths = [7, 8, 12, 13, 14].map((length) =>
      hasUdpLength(packetOf(`${UDP4} len 5 udplen ${length}`)),
    );
    expect(lengths).toEqual([0, 1, 1, 1, 0]);
    expect(udpChecksum(packetOf(`${UDP4} nosum`))).toBe(0);
  });

  it('of UDP-Lite says what the checksum covers', () => {
    const coverages = [0, 7, 8, 13, 14].map((cover) =>
      udpLiteCoverageBytes(packetOf(`${LITE} len 5 cover ${cover} sum 1`)),
    );
    expect(coverages).toEqual([13, -1, 8, 13, -1]);
  });
});

describe('ICMP header', () => {
  it('has type and code, and is eight bytes', () => {
    const packet = packetOf('icmp 10.0.0.2 > 198.51.100.7 3/13 len 4');
    expect([icmpType(packet), icmpCode(packet), hasIcmpHeader(packet)]).toEqual([3, 13, 1]);
    expect(hasIcmpHeader(packetOf('icmp 10.0.0.2 > 198.51.100.7 8/0 cut 27 iplen 27'))).toBe(0);
  });

  it('tells errors by type', () => {
    const types = Array.from({ length: 256 }, (_, type) => type);
    expect(types.filter((type) => isIcmpError(type) === 1)).toEqual([3, 4, 5, 11, 12]);
    expect(types.filter((type) => isIcmpv6Error(type) === 1)).toEqual(types.slice(0, 128));
  });
});

describe('SCTP packet', () => {
  it('is checked by CRC32c in Intel order (RFC 9260 appendix A)', () => {
    const packet = packetOf(`${SCTP} tag 7 data 0300001000000001000003e800000000`);
    expect(packet.i32(packet.transport + 8)).toBe(sctpChecksum(packet));
    expect(verifySctpChecksum(packet)).toBe(1);
    const wrong = packetOf(`${SCTP} tag 7 data 03000004 sum 1`);
    expect(verifySctpChecksum(wrong)).toBe(0);
  });

  it('CRC32c of "123456789" is e3069283', () => {
    const packet = packetOf(`${SCTP} len 4`);
    const digits = new TextEncoder().encode('12345678\0\0\0\x009');
    const view = new Packet();
    view.parse(packet.bytes);
    view.bytes = new Uint8Array(64);
    view.bytes.set(digits, 20);
    view.transport = 20;
    view.end = 20 + digits.length;
    // The field itself counts as zeros, so the digits are 1-8, four zeros, 9: the reference bit by bit.
    expect(sctpChecksum(view)).toBe(swap(bitwiseCrc32c(digits)));
    expect(bitwiseCrc32c(new TextEncoder().encode('123456789')) >>> 0).toBe(0xe3069283);
  });

  it('is a row of padded chunks', () => {
    const packet = packetOf(`${SCTP} tag 0xfffffffe data 0900000500000000_0b000004_00`.replaceAll('_', ''));
    expect([hasSctpHeader(packet), sctpTag(packet)]).toEqual([1, -2]);
    const first = firstSctpChunk(packet);
    const second = nextSctpChunk(packet, first);
    expect([packet.u8(first), packet.u8(second)]).toEqual([SctpChunk.ERROR, SctpChunk.COOKIE_ACK]);
    expect(nextSctpChunk(packet, second)).toBe(-1);
    expect(firstSctpChunk(packetOf(`${SCTP} data 0b0000`))).toBe(-1);
  });
});

function bitwiseCrc32c(bytes: Uint8Array): number {
  let register = -1;
  for (const byte of bytes) {
    register ^= byte;
    for (let bit = 0; bit < 8; bit++) register = (register >>> 1) ^ ((register & 1) === 0 ? 0 : 0x82f63b78);
  }
  return ~register;
}

function swap(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

describe('quoted packets', () => {
  /** Parses what an error quotes; the error's own header is 28 bytes over IPv4, 48 over IPv6. */
  function quotedBy(notation: string): [Quoted, 0 | 1, Packet] {
    const packet = packetOf(notation);
    const quoted = new Quoted();
    return [quoted, quoted.parse(packet, packet.transport + 8), packet];
  }

  it('are read in place', () => {
    const [quoted, found, packet] = quotedBy(`icmp 203.0.113.9 > 10.0.0.2 3/1 { ${UDP4} len 5 }`);
    expect([found, quoted.start, quoted.transport, quoted.end, quoted.protocol]).toEqual([1, 28, 48, 61, 17]);
    expect(quoted.addresses[0]).toBe(packet.addresses[4]);
    expect(packet.u16(quoted.transport)).toBe(5000);
  });

  it('may end behind the network header, not within', () => {
    expect(quotedBy(`icmp 203.0.113.9 > 10.0.0.2 3/1 { ${UDP4} cut 20 }`)[1]).toBe(1);
    expect(quotedBy(`icmp 203.0.113.9 > 10.0.0.2 3/1 { ${UDP4} cut 19 }`)[1]).toBe(0);
    expect(quotedBy(`icmp 203.0.113.9 > 10.0.0.2 3/1 { ${UDP4} options 01010101 cut 22 }`)[1]).toBe(0);
  });

  it('are refused when they are later fragments', () => {
    expect(quotedBy(`icmp 203.0.113.9 > 10.0.0.2 3/1 { ${UDP4} frag 8 }`)[1]).toBe(0);
    expect(quotedBy(`icmpv6 2001:db8:1::9 > fd00:a::2 1/0 { ${UDP6} frag 8 }`)[1]).toBe(0);
    expect(quotedBy(`icmpv6 2001:db8:1::9 > fd00:a::2 1/0 { ${UDP6} len 8 mf }`)[1]).toBe(1);
  });

  it('of IPv6 are walked through their extension headers', () => {
    const [quoted, found] = quotedBy(
      `icmpv6 2001:db8:1::9 > fd00:a::2 1/0 { ${UDP6} ext 0:00010400000000 ext 60:00010400000000 len 5 }`,
    );
    expect([found, quoted.protocol, quoted.transport - quoted.start]).toEqual([1, 17, 56]);
  });

  it('of IPv6 are refused when the walk ends early', () => {
    const quote = `${UDP6} ext 60:00010400000000 len 5`;
    expect(quotedBy(`icmpv6 2001:db8:1::9 > fd00:a::2 1/0 { ${quote} cut 41 }`)[1]).toBe(0);
    expect(quotedBy(`icmpv6 2001:db8:1::9 > fd00:a::2 1/0 { ${quote} cut 39 }`)[1]).toBe(0);
    expect(
      quotedBy('icmpv6 2001:db8:1::9 > fd00:a::2 1/0 { ip fd00:a::2 > 2001:db8:2::7 proto 59 }')[1],
    ).toBe(0);
  });
});
