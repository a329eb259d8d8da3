/** Super-packets allocate nothing on their way, cut or whole: measured in child processes on plain JavaScript. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const run = promisify(execFile);
const copy = new PackageCopy('noalloc-offload');

beforeAll(async () => {
  for (const folder of ['lib', 'test/noalloc', 'test/network/offload', 'test/nat']) {
    await copy.transpile(folder, folder);
  }
}, 60_000);

afterAll(() => copy.remove());

/** Bytes per super-packet below which it is noise: the smallest object has 12. */
const NOISE = 4;

test.each([
  ['cut', 'tcp', 7],
  ['cut', 'udp', 7],
  ['whole', 'tcp', 9040],
  ['whole', 'udp', 9028],
] as const)(
  'a super-packet that leaves %s (%s) allocates nothing',
  { timeout: 60_000 },
  async (way, protocol, left) => {
    const { stdout } = await run(process.execPath, [
      '--expose-gc',
      '--max-semi-space-size=64',
      '--min-semi-space-size=64',
      join(copy.folder, 'test/noalloc/offload-child.js'),
      way,
      protocol,
    ]);
    const said = JSON.parse(stdout);
    expect(said.left).toBe(left);
    expect(said.grownBytes / said.packets).toBeLessThan(NOISE);
  },
);
