import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DropReason } from '../../lib/counters.js';
import { Reassembler } from '../../lib/fragments/reassembler.js';
import { Verdict } from '../../lib/wire/verdict.js';
import { cut, fragment4, fragment6, view, whole4, whole6 } from './pieces.js';

const bytes = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 37) & 0xff);

const scene = fc
  .record({
    payload: fc.uint8Array({ minLength: 24, maxLength: 3000 }),
    cuts: fc.array(fc.integer({ min: 1, max: 375 }), { minLength: 1, maxLength: 8 }),
    order: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 10, maxLength: 10 }),
    again: fc.nat(9),
  })
  .filter(({ payload, cuts }) => cut(payload.length, cuts).length > 1);

describe.each([
  [4, whole4, fragment4],
  [6, whole6, fragment6],
] as const)('IPv%i', (version, whole, fragment) => {
  it('any split in any order gives the packet back, and keeps nothing', () => {
    fc.assert(
      fc.property(scene, ({ payload, cuts, order }) => {
        const reassembler = new Reassembler();
        const pieces = cut(payload.length, cuts)
          .map((piece, i) => ({ piece, key: order[i] as number }))
          .sort((a, b) => a.key - b.key);
        for (const [i, { piece }] of pieces.entries()) {
          const packet = view(fragment(payload, piece));
          const isLast = i === pieces.length - 1;
          expect(reassembler.add(packet, i)).toBe(isLast ? Verdict.ACCEPT : Verdict.STOLEN);
          if (!isLast) continue;
          expect(packet.copyBytes()).toEqual(whole(payload));
          const lengths = cut(payload.length, cuts).map(({ from, to }) => to - from);
          expect([...(packet.fragmentLengths as Int32Array)]).toEqual(lengths);
        }
        expect([reassembler.count, reassembler.heldBytes]).toEqual([0, 0]);
      }),
    );
  });

  it('a repeated fragment changes nothing', () => {
    fc.assert(
      fc.property(scene, ({ payload, cuts, again }) => {
        const reassembler = new Reassembler();
        const pieces = cut(payload.length, cuts);
        const repeated = again % (pieces.length - 1);
        let last = Verdict.STOLEN as number;
        for (const [i, piece] of pieces.entries()) {
          const packet = view(fragment(payload, piece));
          last = reassembler.add(packet, 0);
          if (i === repeated)
            expect(reassembler.add(view(fragment(payload, piece)), 0)).not.toBe(Verdict.ACCEPT);
          if (last === Verdict.ACCEPT) expect(packet.copyBytes()).toEqual(whole(payload));
        }
        expect(last).toBe(Verdict.ACCEPT);
      }),
    );
  });

  it('an overlap drops the datagram, and what comes after it is not completed', () => {
    const reassembler = new Reassembler();
    const payload = bytes(96);
    expect(reassembler.add(view(fragment(payload, { from: 0, to: 32 })), 0)).toBe(Verdict.STOLEN);
    const overlap = view(fragment(payload, { from: 24, to: 64 }));
    expect(reassembler.add(overlap, 0)).toBe(Verdict.DROP);
    expect(overlap.reason).toBe(DropReason.FRAGMENT_OVERLAP);
    expect(reassembler.heldBytes).toBe(0);
    expect(reassembler.add(view(fragment(payload, { from: 32, to: 96 })), 0)).toBe(Verdict.STOLEN);
  });

  it('a datagram that is not complete in time is given up; its first fragment is reported', () => {
    const reassembler = new Reassembler();
    const payload = bytes(64);
    const timeoutMs = (version === 4 ? reassembler.limits4 : reassembler.limits6).timeoutMs;
    const first = fragment(payload, { from: 0, to: 32 });
    const heard: Uint8Array[] = [];
    reassembler.onExpire = (expired) => heard.push(expired.first);
    reassembler.add(view(first), 1000);
    expect(reassembler.nextTimerMs()).toBe(1000 + timeoutMs);
    reassembler.advance(1000 + timeoutMs - 1);
    expect([reassembler.count, heard.length]).toEqual([1, 0]);
    reassembler.advance(1000 + timeoutMs);
    expect([reassembler.count, reassembler.heldBytes]).toEqual([0, 0]);
    expect(heard).toEqual([first]);
    expect(reassembler.nextTimerMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('without the first fragment nobody is told', () => {
    const reassembler = new Reassembler();
    let told = 0;
    reassembler.onExpire = () => told++;
    reassembler.add(view(fragment(bytes(64), { from: 32, to: 64 })), 0);
    reassembler.advance(100_000);
    expect([told, reassembler.count]).toEqual([0, 0]);
  });

  it('above the high mark nothing more is taken', () => {
    const reassembler = new Reassembler();
    const limits = version === 4 ? reassembler.limits4 : reassembler.limits6;
    limits.highBytes = 20_000;
    const payload = bytes(2000);
    const refused: number[] = [];
    for (let id = 0; id < 200; id++) {
      const packet = view(fragment(payload, { from: 0, to: 1000 }));
      if (version === 4) packet.bytes[5] = id;
      else packet.bytes[47] = id;
      if (reassembler.add(packet, 0) === Verdict.DROP) refused.push(packet.reason);
      expect(reassembler.heldBytes).toBeLessThan(20_000 + 2000);
    }
    expect(refused.length).toBeGreaterThan(150);
    expect(new Set(refused)).toEqual(new Set([DropReason.FRAGMENT_MEMORY]));
  });

  it('a packet that is no fragment passes', () => {
    const packet = view(whole(bytes(40)));
    expect(new Reassembler().add(packet, 0)).toBe(Verdict.ACCEPT);
    expect(packet.fragmentMaxBytes).toBe(0);
  });
});

describe('the congestion field of the whole (RFC 3168 section 5.3)', () => {
  it.each([
    [0, 0, 0],
    [1, 1, 1],
    [2, 2, 2],
    [3, 3, 3],
    [1, 3, 3],
    [2, 3, 3],
    [2, 1, 2],
  ])('of fragments with %i and %i is %i', (first, second, expected) => {
    const reassembler = new Reassembler();
    const payload = bytes(64);
    reassembler.add(view(fragment4(payload, { from: 0, to: 32 }, first)), 0);
    const packet = view(fragment4(payload, { from: 32, to: 64 }, second));
    expect(reassembler.add(packet, 0)).toBe(Verdict.ACCEPT);
    expect(packet.u8(1)).toBe(expected);
  });

  it.each([
    [0, 1],
    [0, 3],
    [2, 0],
  ])('is wrong with %i and %i: the datagram is dropped', (first, second) => {
    const reassembler = new Reassembler();
    const payload = bytes(64);
    reassembler.add(view(fragment4(payload, { from: 0, to: 32 }, first)), 0);
    expect(reassembler.add(view(fragment4(payload, { from: 32, to: 64 }, second)), 0)).toBe(Verdict.DROP);
    expect(reassembler.count).toBe(0);
  });
});

describe('what is particular', () => {
  const payload = bytes(64);

  it('DF stays only if the largest fragment had it', () => {
    for (const [large, small, expected] of [
      [0x4000, 0, 0x4000],
      [0, 0x4000, 0],
    ] as const) {
      const reassembler = new Reassembler();
      reassembler.add(view(fragment4(payload, { from: 0, to: 48 }, 0, large)), 0);
      const packet = view(fragment4(payload, { from: 48, to: 64 }, 0, small));
      expect(reassembler.add(packet, 0)).toBe(Verdict.ACCEPT);
      expect(packet.u16(6)).toBe(expected);
    }
  });

  it('an atomic IPv6 fragment loses its fragment header', () => {
    const packet = view(fragment6(payload, { from: 0, to: 64 }));
    expect(new Reassembler().add(packet, 0)).toBe(Verdict.ACCEPT);
    expect(packet.copyBytes()).toEqual(whole6(payload));
  });

  it('an IPv6 first fragment without its transport header is left alone', () => {
    const packet = view(fragment6(payload, { from: 0, to: 0 }));
    expect(new Reassembler().add(packet, 0)).toBe(Verdict.ACCEPT);
    expect(packet.fragmentHeader).toBe(40);
  });

  it('an id that comes again after many other fragments of its source begins anew', () => {
    const reassembler = new Reassembler();
    reassembler.maxDistance = 4;
    reassembler.add(view(fragment4(payload, { from: 0, to: 32 })), 0);
    for (let id = 100; id < 110; id++) {
      const other = view(fragment4(payload, { from: 0, to: 32 }));
      other.bytes[5] = id;
      reassembler.add(other, 0);
    }
    expect(reassembler.add(view(fragment4(payload, { from: 32, to: 64 })), 0)).toBe(Verdict.STOLEN);
  });

  it('fragments that come in and fragments that we send do not mix', () => {
    const reassembler = new Reassembler();
    reassembler.add(view(fragment4(payload, { from: 0, to: 32 })), 0);
    const own = view(fragment4(payload, { from: 32, to: 64 }));
    own.inInterface = 0;
    expect(reassembler.add(own, 0)).toBe(Verdict.STOLEN);
    expect(reassembler.count).toBe(2);
  });
});
