import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  copyKey,
  equalKeys,
  hashKey4,
  hashKey6,
  hasPorts,
  icmpReplyType,
  icmpv6ReplyType,
  invertKey,
  KEY_WORDS,
  packKey,
} from '../../lib/conntrack/tuples.js';
import { Packet } from '../../lib/wire/packet.js';

const QUERIES_V4 = [0, 8, 13, 14, 15, 16, 17, 18];
const QUERIES_V6 = [128, 129, 139, 140];

const addresses = fc.array(fc.integer(), { minLength: 8, maxLength: 8 });
const zone = fc.nat(0xffff);

/** A key of any protocol whose tuples can be inverted. */
const invertible = fc
  .tuple(
    addresses,
    zone,
    fc.oneof(
      fc.tuple(fc.constantFrom(6, 17, 33, 47, 132, 136, 2, 255), fc.integer()),
      fc.tuple(fc.constant(1), icmpPorts(QUERIES_V4)),
      fc.tuple(fc.constant(58), icmpPorts(QUERIES_V6)),
    ),
  )
  .map(([words, zoneId, [protocol, ports]]) => Int32Array.from([...words, ports, protocol | (zoneId << 8)]));

function icmpPorts(types: number[]): fc.Arbitrary<number> {
  return fc
    .tuple(fc.nat(0xffff), fc.constantFrom(...types), fc.nat(255))
    .map(([id, type, code]) => (id << 16) | (type << 8) | code);
}

/** Packs the key of a transport header given as hex, between 1.2.3.4 and 5.6.7.8 in zone 9. */
function pack(protocol: number, hex: string): number[] | undefined {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const packet = new Packet();
  packet.bytes = bytes;
  const key = new Int32Array(KEY_WORDS).fill(-1);
  const from = Int32Array.of(0x01020304, 0, 0, 0, 0x05060708, 0, 0, 0);
  return packKey(key, from, protocol, packet, 0, bytes.length, 9) === 1 ? [...key] : undefined;
}

describe('keys', () => {
  test('inverting twice gives the key back, and once swaps the addresses and keeps protocol and zone', () => {
    fc.assert(
      fc.property(invertible, (key) => {
        const inverse = new Int32Array(KEY_WORDS).fill(-1);
        const back = new Int32Array(KEY_WORDS).fill(-1);
        expect(invertKey(inverse, key)).toBe(1);
        expect([...inverse.slice(0, 4), ...inverse.slice(4, 8)]).toEqual([
          ...key.slice(4, 8),
          ...key.slice(0, 4),
        ]);
        expect(inverse[9]).toBe(key[9]);
        expect(invertKey(back, inverse)).toBe(1);
        expect(back).toEqual(key);
      }),
    );
  });

  test('exactly the ICMP queries of RFC 792, RFC 950 and RFC 4443 have a reply', () => {
    const types = Array.from({ length: 256 }, (_, type) => type);
    expect(types.filter((type) => icmpReplyType(type) >= 0)).toEqual(QUERIES_V4);
    expect(types.filter((type) => icmpv6ReplyType(type) >= 0)).toEqual(QUERIES_V6);
    for (const type of QUERIES_V4) expect(icmpReplyType(icmpReplyType(type))).toBe(type);
    for (const type of QUERIES_V6) expect(icmpv6ReplyType(icmpv6ReplyType(type))).toBe(type);
    const unreachable = Int32Array.of(1, 0, 0, 0, 2, 0, 0, 0, 3 << 8, 1);
    expect(invertKey(new Int32Array(KEY_WORDS), unreachable)).toBe(0);
  });

  const kind = (protocol: number) => protocol | (9 << 8);
  const key = (protocol: number, ports: number) => [
    0x01020304,
    0,
    0,
    0,
    0x05060708,
    0,
    0,
    0,
    ports,
    kind(protocol),
  ];
  test.each([6, 17, 132, 136])('protocol %i has ports: source high, destination low', (protocol) => {
    expect(hasPorts(protocol)).toBe(1);
    expect(pack(protocol, 'fffe0050')).toEqual(key(protocol, 0xfffe0050 | 0));
    expect(pack(protocol, 'fffe00')).toBeUndefined();
  });
  test.each([1, 58])('protocol %i has identifier, type and code', (protocol) => {
    expect(pack(protocol, '0800ffffbeef0001')).toEqual(key(protocol, (0xbeef << 16) | 0x0800));
    expect(pack(protocol, '0800ffffbeef00')).toBeUndefined();
  });
  test('plain GRE is its addresses, enhanced GRE with PPP the call id, without it nothing', () => {
    expect(pack(47, '0000080045000000')).toEqual(key(47, 0));
    expect(pack(47, '3001880b0004f00d')).toEqual(key(47, 0xf00d));
    expect(pack(47, '300108000004f00d')).toBeUndefined();
  });
  test.each([2, 33, 50, 89, 255])('protocol %i is its addresses, however few bytes follow', (protocol) => {
    expect(hasPorts(protocol)).toBe(0);
    expect(pack(protocol, '')).toEqual(key(protocol, 0));
  });

  test('equal keys hash alike; each word in use changes the hash; a copy is equal', () => {
    fc.assert(
      fc.property(invertible, fc.integer(), fc.nat(31), (words, seed, bit) => {
        const copy = new Int32Array(KEY_WORDS);
        copyKey(copy, words);
        expect(equalKeys(copy, words)).toBe(1);
        expect(hashKey6(copy, seed)).toBe(hashKey6(words, seed));
        for (let i = 0; i < KEY_WORDS; i++) {
          copyKey(copy, words);
          copy[i]! ^= 1 << bit;
          expect(equalKeys(copy, words)).toBe(0);
          expect(hashKey6(copy, seed)).not.toBe(hashKey6(words, seed));
          if ([0, 4, 8, 9].includes(i)) expect(hashKey4(copy, seed)).not.toBe(hashKey4(words, seed));
        }
      }),
    );
  });
});
