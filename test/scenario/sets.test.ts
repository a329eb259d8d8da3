import { expect, test } from 'vitest';
import { parsePacket } from '../../lib/scenario/notation.js';
import { formatRecording } from '../../lib/scenario/record.js';
import { runTrace } from '../../lib/scenario/run.js';
import { readTrace } from '../../lib/scenario/trace.js';

const packet = Buffer.from(parsePacket('udp 10.0.0.2:1 > 1.1.1.1:2')).toString('hex');
const scenario = (sets: string) =>
  JSON.stringify({
    name: 'sets',
    sets,
    rules4: '*filter\n-A FORWARD -m set --match-set hosts src\nCOMMIT\n',
    steps: [{ in: 'lan', packet }],
  });

test('a scenario brings the sets that its rules name', () => {
  const trace = readTrace(scenario('create hosts hash:ip\nadd hosts 10.0.0.2\n'), 'sets.json');
  const run = runTrace(trace);
  expect(run.steps[0]?.hits).toMatchObject({ '4:filter/FORWARD/1': 1 });
  expect(JSON.parse(formatRecording(trace, run, 'conntide')).sets).toBe(trace.sets);
});

test('a set that is not there is an error', () => {
  expect(() => runTrace(readTrace(scenario('create others hash:ip\n'), 'sets.json'))).toThrow(/hosts/);
});
