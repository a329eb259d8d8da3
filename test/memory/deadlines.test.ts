import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Deadlines } from '../../lib/memory/deadlines.js';

const CAPACITY = 12;
/** A sweep may ask about a slot that long before its time. */
const UNIT_MS = 2048;
/** And about all of them when as much has passed; or when the time is further ahead. */
const HORIZON_MS = 2 ** 25;

type Step =
  | { readonly kind: 'watch'; readonly slot: number; readonly inMs: number }
  | { readonly kind: 'clear'; readonly slot: number }
  | { readonly kind: 'move'; readonly slot: number; readonly inMs: number }
  | { readonly kind: 'sweep'; readonly from: number; readonly to: number }
  | { readonly kind: 'wait'; readonly ms: number };

const slot = fc.nat(CAPACITY - 1);
const inMs = fc.oneof(
  fc.integer({ min: -3, max: 8000 }),
  fc.integer({ min: 0, max: 40_000_000 }),
  fc.constantFrom(432_000_000, 2_000_000_000),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('watch' as const), slot, inMs }),
  fc.record({ kind: fc.constant('clear' as const), slot }),
  fc.record({ kind: fc.constant('move' as const), slot, inMs }),
  fc.record({ kind: fc.constant('sweep' as const), from: fc.nat(CAPACITY), to: fc.nat(CAPACITY) }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.oneof(fc.nat(4000), fc.nat(60_000_000)) }),
);
/** Starts around which int32 times are 0 or wrap. */
const start = fc.constantFrom(0, -10, 0x7fffffff - 10, 123_456);

describe('deadlines', () => {
  test('against a map of times: a sweep finds every slot whose time has come, and few others', () => {
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 200 }), (startMs, steps) => {
        const deadlines = new Deadlines(CAPACITY);
        const times = new Map<number, number>();
        /** What the sweep may know of a slot: it is asked about only when this has come. */
        const bounds = new Map<number, number>();
        const into = new Int32Array(CAPACITY);
        let now = startMs;
        let sweptAt = 0;
        const boundOf = (at: number) => (((at - sweptAt) | 0) > HORIZON_MS ? (sweptAt + HORIZON_MS) | 0 : at);
        const hasCome = (at: number) => ((at - now) | 0) <= 0;
        for (const one of steps) {
          if (one.kind === 'wait') now = (now + one.ms) | 0;
          else if (one.kind === 'watch') {
            const at = (now + one.inMs) | 0;
            deadlines.set(one.slot, at);
            times.set(one.slot, at);
            bounds.set(one.slot, boundOf(at));
          } else if (one.kind === 'clear') {
            deadlines.clear(one.slot);
            times.delete(one.slot);
          } else if (one.kind === 'move') {
            // As a record does it: told only if the time is earlier than it was.
            const before = times.get(one.slot);
            const at = (now + one.inMs) | 0;
            if (before === undefined || ((at - before) | 0) < 0) deadlines.lower(one.slot, at);
            if (before === undefined) continue;
            times.set(one.slot, at);
            if (((at - (bounds.get(one.slot) as number)) | 0) < 0) bounds.set(one.slot, boundOf(at));
          } else {
            const isLate = (now - sweptAt) >>> 0 > HORIZON_MS;
            if (isLate) for (const i of bounds.keys()) bounds.set(i, now);
            sweptAt = now;
            const count = deadlines.due(one.from, one.to, now, into);
            const due = [...into.subarray(0, count)];
            const watched = [...times.keys()].filter((i) => i >= one.from && i < one.to);
            expect(deadlines.watched).toBe(watched.length);
            expect(due).toEqual([...due].sort((a, b) => a - b));
            for (const i of watched) {
              if (hasCome(times.get(i) as number)) expect(due).toContain(i);
            }
            for (const i of due) {
              expect(watched).toContain(i);
              const bound = bounds.get(i) as number;
              const ahead = (bound - now) | 0;
              expect(ahead, 'asked about early').toBeLessThanOrEqual(2 * UNIT_MS);
              if (hasCome(times.get(i) as number)) continue;
              deadlines.set(i, times.get(i) as number);
              bounds.set(i, boundOf(times.get(i) as number));
            }
          }
          for (let i = 0; i < CAPACITY; i++) expect(deadlines.isWatched(i)).toBe(times.has(i) ? 1 : 0);
        }
      }),
    );
  });

  test('a time that moves later is heard of when the old one has come', () => {
    const deadlines = new Deadlines(4);
    const into = new Int32Array(4);
    deadlines.set(2, 10_000);
    expect(deadlines.due(0, 4, 10_000 - UNIT_MS, into)).toBe(0);
    expect(deadlines.due(0, 4, 10_000, into)).toBe(1);
    expect(into[0]).toBe(2);
    deadlines.set(2, 50_000);
    expect(deadlines.due(0, 4, 10_000, into)).toBe(0);
  });

  test('no time is missed, however far ahead it is and however long no sweep came', () => {
    const into = new Int32Array(4);
    for (const aheadMs of [0, 1, HORIZON_MS, 3 * HORIZON_MS, 4 * HORIZON_MS, 5 * HORIZON_MS, 2 ** 31 - 1]) {
      for (const stepMs of [60_000, HORIZON_MS, HORIZON_MS + 1, 3 * HORIZON_MS, 2 ** 31 - 1]) {
        const deadlines = new Deadlines(4);
        deadlines.set(1, aheadMs);
        let now = 0;
        while (now < aheadMs) {
          now = Math.min(now + stepMs, aheadMs);
          if (deadlines.due(0, 4, now, into) === 1 && now < aheadMs) deadlines.set(1, aheadMs);
        }
        expect(deadlines.due(0, 4, now, into), `${aheadMs} in steps of ${stepMs}`).toBe(1);
      }
    }
  });

  test('a slot that is not watched stays so when its time is lowered', () => {
    const deadlines = new Deadlines(4);
    deadlines.lower(1, 10);
    expect(deadlines.due(0, 4, 1000, new Int32Array(4))).toBe(0);
  });
});
