/** The lists of a table: each rule stands on the way from each of its intervals to the root. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { columnOf } from '../../../lib/rules/classify/columns.js';
import { Ranges } from '../../../lib/rules/classify/conditions.js';
import { Cut } from '../../../lib/rules/classify/cut.js';
import { Segments } from '../../../lib/rules/classify/segments.js';
import { finish } from '../../../lib/rules/slices.js';

interface Range {
  readonly low: number;
  readonly high: number;
}

const VALUES = 60;

/** The rules that are found for each of the values, in ascending order; a rule per range. */
function found(ranges: readonly Range[], most: number | undefined): number[][] {
  const given = new Ranges();
  for (const [rule, { low, high }] of ranges.entries()) given.add(rule, low, high);
  const rules = Int32Array.from(ranges, (_, rule) => rule);
  const column = finish(columnOf(given, rules, ranges.length));
  const cut = new Cut();
  cut.begin(column, false);
  cut.gather(rules, 0, rules.length);
  cut.close();
  const segments = new Segments();
  segments.begin(cut.count + 1, most);
  segments.add(column, cut, rules, 0, rules.length);
  const lists = segments.lists();
  return Array.from({ length: VALUES }, (_, value) => {
    const interval = column.bounds.filter((bound) => bound <= value).length;
    const on: number[] = [];
    for (let s = lists.leaves + interval; s > 0; s >>= 1) {
      on.push(...lists.rules.subarray(lists.starts[s], lists.starts[s + 1]));
    }
    return on.sort((a, b) => a - b);
  });
}

const range = fc
  .tuple(fc.nat(VALUES - 1), fc.nat(VALUES - 1))
  .map(([a, b]) => ({ low: Math.min(a, b), high: Math.max(a, b) }));

function holding(ranges: readonly Range[], value: number): number[] {
  return ranges.flatMap(({ low, high }, rule) => (low <= value && value <= high ? [rule] : []));
}

test('a value finds the rules whose ranges have it, and no others', () => {
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 30 }), (ranges) => {
      const expected = Array.from({ length: VALUES }, (_, value) => holding(ranges, value));
      expect(found(ranges, undefined)).toEqual(expected);
    }),
  );
});

test('with few segments per range it finds them and others, each in two lists at most', () => {
  fc.assert(
    fc.property(
      fc.array(range, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 2, max: 4 }),
      (ranges, most) => {
        for (const [value, rules] of found(ranges, most).entries()) {
          expect(rules).toEqual(expect.arrayContaining(holding(ranges, value)));
          expect(new Set(rules).size).toBe(rules.length);
        }
      },
    ),
  );
});
