/** A walk through a long chain with an index allocates nothing, nor does recording and repeating a way. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('noalloc-rules');

beforeAll(async () => {
  for (const folder of ['lib', 'bench', 'test/noalloc']) await copy.transpile(folder, folder);
}, 60_000);

afterAll(() => copy.remove());

async function bytesPerPacket(version: number, mode: string): Promise<number> {
  const { stdout } = await run(process.execPath, [
    '--expose-gc',
    '--max-semi-space-size=64',
    '--min-semi-space-size=64',
    join(copy.folder, 'test/noalloc/rules-child.js'),
    `${version}`,
    mode,
  ]);
  const { packets, grownBytes } = JSON.parse(stdout) as { packets: number; grownBytes: number };
  return grownBytes / packets;
}

/** Bytes per packet below which it is noise: the smallest object has 12. */
const NOISE = 0.5;

describe.each([4, 6])('IPv%s', (version) => {
  test.each(['walk', 'replay'])('%s', { timeout: 60_000 }, async (mode) => {
    expect(await bytesPerPacket(version, mode)).toBeLessThan(NOISE);
  });
});

test('and the measurement sees one small object per packet', { timeout: 60_000 }, async () => {
  expect(await bytesPerPacket(4, 'plant')).toBeGreaterThan(NOISE);
});
