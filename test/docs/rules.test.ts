/** docs/rules.md says of each match and target what becomes of it: its examples are put to the test. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Engine } from '../../lib/engine.js';
import { ConfigurationError } from '../../lib/errors.js';
import { StaticHost } from '../../lib/host.js';
import { matchNames, REFUSED_MATCHES, REFUSED_TARGETS, targetNames } from '../../lib/rules/text/registry.js';

interface Row {
  readonly name: string;
  readonly families: (4 | 6)[];
  readonly example: string;
  readonly status: string;
}

const page = readFileSync(new URL('../../docs/rules.md', import.meta.url), 'utf8');

/** Rows of the table below a heading. */
function rows(heading: string): Row[] {
  const section = page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| ') && line.includes('`'))
    .map((line) => {
      const [, name = '', families = '', example = '', status = ''] = line.split(/ *\| */);
      return {
        name,
        families: families.split(', ').map((family) => (family === '4' ? 4 : 6)),
        example: example.slice(1, -1),
        status,
      };
    });
}

/** Loads a ruleset with one rule that is the example, and saves it again. */
function load({ example }: Row, family: 4 | 6): string {
  const [, table = 'filter', rest = ''] = /^(?:-t (\w+) )?(.*)$/.exec(example) ?? [];
  const rule = `${rest.startsWith('-A ') ? '' : '-A INPUT '}${rest}${rest.includes('-j ') ? '' : ' -j ACCEPT'}`;
  const engine = new Engine({ host: new StaticHost([]), maxConnections: 16 });
  engine.sets.restore('create a hash:ip');
  engine.restore(family, `*${table}\n${rule}\nCOMMIT\n`);
  return engine.save(family);
}

const matches = rows('Matches');
const targets = rows('Targets');

describe.each([...matches, ...targets])('$name', (row) => {
  test.each(row.families)(`is as the page says (${row.status}) for IPv%i`, (family) => {
    if (row.status === 'refused' || row.status === 'not yet') {
      expect(() => load(row, family)).toThrow(ConfigurationError);
    } else {
      expect(['yes', 'no effect']).toContain(row.status);
      expect(load(row, family)).toContain(row.name);
    }
  });
});

describe('the page', () => {
  test('has every match and target that the text knows', () => {
    const has = (list: Row[]) => list.map(({ name }) => name);
    for (const family of [4, 6] as const) {
      expect(has(matches)).toEqual(expect.arrayContaining([...matchNames(family)]));
      expect(has(targets)).toEqual(expect.arrayContaining([...targetNames(family)]));
    }
    expect(has(matches)).toEqual(expect.arrayContaining([...REFUSED_MATCHES]));
    expect(has(targets)).toEqual(expect.arrayContaining([...REFUSED_TARGETS]));
  });

  test('names each once, in order', () => {
    for (const list of [matches, targets]) {
      const names = list.map(({ name }) => name);
      expect(names).toEqual([...new Set(names)].sort());
    }
  });
});
