import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigurationError } from '../../lib/errors.js';
import { checkTrace } from '../../lib/scenario/check.js';
import { readTrace, type Trace } from '../../lib/scenario/trace.js';
import { GROUPS, readGroup } from './traces.js';

const LEAST = { name: 'x', steps: [{ in: 'lan', packet: '45' }] };

function read(change: object) {
  return readTrace(JSON.stringify({ ...LEAST, ...change }), 'x.json');
}

/** The ways to all values in a JSON value that are no objects or lists. */
function leavesOf(value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, member]) => leavesOf(member, [...path, key]));
}

describe('a scenario file', () => {
  test('needs a name and steps; all else has a default', () => {
    expect(read({})).toMatchObject({
      interfaces: [{ dev: 'tun0' }, { dev: 'tun1' }],
      routes: ['default dev tun1', '-6 default dev tun1'],
      forceTracking: true,
      slotMs: 12,
      dumpMs: 6,
      steps: [{ t: 0, in: 'lan', packet: '45' }],
    });
  });

  test('times of steps without t follow slot_ms and advance_ms', () => {
    const trace = read({ slot_ms: 10, steps: [{}, {}, { advance_ms: 500 }, {}] });
    expect(trace.steps.map(({ t }) => t)).toEqual([0, 10, 520, 530]);
  });

  test.each([
    ['not JSON', '{', 'not JSON'],
    ['a list', '[]', 'not as it should be'],
    ['no name', '{"steps":[]}', "'name' is missing"],
    ['no steps', '{"name":"x"}', "'steps' is missing"],
    ['a step that is a number', JSON.stringify({ name: 'x', steps: [4] }), 'steps[0]'],
    [
      'odd hexadecimal',
      JSON.stringify({ name: 'x', steps: [{ in: 'lan', packet: '4' }] }),
      'steps[0].packet',
    ],
    ['an unknown interface', JSON.stringify({ name: 'x', steps: [{ in: 'eth9' }] }), 'no such interface'],
    [
      'a step before the one before it',
      JSON.stringify({ name: 'x', steps: [{ t: 5 }, { t: 4 }] }),
      'steps[1].t: too early',
    ],
    ['a wait of years', JSON.stringify({ name: 'x', steps: [{ advance_ms: 1e12 }] }), 'steps[0].advance_ms'],
    ['a name with a path', JSON.stringify({ name: '../x', steps: [] }), 'file name'],
    [
      'a pick of something else',
      JSON.stringify({ ...LEAST, random: [{ step: 0, what: 'x', value: 1 }] }),
      'random[0].what',
    ],
    [
      'an entry without tuples',
      JSON.stringify({ ...LEAST, steps: [{ ct: [{ id: 'c1', l3: 'ipv4', l4: 'udp', timeout: 1 }] }] }),
      "steps[0].ct[0]: 'orig' is missing",
    ],
  ])('%s is refused with its place', (_what, text, message) => {
    expect(() => readTrace(text, 'x.json')).toThrow(ConfigurationError);
    expect(() => readTrace(text, 'x.json')).toThrow(message);
    expect(() => readTrace(text, 'x.json')).toThrow(/^x\.json: /);
  });

  test.each(GROUPS)(
    '%s: whatever one value is replaced by, the file is refused or the run comes to a result',
    (group) => {
      const [first] = readGroup(group);
      const source = JSON.stringify(first?.source);
      const leaves = leavesOf(JSON.parse(source));
      const junk = fc.constantFrom<unknown>(
        null,
        -1,
        1.5,
        2 ** 40,
        '',
        'x',
        '45',
        true,
        [],
        {},
        [{}],
        '::1/64',
        'ff'.repeat(30),
      );
      fc.assert(
        fc.property(fc.nat(leaves.length - 1), junk, (which, value) => {
          const changed = JSON.parse(source);
          const path = leaves[which] as readonly (string | number)[];
          let at = changed;
          for (const key of path.slice(0, -1)) at = at[key];
          at[path.at(-1) as string] = value;
          let trace: Trace;
          try {
            trace = readTrace(JSON.stringify(changed), 'x.json');
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigurationError);
            return;
          }
          const { difference } = checkTrace(trace);
          if (difference?.kind === 'error') expect(difference.got).not.toMatch(/Error: /);
        }),
        { numRuns: 60 },
      );
    },
  );

  test('a name like a property of every object is a name like any other', () => {
    expect(() => readTrace('{"name":"x","steps":[{"in":"toString"}]}', 'x.json')).toThrow(
      'no such interface',
    );
    expect(() => readTrace('{"__proto__":{"name":"x"},"steps":[]}', 'x.json')).toThrow("'name' is missing");
  });
});
