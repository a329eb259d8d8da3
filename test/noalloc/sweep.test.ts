/** The reaper's sweeps allocate nothing per entry: measured in child processes on plain JavaScript, as users run it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('noalloc-sweep');

beforeAll(async () => {
  for (const folder of ['lib', 'bench', 'test/noalloc']) await copy.transpile(folder, folder);
}, 60_000);

afterAll(() => copy.remove());

async function measure(...words: string[]): Promise<number> {
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    '--max-semi-space-size=64',
    '--min-semi-space-size=64',
    join(copy.folder, 'test/noalloc/sweep-child.js'),
    ...words,
  ]);
  const { entries, grownBytes } = JSON.parse(stdout) as { entries: number; grownBytes: number };
  return grownBytes / entries;
}

/** Bytes per entry below which it is noise: the smallest object has 12. */
const NOISE = 0.5;

describe('a sweep allocates nothing per entry', () => {
  test.each(['live', 'expired'])('%s', { timeout: 60_000 }, async (kind) => {
    expect(await measure(kind)).toBeLessThan(NOISE);
  });

  test('and the measurement sees one small object per entry', { timeout: 60_000 }, async () => {
    expect(await measure('live', 'plant')).toBeGreaterThan(NOISE);
  });
});
