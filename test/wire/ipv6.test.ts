import { describe, expect, it } from 'vitest';
import { DropReason } from '../../lib/counters.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';

function parse(text: string): Packet {
  const packet = new Packet();
  expect(packet.parse(parsePacket(text))).toBe(DropReason.NONE);
  return packet;
}

describe('the walk over IPv6 extension headers', () => {
  it.each([
    ['a last header that claims more than there is', 'proto ah data 313131', 49, 40 + 204],
    ['one that is cut short', 'proto ah data 0601', 6, 40 + 12],
  ])('takes %s at its word, as Linux does', (_, rest, protocol, transport) => {
    const packet = parse(`ip fd00:a::2 > fd00:a::1 ${rest}`);
    expect([packet.brokenChain, packet.protocol, packet.transport]).toEqual([0, protocol, transport]);
  });

  it.each([
    ['a header of one byte', 'proto ah data 06'],
    ['another header behind the end', 'proto ah data 3c09'],
    ['no next header', 'proto ah data 3b00'],
    ['a fragment header that is cut short', 'proto ipv6-frag data 11000000000000'],
  ])('is broken by %s', (_, rest) => {
    const packet = parse(`ip fd00:a::2 > fd00:a::1 ${rest}`);
    expect(packet.brokenChain).toBe(1);
    expect(packet.transport).toBeLessThanOrEqual(packet.end);
  });
});
