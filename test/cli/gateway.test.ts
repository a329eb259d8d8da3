/** `conntide gateway` as it runs: reloads that apply wholly or not at all, signals, links. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type GatewayConfig, gatewaySchema } from '../../lib/cli/gateway-config.js';
import { GatewayLog } from '../../lib/cli/gateway-log.js';
import { GatewayRun } from '../../lib/cli/gateway-run.js';
import type { Gateway } from '../../lib/network/gateway.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';
import { PackageCopy, ROOT } from '../package-copy.js';
import { TestConsole } from './console.js';

const RULES = `*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -j ACCEPT
COMMIT
`;
const CONFIG: GatewayConfig = {
  interfaces: [
    { name: 'lan', addresses: ['10.0.0.1/24'] },
    { name: 'wan', addresses: ['203.0.113.1/24'] },
  ],
  routes: ['default via 203.0.113.254', '10.7.0.0/16 via 10.0.0.7'],
  rules: { 4: 'rules.v4' },
  sysctls: { 'net.netfilter.nf_conntrack_udp_timeout': 40 },
  forwards: ['tcp 8080:10.0.0.2/80'],
  policy: { allowOut: ['tcp/443', 'udp/53'], allowIn: ['0.0.0.0/0'] },
};
/** Differs from CONFIG in all that a reload changes. */
const OTHER: GatewayConfig = {
  interfaces: [
    { name: 'lan', addresses: ['10.0.0.1/24', '10.3.0.1/24'] },
    { name: 'wan', addresses: ['203.0.113.1/24', '203.0.113.2/24'] },
  ],
  routes: ['default via 203.0.113.253', '10.8.0.0/16 via 10.3.0.8'],
  rules: { 4: 'other.v4', 6: 'other.v6' },
  sysctls: { 'net.netfilter.nf_conntrack_udp_timeout': 50, 'net.ipv4.ip_default_ttl': 99 },
  forwards: ['tcp 8081:10.3.0.2/80', 'udp 9000:10.0.0.2/9000'],
  inactivity: { intervalMs: 60_000, onExpiry: 'reset-both', probeAnswers: 'counted' },
  keepalive: { intervalMs: 20_000 },
  inside: ['lan'],
  timeWaitReuse: { delayMs: 77 },
  loopbackPrefixes: ['10.99.0.0/16'],
};

let folder = '';
let file = '';
let console_: TestConsole;
const running: GatewayRun[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'conntide-'));
  file = join(folder, 'gateway.json');
  writeFileSync(join(folder, 'rules.v4'), RULES);
  writeFileSync(join(folder, 'other.v4'), '*filter\n-A FORWARD -s 192.0.2.0/24 -j DROP\nCOMMIT\n');
  writeFileSync(join(folder, 'other.v6'), '*filter\n-A FORWARD -j DROP\nCOMMIT\n');
  writeFileSync(join(folder, 'bad.v6'), '*filter\n-A FORWARD --nope\nCOMMIT\n');
});
afterEach(async () => {
  for (const one of running.splice(0)) await one.close('test');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function start(config: GatewayConfig): Promise<GatewayRun> {
  configure(config);
  console_ = new TestConsole();
  const run = await GatewayRun.start(file, new GatewayLog(console_, 'text'));
  running.push(run);
  return run;
}

function configure(config: GatewayConfig): void {
  writeFileSync(file, JSON.stringify(config));
}

/** All that a configuration decides, as it is in the gateway. */
function state({ gateway }: GatewayRun) {
  const { router, forwards } = gateway;
  return {
    rules: [gateway.rules.save(4), gateway.rules.save(6)].map((text) =>
      text
        .split(/(?<=COMMIT\n)/)
        .filter((table) => !/^\*\w+\n(:\w+ ACCEPT \[0:0\]\n)+COMMIT\n/.test(table))
        .sort(),
    ),
    routes: [4, 6].map((version) =>
      router.routes
        .list(version as 4 | 6)
        .map((route) => JSON.stringify(route))
        .sort(),
    ),
    addresses: gateway.interfaces.map(({ index }) => [...router.interfaces.addresses(index)]),
    forwards: forwards.list().map(({ rule, ports }) => ({ rule, ports })),
    requests: forwards.requests,
    timeout: gateway.getSysctl('net.netfilter.nf_conntrack_udp_timeout'),
    ttl: gateway.getSysctl('net.ipv4.ip_default_ttl'),
    timeWait: gateway.engine.tracker.context.timeWait?.delayMs,
    loopbacks: router.interfaces.loopbacks.added,
    probesCount: gateway.engine.tracker.context.settings.probesCount,
    silence: gateway.liveness.nextMs() < Number.POSITIVE_INFINITY,
  };
}

/** What the gateway sends when it gets a packet. */
function send(gateway: Gateway, name: string, packet: string): string[] {
  const sent: string[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (bytes) => sent.push(`${port.name} ${formatPacket(bytes)}`);
  }
  gateway.interface(name).receive(parsePacket(packet));
  return sent;
}

describe('a reload', () => {
  test('brings all that it may change, and the way back brings all of it back', async () => {
    const run = await start(CONFIG);
    const first = state(run);
    configure(OTHER);
    run.reload();
    const second = state(run);
    expect(second).toMatchObject({ timeout: 50, ttl: 99, requests: [{ spec: '8081:10.3.0.2/80' }, {}] });
    expect(second).toMatchObject({
      timeWait: 77,
      loopbacks: [{ prefix: 16 }],
      probesCount: 1,
      silence: true,
    });
    expect(second.rules[0]?.join('')).toContain('-A FORWARD -s 192.0.2.0/24 -j DROP');
    expect(second.rules[0]?.join('')).not.toContain('MASQUERADE');
    expect(second.rules[1]?.join('')).toContain('-A FORWARD -j DROP');
    const fresh = await start(OTHER);
    expect(state(fresh)).toEqual(second);
    configure(CONFIG);
    run.reload();
    expect(state(run)).toEqual(first);
  });

  test('without a change leaves connections, counters and forwards alone', async () => {
    const run = await start(CONFIG);
    expect(send(run.gateway, 'lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53')).toEqual([
      'wan udp 203.0.113.1:5000 > 1.1.1.1:53 ttl 63',
    ]);
    const before = run.gateway.rules.save(4, 'with');
    run.reload();
    expect(run.gateway.rules.save(4, 'with')).toBe(before);
    expect(send(run.gateway, 'wan', 'udp 1.1.1.1:53 > 203.0.113.1:5000')).toEqual([
      'lan udp 1.1.1.1:53 > 10.0.0.2:5000 ttl 63',
    ]);
  });

  test('with another policy holds for the next packet of connections that there are', async () => {
    const run = await start(CONFIG);
    expect(send(run.gateway, 'lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53')).toHaveLength(1);
    configure({ ...CONFIG, policy: { allowOut: ['tcp/443'] } });
    run.reload();
    const [answer] = send(run.gateway, 'lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53');
    expect(answer ?? '').not.toContain('wan udp');
    expect(console_.lines.join('\n')).toMatch(/denied out: not in allowOut/);
  });

  test.each<[string, GatewayConfig, string]>([
    ['rules', { ...OTHER, rules: { 4: 'other.v4', 6: 'bad.v6' } }, "bad.v6:2:12: unknown option ('--nope')"],
    ['a forward', { ...OTHER, forwards: ['tcp 8081:10.99.0.2/80', 'tcp 8081:10.0.0.3/80'] }, 'forwards'],
    ['a route', { ...OTHER, routes: ['default via 203.0.113.253', '10.8.0.0/16 dev nope'] }, 'routes[1]'],
    [
      'an address',
      { ...OTHER, interfaces: [OTHER.interfaces[0]!, { name: 'wan', addresses: ['1.2.3.4.5/6'] }] },
      '4.5/6',
    ],
    ['a setting', { ...OTHER, sysctls: { 'net.ipv4.nope': 1 } }, 'net.ipv4.nope'],
    ['the policy', { ...OTHER, policy: { allowOut: ['443'] } }, 'policy.allowOut[0]'],
    ['a file', { ...OTHER, rules: { 4: 'nowhere' } }, "rules.4: there is no such file ('nowhere')"],
    [
      'an MTU',
      { ...OTHER, interfaces: [{ ...OTHER.interfaces[0]!, mtu: 900 }, OTHER.interfaces[1]!] },
      'interfaces[0].mtu: mtu changes with a restart only',
    ],
    [
      'an interface more',
      { ...OTHER, interfaces: [...OTHER.interfaces, { name: 'dmz', addresses: [] }] },
      'restart only',
    ],
    ['silence', { ...OTHER, inside: ['nowhere'] }, "inside[0]: no such interface is inside ('nowhere')"],
    [
      'a prefix',
      { ...OTHER, loopbackPrefixes: ['10.99.0.1/16'] },
      'loopbackPrefixes[0]: loopback prefix: host bits',
    ],
    ['a size', { ...OTHER, maxConnections: 7 }, 'maxConnections changes with a restart only'],
  ])('that is refused for %s changes nothing', async (_what, config, expected) => {
    const run = await start(CONFIG);
    const before = state(run);
    configure(config);
    expect(() => run.reload()).toThrow(expected);
    expect(state(run)).toEqual(before);
  });

  test('takes or refuses every key of the schema: none is passed over', async () => {
    const keys = Object.keys(gatewaySchema().properties ?? {}).filter((key) => key !== '$schema');
    const refused: Partial<Record<keyof GatewayConfig, unknown>> = {
      tracking: 'always',
      invalid: 'drop',
      maxConnections: 7,
      sets: 'sets2',
      dns: { on: ['lan'] },
    };
    writeFileSync(join(folder, 'sets2'), 'create known hash:ip\n');
    const taken = keys.filter((key) => !(key in refused));
    // What OTHER has of these is seen in `state` by the test above.
    const { policy = {}, ...changed } = { ...OTHER, policy: { denyOut: ['0.0.0.0/0'] } };
    expect(Object.keys({ ...changed, policy }).sort()).toEqual(taken.sort());
    const run = await start(CONFIG);
    for (const [key, value] of Object.entries(refused)) {
      configure({ ...CONFIG, [key]: value } as GatewayConfig);
      expect(() => run.reload(), key).toThrow(/changes with a restart only/);
    }
  });

  test('that fails half way is undone, though the rehearsal saw nothing', async () => {
    const run = await start(CONFIG);
    const before = state(run);
    const { gateway } = run;
    const apply = gateway.forwards.apply.bind(gateway.forwards);
    let calls = 0;
    gateway.forwards.apply = (forwards) => {
      apply(forwards);
      if (++calls === 1) throw new Error('out of luck');
    };
    configure({ ...OTHER, forwards: CONFIG.forwards ?? [], policy: {} });
    gateway.policy = () => {
      throw new Error('out of luck');
    };
    expect(() => run.reload()).toThrow('out of luck');
    expect(state(run)).toEqual(before);
  });

  test('with other sets in the same file is refused', async () => {
    writeFileSync(join(folder, 'sets'), 'create known hash:ip\n');
    const run = await start({ ...CONFIG, sets: 'sets' });
    run.reload();
    writeFileSync(join(folder, 'sets'), 'create known hash:ip\nadd known 192.0.2.1\n');
    expect(() => run.reload()).toThrow('sets: sets changes with a restart only');
  });

  test('of a file that is not JSON changes nothing', async () => {
    const run = await start(CONFIG);
    const before = state(run);
    writeFileSync(file, '{');
    expect(() => run.reload()).toThrow('gateway.json:1:');
    expect(state(run)).toEqual(before);
  });
});

test('a link that cannot be had ends the start, and leaves nothing open', async () => {
  const config: GatewayConfig = {
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'], adapter: { type: 'qemu', socket: 'lan.sock' } },
      { name: 'dmz', addresses: ['10.1.0.1/24'], adapter: { type: 'qemu', socket: 'no/such/folder.sock' } },
    ],
  };
  await expect(start(config)).rejects.toThrow(/gateway\.json:1:\d+: interfaces\[1\]\.adapter/);
  expect(existsSync(join(folder, 'lan.sock'))).toBe(false);
});

test('guests that ask for names are answered by the servers of the file, after a reload by the new ones', async () => {
  const servers = [1, 2].map((last) => {
    const socket = createSocket('udp4');
    socket.on('message', (query, { port, address }) => {
      const answer = Uint8Array.of(...query, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 51, 100, last);
      answer.set([0x81, 0x80, 0, 1, 0, 1], 2);
      socket.send(answer, port, address);
    });
    return socket;
  });
  for (const socket of servers) await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const [one, two] = servers.map((socket) => `127.0.0.1:${socket.address().port}`);
  const run = await start({ ...CONFIG, policy: {}, dns: { servers: [one!] } });
  const question = '00070100000100000000000001610474657374 0000010001'.replace(' ', '');
  const ask = (): Promise<string> =>
    new Promise((resolve) => {
      const lan = run.gateway.interface('lan');
      lan.onTransmit = (packet) => resolve([...packet.subarray(-4)].join('.'));
      lan.receive(parsePacket(`udp 10.0.0.2:5000 > 10.0.0.1:53 data ${question}`));
    });
  expect(await ask()).toBe('198.51.100.1');
  configure({ ...CONFIG, policy: {}, dns: { servers: [two!] } });
  run.reload();
  expect(await ask()).toBe('198.51.100.2');
  for (const socket of servers) socket.close();
});

test('DNS over TCP has the limits of the file, and they change with a restart only', async () => {
  const dns = { servers: ['192.0.2.53'], maxConnections: 2 };
  const run = await start({ ...CONFIG, policy: {}, dns });
  for (const port of [5001, 5002, 5003]) {
    const way = `tcp 10.0.0.2:${port} > 10.0.0.1:53`;
    const [answer] = send(run.gateway, 'lan', `${way} SYN seq 1`);
    const [, seq] = /SYN,ACK seq (\d+)/.exec(answer!)!;
    send(run.gateway, 'lan', `${way} ACK seq 2 ack ${(Number(seq) + 1) >>> 0}`);
  }
  expect(run.gateway.dns!.counters).toMatchObject({ connections: 3, cutOff: 1 });

  const fixed = ['on', 'maxInFlight', 'maxPerClient', 'maxConnections', 'maxConnectionsPerClient', 'idleMs'];
  const keys = Object.keys(gatewaySchema().$defs!.dns!.properties!);
  expect(keys.sort()).toEqual(['servers', 'timeoutMs', ...fixed].sort());
  for (const key of fixed) {
    configure({ ...CONFIG, policy: {}, dns: { ...dns, [key]: key === 'on' ? ['lan'] : 200 } });
    expect(() => run.reload(), key).toThrow(`dns.${key}: ${key} changes with a restart only`);
  }
});

test('a recording has what passed an interface', async () => {
  const { interfaces, ...rest } = CONFIG;
  const [lan, wan] = interfaces;
  const run = await start({ ...rest, interfaces: [{ ...lan!, capture: 'lan.pcapng' }, wan!] });
  send(run.gateway, 'lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53 data "hello there"');
  await run.close('test');
  expect(readFileSync(join(folder, 'lan.pcapng')).includes('hello there')).toBe(true);
});

describe('as a process', () => {
  const copy = new PackageCopy('gateway');
  let child: ChildProcessWithoutNullStreams | undefined;

  beforeAll(async () => {
    await copy.make();
    symlinkSync(join(ROOT, 'schema'), join(copy.folder, 'schema'));
  }, 60_000);
  afterEach(() => {
    child?.kill('SIGKILL');
  });
  afterAll(() => copy.remove());

  test('answers a guest, reloads, reports and ends cleanly as signals say', { timeout: 60_000 }, async () => {
    const config: GatewayConfig = {
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24'], adapter: { type: 'qemu', socket: 'guest.sock' } },
      ],
    };
    configure(config);
    child = spawn(process.execPath, [
      join(copy.folder, 'dist/cli/main.js'),
      'gateway',
      '--json',
      '--config',
      file,
    ]);
    const events: Record<string, unknown>[] = [];
    let rest = '';
    let wake = (): void => {};
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      events.push(...lines.map((line) => JSON.parse(line)));
      wake();
    });
    let complaints = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaints += text;
    });
    const seen = async (event: string): Promise<Record<string, unknown>> => {
      for (;;) {
        const at = events.findIndex((one) => one.event === event);
        if (at >= 0) return events.splice(0, at + 1).at(-1) as Record<string, unknown>;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    await seen('started');

    const guest = createConnection(join(folder, 'guest.sock'));
    const answered = new Promise<Buffer>((resolve) => guest.once('data', resolve));
    guest.write(
      Buffer.from(
        `0000002a${'ff'.repeat(6)}020000000002080600010800060400010200000000020a000002${'00'.repeat(6)}0a000001`,
        'hex',
      ),
    );
    const frame = await answered;
    expect(frame.subarray(4).toString('hex')).toMatch(
      /^020000000002.{12}08060001080006040002.{12}0a0000010200000000020a000002/,
    );

    writeFileSync(file, JSON.stringify({ ...config, routes: ['default via 10.0.0.9'] }));
    child.kill('SIGHUP');
    await seen('reloaded');
    writeFileSync(file, '{');
    child.kill('SIGHUP');
    expect(await seen('reload-refused')).toMatchObject({
      errors: [expect.stringContaining('gateway.json:1:')],
    });

    child.kill('SIGUSR2');
    expect(await seen('report')).toMatchObject({
      flowCount: 0,
      interfaces: [{ name: 'lan', state: 'up', receivedPackets: 1, transmittedPackets: 1 }],
    });

    const ended = new Promise((resolve) =>
      child?.once('exit', (status, signal) => resolve({ status, signal })),
    );
    child.kill('SIGINT');
    expect(await seen('closed')).toMatchObject({ reason: 'SIGINT' });
    expect(await ended).toEqual({ status: 0, signal: null });
    expect(existsSync(join(folder, 'guest.sock'))).toBe(false);
    expect(complaints).toBe('');
  });
});
