import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  describeFrame,
  isSupportedLinkType,
  LinkFrame,
  LinkOutcome,
  LinkType,
  PacketType,
  rewrapPacket,
  wrapInEthernet,
} from '../../lib/capture/link.js';
import { hex, join, toHex, u8 } from './bytes.js';

const MACS = '0200000000aa 0200000000bb';
const IP4 = '45aabb';
const IP6 = '60aabb';

function frameOf(linkType: number, bytes: Uint8Array): LinkFrame {
  const frame = new LinkFrame();
  frame.find(linkType, bytes, 0, bytes.length);
  return frame;
}

describe('an IP packet is found', () => {
  test.each<[string, number, string, Partial<LinkFrame>]>([
    [
      'Ethernet, IPv4',
      1,
      `${MACS} 0800 ${IP4}`,
      { ipVersion: 4, offset: 14, sourceMacOffset: 6, vlanTags: 0, vlanId: -1 },
    ],
    ['Ethernet, IPv6', 1, `${MACS} 86dd ${IP6}`, { ipVersion: 6, offset: 14 }],
    [
      'Ethernet, 802.1Q',
      1,
      `${MACS} 8100 e064 0800 ${IP4}`,
      { ipVersion: 4, offset: 18, vlanTags: 1, vlanId: 100 },
    ],
    [
      'Ethernet, 802.1ad with 802.1Q inside',
      1,
      `${MACS} 88a8 0fff 8100 0001 86dd ${IP6}`,
      { ipVersion: 6, offset: 22, vlanTags: 2, vlanId: 4095 },
    ],
    [
      'Ethernet, QinQ of before 802.1ad',
      1,
      `${MACS} 9100 0002 9200 0003 8100 0004 0800 ${IP4}`,
      { ipVersion: 4, offset: 26, vlanTags: 3, vlanId: 2 },
    ],
    ['Ethernet, to all', 1, `ffffffffffff 0200000000bb 0800 ${IP4}`, { packetType: PacketType.BROADCAST }],
    [
      'Ethernet, to a group',
      1,
      `01005e000001 0200000000bb 0800 ${IP4}`,
      { packetType: PacketType.MULTICAST },
    ],
    ['Ethernet, to one', 1, `${MACS} 0800 ${IP4}`, { packetType: PacketType.UNKNOWN }],
    [
      'cooked, to us',
      113,
      `0000 0001 0006 0200000000bb 0000 0800 ${IP4}`,
      { ipVersion: 4, offset: 16, sourceMacOffset: 6, packetType: PacketType.HOST },
    ],
    [
      'cooked, sent by us',
      113,
      `0004 0001 0006 0200000000bb 0000 86dd ${IP6}`,
      { ipVersion: 6, offset: 16, packetType: PacketType.OUTGOING },
    ],
    [
      'cooked, from a device without MAC',
      113,
      `0000 fffe 0000 0000000000000000 0800 ${IP4}`,
      { offset: 16, sourceMacOffset: -1 },
    ],
    [
      'cooked, with a VLAN tag',
      113,
      `0000 0001 0006 0200000000bb 0000 8100 0064 0800 ${IP4}`,
      { ipVersion: 4, offset: 20, vlanId: 100 },
    ],
    [
      'cooked v2, to another host',
      276,
      `0800 0000 00000007 0001 03 06 0200000000bb 0000 ${IP4}`,
      { ipVersion: 4, offset: 20, sourceMacOffset: 12, packetType: PacketType.OTHERHOST, interfaceIndex: 7 },
    ],
    [
      'cooked v2, to a group, IPv6',
      276,
      `86dd 0000 00000002 0001 02 06 0200000000bb 0000 ${IP6}`,
      { ipVersion: 6, offset: 20, packetType: PacketType.MULTICAST },
    ],
    [
      'cooked v2, with a VLAN tag',
      276,
      `8100 0000 00000002 0001 00 06 0200000000bb 0000 0064 0800 ${IP4}`,
      { ipVersion: 4, offset: 24, vlanTags: 1, vlanId: 100 },
    ],
    [
      'cooked v2, with two VLAN tags',
      276,
      `88a8 0000 00000002 0001 00 06 0200000000bb 0000 0064 8100 0065 86dd ${IP6}`,
      { ipVersion: 6, offset: 28, vlanTags: 2, vlanId: 100 },
    ],
    ['raw, IPv4', 101, IP4, { ipVersion: 4, offset: 0, sourceMacOffset: -1, etherType: 0x0800 }],
    ['raw, IPv6', 101, IP6, { ipVersion: 6, offset: 0, etherType: 0x86dd }],
    ['raw as 12', 12, IP4, { ipVersion: 4, offset: 0 }],
    ['raw as 14', 14, IP6, { ipVersion: 6, offset: 0 }],
    ['raw IPv4 only', 228, IP4, { ipVersion: 4, offset: 0 }],
    ['raw IPv6 only', 229, IP6, { ipVersion: 6, offset: 0 }],
    ['null, little-endian', 0, `02000000 ${IP4}`, { ipVersion: 4, offset: 4 }],
    ['null, big-endian', 0, `0000001c ${IP6}`, { ipVersion: 6, offset: 4 }],
    ['null, macOS IPv6', 0, `1e000000 ${IP6}`, { ipVersion: 6, offset: 4 }],
    ['loop', 108, `00000002 ${IP4}`, { ipVersion: 4, offset: 4 }],
  ])('%s', (_, linkType, text, expected) => {
    const bytes = hex(text);
    const frame = frameOf(linkType, bytes);
    expect(frame).toMatchObject({ outcome: LinkOutcome.IP, lengthBytes: 3, ...expected });
    expect(isSupportedLinkType(linkType)).toBe(true);
    // The same in the middle of a larger array, by a view that was used before.
    const shifted = join(u8(1, 2, 3), bytes, u8(4, 5));
    frame.find(linkType, shifted, 3, 3 + bytes.length);
    expect(frame.offset).toBe((expected.offset ?? bytes.length - 3) + 3);
    expect(frame.lengthBytes).toBe(3);
  });
});

describe('another frame says what it is', () => {
  test.each([
    [1, `${MACS} 0806 0001`, 'ARP'],
    [1, `${MACS} 88cc 0001`, 'LLDP'],
    [1, `${MACS} 8100 0001 0806 0001`, 'ARP'],
    [1, `${MACS} 0026 4242`, 'IEEE 802.3 LLC'],
    [1, `${MACS} 1234`, 'ethertype 0x1234'],
    [113, '0000 0001 0006 0200000000bb 0000 0806', 'ARP'],
    [276, '0806 0000 00000002 0001 00 06 0200000000bb 0000', 'ARP'],
    [101, '00', 'not IP'],
    [0, '07000000 45', 'not IP'],
    [0, '02000002 45', 'not IP'],
    [1, `${MACS} 08`, 'cut off in its link header'],
    [1, `${MACS} 8100 0001`, 'cut off in its link header'],
    [1, `${MACS} 8100 0001 81`, 'cut off in its link header'],
    [113, '0000 0001 0006 0200000000bb 0000 08', 'cut off in its link header'],
    [276, '0800 0000 00000007 0001 03 06 0200000000bb 00', 'cut off in its link header'],
    [276, '8100 0000 00000007 0001 03 06 0200000000bb 0000 0001 08', 'cut off in its link header'],
    [101, '', 'cut off in its link header'],
    [0, '020000', 'cut off in its link header'],
    [127, '00', 'link type 127 is not supported'],
  ])('link type %d, %s: %s', (linkType, text, said) => {
    const frame = frameOf(linkType, hex(text));
    expect(frame.ipVersion).toBe(0);
    expect(describeFrame(frame, linkType)).toBe(said);
    expect(isSupportedLinkType(linkType)).toBe(linkType !== 127);
  });
});

test('a rewritten packet gets the link header of the frame it came in, without padding', () => {
  const bytes = hex(`ee ${MACS} 8100 0064 0800 45000014 0000`);
  const frame = new LinkFrame();
  frame.find(LinkType.ETHERNET, bytes, 1, bytes.length);
  const wrapped = rewrapPacket(frame, bytes, 1, hex('4501'));
  expect(toHex(wrapped)).toBe(toHex(hex(`${MACS} 8100 0064 0800 4501`)));
});

test.each([
  [IP4, '0800', 4],
  [IP6, '86dd', 6],
])('a packet without a frame is put into an Ethernet frame: %s', (text, etherType, version) => {
  const wrapped = wrapInEthernet(hex(text));
  expect(toHex(wrapped)).toBe(toHex(hex(`020000000002 020000000001 ${etherType} ${text}`)));
  expect(frameOf(LinkType.ETHERNET, wrapped).ipVersion).toBe(version);
  expect(toHex(wrapInEthernet(hex(text), u8(1, 2, 3, 4, 5, 6), u8(7, 8, 9, 10, 11, 12))).slice(0, 24)).toBe(
    '0102030405060708090a0b0c',
  );
});

test('whatever the bytes, the packet lies inside the frame', () => {
  const frame = new LinkFrame();
  const tagged = fc.array(fc.constantFrom(0x81, 0x00, 0x88, 0xa8, 0x08, 0x45), { maxLength: 60 });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    tagged.map((values) => Uint8Array.from(values)),
  );
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(LinkType), 9), bytes, fc.nat(60), (linkType, array, cut) => {
      const start = Math.min(cut, array.length);
      if (frame.find(linkType, array, start, array.length) !== LinkOutcome.IP) return;
      expect(frame.offset).toBeGreaterThanOrEqual(start);
      expect(frame.offset + frame.lengthBytes).toBe(array.length);
      expect(frame.lengthBytes).toBeGreaterThanOrEqual(0);
      if (frame.sourceMacOffset >= 0) expect(frame.sourceMacOffset + 6).toBeLessThanOrEqual(frame.offset);
    }),
    { numRuns: 2000 },
  );
});
