import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Reassembler } from '../../lib/fragments/reassembler.js';
import { splitIpv4, splitIpv6 } from '../../lib/fragments/split.js';
import type { Packet } from '../../lib/wire/packet.js';
import { makeIpv4 } from '../../lib/wire/segment.js';
import { Verdict } from '../../lib/wire/verdict.js';
import { cut, fragment4, fragment6, view, whole4, whole6 } from './pieces.js';

const bytes = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 37) & 0xff);

function split(packet: Packet, mtu: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  if (packet.version === 4) splitIpv4(packet, mtu, (one) => out.push(one));
  else expect(splitIpv6(packet, mtu, 1, 99, (one) => out.push(one))).toBe(0);
  return out;
}

describe.each([
  [4, whole4, fragment4],
  [6, whole6, fragment6],
] as const)('IPv%i', (_, whole, fragment) => {
  it('fragments fit the link and give the packet back', () => {
    const scene = fc.record({
      payload: fc.uint8Array({ minLength: 1500, maxLength: 4000 }),
      mtu: fc.integer({ min: 1280, max: 1500 }),
    });
    fc.assert(
      fc.property(scene, ({ payload, mtu }) => {
        const reassembler = new Reassembler();
        const out = split(view(whole(payload)), mtu);
        expect(out.every((one) => one.length <= mtu)).toBe(true);
        for (const [i, one] of out.entries()) {
          const packet = view(one);
          const isLast = i === out.length - 1;
          expect(reassembler.add(packet, 0)).toBe(isLast ? Verdict.ACCEPT : Verdict.STOLEN);
          if (isLast) expect(packet.copyBytes()).toEqual(whole(payload));
        }
      }),
    );
  });

  it('what came in fragments leaves in the same ones', () => {
    const payload = bytes(1000);
    const pieces = cut(1000, [3, 50, 80]);
    const reassembler = new Reassembler();
    const packets = pieces.map((piece) => view(fragment(payload, piece)));
    const last = packets.map((packet) => reassembler.add(packet, 0)).at(-1);
    expect(last).toBe(Verdict.ACCEPT);
    const lengths = split(packets.at(-1) as Packet, 1500).map((one) => view(one).lengthBytes);
    expect(lengths).toEqual(pieces.map((piece) => fragment(payload, piece).length));
  });
});

describe('IPv4', () => {
  it('a fragment is split into fragments of the same datagram', () => {
    const payload = bytes(3000);
    const out = split(view(fragment4(payload, { from: 1000, to: 2000 })), 576).map(view);
    expect(out.map((one) => one.fragmentOffset)).toEqual([1000, 1552]);
    expect(out.map((one) => one.moreFragments)).toEqual([1, 1]);
  });

  it('options that are not to be copied stay in the first fragment (RFC 791)', () => {
    const fields = { tos: 0, id: 7, fragment: 0, ttl: 64, protocol: 17, source: 1, destination: 2 };
    // Record route (7) is not copied, router alert (148) is.
    const packet = view(makeIpv4(fields, Uint8Array.from([7, 3, 4, 1, 148, 4, 0, 0]), 1000));
    const [first, second] = split(packet, 576);
    expect([...(first as Uint8Array).subarray(20, 28)]).toEqual([7, 3, 4, 1, 148, 4, 0, 0]);
    expect([...(second as Uint8Array).subarray(20, 28)]).toEqual([1, 1, 1, 1, 148, 4, 0, 0]);
  });
});

describe('IPv6', () => {
  it('a packet that is not ours and came whole is not split; the MTU is to be reported', () => {
    const report = splitIpv6(view(whole6(bytes(1400))), 1280, 0, 1, () => expect.unreachable());
    expect(report).toBe(1280);
  });
});
