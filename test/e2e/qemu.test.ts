/**
 * A machine in QEMU behind a gateway: a Linux that gets its addresses by DHCP and router advertisement, fetches from
 * a web server in a namespace, and serves to it through a forward. Software emulation.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FramedAttachment, listenForQemu } from '../../lib/node/qemu.js';
import { fetchGuest, type Guest, makeGuest, readFindings } from './guest/initrd.js';
import type { Lab } from './lab.js';
import { missingFor } from './needs.js';
import type { Station } from './station.js';

const SUBJECT = 'a guest in QEMU';
const missing = missingFor(SUBJECT, ['qemu-system-x86_64', 'apt-get', 'dpkg-deb', 'curl']);
if (missing.length === 0) missing.push(...fetchGuest('amd64', SUBJECT));
const BOOT_MS = 90_000;
const BYTES = 8 * 2 ** 20;

const RULES_4 = `*nat
-A PREROUTING -i wan -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.9:80
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
`;
const RULES_6 = `*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
`;

describe.skipIf(missing.length > 0)(SUBJECT, () => {
  const folder = mkdtempSync(join(tmpdir(), 'conntide-qemu-'));
  const socket = join(folder, 'net');
  let lab: Lab;
  let server: Station;
  let link: FramedAttachment;
  let qemu: ChildProcess;
  let findings: Map<string, string>;

  beforeAll(async () => {
    const { Lab } = await import('./lab.js');
    lab = Lab.open({
      interfaces: [
        {
          name: 'lan',
          link: 'ethernet',
          addresses: ['10.0.0.1/24', 'fd00::1/64'],
          stations: [{ address: '10.0.0.9', mac: '52:54:00:12:34:56' }],
          dhcp: {},
          advertise: {},
        },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8::1/64'] },
      ],
      rules: { 4: RULES_4, 6: RULES_6 },
    });
    server = await lab.station('server');
    await lab.plug('wan', server, ['203.0.113.2/24', '2001:db8::2/64']);
    await Promise.all([
      server.servePeer('http', '203.0.113.2', '80'),
      server.servePeer('http', '2001:db8::2', '80'),
    ]);
    link = await listenForQemu(lab.gateway.interface('lan'), { path: socket });
    const guest = makeGuest('amd64');
    const initrd = join(folder, 'initrd');
    writeFileSync(initrd, guest.initrd);
    qemu = start(guest, initrd);
    findings = await untilDone(qemu);
  }, BOOT_MS);

  afterAll(async () => {
    qemu?.kill('SIGKILL');
    await link?.close();
    await lab?.close();
    rmSync(folder, { recursive: true });
  });

  function start(guest: Guest, initrd: string): ChildProcess {
    const append = `console=ttyS0 quiet panic=-1 server4=203.0.113.2 server6=2001:db8::2 bytes=${BYTES}`;
    const machine = ['-accel', 'tcg', '-cpu', 'max', '-m', '256', '-nographic', '-no-reboot', '-nodefaults'];
    const card = ['-device', 'virtio-net-pci,netdev=n,mac=52:54:00:12:34:56,romfile='];
    const net = `stream,id=n,server=off,addr.type=unix,addr.path=${socket}`;
    const words = [...machine, '-serial', 'stdio', '-netdev', net, ...card];
    const boot = ['-kernel', guest.kernel, '-initrd', initrd, '-append', append];
    return spawn('qemu-system-x86_64', [...words, ...boot], { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  test('gets its address by DHCP, and the gateway is its router', () => {
    expect(findings.get('address4')).toBe('10.0.0.9/24');
    expect(findings.get('route4')).toMatch(/^default via 10\.0\.0\.1 dev eth0/);
  });

  test('pings through the gateway', () => {
    expect(findings.get('ping4')).toContain('3 packets received, 0% packet loss');
  });

  test.each([
    ['4', '203.0.113.1'],
    ['6', '2001:db8::1'],
  ])('fetches over IPv%s as the gateway, and what it fetched is whole', (version, seen) => {
    expect(findings.get(`who${version}`)).toMatch(new RegExp(`^${seen} \\d+$`));
    expect(findings.get(`sent${version}`)).toMatch(/^[0-9a-f]{64}$/);
    expect(findings.get(`fetched${version}`)).toBe(findings.get(`sent${version}`));
  });

  test('serves what it fetched through a forward', async () => {
    const file = join(folder, 'served');
    const url = 'http://203.0.113.1:8080/fetched';
    await server.output('curl', '-sS', '-f', '--max-time', '20', '-o', file, url);
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(findings.get('fetched6'));
  });
});

/** The findings of a guest whose console is the program's output. */
function untilDone(child: ChildProcess): Promise<Map<string, string>> {
  let text = '';
  return new Promise((resolve, reject) => {
    const note = (chunk: Buffer): void => {
      text += chunk;
      if (/guest: done/.test(text)) resolve(readFindings(text));
    };
    child.stdout!.on('data', note);
    child.stderr!.on('data', note);
    child.on('error', reject);
    child.on('close', (status) => reject(new Error(`the guest ended, status ${status}\n${text}`)));
    setTimeout(() => reject(new Error(`the guest is not done in time\n${text}`)), BOOT_MS - 5000).unref();
  });
}
