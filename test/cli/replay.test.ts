import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CapturedPacket, readCapture } from '../../lib/capture/capture.js';
import { LinkType, wrapInEthernet } from '../../lib/capture/link.js';
import { writePcapng } from '../../lib/capture/pcapng-writer.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { run } from './console.js';

const EXAMPLE = new URL('../../examples/replay/', import.meta.url).pathname;
const IFACE = 'lan=10.0.0.1/24,wan=203.0.113.1/24';
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'conntide-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Writes a file; returns its path. */
function write(name: string, content: Uint8Array | string): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

/** A capture of packets in words, a second apart; interface name first. */
function capture(name: string, ...packets: string[]): string {
  const names = [...new Set(packets.map((text) => text.split(' ')[0] as string))];
  const interfaces = names.map((one) => ({ linkType: LinkType.ETHERNET, name: one }));
  const written = packets.map((text, i) => ({
    interfaceId: names.indexOf(text.split(' ')[0] as string),
    seconds: 1_700_000_000 + i,
    nanos: 0,
    bytes: wrapInEthernet(parsePacket(text.slice(text.indexOf(' ') + 1))),
  }));
  return write(name, writePcapng(interfaces, written));
}

/** The IP packet of an Ethernet frame. */
function ipOf(packet: CapturedPacket | undefined): Uint8Array {
  return Uint8Array.from(packet?.bytes.subarray(14) ?? []);
}

const NAT = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
const FILTER =
  '*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n' +
  '-A FORWARD -i lan -j ACCEPT\nCOMMIT\n';

describe('conntide replay', () => {
  const dialogue = [
    'lan udp 10.0.0.2:5000 > 1.1.1.1:53 len 5',
    'wan udp 1.1.1.1:53 > 203.0.113.1:5000 len 7',
    'wan udp 9.9.9.9:53 > 10.0.0.2:5000 len 7',
  ];

  test('translates, filters, counts and lists the flows', async () => {
    const rules = write('rules.v4', NAT + FILTER);
    const file = capture('dialogue.pcapng', ...dialogue);
    const { status, lines, errors } = await run('replay', '--in', file, '--rules', rules, '--iface', IFACE);
    expect(errors).toEqual([]);
    expect(status).toBe(0);
    const text = lines.join('\n');
    expect(text).toMatch(/2 {2}forwarded/);
    expect(text).toMatch(/1 {2}dropped\n +1 {2}rule-policy/);
    expect(text).toContain('[1:33] -A POSTROUTING -o wan -j MASQUERADE');
    expect(text).toContain(':FORWARD DROP [1:35]');
    expect(text).toMatch(
      /udp {6}17 \d+ src=10\.0\.0\.2 dst=1\.1\.1\.1 sport=5000 dport=53 packets=1 bytes=33 src=1\.1\.1\.1 dst=203\.0\.113\.1 sport=53 dport=5000 packets=1 bytes=35/,
    );
    expect(text).toContain('Reaper');
  });

  test('writes what left the router, each packet with its verdict and flow', async () => {
    const rules = write('rules.v4', NAT + FILTER);
    const out = join(folder, 'out.pcapng');
    const file = capture('dialogue.pcapng', ...dialogue);
    await run('replay', '--in', file, '--out', out, '--rules', rules, '--iface', IFACE, '--dropped');
    const { packets, interfaces } = readCapture(readFileSync(out));
    expect(interfaces.map(({ name }) => name)).toEqual(['lan', 'wan', 'dropped']);
    expect(packets.map(({ interfaceName }) => interfaceName)).toEqual(['wan', 'lan', 'dropped']);
    expect(packets.map(({ seconds }) => seconds - 1_700_000_000)).toEqual([0, 1, 2]);
    expect(ipOf(packets[0])).toEqual(parsePacket('udp 203.0.113.1:5000 > 1.1.1.1:53 len 5 ttl 63'));
    expect(ipOf(packets[1])).toEqual(parsePacket('udp 1.1.1.1:53 > 10.0.0.2:5000 len 7 ttl 63'));
    expect(packets[0]?.comment).toBe(
      'packet 1: forwarded, lan > wan; NEW, flow udp 10.0.0.2:5000 > 1.1.1.1:53 | 1.1.1.1:53 > 203.0.113.1:5000',
    );
    expect(packets[1]?.comment).toMatch(
      /^packet 2: forwarded, wan > lan; ESTABLISHED, flow udp 10\.0\.0\.2:5000/,
    );
    expect(packets[2]?.comment).toBe('packet 3: dropped: rule-policy at filter/FORWARD policy, NEW');
  });

  test('capture time drives the timeouts and the reaper', async () => {
    const rules = write('rules.v4', NAT);
    const file = capture('dialogue.pcapng', dialogue[0] as string);
    const words = ['replay', '--json', '--in', file, '--rules', rules, '--iface', IFACE];
    const parse = async (...more: string[]) => JSON.parse((await run(...words, ...more)).lines.join(''));
    expect((await parse('--linger', '10')).flows).toMatchObject([{ remainingMs: 20_000, seenReply: false }]);
    const later = await parse('--linger', '120');
    expect(later.flows).toEqual([]);
    expect(later.reaper.reaped).toBe(1);
  });

  test('--json is one object', async () => {
    const { status, lines } = await run(
      'replay',
      '--json',
      '--in',
      capture('a.pcapng', ...dialogue),
      '--iface',
      IFACE,
    );
    expect(status).toBe(0);
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      packets: 3,
      verdicts: { forwarded: 2, delivered: 0, dropped: 1, held: 0, skipped: 0 },
      drops: { 'no-local-listener': 1 },
      generated: 1,
    });
  });

  test('in a capture of one link the source address tells the way in', async () => {
    const packets = dialogue.map((text) => text.replace(/^\w+/, 'eth0'));
    const rules = write('rules.v4', NAT + FILTER);
    const file = capture('one.pcapng', ...packets);
    const { lines } = await run('replay', '--json', '--in', file, '--rules', rules, '--iface', IFACE);
    expect(JSON.parse(lines[0] as string).verdicts).toMatchObject({ forwarded: 2, dropped: 1 });
  });

  test.each([
    [
      'a capture that is not there',
      ['--in', '/nowhere.pcap', '--iface', IFACE],
      /nowhere\.pcap: there is no such file/,
    ],
    [
      'a file that is no capture',
      ['--in', `${EXAMPLE}rules.v4`, '--iface', IFACE],
      /rules\.v4: not a capture file/,
    ],
    ['a ruleset that is not there', ['--rules', '/nowhere.v4'], /nowhere\.v4: there is no such file/],
    ['an interface without a name', ['--in', 'x', '--iface', '10.0.0.1/24'], /--iface/],
    ['an address that is none', ['--iface', 'lan=10.0.0.300/24'], /10\.0\.0\.300/],
    ['no interfaces', ['--in', `${EXAMPLE}gateway.pcapng`], /no interfaces/],
    ['a route that is none', ['--route', 'somewhere dev wan'], /somewhere/],
    ['a folder for the output', ['--out', '/'], /folder/],
    ['a linger that is no number', ['--linger', 'soon'], /linger/],
  ])('%s is one line of error and exit status 2', async (_what, words, message) => {
    const { status, errors } = await run('replay', ...words);
    expect(status).toBe(2);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(message);
    expect(errors[0]).toMatch(/^conntide: /);
  });

  test('a bad rule is named by file, line and word', async () => {
    const rules = write('bad.v4', '*filter\n-A FORWARD -p tcp --dprot 80 -j ACCEPT\nCOMMIT\n');
    const { status, errors } = await run('replay', '--rules', rules);
    expect(status).toBe(2);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`${rules}:2:`);
    expect(errors[0]).toContain('--dprot');
  });

  test('a capture that ends in half a packet is replayed as far as it goes', async () => {
    const whole = readFileSync(capture('whole.pcapng', ...dialogue));
    const file = write('half.pcapng', whole.subarray(0, whole.length - 10));
    const { status, lines } = await run('replay', '--in', file, '--iface', IFACE);
    expect(status).toBe(0);
    expect(lines.join('\n')).toContain('Replayed 2 packets');
    expect(lines.join('\n')).toContain('The capture is damaged');
  });
});

/** What a `conntrack -L` line says, without its order. */
function flowOf(line: string) {
  const words = line.trim().split(/\s+/);
  const timeout = words.findIndex((word, i) => i > 1 && /^\d+$/.test(word));
  return { seconds: Number(words[timeout]), text: [words[0], ...words.slice(timeout + 1)].join(' ') };
}

describe('the bundled recording of a gateway', () => {
  const out = () => join(folder, 'gateway.pcapng');

  /** Lines of a file of the kernel's, its comments, and its flows in the plain form. */
  function kernelFlows(family: 4 | 6) {
    const lines = readFileSync(`${EXAMPLE}kernel-conntrack.v${family}.txt`, 'utf8').trim().split('\n');
    const readAt = Number(/read out at ([\d.]+)/.exec(lines.join('\n'))?.[1]);
    const flows = lines.filter((line) => !line.startsWith('#'));
    return { readAt, flows: flows.map((line) => flowOf(line.replace(/^ipv\d +\d+ /, ''))) };
  }

  async function replayed() {
    const { packets } = readCapture(readFileSync(`${EXAMPLE}gateway.pcapng`));
    const last = (packets.at(-1)?.timeMs as number) / 1000;
    const linger = String(kernelFlows(4).readAt - last);
    return run('replay', '--out', out(), '--linger', linger);
  }

  test('ends with the flows that the kernel had, to a second', async () => {
    const { status, lines } = await replayed();
    expect(status).toBe(0);
    const from = lines.findIndex((line) => line.startsWith('Flows:'));
    const listed = lines.slice(from + 1, lines.indexOf('', from)).map(flowOf);
    const ours = new Map(listed.map(({ text, seconds }) => [text, seconds]));
    const kernel = [...kernelFlows(4).flows, ...kernelFlows(6).flows];
    expect([...ours.keys()].sort()).toEqual(kernel.map(({ text }) => text).sort());
    // The tool rounds down, and the two families were read one after the other.
    for (const { text, seconds } of kernel) {
      expect(Math.abs((ours.get(text) as number) - seconds), text).toBeLessThanOrEqual(1);
    }
  });

  test('ends with the counters that the kernel had', async () => {
    const { lines } = await replayed();
    for (const family of [4, 6]) {
      const from = lines.findIndex((line) => line.startsWith(`Rules of IPv${family}`));
      const ours = lines.slice(from + 1, lines.indexOf('', from)).map((line) => line.trim());
      const kernel = readFileSync(`${EXAMPLE}kernel-save.v${family}.txt`, 'utf8').trim().split('\n');
      expect(ours).toEqual(kernel.filter((line) => !line.startsWith('#')));
    }
  });
});
