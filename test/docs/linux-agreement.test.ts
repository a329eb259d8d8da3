/** docs/linux-agreement.md names every exception that the comparisons with Linux allow. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const page = read('../../docs/linux-agreement.md').replace(/\s+/g, ' ');

test('every accident of Linux that the live comparison allows has its section', () => {
  const names = [...read('../kernel/exceptions.ts').matchAll(/^(?: \*|\/\*\*) ([a-z-]+):/gm)].map(
    ([, name]) => name,
  );
  expect(names.length).toBeGreaterThan(2);
  for (const name of names) expect(page).toContain(`### ${name} `);
});

test.each([['../rules/text/exceptions.json'], ['../kernel/restore-exceptions.json']])(
  'the reasons in %s are on the page',
  (path) => {
    const exceptions = JSON.parse(read(path)) as Record<string, string>;
    for (const [rule, reason] of Object.entries(exceptions)) {
      const refused = /^(?:match|target) (\w+) is refused by design$/.exec(reason);
      expect(page, rule).toContain(refused === null ? reason : `\`${refused[1]}\``);
    }
  },
);

test('the live comparison knows no exception that has no name there', () => {
  const returned = [...read('../kernel/exceptions.ts').matchAll(/'([a-z]+(?:-[a-z]+)+)'/g)].map(
    ([, name]) => name,
  );
  expect(new Set(returned).size).toBeGreaterThan(2);
  for (const name of returned) expect(page).toContain(`### ${name} `);
});
