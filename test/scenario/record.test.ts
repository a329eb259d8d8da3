import { expect, test } from 'vitest';
import { formatRecording } from '../../lib/scenario/record.js';
import { readTrace } from '../../lib/scenario/trace.js';
import { GROUPS, readLines, recordedRun } from './traces.js';

test.each(GROUPS)('%s: a recording of what was recorded has the same fields in the same order', (group) => {
  for (const { text: line } of readLines(group)) {
    const trace = readTrace(line, group);
    const recorded = formatRecording(trace, recordedRun(trace), String(trace.source.kernel));
    const [again, before] = [JSON.parse(recorded), JSON.parse(line)];
    // Ports that a helper picked stand in payloads, where a recorder does not look.
    if (group.startsWith('helpers')) for (const one of [again, before]) delete one.random;
    expect(JSON.stringify(again) === JSON.stringify(before), trace.name).toBe(true);
  }
});

test('a recording has one step per line and names its recorder', () => {
  const line = readLines('udp')[0]?.text ?? '';
  const trace = readTrace(line, 'udp');
  const text = formatRecording(trace, recordedRun(trace), 'someone 1.0');
  expect(text).toContain('\n "kernel": "someone 1.0",\n');
  expect(text.split('\n').filter((one) => one.startsWith('  {"t":'))).toHaveLength(trace.steps.length);
  expect(text.endsWith('}\n')).toBe(true);
});
