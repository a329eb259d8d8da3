import { describe, expect, test } from 'vitest';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { StaticHost } from '../../lib/host.js';
import { HelperNat } from '../../lib/nat/helpers.js';
import { Nat } from '../../lib/nat/nat.js';
import { SeededRandom } from '../../lib/random.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { sumPseudoHeader } from '../../lib/wire/checksum.js';
import { ChecksumState, Packet } from '../../lib/wire/packet.js';
import { actualChecksum, expectedChecksum, ipv4ChecksumIsRight } from './gateway.js';

const random = new SeededRandom(1);
const nat = new HelperNat(
  new Nat(new Tracker({ maxConnections: 1 }), new StaticHost([]), random),
  random,
  () => 0,
);

/** A packet in a buffer with room around it, and the word `data` of its payload replaced. */
function replaced(notation: string, by: string, state: number = ChecksumState.NONE): Packet {
  const bytes = parsePacket(notation);
  const buffer = new Uint8Array(bytes.length + 20).fill(0xee);
  buffer.set(bytes, 10);
  const packet = new Packet();
  packet.parse(buffer, 10, bytes.length);
  packet.checksumState = state;
  const at = buffer.findIndex((_, i) => String.fromCharCode(...buffer.subarray(i, i + 4)) === 'data');
  expect(nat.replace(packet, at, at + 4, new TextEncoder().encode(by))).toBe(1);
  expect(String.fromCharCode(...packet.bytes.subarray(packet.end - by.length - 6, packet.end))).toBe(
    `the${by}end`,
  );
  return packet;
}

describe.each([
  ['tcp 10.0.0.2:1 > 10.0.0.3:2 ACK seq 1 ack 1', 6],
  ['udp 10.0.0.2:1 > 10.0.0.3:2', 17],
  ['tcp [fd00::2]:1 > [fd00::3]:2 ACK seq 1 ack 1', 6],
  ['udp [fd00::2]:1 > [fd00::3]:2', 17],
])('the payload of %s', (head, protocol) => {
  test.each(['', 'x', 'same', 'much longer than it was'])(
    'may become %j: lengths and checksums are right',
    (by) => {
      const packet = replaced(`${head} data "thedataend"`, by);
      const copy = new Packet();
      expect(copy.parse(packet.copyBytes())).toBe(0);
      expect(copy.lengthBytes).toBe(packet.lengthBytes);
      expect(copy.transport).toBe(packet.transport);
      if (copy.version === 4) expect(ipv4ChecksumIsRight(copy.bytes)).toBe(true);
      if (protocol === 17) expect(copy.u16(copy.transport + 4)).toBe(copy.end - copy.transport);
      expect(actualChecksum(copy.bytes, copy.transport, protocol)).toBe(
        expectedChecksum(copy.bytes, copy.transport, protocol),
      );
    },
  );

  test('leaves a checksum that is yet to be completed so', () => {
    const packet = replaced(`${head} data "thedataend"`, 'longer', ChecksumState.PARTIAL);
    expect(packet.u16(packet.transport + (protocol === 6 ? 16 : 6))).toBe(
      sumPseudoHeader(packet.addresses, protocol, packet.end - packet.transport),
    );
  });
});

test('a UDP packet without checksum stays without', () => {
  const packet = replaced('udp 10.0.0.2:1 > 10.0.0.3:2 nosum data "thedataend"', 'other');
  expect(packet.u16(packet.transport + 6)).toBe(0);
});

test('a packet cannot grow beyond what its length field can say', () => {
  const packet = new Packet();
  packet.parse(parsePacket('udp 10.0.0.2:1 > 10.0.0.3:2 len 65000'));
  const before = packet.copyBytes();
  expect(nat.replace(packet, packet.end, packet.end, new Uint8Array(600))).toBe(0);
  expect(packet.copyBytes()).toEqual(before);
});
