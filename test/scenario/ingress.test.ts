import { describe, expect, test } from 'vitest';
import type { CapturedPacket } from '../../lib/capture/capture.js';
import { LinkType, wrapInEthernet } from '../../lib/capture/link.js';
import { IngressFinder } from '../../lib/scenario/ingress.js';
import { parsePacket } from '../../lib/scenario/notation.js';

const INTERFACES = [
  { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
  { name: 'wan', addresses: ['203.0.113.1/24'] },
];

function captured(bytes: Uint8Array, change: Partial<CapturedPacket> = {}): CapturedPacket {
  const time = { seconds: 0, nanos: 0, timeMs: 0 };
  const length = { originalLengthBytes: bytes.length };
  return { ...time, ...length, interfaceId: 0, linkType: LinkType.ETHERNET, bytes, ...change };
}

function find(text: string, change: Partial<CapturedPacket> = {}) {
  return new IngressFinder(INTERFACES, 2).find(captured(wrapInEthernet(parsePacket(text)), change));
}

/** A Linux cooked (v1) frame. */
function cooked(type: number, text: string) {
  const packet = parsePacket(text);
  const frame = new Uint8Array(16 + packet.length);
  frame.set([0, type, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0]);
  frame.set(packet, 16);
  return new IngressFinder(INTERFACES, 2).find(captured(frame, { linkType: LinkType.LINUX_SLL }));
}

const FROM_LAN = 'udp 10.0.0.2:5 > 1.1.1.1:53';

describe('the way into the router', () => {
  test('is the interface of that name, wherever the source is', () => {
    expect(find(FROM_LAN, { interfaceName: 'wan' })).toMatchObject({ interface: 2 });
    expect(find('udp 9.9.9.9:5 > 1.1.1.1:53', { interfaceName: 'lan' })).toMatchObject({ interface: 1 });
  });

  test('is else the interface whose subnet has the source, or the one that leads there', () => {
    expect(find(FROM_LAN)).toMatchObject({ interface: 1, bytes: parsePacket(FROM_LAN) });
    expect(find('udp [fd00:a::2]:5 > [2001:db8::1]:53', { interfaceName: 'eth0' })).toMatchObject({
      interface: 1,
    });
    expect(find('udp 203.0.113.77:5 > 10.0.0.2:53')).toMatchObject({ interface: 2 });
    expect(find('udp 9.9.9.9:5 > 10.0.0.2:53')).toMatchObject({ interface: 2 });
    expect(find('udp [2001:db8::1]:5 > [fd00:a::2]:53')).toMatchObject({ interface: 2 });
  });

  test('is none for packets that the recording machine sent', () => {
    expect(find(FROM_LAN, { direction: 'out' })).toEqual({ skipped: 'sent by the machine that recorded' });
    expect(find(FROM_LAN, { direction: 'in' })).toMatchObject({ interface: 1 });
    expect(cooked(4, FROM_LAN)).toEqual({ skipped: 'sent by the machine that recorded' });
    expect(cooked(0, FROM_LAN)).toMatchObject({ interface: 1, bytes: parsePacket(FROM_LAN) });
  });

  test('is none for what is no IP packet, or not all of one', () => {
    const arp = wrapInEthernet(parsePacket(FROM_LAN));
    arp.set([8, 6], 12);
    expect(new IngressFinder(INTERFACES, 2).find(captured(arp))).toEqual({ skipped: 'ARP' });
    expect(find(FROM_LAN, { originalLengthBytes: 1500 })).toEqual({ skipped: 'cut short in the capture' });
    expect(find(FROM_LAN, { linkType: 147 })).toEqual({ skipped: 'link type 147 is not supported' });
  });
});
