/** docs/performance.md, its plots and the README's numbers are those of bench/results/latest.json. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../package-copy.js';

const page = readFileSync(join(ROOT, 'docs/performance.md'), 'utf8');

test('tables and plots are what scripts/performance.js makes of the last full run', () => {
  const words = [join(ROOT, 'scripts/performance.js'), '--check'];
  const { stdout, stderr, status } = spawnSync(process.execPath, words, { cwd: ROOT, encoding: 'utf8' });
  expect({ stdout, stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 });
});

test('the plots that the page shows exist, and have the points', () => {
  const plots = [...page.matchAll(/!\[[^\]]+\]\((plots\/[\w-]+\.svg)\)/g)].map(([, path]) => path!);
  expect(plots.length).toBeGreaterThan(5);
  for (const path of plots) {
    const svg = readFileSync(join(ROOT, 'docs', path), 'utf8');
    expect(svg, path).toMatch(/<circle|<rect x/);
    expect(svg, path).not.toMatch(/NaN|Infinity|undefined/);
  }
});

test('the page shows the median of each case that our own code was measured in', () => {
  const { results } = JSON.parse(readFileSync(join(ROOT, 'bench/results/latest.json'), 'utf8')) as {
    results: { name: string; operation: string }[];
  };
  const elsewhere = /^(?:reaper|memory|new\/ports)/;
  for (const { name, operation } of results) {
    if (!elsewhere.test(name)) expect(page.toLowerCase(), name).toContain(`| ${operation.toLowerCase()} `);
  }
});
