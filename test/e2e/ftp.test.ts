/**
 * FTP sessions through a gateway that lets nothing in but what belongs to a connection, and whose helper finds out
 * what does: curl to pyftpdlib, out through MASQUERADE and in through a forward.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Status } from '../../lib/conntrack/entries.js';
import type { Lab } from './lab.js';
import { missingFor } from './needs.js';
import type { Station } from './station.js';

/** Debian's, which has the packages of apt; not whichever comes first in PATH. */
const PYTHON = '/usr/bin/python3';
/** The server believes addresses of clients as they are: Linux writes IPv6 ones in a long form that it does not know. */
const SERVER = `import runpy
from pyftpdlib.handlers import FTPHandler
FTPHandler.permit_foreign_addresses = True
runpy.run_module('pyftpdlib', run_name='__main__')`;
const SUBJECT = 'FTP sessions through a gateway';
const missing = missingFor(SUBJECT, ['curl', PYTHON], [[PYTHON, '-c', 'import pyftpdlib']]);

const HELP = '-A PREROUTING -p tcp --dport 21 -j CT --helper ftp';
const RULES_4 = `*raw
${HELP}
COMMIT
*nat
-A PREROUTING -i wan -p tcp --dport 21 -j DNAT --to-destination 10.0.0.2
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m helper --helper ftp -m conntrack --ctstate RELATED --dport 1024: -j ACCEPT
-A FORWARD -p tcp --dport 21 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
`;
const RULES_6 = RULES_4.replace('10.0.0.2', 'fd00::2');

const COMMANDS: readonly [string, 4 | 6, readonly string[]][] = [
  ['passive, EPSV', 4, []],
  ['passive, PASV', 4, ['--disable-epsv', '--no-ftp-skip-pasv-ip']],
  ['active, EPRT', 4, ['--ftp-port', '-']],
  ['active, PORT', 4, ['--ftp-port', '-', '--disable-eprt']],
  ['passive, EPSV over IPv6', 6, []],
  ['active, EPRT over IPv6', 6, ['--ftp-port', '-']],
];

const sha256 = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

describe.skipIf(missing.length > 0)(SUBJECT, () => {
  const folder = mkdtempSync(join(tmpdir(), 'conntide-ftp-'));
  let lab: Lab;
  let inner: Station;
  let outer: Station;

  beforeAll(async () => {
    const { Lab } = await import('./lab.js');
    lab = Lab.open({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8::1/64'] },
      ],
      rules: { 4: RULES_4, 6: RULES_6 },
    });
    inner = await lab.station('inner');
    outer = await lab.station('outer');
    await lab.plug('lan', inner, ['10.0.0.2/24', 'fd00::2/64']);
    await lab.plug('wan', outer, ['203.0.113.2/24', '2001:db8::2/64']);
    inner.ip('route add default via 10.0.0.1');
    inner.ip('-6 route add default via fd00::1');
    const options = ['-p', '21', '-w', '-d', folder, '-i'];
    const serve = (station: Station, address: string) =>
      station.serve(/starting FTP server/, PYTHON, '-c', SERVER, ...options, address);
    await Promise.all([
      serve(inner, '10.0.0.2'),
      serve(inner, 'fd00::2'),
      serve(outer, '203.0.113.2'),
      serve(outer, '2001:db8::2'),
    ]);
  });

  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true });
  });

  const curl = (station: Station, ...words: string[]) =>
    station.run('curl', '-sS', '--max-time', '10', ...words);

  /** One session that stores a file, lists the folder and fetches the file again. */
  async function expectSession(station: Station, url: string, words: readonly string[]): Promise<void> {
    const sent = join(folder, 'sent');
    const stored = join(folder, 'stored');
    const fetched = join(folder, 'fetched');
    rmSync(stored, { force: true });
    writeFileSync(sent, randomBytes(3_000_000));
    const steps = ['-T', sent, `${url}stored`, '--next', ...words, '-sS', url];
    const last = ['--next', ...words, '-sS', '-o', fetched, `${url}stored`];
    const { status, stdout, stderr } = await curl(station, ...words, ...steps, ...last);
    expect(`${status} ${stderr}`).toBe('0 ');
    expect(stdout).toMatch(/3000000 .* stored/);
    expect(sha256(stored)).toBe(sha256(sent));
    expect(sha256(fetched)).toBe(sha256(sent));
  }

  test.each(COMMANDS)('out through MASQUERADE: %s', async (_, version, words) => {
    await expectSession(inner, version === 4 ? 'ftp://203.0.113.2/' : 'ftp://[2001:db8::2]/', words);
  });

  test.each(COMMANDS)('in through a forward: %s', async (_, version, words) => {
    await expectSession(outer, version === 4 ? 'ftp://203.0.113.1/' : 'ftp://[2001:db8::1]/', words);
  });

  test('every connection for data was expected by its session', () => {
    const related = lab.gateway.engine.connections
      .list()
      .filter(({ status }) => (status & Status.EXPECTED) !== 0);
    expect(related).toHaveLength(COMMANDS.length * 2 * 3);
  });

  test.each(COMMANDS)(
    'without the helper nothing but the session itself passes: %s',
    async (_, version, words) => {
      const text = version === 4 ? RULES_4 : RULES_6;
      lab.gateway.restore(version, text.replace(HELP, ''));
      const url = version === 4 ? 'ftp://203.0.113.2/' : 'ftp://[2001:db8::2]/';
      const { status, stdout } = await curl(
        inner,
        ...words,
        '--connect-timeout',
        '1',
        '--max-time',
        '2',
        url,
      );
      lab.gateway.restore(version, text);
      expect(status).not.toBe(0);
      expect(stdout).toBe('');
    },
  );
});
