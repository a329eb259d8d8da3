import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatRecording } from '../../lib/scenario/record.js';
import { readNamed, recordedRun } from '../scenario/traces.js';
import { run } from './console.js';

const NAME = 'udp_unreplied';
const trace = readNamed(NAME);
let folder = '';

/** Writes a scenario file; returns its path. */
function write(name: string, content: string): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

/** A file that expects another last byte of the first packet. */
function wrongPacket(): string {
  const text = formatRecording(trace, recordedRun(trace), 'linux');
  return text.replace(/("out":\[\{"if":"wan","packet":"[0-9a-f]*)[0-9a-f]{2}"/, '$1ee"');
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'conntide-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('conntide scenario', () => {
  test('says what passed and exits with 0', async () => {
    const file = write('good.json', formatRecording(trace, recordedRun(trace), 'linux'));
    expect(await run('scenario', file)).toEqual({ status: 0, lines: ['1 passed, 0 failed'], errors: [] });
  });

  test('--json prints one object per file and the totals last', async () => {
    const good = write('good.json', formatRecording(trace, recordedRun(trace), 'linux'));
    const bad = write('wrong.json', wrongPacket());
    const { status, lines } = await run('scenario', '--json', good, bad);
    expect(status).toBe(1);
    const objects = lines.map((line) => JSON.parse(line));
    expect(objects).toHaveLength(3);
    expect(objects[0]).toEqual({ name: NAME, pass: true, difference: null });
    expect(objects[1]).toMatchObject({ name: NAME, pass: false, difference: { kind: 'packet', step: 0 } });
    expect(Object.keys(objects[1].difference)).toEqual(['kind', 'step', 'expected', 'got']);
    expect(objects[2]).toEqual({ passed: 1, failed: 1 });
  });

  test('a difference is shown in the notation, with the field and the bytes', async () => {
    const { status, lines } = await run('scenario', write('wrong.json', wrongPacket()));
    expect(status).toBe(1);
    const text = lines.join('\n');
    expect(text).toContain(`FAIL ${NAME}: packet at step 0`);
    expect(text).toMatch(/expected {2}wan > udp 10\.0\.0\.2:5000 > /);
    expect(text).toMatch(/got {7}wan > udp 10\.0\.0\.2:5000 > /);
    expect(text).toMatch(/payload \(byte 32\): expected ee, got 6f/);
    expect(lines.at(-1)).toBe('0 passed, 1 failed');
  });

  test('a folder is all its files, sorted; recordings of the engine pass again', async () => {
    const records = join(folder, 'records');
    const good = write('good.json', formatRecording(trace, recordedRun(trace), 'linux'));
    await run('scenario', '--record', records, good);
    expect(readdirSync(records)).toEqual([`${NAME}.json`]);
    const recorded = JSON.parse(readFileSync(join(records, `${NAME}.json`), 'utf8'));
    expect({ ...recorded, kernel: '' }).toEqual({ ...trace.source, kernel: '' });
    expect(recorded.kernel).toMatch(/^conntide /);
    expect(await run('scenario', records)).toMatchObject({ status: 0, lines: ['1 passed, 0 failed'] });
  });

  test('a scenario without outputs is recorded to the same trace, and is no pass without --record', async () => {
    const records = join(folder, 'bare');
    const { name, description, rules4, sysctls, steps } = trace;
    const bare = steps.map(({ in: iface, packet, note, advance_ms }) => ({
      in: iface,
      packet,
      note,
      advance_ms,
    }));
    const file = write('bare.json', JSON.stringify({ name, description, sysctls, rules4, steps: bare }));
    expect(await run('scenario', '--record', records, file)).toMatchObject({ status: 0 });
    const recorded = JSON.parse(readFileSync(join(records, `${NAME}.json`), 'utf8'));
    expect({ ...recorded, kernel: '' }).toEqual({ ...trace.source, kernel: '' });
    const { status, lines } = await run('scenario', '--json', file);
    expect(status).toBe(1);
    expect(JSON.parse(lines[0] as string)).toMatchObject({ pass: false, difference: { kind: 'error' } });
  });

  test('the engine sees no expectation: other expected values change nothing of what it does', async () => {
    const [one, other] = [join(folder, 'one'), join(folder, 'other')];
    const good = write('good.json', formatRecording(trace, recordedRun(trace), 'linux'));
    const bad = write('wrong.json', wrongPacket());
    await run('scenario', '--record', one, good);
    await run('scenario', '--record', other, bad);
    const [a, b] = [one, other].map((place) => readFileSync(join(place, `${NAME}.json`), 'utf8'));
    expect(a).toBe(b);
  });

  test.each([
    ['that is not JSON', '{', 'not JSON'],
    ['without steps', '{"name":"x"}', "'steps' is missing"],
  ])('a file %s is an error and exits with 2, the others are run', async (_what, content, message) => {
    const bad = write('broken.json', content);
    const good = write('good.json', formatRecording(trace, recordedRun(trace), 'linux'));
    const { status, lines, errors } = await run('scenario', '--json', bad, good);
    expect(status).toBe(2);
    expect(errors).toEqual([]);
    const objects = lines.map((line) => JSON.parse(line));
    expect(objects[0]).toMatchObject({
      name: 'broken',
      pass: false,
      difference: { kind: 'error', step: null },
    });
    expect(objects[0].difference.got).toContain(message);
    expect(objects[1].pass).toBe(true);
    expect(objects[2]).toEqual({ passed: 1, failed: 1 });
  });

  test('rules that are refused are an error of that file', async () => {
    const rules4 = '*filter\n-A FORWARD -j NOSUCH\nCOMMIT\n';
    const file = write('rules.json', JSON.stringify({ ...trace.source, rules4 }));
    const { status, lines } = await run('scenario', '--json', file);
    expect(status).toBe(1);
    const { difference } = JSON.parse(lines[0] as string);
    expect(difference.kind).toBe('error');
    expect(difference.got).toMatch(/^rules4:2/);
  });

  test.each([
    ['no path', []],
    ['a path that is not there', ['/nowhere/at/all.json']],
    ['an unknown option', ['--frobnicate', 'x.json']],
  ])('%s is one line of error and exit status 2', async (_what, words) => {
    const { status, lines, errors } = await run('scenario', ...words);
    expect(status).toBe(2);
    expect(lines).toEqual([]);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/^conntide: /);
  });

  test('a folder without scenarios is an error', async () => {
    const empty = mkdtempSync(join(folder, 'empty-'));
    const { status, errors } = await run('scenario', empty);
    expect(status).toBe(2);
    expect(errors[0]).toContain('no scenario files');
  });
});
