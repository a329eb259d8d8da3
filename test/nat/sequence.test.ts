import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Direction } from '../../lib/conntrack/entries.js';
import { SequenceOffsets } from '../../lib/conntrack/sequence-offsets.js';
import { shiftSequence } from '../../lib/nat/sequence.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import { actualChecksum, expectedChecksum } from './gateway.js';

const { ORIGINAL, REPLY } = Direction;
const HEAD = 'tcp 10.0.0.2:4000 > 198.51.100.7:21';

/** Offsets after the segment at 1000 of the original direction became 3 bytes longer. */
function grown(): SequenceOffsets {
  const offsets = new SequenceOffsets();
  offsets.change(ORIGINAL, 1000, 3);
  return offsets;
}

function shifted(rest: string, direction: Direction, offsets = grown()): string {
  const packet = new Packet();
  packet.parse(parsePacket(`${HEAD} ${rest}`));
  if (shiftSequence(packet, offsets, direction) === 0) return 'dropped';
  expect(actualChecksum(packet.bytes, packet.transport, 6)).toBe(
    expectedChecksum(packet.bytes, packet.transport, 6),
  );
  return formatPacket(packet.bytes).slice(HEAD.length + 1);
}

function shiftedBytes(options: string): 0 | 1 {
  const packet = new Packet();
  packet.parse(parsePacket(`${HEAD} ACK seq 1 ack 1 <${options}>`));
  return shiftSequence(packet, grown(), REPLY);
}

describe('a segment is shifted', () => {
  test.each([
    ['PSH,ACK seq 1000 ack 5', 'seq 1000 ack 5', 'the changed one itself not'],
    ['PSH,ACK seq 900 ack 5', 'seq 900 ack 5', 'one before it not'],
    ['PSH,ACK seq 1022 ack 5', 'seq 1025 ack 5', 'one behind it forward'],
    ['RST seq 1022', 'seq 1025', 'one without acknowledgement too'],
  ])('%s -> %s: %s', (rest, expected) => {
    expect(shifted(rest, ORIGINAL)).toContain(expected);
  });

  test.each([
    ['ACK seq 5 ack 1000', 'seq 5 ack 1000'],
    ['ACK seq 5 ack 1025', 'seq 5 ack 1022'],
    ['ACK seq 5 ack 1001 <nop,nop,sack 1025-1035>', 'ack 998'],
    ['ACK seq 5 ack 1000 <nop,nop,sack 1025-1035>', 'sack 1022-1032'],
    ['ACK seq 5 ack 900 <nop,nop,sack 950-1000:1025-1035>', 'sack 950-1000:1022-1032'],
  ])('of the other direction back: %s -> %s', (rest, expected) => {
    expect(shifted(rest, REPLY)).toContain(expected);
  });

  test('by both lengths only around the last change', () => {
    const offsets = grown();
    offsets.change(ORIGINAL, 2000, -5);
    expect(shifted('ACK seq 1500 ack 1', ORIGINAL, offsets)).toContain('seq 1503 ');
    expect(shifted('ACK seq 2100 ack 1', ORIGINAL, offsets)).toContain('seq 2098 ');
    expect(shifted('ACK seq 1 ack 2098', REPLY, offsets)).toContain('ack 2100 ');
  });

  test('not further by a repeat of the changed segment', () => {
    const offsets = grown();
    offsets.change(ORIGINAL, 1000, 3);
    expect(shifted('ACK seq 1022 ack 1', ORIGINAL, offsets)).toContain('seq 1025 ');
  });
});

test('malformed options are not let through', () => {
  expect(shiftedBytes('nop,nop,opt 5:0102030405060708')).toBe(1);
  const packet = new Packet();
  packet.parse(parsePacket(`${HEAD} ACK seq 1 ack 1 <nop,nop,opt 5:0102030405060708>`));
  packet.bytes[packet.transport + 23] = 0;
  expect(shiftSequence(packet, grown(), REPLY)).toBe(0);
  packet.bytes[packet.transport + 23] = 11;
  expect(shiftSequence(packet, grown(), REPLY)).toBe(0);
});

test('what one direction shifts forward, the other shifts back', () => {
  const number = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  fc.assert(
    fc.property(
      number,
      fc.integer({ min: -40, max: 40 }),
      fc.integer({ min: 100, max: 0x3fffffff }),
      (start, by, ahead) => {
        const offsets = new SequenceOffsets();
        offsets.change(ORIGINAL, start, by);
        for (const sent of [(start - ahead) | 0, (start + ahead) | 0]) {
          const seen = (sent + offsets.sent(ORIGINAL, sent)) | 0;
          expect((seen - offsets.received(ORIGINAL, seen)) | 0).toBe(sent);
        }
      },
    ),
  );
});
