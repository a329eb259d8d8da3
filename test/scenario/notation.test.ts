import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigurationError } from '../../lib/errors.js';
import { formatHex, parseHex } from '../../lib/scenario/hex.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import { GROUPS, readGroup } from './traces.js';

describe('packets in one line', () => {
  test.each([
    ['udp 10.0.0.2:5000 > 1.1.1.1:53 len 5', 5 + 28],
    ['tcp 10.0.0.2:40000 > 198.51.100.7:80 SYN seq 1000000 win 64240 <mss 1460,sackok,nop,wscale 7,eol>', 52],
    ['tcp [fd00:a::2]:40000 > [2001:db8:2::7]:80 PSH,ACK seq 1 ack 2 win 501 len 100 ttl 63', 160],
    ['tcp 10.0.0.2:1 > 10.0.0.3:2 NONE seq 0 win 0 urg 5', 40],
    ['tcp 10.0.0.2:1 > 10.0.0.3:2 ACK seq 0 ack 9 win 0 <nop,nop,sack 5-9:11-12> tos 0x10', 60],
    ['icmp 10.0.0.2 > 198.51.100.7 echo-request id 7 seq 1 len 8', 36],
    ['icmp 203.0.113.9 > 10.0.0.2 port-unreachable { udp 10.0.0.2:5000 > 1.1.1.1:53 len 5 ttl 63 }', 28 + 33],
    [
      'icmp 203.0.113.9 > 10.0.0.2 fragmentation-needed mtu 1400 { udp 10.0.0.2:5 > 1.1.1.1:53 len 99 cut 28 }',
      56,
    ],
    ['icmpv6 fd00:a::2 > 2001:db8:2::7 echo-reply id 7 seq 1', 48],
    ['icmpv6 fd00:a::2 > 2001:db8:2::7 packet-too-big mtu 1280 { udp [fd00:a::2]:5 > [fd00:a::3]:6 }', 96],
    ['sctp 10.0.0.2:5000 > 10.0.0.3:6000 tag 0x1234 len 20', 52],
    ['udplite 10.0.0.2:5000 > 10.0.0.3:6000 cover 8 len 20', 48],
    ['ip 10.0.0.2 > 1.1.1.1 proto esp len 40', 60],
    ['ip 10.0.0.2 > 1.1.1.1 proto udp len 40 frag 1480 mf ipid 7', 60],
    ['udp [fd00:a::2]:5000 > [fd00:a::3]:53 len 8 frag 0 mf fragid 77', 64],
    ['udp [fd00:a::2]:5000 > [fd00:a::3]:53 ext 60:00010400000000 flow 0x12345', 56],
  ])('%s', (text, lengthBytes) => {
    const bytes = parsePacket(text);
    expect(bytes.length).toBe(lengthBytes);
    expect(formatPacket(bytes)).toBe(text);
    expect(parsePacket(formatPacket(bytes, 'exact'))).toEqual(bytes);
    expect(new Packet().parse(bytes)).toBe(0);
  });

  test('a UDP datagram comes out as the bytes that are on the wire', () => {
    const bytes = parsePacket('udp 10.0.0.2:5000 > 198.51.100.7:53 data "hello" df ipid 4097');
    expect(formatHex(bytes)).toBe('45000021100140004011f68e0a000002c633640713880035000d740868656c6c6f');
  });

  test('wrong checksums and lengths can be said', () => {
    const bytes = parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53 len 5 sum 0x1 ipsum 0x2 iplen 3');
    expect(formatHex(bytes.subarray(2, 4))).toBe('0003');
    expect(formatHex(bytes.subarray(10, 12))).toBe('0002');
    expect(formatHex(bytes.subarray(26, 28))).toBe('0001');
    expect(formatHex(parsePacket('udp 10.0.0.2:5 > 1.1.1.1:53 nosum').subarray(26, 28))).toBe('0000');
  });

  test('a packet with a bad checksum says so, and words in parentheses mean nothing', () => {
    const text = formatPacket(parsePacket('tcp 10.0.0.2:1 > 10.0.0.3:2 SYN sum 0x1'));
    expect(text).toBe('tcp 10.0.0.2:1 > 10.0.0.3:2 SYN seq 0 win 65535 (bad checksum)');
    expect(() => parsePacket(text)).not.toThrow();
  });

  test('bare hexadecimal and raw are the bytes themselves', () => {
    expect(parsePacket('450000')).toEqual(Uint8Array.of(0x45, 0, 0));
    expect(parsePacket('raw 55aa')).toEqual(Uint8Array.of(0x55, 0xaa));
    expect(formatPacket(Uint8Array.of(0x55, 0xaa))).toBe('raw 55aa');
  });

  test.each([
    ['upd 10.0.0.2:5 > 1.1.1.1:6', 1, 'upd'],
    ['udp 10.0.0.2 > 1.1.1.1:6', 5, '10.0.0.2'],
    ['udp 10.0.0.2:5 < 1.1.1.1:6', 16, '<'],
    ['udp 10.0.0.2:5 > [fd00::1]:6', 18, '[fd00::1]:6'],
    ['udp 10.0.0.2:5 > 1.1.1.1:70000', 18, '1.1.1.1:70000'],
    ['udp 10.0.0.2:5 > 1.1.1.1:6 ttl 256', 32, '256'],
    ['udp 10.0.0.2:5 > 1.1.1.1:6 SYN', 28, 'SYN'],
    ['udp 10.0.0.2:5 > 1.1.1.1:6 toString', 28, 'toString'],
    ['udp 10.0.0.2:5 > 1.1.1.1:6 data xyz', 33, 'xyz'],
    ['tcp 10.0.0.2:5 > 1.1.1.1:6 SYN <mss>', 32, '<mss>'],
    ['icmp 10.0.0.2 > 1.1.1.1 pinguin', 25, 'pinguin'],
    ['icmp 10.0.0.2 > 1.1.1.1 port-unreachable { udp 10.0.0.2:5 > 1.1.1.1:6', undefined, undefined],
    ['udp 10.0.0.2:5 > 1.1.1.1:6 }', 28, '}'],
    ['ip 10.0.0.2 > 1.1.1.1 proto nosuch', 29, 'nosuch'],
    ['', undefined, undefined],
  ])('%s is refused at its word', (text, column, word) => {
    expect.assertions(2);
    try {
      parsePacket(text);
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as ConfigurationError).place).toMatchObject({ column, word });
    }
  });

  test.each(GROUPS)('%s: every recorded packet comes back byte for byte', (group) => {
    for (const { steps } of readGroup(group)) {
      for (const step of steps) {
        for (const hex of [step.packet ?? '', ...(step.out ?? []).map(({ packet }) => packet)]) {
          expect(formatHex(parsePacket(formatPacket(parseHex(hex), 'exact')))).toBe(hex);
        }
      }
    }
  });

  test('any bytes at all have a text that gives them back', () => {
    const ip = fc.tuple(fc.constantFrom(0x45, 0x46, 0x60), fc.uint8Array({ minLength: 19, maxLength: 120 }));
    const any = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      ip.map(([first, rest]) => Uint8Array.of(first, ...rest)),
    );
    fc.assert(
      fc.property(any, (bytes) => formatHex(parsePacket(formatPacket(bytes, 'exact'))) === formatHex(bytes)),
    );
  });
});
