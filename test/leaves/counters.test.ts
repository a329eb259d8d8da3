import { describe, expect, test } from 'vitest';
import { DROP_REASON_NAMES, DropCounters, DropReason } from '../../lib/counters.js';

describe('drop reasons', () => {
  test('numbers are dense from 0 and every number has its name', () => {
    const entries = Object.entries(DropReason);
    expect(entries.map(([, number]) => number)).toEqual(entries.map((_, i) => i));
    for (const [key, number] of entries) {
      expect(DROP_REASON_NAMES[number]).toBe(key.toLowerCase().replaceAll('_', '-'));
    }
  });

  test('are counted apart, listed by name when seen, and reset', () => {
    const drops = new DropCounters();
    expect(drops.toObject()).toEqual({});
    for (const reason of Object.values(DropReason)) {
      for (let i = 0; i <= reason; i++) drops.count(reason);
    }
    for (const reason of Object.values(DropReason)) expect(drops.get(reason)).toBe(reason + 1);
    expect(drops.toObject()).toMatchObject({ truncated: 2, 'table-full': DropReason.TABLE_FULL + 1 });
    expect(drops.toObject()).not.toHaveProperty('none');
    drops.reset();
    expect(drops.toObject()).toEqual({});
  });
});
