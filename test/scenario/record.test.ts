import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { formatRecording } from '../../lib/scenario/record.js';
import { readTrace } from '../../lib/scenario/trace.js';
import { GROUPS, recordedRun, TRACE_FOLDER } from './traces.js';

test.each(GROUPS)('%s: a recording of what was recorded has the same fields in the same order', (group) => {
  const lines = gunzipSync(readFileSync(`${TRACE_FOLDER}${group}.jsonl.gz`))
    .toString('utf8')
    .trim()
    .split('\n');
  for (const line of lines) {
    const trace = readTrace(line, group);
    const recorded = formatRecording(trace, recordedRun(trace), String(trace.source.kernel));
    expect(JSON.stringify(JSON.parse(recorded))).toBe(line);
  }
});

test('a recording has one step per line and names its recorder', () => {
  const line = gunzipSync(readFileSync(`${TRACE_FOLDER}udp.jsonl.gz`))
    .toString('utf8')
    .split('\n')[0] as string;
  const trace = readTrace(line, 'udp');
  const text = formatRecording(trace, recordedRun(trace), 'someone 1.0');
  expect(text).toContain('\n "kernel": "someone 1.0",\n');
  expect(text.split('\n').filter((one) => one.startsWith('  {"t":'))).toHaveLength(trace.steps.length);
  expect(text.endsWith('}\n')).toBe(true);
});
