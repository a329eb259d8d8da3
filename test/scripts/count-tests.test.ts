import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const SCRIPT = new URL('../../scripts/count-tests.js', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'conntide-count-'));

afterAll(() => rmSync(folder, { recursive: true }));

let reports = 0;

/** A report of vitest's JSON reporter: files with their tests' outcomes. */
function report(files: Record<string, [name: string, status: string][]>, broken: string[] = []): string {
  const path = join(folder, `${reports++}.json`);
  const testResults = Object.entries(files).map(([file, tests]) => ({
    name: join(process.cwd(), file),
    status: broken.includes(file) || tests.some(([, status]) => status === 'failed') ? 'failed' : 'passed',
    assertionResults: tests.map(([fullName, status]) => ({ fullName, status })),
  }));
  writeFileSync(path, JSON.stringify({ testResults }));
  return path;
}

function count(...words: string[]): [string, number | null] {
  const { stdout, status } = spawnSync(process.execPath, [SCRIPT, ...words], { encoding: 'utf8' });
  return [stdout.trimEnd(), status];
}

test('outcomes are counted, whatever vitest calls those that did not run', () => {
  const only = report({
    'test/a.test.ts': [
      ['a', 'passed'],
      ['b', 'passed'],
      ['c', 'pending'],
    ],
    'test/b.test.ts': [
      ['a', 'skipped'],
      ['d', 'todo'],
    ],
  });
  expect(count(only)).toEqual(['2 passed, 0 failed, 3 skipped', 0]);
  expect(count('--skipped-files', only)).toEqual(['test/a.test.ts\ntest/b.test.ts', 0]);
});

test('a test of several reports counts once: run beats skipped, failed beats passed', () => {
  const first = report({
    'test/a.test.ts': [
      ['a', 'pending'],
      ['b', 'passed'],
      ['c', 'passed'],
    ],
  });
  const second = report({
    'test/a.test.ts': [
      ['a', 'passed'],
      ['b', 'pending'],
      ['c', 'failed'],
    ],
  });
  expect(count(first, second)).toEqual(['2 passed, 1 failed, 0 skipped', 1]);
});

test('tests of one name in one file are two tests', () => {
  expect(
    count(
      report({
        'test/a.test.ts': [
          ['a', 'passed'],
          ['a', 'passed'],
        ],
      }),
    ),
  ).toEqual(['2 passed, 0 failed, 0 skipped', 0]);
});

test('a file that could not be loaded is a failure, and so are no tests at all', () => {
  expect(
    count(report({ 'test/a.test.ts': [['a', 'passed']], 'test/b.test.ts': [] }, ['test/b.test.ts'])),
  ).toEqual(['1 passed, 1 failed, 0 skipped', 1]);
  expect(count(report({}))).toEqual(['0 passed, 0 failed, 0 skipped', 1]);
});
