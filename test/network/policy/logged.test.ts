import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readEnds } from '../../../lib/network/policy/logged.js';
import { parsePacket } from '../../../lib/scenario/notation.js';

describe('the ends of a logged packet', () => {
  it.each([
    ['tcp 10.0.0.2:4000 > 1.1.1.1:80 SYN', '6 10.0.0.2 > 1.1.1.1:80'],
    ['udp [fd00::2]:4000 > [2001:db8::1]:53 len 4', '17 fd00::2 > 2001:db8::1:53'],
    ['udp [fd00::2]:4000 > [2001:db8::1]:53 len 4 ext 60:00000000000000', '17 fd00::2 > 2001:db8::1:53'],
    ['icmp 10.0.0.2 > 1.1.1.1 echo-request id 1 seq 1', '1 10.0.0.2 > 1.1.1.1:-1'],
    ['ip 10.0.0.2 > 1.1.1.1 proto udp len 16 frag 16', '17 10.0.0.2 > 1.1.1.1:-1'],
  ])('of %s are %s', (packet, expected) => {
    const ends = readEnds(parsePacket(packet));
    expect(`${ends?.protocol} ${ends?.source} > ${ends?.destination}:${ends?.port}`).toBe(expected);
  });

  it('are read from any bytes without harm', () => {
    const start = fc.constantFrom(0x45, 0x4f, 0x40, 0x60);
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 128 }), (first, rest) => {
        const ends = readEnds(Uint8Array.of(first, ...rest));
        if (ends !== undefined) expect(ends.port).toBeLessThanOrEqual(0xffff);
        expect(ends === undefined).toBe(rest.length + 1 < (first === 0x60 ? 40 : 20));
      }),
    );
  });
});
