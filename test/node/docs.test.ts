/** docs/adapters.md names what there is. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as core from '../../lib/index.js';
import * as node from '../../lib/node/index.js';

const page = readFileSync(fileURLToPath(new URL('../../docs/adapters.md', import.meta.url)), 'utf8');
const doors: Readonly<Record<string, object>> = { conntide: core, 'conntide/node': node };

it('the page on adapters imports what the package exports', () => {
  const imports = [...page.matchAll(/^import \{ (.*) \} from '(.*)';$/gm)];
  const named = imports.flatMap(([, names, door]) => names.split(', ').map((name) => ({ door, name })));
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter(({ door, name }) => !(name in doors[door]))).toEqual([]);
});

it('the table of adapters names exports of the door it says', () => {
  const rows = [...page.matchAll(/^\| (`.*?) +\| `(conntide[/a-z]*)`/gm)];
  expect(rows.length).toBe(10);
  for (const [, cell, door] of rows) {
    for (const [, name] of cell.matchAll(/`(?:new )?(\w+)/g))
      expect(Object.keys(doors[door])).toContain(name);
  }
});
