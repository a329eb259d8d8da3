import { describe, expect, test } from 'vitest';
import { ManualClock, systemClock } from '../../lib/clock.js';

describe('clocks', () => {
  test('a manual clock stands still until it is moved', () => {
    const clock = new ManualClock(1000);
    expect(clock.nowMs()).toBe(1000);
    clock.advance(0.5);
    expect(clock.nowMs()).toBe(1000.5);
    clock.set(2000);
    expect(clock.nowMs()).toBe(2000);
  });

  test.each([999, Number.NaN])('a clock does not go back to %s, and stays where it was', (nowMs) => {
    const clock = new ManualClock(1000);
    expect(() => clock.set(nowMs)).toThrow(RangeError);
    expect(clock.nowMs()).toBe(1000);
  });

  test('the system clock never goes back', () => {
    let last = systemClock.nowMs();
    for (let i = 0; i < 1000; i++) {
      const now = systemClock.nowMs();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });
});
