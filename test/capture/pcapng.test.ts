import { describe, expect, test } from 'vitest';
import { readCapture, readPackets } from '../../lib/capture/capture.js';
import {
  block,
  endOfOptions,
  enhanced,
  interfaceBlock,
  join,
  type Order,
  option,
  section,
  u8,
  u16,
  u32,
} from './bytes.js';

const ORDERS: Order[] = ['big', 'little'];

describe.each(ORDERS)('pcapng, %s-endian', (order) => {
  const text = (code: number, value: string) => option(order, code, value);

  test('an enhanced packet block with its interface, comments and direction', () => {
    const file = join(
      section(order),
      interfaceBlock(order, 1, 0, text(2, 'lan'), option(order, 9, u8(9)), endOfOptions()),
      // 1,700,000,000.123456789 s in nanoseconds = 0x17979cfe_3d85cd15
      enhanced(
        order,
        0,
        [0x17979cfe, 0x3d85cd15],
        u8(1, 2, 3, 4, 5),
        60,
        text(1, 'first'),
        option(order, 2, u32(order, 1)),
        text(1, 'zweite Zeile: ü'),
        endOfOptions(),
      ),
    );
    const capture = readCapture(file);
    expect(capture.format).toBe('pcapng');
    expect(capture.interfaces).toEqual([{ id: 0, linkType: 1, snapLengthBytes: 0, name: 'lan' }]);
    expect(capture.packets).toEqual([
      {
        seconds: 1_700_000_000,
        nanos: 123_456_789,
        timeMs: 1_700_000_000_000 + 123.456789,
        interfaceId: 0,
        interfaceName: 'lan',
        linkType: 1,
        bytes: u8(1, 2, 3, 4, 5),
        originalLengthBytes: 60,
        direction: 'in',
        comment: 'first\nzweite Zeile: ü',
      },
    ]);
  });

  test('times are microseconds unless if_tsresol says otherwise, and if_tsoffset is added', () => {
    const micro = 1_700_000_000_123_456;
    const time: [number, number] = [Math.floor(micro / 2 ** 32), micro % 2 ** 32];
    const minusTen =
      order === 'big' ? u32('big', 0xffffffff, 0xfffffff6) : u32('little', 0xfffffff6, 0xffffffff);
    const file = join(
      section(order),
      interfaceBlock(order, 1),
      interfaceBlock(order, 101, 0, option(order, 14, minusTen)),
      enhanced(order, 0, time, u8(1)),
      enhanced(order, 1, time, u8(2)),
    );
    expect(readCapture(file).packets).toMatchObject([
      { seconds: 1_700_000_000, nanos: 123_456_000, linkType: 1 },
      { seconds: 1_699_999_990, nanos: 123_456_000, linkType: 101 },
    ]);
  });

  test('the obsolete packet block', () => {
    const body = join(u16(order, 0, 7), u32(order, 0, 5_000_001, 3, 9), u8(1, 2, 3, 0), text(1, 'old'));
    const file = join(section(order), interfaceBlock(order, 1), block(order, 2, body));
    expect(readCapture(file).packets).toMatchObject([
      { seconds: 5, nanos: 1000, bytes: u8(1, 2, 3), originalLengthBytes: 9, comment: 'old' },
    ]);
  });

  test('a simple packet block is cut by the snap length and takes the time of the packet before it', () => {
    const file = join(
      section(order),
      interfaceBlock(order, 1, 4),
      block(order, 3, join(u32(order, 2), u8(8, 9))),
      enhanced(order, 0, [0, 3_000_000], u8(1)),
      block(order, 3, join(u32(order, 6), u8(1, 2, 3, 4))),
    );
    expect(readCapture(file).packets).toMatchObject([
      { seconds: 0, nanos: 0, bytes: u8(8, 9), originalLengthBytes: 2 },
      { seconds: 3, bytes: u8(1) },
      { seconds: 3, nanos: 0, bytes: u8(1, 2, 3, 4), originalLengthBytes: 6 },
    ]);
  });

  test('blocks and options of other kinds are stepped over', () => {
    const file = join(
      section(order, 4), // a section length that is wrong
      block(order, 0x0bad, u8(1, 2, 3, 4)),
      interfaceBlock(order, 1, 0, text(3, 'a description'), text(2, 'wan')),
      block(order, 5, u32(order, 0, 0, 0)),
      enhanced(order, 0, [0, 0], u8(1), 1, option(order, 4, u8(0, 0, 0, 0, 0, 0, 0, 1))),
      block(order, 4, endOfOptions()),
    );
    expect(readCapture(file).damage).toBeUndefined();
    expect(readCapture(file).packets).toMatchObject([{ interfaceName: 'wan', bytes: u8(1) }]);
  });

  test('options after the end mark are not read', () => {
    const file = join(section(order), interfaceBlock(order, 1, 0, endOfOptions(), text(2, 'no')));
    expect(readCapture(file).interfaces[0].name).toBeUndefined();
  });

  describe('damage', () => {
    const good = join(section(order), interfaceBlock(order, 1), enhanced(order, 0, [0, 1], u8(1)));
    const bad = enhanced(order, 0, [0, 2], u8(1, 2, 3, 4));
    const set = (at: number, value: number) => {
      const changed = bad.slice();
      changed.set(u32(order, value), at);
      return changed;
    };

    test.each<[string, Uint8Array, string]>([
      ['a few bytes of a block', bad.subarray(0, 11), 'the last block is cut off'],
      ['half a block', bad.subarray(0, 20), 'a block of 36 bytes where 20 are left'],
      ['a length that is no multiple of 4', set(4, 35), 'a block of 35 bytes'],
      ['a length too small for a block', set(4, 8), 'a block of 8 bytes'],
      ['a huge length', set(4, 0xfffffffc), 'a block of 4294967292 bytes where 36 are left'],
      ['two lengths that differ', set(32, 40), 'a block of 36 bytes that ends as one of 40'],
      ['a packet longer than its block', set(20, 5), 'a packet of 5 bytes in a block that has 4'],
      [
        'an interface not described',
        set(8, 1),
        'a packet of interface 1, which its section has not described',
      ],
      ['no room for the fields', block(order, 6, u32(order, 0, 0)), 'a block body of 8 bytes'],
      ['an option too long', enhanced(order, 0, [0, 2], u8(1), 1, u16(order, 1, 5)), 'option 1 of 5 bytes'],
      [
        'a section of another version',
        block(order, 0x0a0d0d0a, join(u32(order, 0x1a2b3c4d), u16(order, 2, 0), u32(order, 0, 0))),
        'pcapng version 2',
      ],
      [
        'a section without byte order',
        block(order, 0x0a0d0d0a, u32(order, 1, 2, 3, 4)),
        'without a byte-order mark',
      ],
    ])('%s ends reading, after the packets before it', (_, tail, message) => {
      const file = join(good, tail);
      const seen: Uint8Array[] = [];
      expect(() => {
        for (const packet of readPackets(file)) seen.push(packet.bytes);
      }).toThrow(message);
      expect(seen).toEqual([u8(1)]);
      const { damage } = readCapture(file);
      expect(damage?.place.offsetBytes).toBe(good.length + (message.startsWith('option') ? 32 : 0));
    });

    test('a section header without anything behind it is an empty capture; half of one is an error', () => {
      expect(readCapture(section(order)).packets).toEqual([]);
      expect(() => readCapture(section(order).subarray(0, 20))).toThrow(
        'a block of 28 bytes where 20 are left',
      );
    });
  });
});

test('sections of different byte order follow each other, interfaces counted on', () => {
  const part = (order: Order, name: string, byte: number) =>
    join(
      section(order),
      interfaceBlock(order, 1, 0, option(order, 2, `${name}0`)),
      interfaceBlock(order, 101, 0, option(order, 2, `${name}1`)),
      enhanced(order, 1, [0, byte * 1_000_000], u8(byte)),
    );
  const capture = readCapture(join(part('little', 'a', 1), part('big', 'b', 2)));
  expect(capture.interfaces.map((each) => `${each.id} ${each.name}`)).toEqual([
    '0 a0',
    '1 a1',
    '2 b0',
    '3 b1',
  ]);
  expect(capture.packets).toMatchObject([
    { interfaceId: 1, interfaceName: 'a1', seconds: 1, bytes: u8(1) },
    { interfaceId: 3, interfaceName: 'b1', seconds: 2, bytes: u8(2) },
  ]);
});

test("a new section forgets the old one's interfaces", () => {
  const file = join(
    section('big'),
    interfaceBlock('big', 1),
    section('big'),
    enhanced('big', 0, [0, 0], u8(1)),
  );
  expect(readCapture(file).damage?.message).toContain(
    'a packet of interface 0, which its section has not described',
  );
});
