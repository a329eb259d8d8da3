import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Slots } from '../../lib/memory/slots.js';

const STRIDE = 3;
const LINK = 1;

function slotsOf(capacity: number): Slots {
  return new Slots(new Int32Array(capacity * STRIDE), STRIDE, LINK);
}

describe('slots', () => {
  test('against a set: what is taken is free, all can be taken, free + live = capacity', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 12 }),
        fc.array(fc.oneof(fc.constant('take' as const), fc.nat(100), fc.constant('reset' as const)), {
          maxLength: 200,
        }),
        (capacity, steps) => {
          const slots = slotsOf(capacity);
          const live: number[] = [];
          let everUsed = 0;
          for (const step of steps) {
            if (step === 'take') {
              const { next } = slots;
              const slot = slots.take();
              expect(next).toBe(slot >= 0 && slot < everUsed ? slot : -1);
              if (live.length === capacity) {
                expect(slot).toBe(-1);
              } else {
                expect(live).not.toContain(slot);
                expect(slot).toBeGreaterThanOrEqual(0);
                expect(slot).toBeLessThan(capacity);
                live.push(slot);
                everUsed = Math.max(everUsed, slot + 1);
              }
            } else if (step === 'reset') {
              slots.reset();
              live.length = 0;
              everUsed = 0;
            } else if (live.length > 0) {
              slots.give(live.splice(step % live.length, 1)[0]!);
            }
            expect(slots.live).toBe(live.length);
            expect(slots.highWater).toBe(everUsed);
          }
        },
      ),
    );
  });

  test('the slot given back last comes first', () => {
    const slots = slotsOf(4);
    for (let i = 0; i < 4; i++) slots.take();
    slots.give(2);
    slots.give(0);
    expect([slots.take(), slots.take(), slots.take()]).toEqual([0, 2, -1]);
  });

  test('only the link of a record that was given back is written', () => {
    const words = new Int32Array(4 * STRIDE).fill(7);
    const slots = new Slots(words, STRIDE, LINK);
    for (let i = 0; i < 3; i++) slots.take();
    slots.give(1);
    slots.give(2);
    expect([...words]).toEqual([7, 7, 7, 7, -1, 7, 7, 1, 7, 7, 7, 7]);
  });
});
