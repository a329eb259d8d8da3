import { describe, expect, test } from 'vitest';
import { TraceRandom } from '../../lib/scenario/random.js';

const PICKS = [
  { step: 1, entry: 'c1', what: 'sport', value: 5000 },
  { step: 1, entry: 'c2', what: 'icmp_id', value: 7 },
  { step: 2, entry: 'c3', what: 'sport', value: 6000 },
] as const;

describe('the random source of a trace', () => {
  test('gives the values of the step that lie in the range asked for, once each', () => {
    const random = new TraceRandom(PICKS);
    random.beginStep(1);
    expect(random.pick(0, 100)).toBe(7);
    expect(random.pick(1024, 60000)).toBe(5000);
    const other = random.pick(1024, 60000);
    expect(other).not.toBe(5000);
    random.beginStep(2);
    expect(random.pick(6000, 1)).toBe(6000);
  });

  test('values of other steps are not on offer', () => {
    const random = new TraceRandom(PICKS);
    random.beginStep(0);
    expect(random.pick(5000, 2)).toBeGreaterThanOrEqual(5000);
    random.beginStep(2);
    random.beginStep(3);
    expect([random.pick(6001, 3), random.pick(6001, 3)].every((value) => value >= 6001 && value < 6004)).toBe(
      true,
    );
  });

  test('where nothing is recorded every run picks the same', () => {
    const draw = () => {
      const random = new TraceRandom([]);
      return Array.from({ length: 20 }, () => [random.pick(1024, 1000), random.u32()]);
    };
    expect(draw()).toEqual(draw());
  });
});
