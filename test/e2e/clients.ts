/**
 * Real programs on both sides of a gateway that masquerades and forwards a port.
 *
 *   client 10.0.0.2  -- lan - gateway - wan --  server 203.0.113.2  -- MTU 1400 -- router --  far 198.51.100.2
 *          fd00::2                                     2001:db8::2                                2001:db8:5::2
 *   dmz 10.1.0.2     -- MTU 1300 --
 *       fd01::2
 *
 * Server and far know nothing of the client's network: what is not translated does not come back.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TunOptions } from '../../lib/node/tun.js';
import type { Lab } from './lab.js';
import { missingFor } from './needs.js';
import type { Station } from './station.js';

const RULES_4 = `*nat
-A PREROUTING -i wan -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i lan -j ACCEPT
-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
COMMIT
`;
const RULES_6 = RULES_4.replace('10.0.0.2:80', '[fd00::2]:80');

const FAMILIES = [
  {
    family: 'IPv4',
    version: 4,
    client: '10.0.0.2',
    dmz: '10.1.0.2',
    inside: '10.0.0.1',
    outside: '203.0.113.1',
    server: '203.0.113.2',
    next: '192.0.2.2',
    far: '198.51.100.2',
    url: (address: string) => address,
  },
  {
    family: 'IPv6',
    version: 6,
    client: 'fd00::2',
    dmz: 'fd01::2',
    inside: 'fd00::1',
    outside: '2001:db8::1',
    server: '2001:db8::2',
    next: '2001:db8:2::2',
    far: '2001:db8:5::2',
    url: (address: string) => `[${address}]`,
  },
];

const MIB = 2 ** 20;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Declares the tests, with the TUN devices working so. */
export function clientsSuite(offload: NonNullable<TunOptions['offload']>): void {
  const subject = `real clients, offload ${offload}`;
  const missing = missingFor(subject, ['curl', 'iperf3', 'ping', 'traceroute']);
  describe.skipIf(missing.length > 0)(subject, () => {
    labTests(offload);
  });
}

function labTests(offload: NonNullable<TunOptions['offload']>): void {
  const folder = mkdtempSync(join(tmpdir(), 'conntide-e2e-'));
  let lab: Lab;
  let client: Station;
  let server: Station;
  let router: Station;
  let far: Station;
  let dmz: Station;

  beforeAll(async () => {
    const { cable, Lab } = await import('./lab.js');
    lab = Lab.open({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8::1/64'] },
        { name: 'dmz', addresses: ['10.1.0.1/24', 'fd01::1/64'], mtu: 1300 },
      ],
      routes: ['default via 203.0.113.2', '-6 default via 2001:db8::2'],
      rules: { 4: RULES_4, 6: RULES_6 },
    });
    client = await lab.station('client');
    server = await lab.station('server');
    router = await lab.station('router');
    far = await lab.station('far');
    await lab.plug('lan', client, ['10.0.0.2/24', 'fd00::2/64'], { offload });
    await lab.plug('wan', server, ['203.0.113.2/24', '2001:db8::2/64'], { offload });
    client.ip('route add default via 10.0.0.1');
    client.ip('-6 route add default via fd00::1');
    cable(server, ['192.0.2.1/24', '2001:db8:2::1/64'], router, ['192.0.2.2/24', '2001:db8:2::2/64'], 1400);
    cable(
      router,
      ['198.51.100.1/24', '2001:db8:5::1/64'],
      far,
      ['198.51.100.2/24', '2001:db8:5::2/64'],
      1500,
    );
    for (const station of [server, router]) {
      station.sysctl('net.ipv4.ip_forward', 1);
      station.sysctl('net.ipv6.conf.all.forwarding', 1);
    }
    server.ip('route add default via 192.0.2.2');
    server.ip('-6 route add default via 2001:db8:2::2');
    router.ip('route add 203.0.113.0/24 via 192.0.2.1');
    router.ip('-6 route add 2001:db8::/64 via 2001:db8:2::1');
    far.ip('route add default via 198.51.100.1');
    far.ip('-6 route add default via 2001:db8:5::1');
    dmz = await lab.station('dmz');
    await lab.plug('dmz', dmz, ['10.1.0.2/24', 'fd01::2/64'], { offload });
    // Packets of the gateway's link are smaller than this end knows: it offers its peers segments that do not fit.
    dmz.ip('link set dmz0 mtu 1500');
    dmz.ip('route add default via 10.1.0.1');
    dmz.ip('-6 route add default via fd01::1');
    const servers = [client, server, far].flatMap((station, i) =>
      FAMILIES.map((family) =>
        station.servePeer('http', [family.client, family.server, family.far][i]!, '80'),
      ),
    );
    const echoes = FAMILIES.map((family) => server.servePeer('udp', family.server, '7'));
    const sinks = FAMILIES.flatMap((family) => [
      far.servePeer('sink', family.far, '9'),
      dmz.servePeer('sink', family.dmz, '9'),
    ]);
    const bulk = server.serve(/^Server listening/, 'iperf3', '-s', '--forceflush');
    await Promise.all([...servers, ...echoes, ...sinks, bulk]);
  });

  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true });
  });

  describe.each(FAMILIES)(
    'over $family',
    ({ version, inside, outside, server: target, next, far: end, dmz: nearby, url }) => {
      const curl = (station: Station, ...words: string[]): Promise<string> =>
        station.output('curl', '-sS', '-f', '--max-time', '20', ...words);

      test('curl fetches through MASQUERADE; the server sees the gateway', async () => {
        const seen = await curl(client, `http://${url(target)}/who`);
        expect(seen).toMatch(new RegExp(`^${outside} \\d+\n$`));
      });

      test('curl fetches through a forward; the server behind it sees the client', async () => {
        const seen = await curl(server, `http://${url(outside)}:8080/who`);
        expect(seen).toMatch(new RegExp(`^${target} \\d+\n$`));
      });

      test('a port that is not forwarded is refused', async () => {
        const { status } = await server.run(
          'curl',
          '-sS',
          '--max-time',
          '5',
          `http://${url(outside)}:8081/who`,
        );
        expect(status).toBe(7);
      });

      test('32 MiB arrive as they were sent, in both directions, by MASQUERADE and by forward', async () => {
        const bytes = randomBytes(32 * MIB);
        const up = join(folder, 'up');
        const down = join(folder, 'down');
        const headers = join(folder, 'headers');
        writeFileSync(up, bytes);
        for (const [station, at] of [
          [client, url(target)],
          [server, `${url(outside)}:8080`],
        ] as const) {
          expect(await curl(station, '--data-binary', `@${up}`, `http://${at}/sum`)).toBe(sha256(bytes));
          await curl(station, '-o', down, '-D', headers, `http://${at}/bytes/${32 * MIB}`);
          expect(readFileSync(headers, 'utf8')).toContain(`x-sha256: ${sha256(readFileSync(down))}`);
        }
      }, 60_000);

      test.each([
        ['from the client', []],
        ['to the client', ['-R']],
      ])('iperf3 moves eight streams at once %s', async (_, words) => {
        const output = await client.output('iperf3', '-J', '-c', target, '-P', '8', '-t', '3', ...words);
        const { end: sums, error } = JSON.parse(output);
        expect(error).toBeUndefined();
        expect(sums.streams).toHaveLength(8);
        for (const stream of sums.streams) expect(stream.receiver.bytes).toBeGreaterThan(MIB);
        // iperf3 ends a test while bytes are on the way: what arrived was sent.
        expect(sums.sum_received.bytes).toBeLessThanOrEqual(sums.sum_sent.bytes);
        console.log(
          `iperf3 IPv${version} ${words.join(' ')}: ${(sums.sum_received.bits_per_second / 1e6).toFixed(0)} Mbit/s`,
        );
      });

      test('UDP datagrams and their answers pass, fragmented ones too', async () => {
        const sizes = ['1', '512', '1400', '4000', '20000'];
        const lines = (await client.peer('ask-udp', target, '7', ...sizes)).trim().split('\n');
        expect(lines.map((line) => line.split(' ')[0]).sort()).toEqual([...sizes].sort());
        expect(new Set(lines.map((line) => line.split(' ')[1]))).toEqual(new Set([outside]));
        expect(new Set(lines.map((line) => line.split(' ')[2])).size).toBe(1);
      });

      test('ping reaches the gateway and what lies behind', async () => {
        for (const address of [inside, outside, target, end]) {
          const output = await client.output('ping', '-n', '-i', '0.05', '-c', '20', '-W', '2', address);
          expect(output).toContain('20 packets transmitted, 20 received, 0% packet loss');
        }
      });

      test.each([
        ['UDP', []],
        ['ICMP', ['-I']],
        ['TCP', ['-T']],
      ])('traceroute with %s sees each hop', async (_, words) => {
        const family = version === 6 ? ['-6'] : [];
        const output = await client.output(
          'traceroute',
          ...family,
          ...words,
          '-n',
          '-q',
          '1',
          '-w',
          '2',
          end,
        );
        const hops = output
          .trim()
          .split('\n')
          .slice(1)
          .map((line) => line.trim().split(/\s+/)[1]);
        expect(hops).toEqual([inside, target, next, end]);
      });

      test('path MTU discovery finds a smaller link behind, its messages translated', async () => {
        await expectSent(end, 4 * MIB);
        expect(client.ip(`-${version} route get ${end}`)).toMatch(/\bmtu 1400\b/);
        expect(client.ip(`-${version} route get ${target}`)).not.toMatch(/\bmtu\b/);
      });

      test("path MTU discovery finds a smaller link of the gateway's own", async () => {
        await expectSent(nearby, 4 * MIB);
        expect(client.ip(`-${version} route get ${nearby}`)).toMatch(/\bmtu 1300\b/);
      });

      async function expectSent(address: string, lengthBytes: number): Promise<void> {
        const [sent, arrived] = (await client.peer('send', address, '9', String(lengthBytes)))
          .trim()
          .split('\n');
        expect(sent).toMatch(/^[0-9a-f]{64}$/);
        expect(arrived).toBe(sent);
      }

      test('a thousand HTTP connections at once are answered, each with a port of its own', async () => {
        const told = JSON.parse(await client.peer('many', `http://${url(target)}/who`, '1000'));
        expect(told).toMatchObject({ answers: 1000, clients: 1000 });
        expect(told.first).toContain(outside);
      });
    },
  );

  test('the gateway dropped nothing but what it answered with an error', () => {
    const { 'too-big': tooBig, 'not-for-us': others, ...drops } = lab.gateway.drops.toObject();
    // A hop of each traceroute, and the port that is not forwarded.
    expect(drops).toEqual({ 'ttl-exceeded': 6, 'no-local-listener': 2 });
    expect(tooBig).toBeGreaterThanOrEqual(2);
    // The stations' kernels tell all routers of themselves.
    expect(others ?? 0).toBeLessThan(20);
  });
}
