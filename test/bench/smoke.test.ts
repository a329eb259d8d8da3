/** Every benchmark runs: each case once, small, in processes of its own, as `npm run bench` runs them. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { subjects } from '../../bench/subjects.js';
import { PackageCopy, ROOT } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('bench');

beforeAll(async () => {
  for (const folder of ['lib', 'bench']) await copy.transpile(folder, folder);
}, 60_000);

afterAll(() => copy.remove());

interface Run {
  readonly skipped: readonly string[];
  readonly results: readonly { name: string; median: number; samples: number }[];
}

test('each case is measured, or it is said why not', { timeout: 480_000 }, async () => {
  const out = join(copy.folder, 'results.json');
  await run(process.execPath, [join(copy.folder, 'bench/run.js'), '--smoke', '--out', out], { cwd: ROOT });
  const { skipped, results } = JSON.parse(readFileSync(out, 'utf8')) as Run;
  for (const why of skipped) console.log(`skipped: ${why}`);
  const names = [...results.map(({ name }) => name), ...skipped.map((why) => why.split(' at ')[0])];
  expect(names.sort()).toEqual(subjects.map(({ name }) => name).sort());
  for (const { name, median, samples } of results) {
    expect(samples, name).toBeGreaterThan(0);
    // What is a difference of two measurements is not always above zero in so short a time.
    if (!/^(?:kernel|memory)/.test(name)) expect(median, name).toBeGreaterThan(0);
  }
});

test('a soak of a second reports its collections', { timeout: 60_000 }, async () => {
  const words = [join(copy.folder, 'bench/soak.js'), '--seconds', '1', '--flows', '256', '--json'];
  // Its exit status is about collections, which a second is too short to judge.
  const { stdout } = await run(process.execPath, words).catch((error: { stdout: string }) => error);
  const { busy } = JSON.parse(stdout) as { busy: { packets: number; minor: number } };
  expect(busy.packets).toBeGreaterThan(1000);
  expect(busy.minor).toBeGreaterThanOrEqual(0);
});
