import { describe, expect, test } from 'vitest';
import { readCapture, readPackets } from '../../lib/capture/capture.js';
import { join, type Order, pcapHeader, pcapRecord, u8 } from './bytes.js';

const MICRO = 0xa1b2c3d4;
const NANO = 0xa1b23c4d;

describe('classic pcap', () => {
  test.each<[string, Order, number, number, number]>([
    ['microseconds, little-endian', 'little', MICRO, 123_456, 123_456_000],
    ['microseconds, big-endian', 'big', MICRO, 123_456, 123_456_000],
    ['nanoseconds, little-endian', 'little', NANO, 123_456_789, 123_456_789],
    ['nanoseconds, big-endian', 'big', NANO, 123_456_789, 123_456_789],
  ])('%s', (_, order, magic, units, nanos) => {
    const file = join(
      pcapHeader(order, magic, 101, 96),
      pcapRecord(order, 1_700_000_000, units, u8(0x45, 1, 2), 1500),
      pcapRecord(order, 1_700_000_001, 0, u8()),
    );
    const capture = readCapture(file);
    expect(capture.format).toBe('pcap');
    expect(capture.damage).toBeUndefined();
    expect(capture.interfaces).toEqual([{ id: 0, linkType: 101, snapLengthBytes: 96 }]);
    expect(capture.packets).toEqual([
      {
        seconds: 1_700_000_000,
        nanos,
        timeMs: 1_700_000_000_000 + nanos / 1e6,
        interfaceId: 0,
        linkType: 101,
        bytes: u8(0x45, 1, 2),
        originalLengthBytes: 1500,
      },
      {
        seconds: 1_700_000_001,
        nanos: 0,
        timeMs: 1_700_000_001_000,
        interfaceId: 0,
        linkType: 101,
        bytes: u8(),
        originalLengthBytes: 0,
      },
    ]);
  });

  test('the frame check sequence bits above the link type are not part of it', () => {
    expect(readCapture(pcapHeader('big', MICRO, 0x24000001)).interfaces[0].linkType).toBe(1);
  });

  test('a fraction of a second or more is carried into the seconds', () => {
    const file = join(pcapHeader('big', MICRO, 1), pcapRecord('big', 5, 2_500_000, u8(1)));
    expect(readCapture(file).packets[0]).toMatchObject({ seconds: 7, nanos: 500_000_000 });
  });

  test('a view into a larger buffer is read from where it begins', () => {
    const file = join(u8(9, 9, 9), pcapHeader('little', MICRO, 1), pcapRecord('little', 5, 6, u8(7)));
    expect(readCapture(file.subarray(3)).packets[0].bytes).toEqual(u8(7));
  });

  describe('damage', () => {
    const good = join(pcapHeader('little', MICRO, 1), pcapRecord('little', 5, 6, u8(1, 2, 3, 4)));

    test.each([
      ['inside a record header', join(good, u8(1, 2, 3)), "the last packet's header is cut off"],
      [
        'inside a packet',
        join(good, pcapRecord('little', 6, 0, u8(1, 2, 3)).subarray(0, 17)),
        'a packet of 3 bytes where 1 are left',
      ],
    ])('%s: the good packets first, then an error with the byte', (_, file, reason) => {
      const seen: number[] = [];
      expect(() => {
        for (const packet of readPackets(file, { file: 'x.pcap' })) seen.push(packet.seconds);
      }).toThrow(expect.objectContaining({ code: 'syntax', message: `x.pcap: ${reason} at byte 44` }));
      expect(seen).toEqual([5]);

      const capture = readCapture(file);
      expect(capture.packets).toHaveLength(1);
      expect(capture.damage?.place.offsetBytes).toBe(44);
    });

    test.each<[string, Uint8Array, string, string]>([
      ['an empty file', u8(), 'syntax', 'the file is empty at byte 0; expected a pcap or pcapng file'],
      [
        'three bytes',
        u8(1, 2, 3),
        'syntax',
        'the file has only 3 bytes at byte 0; expected a pcap or pcapng file',
      ],
      ['text', new TextEncoder().encode('*nat\nCOMMIT\n'), 'syntax', 'not a capture file at byte 0'],
      ['gzip', u8(0x1f, 0x8b, 8, 0), 'unsupported', 'the file is compressed with gzip'],
      ['zstd', u8(0x28, 0xb5, 0x2f, 0xfd), 'unsupported', 'the file is compressed with zstd'],
      ['half a header', pcapHeader('big', MICRO, 1).subarray(0, 23), 'syntax', 'the file header is cut off'],
      ['modified pcap, big', pcapHeader('big', 0xa1b2cd34, 1), 'unsupported', "Kuznetsov's modified pcap"],
      [
        'modified pcap, little',
        pcapHeader('little', 0xa1b2cd34, 1),
        'unsupported',
        "Kuznetsov's modified pcap",
      ],
      ['version 3', pcapHeader('big', MICRO, 1).with(5, 3), 'unsupported', 'pcap version 3 at byte 4'],
    ])('%s is refused as no capture', (_, file, code, message) => {
      const refusal = expect.objectContaining({ code, message: expect.stringContaining(message) });
      expect(() => readCapture(file)).toThrow(refusal);
      expect(() => [...readPackets(file)]).toThrow(refusal);
    });
  });
});
