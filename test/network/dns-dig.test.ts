/** `dig` in a network namespace asks the gateway, over UDP and TCP. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DnsType, readDns } from '../../lib/network/dns.js';
import { createGateway, type Gateway } from '../../lib/network/gateway.js';
import { attachTun, type TunAttachment } from '../../lib/node/tun.js';
import { answer, record, TO_QUESTION } from './dns-messages.js';

function missingForDig(): string[] {
  if (process.platform !== 'linux') return ['Linux'];
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('root');
  if (!existsSync('/dev/net/tun')) missing.push('/dev/net/tun');
  for (const program of ['ip', 'dig', 'unshare']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) missing.push(program);
  }
  if (missing.length === 0 && spawnSync('unshare', ['-n', 'true']).status !== 0) missing.push('namespaces');
  return missing;
}

const missing = missingForDig();
if (missing.length > 0) console.warn(`SKIPPED: DNS asked by dig: missing ${missing.join(', ')}`);

/** Runs a program without blocking this thread, which has packets to answer. */
function run(program: string, ...words: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words);
    let output = '';
    child.stdout.on('data', (text) => (output += text));
    child.stderr.on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', () => resolve(output));
  });
}

describe.skipIf(missing.length > 0)('dig', () => {
  let gateway: Gateway;
  let tun: TunAttachment;

  beforeAll(async () => {
    const { unshareNetwork } = await import('../kernel/libc.js');
    unshareNetwork();
    gateway = createGateway({
      interfaces: [{ name: 'lan', addresses: ['10.78.0.1/24', 'fd00:78::1/64'] }],
      dns: {
        // `wide.test` has 1000 addresses, all others one.
        answer: (asked) => {
          const message = readDns(asked)!;
          const bare = asked.slice(0, message.questionEnd);
          bare[11] = 0;
          const count = message.question.name === 'wide.test' ? 1000 : 1;
          return answer(
            bare,
            Array.from({ length: count }, (_, n) =>
              record(TO_QUESTION, DnsType.A, 60, [10, 1, n >> 8, n & 255]),
            ),
          );
        },
      },
    });
    tun = await attachTun(gateway.interface('lan'));
    for (const words of [
      ['addr', 'add', '10.78.0.2/24', 'dev', tun.name],
      ['-6', 'addr', 'add', 'fd00:78::2/64', 'dev', tun.name, 'nodad'],
    ]) {
      expect(await run('ip', ...words)).toBe('');
    }
  });

  afterAll(async () => {
    await tun?.close();
    gateway?.close();
  });

  it.each(['10.78.0.1', 'fd00:78::1'])('is answered over TCP by %s', async (server) => {
    const said = await run('dig', '+tcp', '+short', '+tries=1', `@${server}`, 'example.com');
    expect(said).toBe('10.1.0.0\n');
  });

  it('asks again over TCP what was too long for UDP', async () => {
    const said = await run('dig', '+tries=1', '@10.78.0.1', 'wide.test');
    expect(said).toContain('Truncated, retrying in TCP mode');
    expect(said).toContain('ANSWER: 1000,');
    expect(said).toContain('10.1.3.231');
    expect(said).toMatch(/MSG SIZE +rcvd: 160\d\d/);
  });

  it('asks many names on one connection', async () => {
    const before = gateway.dns!.counters.connections;
    const names = Array.from({ length: 40 }, (_, n) => `n${n}.test`);
    const said = await run('dig', '+tcp', '+keepopen', '+short', '+tries=1', '@10.78.0.1', ...names);
    expect(said).toBe('10.1.0.0\n'.repeat(40));
    expect(gateway.dns!.counters.connections - before).toBe(1);
  });
});
