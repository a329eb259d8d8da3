import { describe, expect, test } from 'vitest';
import { checkTrace } from '../../lib/scenario/check.js';
import { formatFailure } from '../../lib/scenario/report.js';
import { EXCEPTIONS, GROUPS, readGroup } from './traces.js';

const names = new Set<string>();
for (const group of GROUPS) {
  describe(`as Linux recorded it: ${group}`, () => {
    for (const trace of readGroup(group)) {
      names.add(trace.name);
      const reason = EXCEPTIONS[trace.name];
      if (reason === undefined) {
        test(trace.name, () => {
          const failure = formatFailure(trace, checkTrace(trace));
          if (failure.length > 0) throw new Error(failure.join('\n'));
        });
      } else {
        test(`${trace.name} is an exception: ${reason}`, () => {
          const { difference } = checkTrace(trace);
          expect(difference, 'it passes: take it off test/scenario/exceptions.json').not.toBeNull();
        });
      }
    }
  });
}

test('every exception names a trace and a reason', () => {
  for (const [name, reason] of Object.entries(EXCEPTIONS)) {
    expect(names).toContain(name);
    expect(reason.length).toBeGreaterThan(10);
  }
});
