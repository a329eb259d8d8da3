/** `dig` in a network namespace asks the gateway, over UDP and TCP. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DnsType, readDns } from '../../lib/network/dns.js';
import { createGateway, type Gateway } from '../../lib/network/gateway.js';
import { attachTun, type TunAttachment } from '../../lib/node/tun.js';
import { enterNamespace, ip, missingForDevices, run } from '../linux.js';
import { answer, record, TO_QUESTION } from './dns-messages.js';

const missing = missingForDevices('DNS asked by dig', 'dig');

describe.skipIf(missing.length > 0)('dig', () => {
  let gateway: Gateway;
  let tun: TunAttachment;

  beforeAll(async () => {
    await enterNamespace();
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
      ip(...words);
    }
  });

  afterAll(async () => {
    await tun?.close();
    gateway?.close();
  });

  it.each(['10.78.0.1', 'fd00:78::1'])('is answered over TCP by %s', async (server) => {
    const { output: said } = await run('dig', '+tcp', '+short', '+tries=1', `@${server}`, 'example.com');
    expect(said).toBe('10.1.0.0\n');
  });

  it('asks again over TCP what was too long for UDP', async () => {
    const { output: said } = await run('dig', '+tries=1', '@10.78.0.1', 'wide.test');
    expect(said).toContain('Truncated, retrying in TCP mode');
    expect(said).toContain('ANSWER: 1000,');
    expect(said).toContain('10.1.3.231');
    expect(said).toMatch(/MSG SIZE +rcvd: 160\d\d/);
  });

  it('asks many names on one connection', async () => {
    const before = gateway.dns!.counters.connections;
    const names = Array.from({ length: 40 }, (_, n) => `n${n}.test`);
    const { output: said } = await run(
      'dig',
      '+tcp',
      '+keepopen',
      '+short',
      '+tries=1',
      '@10.78.0.1',
      ...names,
    );
    expect(said).toBe('10.1.0.0\n'.repeat(40));
    expect(gateway.dns!.counters.connections - before).toBe(1);
  });
});
