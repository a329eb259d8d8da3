/** Packets of both families allocate nothing, one by one, in batches, and when rules drop them. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('noalloc-load');

beforeAll(async () => {
  for (const folder of ['lib', 'bench', 'test/noalloc']) await copy.transpile(folder, folder);
}, 60_000);

afterAll(() => copy.remove());

async function measure(...words: string[]): Promise<{ bytes: number; collections: number }> {
  const flags = ['--expose-gc', '--max-semi-space-size=64', '--min-semi-space-size=64'];
  const { stdout } = await run(process.execPath, [
    ...flags,
    join(copy.folder, 'test/noalloc/load-child.js'),
    ...words,
  ]);
  const { packets, grownBytes, collections } = JSON.parse(stdout);
  return { bytes: grownBytes / packets, collections };
}

/** Bytes per packet below which it is noise: the smallest object has 12. */
const NOISE = 0.5;

describe.each(['udp6', 'tcp6'])('a packet of %s', (kind) => {
  test.each(['one by one', 'batch', 'dropped', 'fractional'])('%s', { timeout: 60_000 }, async (way) => {
    const { bytes, collections } = await measure(kind, way);
    expect(bytes).toBeLessThan(NOISE);
    expect(collections).toBe(0);
  });
});

test.each(['udp', 'tcp'])('a packet of %s over IPv4 that is dropped', { timeout: 60_000 }, async (kind) => {
  const { bytes, collections } = await measure(kind, 'dropped');
  expect(bytes).toBeLessThan(NOISE);
  expect(collections).toBe(0);
});

test('and the measurement sees one small object per packet', { timeout: 60_000 }, async () => {
  const { bytes, collections } = await measure('udp6', 'plant');
  expect(bytes > NOISE || collections > 0).toBe(true);
});
