/** The programs in examples/ run as their first lines say, and are typed as they use us. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createGateway, formatPacket, parsePacket } from '../../lib/index.js';
import { connectToQemu } from '../../lib/node/qemu.js';
import { PackageCopy, ROOT } from '../package-copy.js';

const EXAMPLES = join(ROOT, 'examples');
const PROGRAMS = readdirSync(EXAMPLES, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.mjs'),
);
const copy = new PackageCopy('examples');
/** Where the programs are, with the package as it is now. */
const folder = join(copy.folder, 'programs');
let scratch = '';

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'conntide-'));
  await copy.make();
  cpSync(EXAMPLES, folder, { recursive: true });
}, 60_000);
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await copy.remove();
});

/** What a program that ends by itself prints. */
function run(name: string, ...words: string[]): string[] {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(folder, name), ...words], {
    encoding: 'utf8',
  });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout.trimEnd().split('\n');
}

describe('each program', () => {
  test.each(PROGRAMS.filter((name) => !name.includes('config')))('%s says how it is run', (name) => {
    const text = readFileSync(join(EXAMPLES, name), 'utf8');
    expect(text).toMatch(/^\/\/ @ts-check\n\/\*\*\n/);
    expect(text.split('*/')[0]).toContain('npm install conntide');
  });

  test('is used as it is typed', { timeout: 120_000 }, () => {
    const options: ts.CompilerOptions = {
      allowJs: true,
      checkJs: true,
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
      types: ['node'],
      paths: { conntide: [join(ROOT, 'lib/index.ts')], 'conntide/node': [join(ROOT, 'lib/node/index.ts')] },
    };
    const files = PROGRAMS.map((name) => join(EXAMPLES, name));
    const program = ts.createProgram(files, options);
    const found = files.flatMap((file) => {
      const source = program.getSourceFile(file);
      return [...program.getSemanticDiagnostics(source), ...program.getSyntacticDiagnostics(source)];
    });
    const texts = found.map(({ file, start, messageText }) => {
      const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start ?? 0).line + 1;
      return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
    expect(texts).toEqual([]);
  });
});

test('policy-sandbox: what is not allowed is denied with its reason, names open what they were told', () => {
  expect(run('policy-sandbox.mjs')).toEqual([
    'HTTPS, before anybody asked for the name',
    "  denied: 198.51.100.7 port 443, because of 'denyOut 0.0.0.0/0'",
    expect.stringContaining('to the guest    tcp 198.51.100.7:443 > 10.0.0.2:4001 RST,ACK'),
    'the name',
    expect.stringContaining('to the guest    udp 10.0.0.1:53 > 10.0.0.2:4000'),
    'HTTPS again',
    expect.stringContaining('to the internet tcp 203.0.113.1:4002 > 198.51.100.7:443 SYN'),
    "the cloud's credentials",
    "  denied: 169.254.169.254 port 80, because of 'protect 169.254.169.254/32'",
    'SSH',
    "  denied: 192.0.2.9 port 22, because of 'denyOut 0.0.0.0/0'",
    '  asked, and port 22 of it is allowed from now on',
    expect.stringContaining('to the guest    tcp 192.0.2.9:22 > 10.0.0.2:4004 RST,ACK'),
    'SSH again',
    expect.stringContaining('to the internet tcp 203.0.113.1:4005 > 192.0.2.9:22 SYN'),
  ]);
});

test('three-networks: the laptop pings a router and has its answer through NAT and a forward', () => {
  expect(run('three-networks.mjs')).toEqual([
    'the laptop pings the core router',
    'backbone > icmp 198.51.100.1 > 198.51.100.2 echo-request id 7 seq 1 ttl 63',
    'backbone < icmp 198.51.100.2 > 198.51.100.1 echo-reply id 7 seq 1',
    'and asks the server behind its forwarded port',
    expect.stringMatching(/^backbone > udp 198\.51\.100\.1:\d+ > 198\.51\.100\.2:5300 len 13 ttl 63$/),
    "server: 'hello, server' from 198.51.100.1",
    expect.stringMatching(/^backbone < udp 198\.51\.100\.2:5300 > 198\.51\.100\.1:\d+ len 13 ttl 63$/),
    "laptop: 'hello, office' from 198.51.100.2:5300",
  ]);
});

test('ruleset-test: its tests pass, and fail when a rule is missing', { timeout: 120_000 }, () => {
  const place = join(folder, 'ruleset-test');
  const vitest = (): { passed: number; failed: number } => {
    const words = [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--root', place, '--reporter=json'];
    const { stdout } = spawnSync(process.execPath, words, { encoding: 'utf8', cwd: place });
    const { numPassedTests, numFailedTests } = JSON.parse(stdout.slice(stdout.indexOf('{')));
    return { passed: numPassedTests, failed: numFailedTests };
  };
  expect(vitest()).toEqual({ passed: 5, failed: 0 });
  const rules = readFileSync(join(place, 'rules.v4'), 'utf8');
  writeFileSync(join(place, 'rules.v4'), rules.replace(/^-A POSTROUTING .*\n/m, ''));
  expect(vitest().failed).toBeGreaterThan(0);
});

test('browser-vm: a guest on the bus of an emulator is offered an address; what it sends elsewhere goes to the relay', () => {
  const played = `
    import { startNetwork } from './browser-vm.mjs';
    const listeners = new Map();
    const hex = (text) => Uint8Array.from(text.match(/../g), (byte) => Number.parseInt(byte, 16));
    const text = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const emulator = {
      add_listener: (event, listener) => listeners.set(event, listener),
      remove_listener: (event) => listeners.delete(event),
      bus: { send: (event, frame) => console.log(event, text(frame.subarray(12, 14)), text(frame.subarray(20, 22)), frame.length) },
    };
    const relay = { readyState: 1, OPEN: 1, send: (frame) => console.log('relay', text(frame.subarray(12, 14))) };
    const gateway = startNetwork(emulator, relay);
    const send = listeners.get('net0-send');
    const station = '020000000002';
    send(hex('ffffffffffff' + station + '08060001080006040001' + station + '0a000002' + '000000000000' + '0a000001'));
    // A DHCP DISCOVER, its UDP checksum left out.
    const bootp = '01010600' + '00000007' + '00'.repeat(20) + station + '00'.repeat(10 + 192) + '63825363' + '350101' + 'ff';
    const udp = '00440043' + (bootp.length / 2 + 8).toString(16).padStart(4, '0') + '0000' + bootp;
    const ip = '4500' + (udp.length / 2 + 20).toString(16).padStart(4, '0') + '00000000' + '4011' + '0000' + '00000000' + 'ffffffff';
    const words = ip.match(/..../g).reduce((sum, word) => sum + Number.parseInt(word, 16), 0);
    const sum = (0xffff ^ ((words & 0xffff) + (words >>> 16))).toString(16).padStart(4, '0');
    send(hex('ffffffffffff' + station + '0800' + ip.slice(0, 20) + sum + ip.slice(24) + udp));
    // To 1.1.1.1, by way of the gateway.
    const mac = gateway.interface('lan').mac.replaceAll(':', '');
    const udp2 = '45000020000000004011' + '6eca' + '0a00000201010101' + '13880035000c000000000000';
    send(hex(mac + station + '0800' + udp2));
    await new Promise((resolve) => setTimeout(resolve, 50));
    gateway.close();
    emulator.remove_listener('net0-send');
  `;
  writeFileSync(join(folder, 'play.mjs'), played);
  expect(run('play.mjs')).toEqual([
    // An ARP reply, and DHCP's offer; then the relay hears who is asked for the way out.
    'net0-receive 0806 0002 42',
    'net0-receive 0800 0000 342',
    'relay 0806',
  ]);
});

test('egress-proxy: a guest talks to any address, and the proxy goes there from a socket', {
  timeout: 60_000,
}, async () => {
  const server = createServer((socket) => socket.on('data', (asked) => socket.end(`you said ${asked}`)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  // Addresses for documentation lead nowhere: here one leads to the server.
  const detour = join(scratch, 'detour.mjs');
  writeFileSync(
    detour,
    `import net from 'node:net';
     const { connect } = net;
     net.connect = (port, address) => (address === '198.51.100.9' && port === 80 ? connect(${port}) : connect(port, address));`,
  );
  const path = join(scratch, 'guest.sock');
  const child = spawn(process.execPath, ['--import', detour, join(folder, 'egress-proxy.mjs'), path]);
  let said = '';
  await new Promise<void>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('waiting')) resolve();
    });
  });

  const guest = createGateway({
    interfaces: [{ name: 'eth0', link: 'ethernet', addresses: ['10.0.0.2/24'] }],
    routes: ['default via 10.0.0.1'],
    // The guest's TCP is played here: its own would reset what it does not know.
    rules: { 4: '*filter\n-A INPUT -p tcp -j DROP\nCOMMIT\n' },
  });
  const eth0 = guest.interface('eth0');
  let wake = (): void => {};
  const received: string[] = [];
  eth0.capture({
    addInterface: () => 0,
    record: (_id, direction, frame) => {
      if (direction === 'in' && frame[23] === 6) received.push(formatPacket(frame.slice(14)));
      wake();
    },
  });
  const link = await connectToQemu(eth0, { path });
  const hear = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      for (const one of received) {
        const found = pattern.exec(one);
        if (found !== null) return found;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const say = (rest: string): number =>
    guest.router.sendLocal(parsePacket(`tcp 10.0.0.2:4000 > 198.51.100.9:80 ${rest}`), guest.nowMs);
  say('SYN seq 100');
  const [, sequence] = await hear(/^tcp 198\.51\.100\.9:80 > 10\.0\.0\.2:4000 SYN,ACK seq (\d+) ack 101/);
  const next = Number(sequence) + 1;
  say(`ACK,PSH seq 101 ack ${next} data "hello"`);
  const [answer] = await hear(/^tcp 198\.51\.100\.9:80 > 10\.0\.0\.2:4000 .*len 14/);
  expect(answer).toContain(`seq ${next} ack 106`);
  expect(said).toContain('10.0.0.2 -> 198.51.100.9:80');

  await link.close();
  guest.close();
  await ended(child, 'SIGINT');
  server.close();
});

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const status = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  expect(await status).toBe(0);
}
