/** What docs/gateway-command.md shows is taken, and its lists are complete. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { gatewaySchema } from '../../lib/cli/gateway-config.js';
import { run } from '../cli/console.js';
import { ROOT } from '../package-copy.js';

const page = readFileSync(join(ROOT, 'docs/gateway-command.md'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'conntide-'));

afterAll(() => rmSync(folder, { recursive: true }));

test('the configuration is good', async () => {
  const [, text] = /<!-- example -->\n\n```jsonc\n([\s\S]*?)^```$/m.exec(page) ?? [];
  writeFileSync(join(folder, 'gateway.json'), text ?? '');
  writeFileSync(join(folder, 'rules.v4'), '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n');
  expect(await run('gateway', '--config', join(folder, 'gateway.json'), '--check')).toEqual({
    status: 0,
    lines: [expect.stringContaining('good: lan, wan; IPv4 rules; policy; 1 forwards; DNS')],
    errors: [],
  });
});

test('every key is named', () => {
  for (const key of Object.keys(gatewaySchema().properties ?? {}))
    expect(page).toMatch(new RegExp(`[\`"]${key.replace('$', '\\$')}[\`"]`));
});
