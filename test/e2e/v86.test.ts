/**
 * A page in Chromium that has all of it: a machine emulated by v86, its gateway, and a WebSocket out. Behind the
 * WebSocket, in a namespace, is the web server that the machine fetches from.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attachTun, type TunAttachment } from '../../lib/node/tun.js';
import { fetchGuest, makeGuest, readFindings } from './guest/initrd.js';
import { missingFor } from './needs.js';
import { PagePort, servePage, urlOf } from './page/server.js';
import { Station } from './station.js';

const SUBJECT = 'a guest in v86, in a page';
const CHROMIUM = '/usr/bin/chromium';
const missing = missingFor(
  SUBJECT,
  [CHROMIUM, 'apt-get', 'dpkg-deb'],
  [
    ['test', '-e', '/usr/share/seabios/bios.bin'],
    ['test', '-e', 'dist/index.js'],
  ],
);
if (missing.length === 0) missing.push(...fetchGuest('i386', SUBJECT));
const BOOT_MS = 120_000;
const BYTES = 256 * 1024;

/** Chromium without the network that it would like to have. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-proxy-server',
];

interface Shown {
  start(variables: string): Promise<void>;
  readonly lab: {
    printed(): string;
    connections(): { family: number; destination: string; destinationPort?: number }[];
  };
}

describe.skipIf(missing.length > 0)(SUBJECT, () => {
  let station: Station;
  let server: Server;
  let port: PagePort;
  let tun: TunAttachment;
  let browser: Browser;
  let page: Page;
  let findings: Map<string, string>;

  beforeAll(async () => {
    const { unshareNetwork } = await import('../kernel/libc.js');
    const guest = makeGuest('i386');
    unshareNetwork();
    execFileSync('ip', ['link', 'set', 'lo', 'up']);
    station = await Station.make('server');
    server = await servePage({
      '/guest/vmlinuz': readFileSync(guest.kernel),
      '/guest/initrd': guest.initrd,
    });
    port = new PagePort(server);
    tun = await attachTun(port, { name: 'uplink' });
    station.adopt(tun.name, ['203.0.113.2/24', '2001:db8::2/64']);
    await Promise.all([
      station.servePeer('http', '203.0.113.2', '80'),
      station.servePeer('http', '2001:db8::2', '80'),
    ]);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
    page = await browser.newPage();
    const said: string[] = [];
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(error.stack ?? error.message));
    await page.goto(`${urlOf(server)}/page/index.html`, { waitUntil: 'load' });
    await page.evaluate(
      (variables) => (globalThis as unknown as Shown).start(variables),
      `server4=203.0.113.2 server6=2001:db8::2 bytes=${BYTES}`,
    );
    const printed = () => page.evaluate(() => (globalThis as unknown as Shown).lab.printed());
    try {
      await page.waitForFunction(
        () => (globalThis as unknown as Shown).lab.printed().includes('guest: done'),
        undefined,
        { timeout: BOOT_MS - 10_000, polling: 250 },
      );
    } catch (error) {
      throw new Error(`the guest is not done in time\n${await printed()}\n${said.join('\n')}`, {
        cause: error,
      });
    }
    findings = readFindings(await printed());
  }, BOOT_MS);

  afterAll(async () => {
    await browser?.close();
    port?.close();
    server?.close();
    await station?.close();
    await tun?.close();
  });

  test("gets its address from the page's gateway", () => {
    expect(findings.get('address4')).toMatch(/^10\.0\.0\.\d+\/24$/);
    expect(findings.get('route4')).toMatch(/^default via 10\.0\.0\.1 dev eth0/);
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

  test('is tracked in the page', async () => {
    const connections = await page.evaluate(() => (globalThis as unknown as Shown).lab.connections());
    const fetched = connections.filter(({ destinationPort }) => destinationPort === 80);
    expect(new Set(fetched.map(({ destination }) => destination))).toEqual(
      new Set(['203.0.113.2', '2001:db8::2']),
    );
  });
});
