import { describe, expect, test } from 'vitest';
import { ConfigurationError } from '../../lib/errors.js';
import { readTrace } from '../../lib/scenario/trace.js';

const LEAST = { name: 'x', steps: [{ in: 'lan', packet: '45' }] };

function read(change: object) {
  return readTrace(JSON.stringify({ ...LEAST, ...change }), 'x.json');
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

  test('a name like a property of every object is a name like any other', () => {
    expect(() => readTrace('{"name":"x","steps":[{"in":"toString"}]}', 'x.json')).toThrow(
      'no such interface',
    );
    expect(() => readTrace('{"__proto__":{"name":"x"},"steps":[]}', 'x.json')).toThrow("'name' is missing");
  });
});
