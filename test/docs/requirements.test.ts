/** docs/requirements.md names tests that there are, and every row once. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const page = readFileSync(new URL('../../docs/requirements.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => /^\| [GPCR]\d/.test(line));

it('has every row', () => {
  const names = rows.map((row) => row.split('|')[1]!.trim());
  const expected = [...range('G', 15), ...range('P', 7), ...range('C', 5), 'R1-R3'];
  expect(names).toEqual(expected);
});

it('names tests that there are', () => {
  let folder = '';
  for (const row of rows) {
    const places = [...row.split('|')[3]!.matchAll(/`([^`]+)`/g)].map(([, place]) => place!);
    expect(places.length, row).toBeGreaterThan(0);
    for (const place of places) {
      const path = place.replace('...', folder);
      folder = path.slice(0, path.lastIndexOf('/'));
      expect(existsSync(new URL(`../${path}.test.ts`, import.meta.url)), path).toBe(true);
    }
  }
});

function range(letter: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${letter}${i + 1}`);
}
