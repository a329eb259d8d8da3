/** What docs/forwards.md and docs/policy.md show is what happens. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseForward } from '../../lib/network/forwards/spec.js';
import { parseEntry } from '../../lib/network/policy/entry.js';
import { PROTECTED } from '../../lib/network/policy/policy.js';
import { PackageCopy, ROOT } from '../package-copy.js';

const copy = new PackageCopy('access-pages');

beforeAll(() => copy.make(), 60_000);

afterAll(() => copy.remove());

const read = (page: string) => readFileSync(join(ROOT, `docs/${page}.md`), 'utf8');

function blockAfter(page: string, comment: string): string {
  const block = read(page)
    .split(`<!-- ${comment} -->\n`)[1]
    ?.match(/^```\w*\n([\s\S]*?)^```$/m);
  if (block?.[1] === undefined) throw new Error(`no block after ${comment}`);
  return block[1];
}

/** Words in backticks in the first column of the table whose first column has this name. */
function firstColumn(page: string, name: string): string[] {
  const rows = read(page).split('\n');
  const from = rows.findIndex((row) => new RegExp(`^\\| ${name} +\\|`).test(row));
  const to = rows.findIndex((row, i) => i > from && !row.startsWith('|'));
  return rows
    .slice(from + 2, to)
    .flatMap((row) =>
      [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, word]) => word as string),
    );
}

describe.each(['forwards', 'policy'])('docs/%s.md', (page) => {
  test('has an example that prints what the page says', () => {
    const file = join(copy.folder, `${page}.mjs`);
    writeFileSync(file, blockAfter(page, 'example'));
    const { stdout, stderr, status } = spawnSync(process.execPath, [file], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    expect(stdout).toBe(blockAfter(page, 'output: example'));
  });
});

test('every spec on the page of forwards is one', () => {
  const specs = firstColumn('forwards', 'Spec');
  expect(specs.length).toBeGreaterThan(8);
  for (const spec of specs) expect(parseForward(spec).length, spec).toBeGreaterThan(0);
});

test('every entry on the page of the policy is one', () => {
  const entries = firstColumn('policy', 'Entry');
  expect(entries.length).toBeGreaterThan(12);
  for (const entry of entries) expect(parseEntry(entry, 'allowOut').text).toBe(entry);
});

test('every option on the page of the policy exists', () => {
  const sources = ['policy', 'model'].map((file) =>
    readFileSync(join(ROOT, `lib/network/policy/${file}.ts`), 'utf8'),
  );
  const options = firstColumn('policy', 'Option');
  expect(options).toHaveLength(12);
  for (const option of options)
    expect(sources.join(''), option).toMatch(new RegExp(`readonly ${option}\\?:`));
});

test('everything that is protected is on the page', () => {
  const page = read('policy');
  for (const text of PROTECTED) expect(page).toContain(text.replace(/\/(32|128)$/, ''));
});
