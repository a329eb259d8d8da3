/** Each command on docs/explain.md prints what the page shows behind it. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { run } from '../cli/console.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const page = readFileSync(`${ROOT}docs/explain.md`, 'utf8');
const blocks = [...page.matchAll(/^```\n([\s\S]*?)^```$/gm)].map(([, block]) => block as string);
const commands = blocks.filter((block) => block.startsWith('npx conntide '));

/** What follows `jq -c` as a path into an object. */
function pick(text: string, path: string): string {
  let value: unknown = JSON.parse(text);
  for (const [, name, index] of path.matchAll(/\.(\w+)|\[(\d+)\]/g)) {
    value = (value as Record<string, unknown>)[name ?? (index as string)];
  }
  return JSON.stringify(value);
}

describe('docs/explain.md', () => {
  test('has commands, each with its output', () => {
    expect(commands).toHaveLength(5);
    expect(blocks).toHaveLength(10);
  });

  test.each(commands)('%s', async (command) => {
    const [line = '', path] = command.trim().split(" | jq -c '");
    const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(
      ([, quoted, plain]) => quoted ?? (plain as string),
    );
    const files = words.map((word) => (word.startsWith('examples/') ? ROOT + word : word));
    const { lines } = await run(...files.slice(2));
    const text = lines.join('\n').replaceAll(ROOT, '');
    const printed = path === undefined ? text : pick(text, path.slice(0, -1));
    expect(`${printed}\n`).toBe(blocks[blocks.indexOf(command) + 1]);
  });
});
