/** What docs/gateway.md shows is what happens. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PackageCopy, ROOT } from '../package-copy.js';

const copy = new PackageCopy('gateway-page');

beforeAll(() => copy.make(), 60_000);

afterAll(() => copy.remove());

const page = readFileSync(join(ROOT, 'docs/gateway.md'), 'utf8');

function blockAfter(comment: string): string {
  const block = page.split(`<!-- ${comment} -->\n`)[1]?.match(/^```\w*\n([\s\S]*?)^```$/m);
  if (block?.[1] === undefined) throw new Error(`no block after ${comment}`);
  return block[1];
}

/** Runs code in a project that has the package. */
function run(code: string): string {
  const file = join(copy.folder, 'pasted.mjs');
  writeFileSync(file, code);
  const { stdout, stderr, status } = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout;
}

test('the example prints what the page says', () => {
  expect(run(blockAfter('example'))).toBe(blockAfter('output: example'));
});

test('the DNS example stands, and ends by itself', () => {
  expect(run(blockAfter('dns'))).toBe('');
});

const OPTIONS = '<!-- options -->';

test('every option of an interface in the table exists', () => {
  const source = readFileSync(join(ROOT, 'lib/network/gateway-options.ts'), 'utf8');
  const names = [...page.split(OPTIONS)[0]!.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
  expect(names).toHaveLength(10);
  for (const name of names) expect(source).toMatch(new RegExp(`readonly ${name}\\??:`));
});

test('the options of the gateway in the table are those that there are', () => {
  const table = page.split(OPTIONS)[1]!.trimStart().split('\n\n')[0]!;
  const cells = table.split('\n').map((line) => line.split('|')[1]!);
  const listed = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name));
  const source = readFileSync(join(ROOT, 'lib/network/gateway-check.ts'), 'utf8');
  const known = source.split('const GATEWAY')[1]!.split('};')[0]!;
  expect(listed.sort()).toEqual([...known.matchAll(/^ {2}(\w+): true/gm)].map(([, name]) => name).sort());
});
