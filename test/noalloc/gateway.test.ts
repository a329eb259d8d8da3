/** Forwarding through a gateway allocates nothing: measured in child processes on plain JavaScript, as users run it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('noalloc-gateway');

beforeAll(async () => {
  for (const folder of ['lib', 'test/noalloc']) await copy.transpile(folder, folder);
}, 60_000);

afterAll(() => copy.remove());

/** Bytes by which the heap grows with each packet. */
async function measure(...words: string[]): Promise<number> {
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    '--max-semi-space-size=64',
    '--min-semi-space-size=64',
    join(copy.folder, 'test/noalloc/gateway-child.js'),
    ...words,
  ]);
  return Number(stdout);
}

/** Bytes per packet below which it is noise: the smallest object has 12. */
const NOISE = 0.5;

describe('a masqueraded packet allocates nothing', { timeout: 60_000 }, () => {
  test.each([
    ['ip', 'ip'],
    ['ethernet', 'ethernet'],
    ['ip', 'ethernet'],
  ])('from %s to %s', async (from, to) => {
    expect(await measure(from, to)).toBeLessThan(NOISE);
  });

  test('and one object a packet would show', async () => {
    expect(await measure('ip', 'ip', 'plant')).toBeGreaterThan(10);
  });
});
