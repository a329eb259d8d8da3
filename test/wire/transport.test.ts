import { describe, expect, it } from 'vitest';
import { parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import { verifyChecksum } from '../../lib/wire/transport.js';

function verify(text: string, pseudoProtocol: number): 0 | 1 {
  const packet = new Packet();
  packet.parse(parsePacket(text));
  return verifyChecksum(packet, pseudoProtocol);
}

describe('a checksum without a pseudo header', () => {
  it('holds, as in Linux, for no bytes and for zero bytes', () => {
    expect(verify('ip 10.0.0.4 > 203.0.113.9 proto ospf', 0)).toBe(1);
    expect(verify('ip 10.0.0.4 > 203.0.113.9 proto ospf len 8', 0)).toBe(1);
  });

  it('does not for others that do not sum to zero', () => {
    expect(verify('ip 10.0.0.4 > 203.0.113.9 proto ospf data 01', 0)).toBe(0);
    expect(verify('ip 10.0.0.4 > 203.0.113.9 proto ospf data 0001fffe', 0)).toBe(1);
  });
});

describe('a checksum with a pseudo header', () => {
  it('covers the addresses', () => {
    expect(verify('udp 10.0.0.4:1 > 203.0.113.9:2 len 3', 17)).toBe(1);
    expect(verify('udp 10.0.0.4:1 > 203.0.113.9:2 len 3 sum 0x1', 17)).toBe(0);
  });
});
