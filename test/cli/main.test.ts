import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
const MAIN = `${ROOT}dist/cli/main.js`;

/** Runs the built program as a process of its own, its output going to pipes. */
function run(...words: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return { status, stdout, stderr };
}

beforeAll(() => {
  if (!existsSync(MAIN)) throw new Error('the program is not built: npm run build');
});

describe('the program as a process', () => {
  test('tells its version', () => {
    expect(run('--version')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });

  test('prints help on request, and a hint on nothing', () => {
    expect(run('--help').stdout).toContain('replay a capture through a ruleset');
    expect(run().status).toBe(2);
  });

  test('exits with 0 when all agree, every line written', () => {
    const { status, stdout, stderr } = run('scenario', '--json', 'test/traces/udp.jsonl.gz');
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(JSON.parse(lines.at(-1) as string)).toEqual({ passed: lines.length - 1, failed: 0 });
  });

  test('exits with 2 and one line for what is not there, without a stack', () => {
    const { status, stdout, stderr } = run('replay', '--in', 'no/such.pcap', '--iface', 'lan=10.0.0.1/24');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toBe('conntide: no/such.pcap: there is no such file\n');
  });

  test('an output larger than a pipe comes through whole', () => {
    const { status, stdout } = spawnSync(
      'sh',
      ['-c', `"$0" "$1" scenario --json test/traces | (sleep 1; cat)`, process.execPath, MAIN],
      {
        cwd: ROOT,
        encoding: 'utf8',
      },
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout.trimEnd().split('\n').at(-1) as string)).toMatchObject({ failed: 0 });
  });
});
