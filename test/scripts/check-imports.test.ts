import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const SCRIPT = new URL('../../scripts/check-imports.js', import.meta.url).pathname;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'conntide-imports-'));
});

afterAll(() => rm(folder, { recursive: true }));

/** Writes the files below `name`/lib and runs the script on them. */
async function check(
  name: string,
  files: Record<string, string>,
): Promise<{ status: number; lines: string[] }> {
  for (const [path, text] of Object.entries(files)) {
    const file = join(folder, name, 'lib', path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  const result = await run(process.execPath, [SCRIPT, join(folder, name)]).then(
    ({ stdout }) => ({ status: 0, stdout }),
    (error: { code: number; stdout: string }) => ({ status: error.code, stdout: error.stdout }),
  );
  return { status: result.status, lines: result.stdout.trimEnd().split('\n') };
}

describe('check-imports', () => {
  test('a house in order passes, whatever is only mentioned', async () => {
    const { status, lines } = await check('clean', {
      'errors.ts': 'export const a = 1;\n',
      'host.ts': "import { a } from './errors.js';\nexport const b = a;\n",
      'wire/packet.ts': "import { a } from '../errors.js';\nexport const p = a;\n",
      'memory/hash.ts':
        "// require('node:fs') and eval(x) in a comment\nexport const text = 'import \"node:fs\"';\n",
      'conntrack/protocols/tcp.ts':
        "import { p } from '../../wire/packet.js';\nimport '../../memory/hash.js';\np;\n",
      'conntrack/snapshot.ts': "import xxhash from 'xxhash-wasm';\nxxhash;\n",
      'engine.ts': "import './rules/rules.js';\nexport const e = { process: 1 }.process;\n",
      'rules/rules.ts':
        "import type { p } from '../wire/packet.js';\nexport type P = typeof p;\nexport type F = Function;\n",
      'index.ts': "export { e } from './engine.js';\n",
      'node/tun.ts':
        "import { readFile } from 'node:fs/promises';\nexport const b = Buffer.from(process.title);\nreadFile;\n",
      'cli/main.ts': "import { Command } from 'commander';\nimport '../node/tun.js';\nCommand;\n",
    });
    expect(lines).toEqual(['11 files, 0 errors, 0 warnings']);
    expect(status).toBe(0);
  });

  test('this house is in order', async () => {
    const root = new URL('../..', import.meta.url).pathname;
    const { stdout } = await run(process.execPath, [SCRIPT, root]).catch(
      (error: { stdout: string }) => error,
    );
    expect(stdout.split('\n').filter((line) => !line.includes(': warning: '))).toEqual([
      expect.stringMatching(/^\d+ files, 0 errors, \d+ warnings$/),
      '',
    ]);
  });

  test('each rule that is broken is told with file and line', async () => {
    const { status, lines } = await check('broken', {
      'attic/old.ts': 'export {};\n',
      'clock.ts': "import { nothing } from './wire/packet.js';\nnothing;\n",
      'conntrack/table.ts':
        "import '../rules/rules.js';\nimport type { n } from '../nat/nat.js';\nexport type N = n;\n",
      'engine.ts': "export { x } from './network/router.js';\n",
      'index.ts': "export * from './node/index.js';\n",
      'memory/slots.ts': "import '../wire/packet.js';\n",
      'nat/nat.ts': [
        "import fs from 'node:fs';",
        "import lodash from 'lodash';",
        "import { Command } from 'commander';",
        'const b = Buffer.alloc(1);',
        'export const env = globalThis.process;',
        "type T = import('../scenario/run.js').T;",
        'export let t: NodeJS.Timeout | Buffer;',
      ].join('\n'),
      'rules/compile.ts': [
        "const f = new Function('return 1');",
        'const g = eval;',
        "globalThis.Function('x');",
        "export const h = await import('./' + f);",
        "import './ast';",
        "import '../../test/x.js';",
      ].join('\n'),
      'scenario/run.ts': "import '../index.js';\nimport '../node/tun.js';\n",
      'wire/packet.ts': "import '../memory/slots.js';\nawait import('../conntrack/table.js');\n",
    });
    expect(status).toBe(1);
    expect(lines.map((line) => line.replace(/^([^ ]+ [^ :]+):.*/, '$1'))).toEqual([
      'lib/attic/old.ts:1: rooms',
      'lib/clock.ts:1: rooms',
      'lib/conntrack/table.ts:1: rooms',
      'lib/conntrack/table.ts:2: rooms',
      'lib/engine.ts:1: rooms',
      'lib/index.ts:1: rooms',
      'lib/memory/slots.ts:1: rooms',
      'lib/nat/nat.ts:1: node-import',
      'lib/nat/nat.ts:2: package',
      'lib/nat/nat.ts:3: package',
      'lib/nat/nat.ts:4: node-global',
      'lib/nat/nat.ts:5: node-global',
      'lib/nat/nat.ts:6: rooms',
      'lib/nat/nat.ts:7: node-global',
      'lib/rules/compile.ts:1: no-eval',
      'lib/rules/compile.ts:2: no-eval',
      'lib/rules/compile.ts:3: no-eval',
      'lib/rules/compile.ts:4: dynamic-import',
      'lib/rules/compile.ts:5: suffix',
      'lib/rules/compile.ts:6: rooms',
      'lib/scenario/run.ts:1: index',
      'lib/scenario/run.ts:2: rooms',
      'lib/wire/packet.ts:1: rooms',
      'lib/wire/packet.ts:2: rooms',
      '10 files, 24 errors, 0 warnings',
    ]);
    expect(lines).toContain('lib/memory/slots.ts:1: rooms: memory and wire never meet');
  });

  test('500 lines pass, 501 are warned of, 521 are refused', async () => {
    const file = (lines: number) => '//\n'.repeat(lines);
    const long = await check('long', {
      'wire/a.ts': file(500),
      'wire/b.ts': file(501),
      'wire/c.ts': file(520),
    });
    expect(long.lines).toEqual([
      'lib/wire/b.ts:501: warning: length: 501 lines; past 500 a file hides a second noun',
      'lib/wire/c.ts:520: warning: length: 520 lines; past 500 a file hides a second noun',
      '3 files, 0 errors, 2 warnings',
    ]);
    expect(long.status).toBe(0);
    const tooLong = await check('too-long', { 'wire/a.ts': file(521) });
    expect(tooLong.status).toBe(1);
  });
});
