/** The established path allocates nothing: measured in child processes on plain JavaScript, as users run it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('noalloc');

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
    join(copy.folder, 'test/noalloc/child.js'),
    ...words,
  ]);
  return JSON.parse(stdout);
}

/** Bytes per packet below which it is noise: the smallest object has 12. */
const NOISE = 0.5;

describe.each(['engine', 'router', 'plain'])(
  'an established packet allocates nothing on its way through the %s',
  (path) => {
    for (const protocol of ['udp', 'tcp', 'icmp']) {
      for (const direction of ['original', 'reply']) {
        test(`${protocol}, ${direction} direction`, { timeout: 60_000 }, async () => {
          const { packets, grownBytes, collections } = await measure(protocol, direction, path, 'whole');
          expect(grownBytes / packets).toBeLessThan(NOISE);
          expect(collections).toBe(0);
        });
      }
    }

    test.each(['epoch', 'fractional'])('with %s times', { timeout: 60_000 }, async (clock) => {
      const { packets, grownBytes, collections } = await measure('udp', 'original', path, clock);
      expect(grownBytes / packets).toBeLessThan(NOISE);
      expect(collections).toBe(0);
    });

    test('and the measurement sees one small object per packet', { timeout: 60_000 }, async () => {
      const { packets, grownBytes, collections } = await measure('udp', 'original', path, 'whole', 'plant');
      expect(grownBytes / packets > NOISE || collections > 0).toBe(true);
    });
  },
);
