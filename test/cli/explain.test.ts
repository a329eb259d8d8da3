import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatHex } from '../../lib/scenario/hex.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { run } from './console.js';

const EXAMPLE = new URL('../../examples/replay/', import.meta.url).pathname;
const RULES = `${EXAMPLE}rules.v4`;
const RULES6 = `${EXAMPLE}rules.v6`;
const DNS = 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 5';
let folder = '';

function write(name: string, content: string): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'conntide-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('conntide explain', () => {
  test('tells each rule, why it did not match, what was decided and what came out', async () => {
    const { status, lines, errors } = await run('explain', '--rules', RULES, '--packet', DNS);
    expect({ status, errors }).toEqual({ status: 0, errors: [] });
    const text = lines.join('\n');
    expect(lines[0]).toMatch(/^Interfaces \(no --iface given\): lan 10\.0\.0\.1\/24 fd00:a::1\/64, wan /);
    expect(text).toContain(
      `lan < ${DNS}\nPREROUTING\n  conntrack: NEW: begins udp 10.0.0.2:5000 > 1.1.1.1:53`,
    );
    expect(text).toContain(
      '    FORWARD 1  -m conntrack --ctstate INVALID -j DROP\n      no: ctstate is NEW, wanted INVALID\n',
    );
    expect(text).toContain(
      '  nat: source 10.0.0.2:5000 -> 203.0.113.1:5000, bound for the whole connection\n',
    );
    expect(text).toContain('Forwarded\n  wan > udp 203.0.113.1:5000 > 1.1.1.1:53 len 5 ttl 63\n');
    expect(lines.at(-1)).toMatch(/^Connection: udp +17 30 src=10\.0\.0\.2 /);
  });

  test('--json is one object per packet', async () => {
    const reply = 'udp 1.1.1.1:53 > 203.0.113.1:5000 len 9';
    const { lines } = await run('explain', '--json', '--rules', RULES, '--packet', DNS, '--packet', reply);
    expect(lines).toHaveLength(2);
    const [first, second] = lines.map((line) => JSON.parse(line));
    expect(first).toMatchObject({ in: 'lan', fate: 'forwarded', out: [{ interface: 'wan' }] });
    expect(second).toMatchObject({
      in: 'wan',
      fate: 'forwarded',
      out: [{ interface: 'lan', packet: 'udp 1.1.1.1:53 > 10.0.0.2:5000 len 9 ttl 63' }],
      connection: { seenReply: true },
    });
  });

  test('a packet in hexadecimal is the same', async () => {
    const words = ['explain', '--rules', RULES, '--packet'];
    expect(await run(...words, formatHex(parsePacket(DNS)))).toEqual(await run(...words, DNS));
  });

  test('--after replays a capture first: its connections are there, at its time', async () => {
    const words = ['explain', '--json', '--rules', RULES, '--rules6', RULES6, '--packet'];
    const data = 'tcp 10.0.0.2:44538 > 198.51.100.80:8002 ACK seq 1 ack 1 len 5';
    const fresh = JSON.parse((await run(...words, data)).lines.join(''));
    expect(fresh.stages[0].steps[0]).toMatchObject({ step: 'conntrack', state: 'NEW' });
    const after = JSON.parse(
      (await run(...words, data, '--after', `${EXAMPLE}gateway.pcapng`)).lines.join(''),
    );
    expect(after.stages[0].steps[0]).toMatchObject({
      step: 'conntrack',
      text: expect.stringContaining('tcp 10.0.0.2:44538 > 198.51.100.80:8002'),
    });
    expect(JSON.stringify(after.stages[0].steps[0])).toContain('ESTABLISHED');
  });

  test('IPv6, and a packet of the router itself', async () => {
    const packet = 'tcp [2001:db8:1::1]:9 > [2001:db8:2::9]:80 SYN';
    const { lines } = await run('explain', '--json', '--rules6', RULES6, '--packet', packet);
    const told = JSON.parse(lines.join(''));
    expect(told).toMatchObject({ in: 'local', fate: 'sent' });
    expect(told.stages.map(({ stage, hook }: { stage: string; hook?: string }) => hook ?? stage)).toEqual([
      'route',
      'OUTPUT',
      'POSTROUTING',
    ]);
  });

  test('--in says where the packet comes in; names that the rules have and the router lacks are told', async () => {
    const rules = write('eth.v4', '*filter\n-A FORWARD -i eth0 -o ppp+ -j DROP\nCOMMIT\n');
    const words = ['explain', '--rules', rules, '--iface', 'a=10.0.0.1/24,b=10.0.1.1/24', '--packet'];
    const { lines } = await run(...words, DNS, '--in', 'b');
    expect(lines[0]).toBe('The rules name interfaces that the router does not have: eth0, ppp+');
    expect(lines).toContain(`b < ${DNS}`);
    expect(lines.join('\n')).toContain('no: it came in by b, wanted eth0');
  });

  test('--sets gives the sets that rules name', async () => {
    const rules = write('set.v4', '*filter\n-A FORWARD -m set --match-set bad src -j DROP\nCOMMIT\n');
    const sets = write('sets', 'create bad hash:ip family inet timeout 60\nadd bad 10.0.0.2\n');
    const { lines } = await run('explain', '--json', '--rules', rules, '--sets', sets, '--packet', DNS);
    expect(JSON.parse(lines.join(''))).toMatchObject({ fate: 'dropped', place: 'filter/FORWARD 1' });
  });

  test.each([
    ['no packet', ['--rules', RULES], /--packet/],
    ['no rules', ['--packet', DNS], /there are no rules; expected --rules FILE/],
    ['a packet that is none', ['--rules', RULES, '--packet', 'udp 10.0.0.2 > 1.1.1.1'], /not an endpoint/],
    ['rules that are not there', ['--rules', '/nowhere', '--packet', DNS], /nowhere: there is no such file/],
    ['an interface that is not there', ['--rules', RULES, '--packet', DNS, '--in', 'eth9'], /eth9/],
    ['a capture that is none', ['--rules', RULES, '--packet', DNS, '--after', RULES], /not a capture/],
  ])('%s is one line of error and exit status 2', async (_what, words, message) => {
    const { status, errors } = await run('explain', ...words);
    expect(status).toBe(2);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(message);
  });

  test('rules that are refused are named by line, exit status 2', async () => {
    const rules = write('bad.v4', '*filter\n-A FORWARD -j NOPE\nCOMMIT\n');
    const { status, errors } = await run('explain', '--rules', rules, '--packet', DNS);
    expect(status).toBe(2);
    expect(errors[0]).toMatch(/bad\.v4:2:15: unknown target/);
  });
});
