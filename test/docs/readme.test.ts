/** What the README shows is what happens. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PackageCopy, ROOT } from '../package-copy.js';

const copy = new PackageCopy('readme');

beforeAll(() => copy.make(), 60_000);

afterAll(() => copy.remove());

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const rulesPage = readFileSync(join(ROOT, 'docs/rules.md'), 'utf8');

/** The code block that follows a comment. */
function blockAfter(comment: string): string {
  const block = readme.split(`<!-- ${comment} -->\n`)[1]?.match(/^```\w*\n([\s\S]*?)^```$/m);
  if (block?.[1] === undefined) throw new Error(`no block after ${comment}`);
  return block[1];
}

const hasPasst = spawnSync('sh', ['-c', 'command -v passt'], { stdio: 'ignore' }).status === 0;
if (!hasPasst) console.warn("SKIPPED: the README's gateway: missing passt");

test.skipIf(!hasPasst)("the README's gateway runs, and ends when it is closed", () => {
  const file = join(copy.folder, 'gateway.mjs');
  writeFileSync(file, `${blockAfter('gateway')}gateway.close();\n`);
  const ran = spawnSync(process.execPath, [file], { encoding: 'utf8', cwd: copy.folder, timeout: 20_000 });
  expect({ stdout: ran.stdout, stderr: ran.stderr, status: ran.status }).toEqual({
    stdout: '',
    stderr: '',
    status: 0,
  });
});

describe('the example in the README', () => {
  /** Runs code as if pasted into a file of a project that has the package. */
  function run(code: string): string {
    const file = join(copy.folder, 'pasted.mjs');
    writeFileSync(file, code);
    const { stdout, stderr, status } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    return stdout;
  }

  test('has about 20 lines and prints what the README says', () => {
    const code = blockAfter('example');
    expect(code.trim().split('\n').length).toBeLessThanOrEqual(22);
    expect(run(code)).toBe(blockAfter('output: example'));
  });

  test('goes on as the README says', () => {
    const printed = run(blockAfter('example') + blockAfter('more'));
    expect(printed).toBe(blockAfter('output: example') + blockAfter('output: more'));
  });
});

test('`npm start` prints what the README shows of it', () => {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [join(copy.folder, 'dist/cli/main.js'), 'replay'],
    { cwd: copy.folder, encoding: 'utf8' },
  );
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  const printed = stdout.replaceAll(`${copy.folder}/`, '').split('\n');
  let at = 0;
  for (const line of blockAfter('output: npm start').split('\n')) {
    if (line.trim() === '...') continue;
    const found = printed.indexOf(line, at);
    expect(found, `'${line}' is printed`).toBeGreaterThanOrEqual(0);
    at = found;
  }
});

describe('the lists in the README', () => {
  const listed = (comment: string) => {
    const paragraph = readme.split(`<!-- ${comment} -->\n`)[1]?.trimStart().split('\n\n')[0] ?? '';
    return [...paragraph.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
  };
  const onPage = (heading: string, ...statuses: string[]) => {
    const section = rulesPage.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
    const rows = [...section.matchAll(/^\| (\w+) *\|.*\| ([\w ]+?) *\|$/gm)];
    return rows.filter(([, , status]) => statuses.includes(status!)).map(([, name]) => name);
  };

  test('name the matches and targets that docs/rules.md supports, and those that are to come', () => {
    expect(listed('matches')).toEqual(onPage('Matches', 'yes', 'no effect'));
    expect(listed('targets')).toEqual(onPage('Targets', 'yes', 'no effect'));
    expect(listed('not yet')).toEqual([...onPage('Matches', 'not yet'), ...onPage('Targets', 'not yet')]);
  });
});

test('commands, options and files that the README names exist', () => {
  const scripts = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts as Record<
    string,
    string
  >;
  for (const [, name] of readme.matchAll(/npm run ([\w:-]+)/g)) expect(scripts).toHaveProperty(name!);
  for (const [, path] of readme.matchAll(/\]\(([\w./-]+)\)/g)) {
    expect(() => readFileSync(join(ROOT, path!)), path).not.toThrow();
  }
});
