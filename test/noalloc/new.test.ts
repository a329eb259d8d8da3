/** A new connection allocates nothing: measured in child processes on plain JavaScript, as users run it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('noalloc-new');

beforeAll(async () => {
  for (const folder of ['lib', 'bench', 'test/noalloc']) await copy.transpile(folder, folder);
}, 60_000);

afterAll(() => copy.remove());

async function measure(
  ...words: string[]
): Promise<{ packets: number; grownBytes: number; collections: number }> {
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    '--max-semi-space-size=64',
    '--min-semi-space-size=64',
    join(copy.folder, 'test/noalloc/new-child.js'),
    ...words,
  ]);
  return JSON.parse(stdout);
}

/** Bytes per packet below which it is noise: the smallest object has 12. */
const NOISE = 0.5;

describe('a new connection that is masqueraded, and the end of another one, allocate nothing', () => {
  test.each([
    ['its port is kept', 'kept'],
    ['its port is drawn', 'random'],
    ['its port is the last free one of a range', 'crowded'],
  ])('when %s', { timeout: 60_000 }, async (_, ports) => {
    const { packets, grownBytes, collections } = await measure(ports);
    expect(grownBytes / packets).toBeLessThan(NOISE);
    expect(collections).toBe(0);
  });

  test('and the measurement sees one small object per connection', { timeout: 60_000 }, async () => {
    const { packets, grownBytes, collections } = await measure('kept', 'plant');
    expect(grownBytes / packets > NOISE || collections > 0).toBe(true);
  });
});
