/**
 * TCP throughput, one iperf3 stream between two namespaces: through conntide's TUN devices and a MASQUERADE rule, and
 * through the kernel forwarding between veth devices with the same rule. Prints rates, their ratio, and where the
 * gateway's time goes.
 *
 *   npx tsc -p tsconfig.bench.json && sudo node .build/bench/throughput.js [--seconds N] [--rounds N]
 *
 * Needs root, ip, nsenter, unshare, iptables, ethtool and iperf3. Rates are medians of the rounds.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { type Profiler, Session } from 'node:inspector/promises';
import { cpus, loadavg, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createGateway } from '../lib/network/gateway.js';
import { attachTun } from '../lib/node/tun.js';
import { Station } from '../test/e2e/station.js';

/** `none`: packets of up to 1500 bytes all the way; `gso`: segments of up to 64 KiB, cut by nobody. */
type Packets = 'none' | 'gso';
type Direction = 'up' | 'down';

const RULES = `*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i lan -j ACCEPT
COMMIT
`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
    inside: { type: 'boolean', default: false },
  },
});
const SECONDS = values.seconds;
const ROUNDS = Number(values.rounds);

/** What one side measured. */
interface Figures {
  readonly gigabits: number;
  /** Gateway's CPU time over the time that passed; undefined for the kernel. */
  readonly user?: number;
  readonly system?: number;
  /** Share of busy time by place. */
  readonly places?: Readonly<Record<string, number>>;
}

async function iperf(client: Station, direction: Direction): Promise<number> {
  const words = ['-J', '-c', '203.0.113.2', '-t', SECONDS, '-O', '1'];
  const output = await client.output('iperf3', ...words, ...(direction === 'down' ? ['-R'] : []));
  const { end, error } = JSON.parse(output);
  if (error !== undefined) throw new Error(error);
  return end.sum_received.bits_per_second / 1e9;
}

/** Client and server with routes as both setups want them; the rest is `join`'s. */
async function withStations<T>(
  join: (client: Station, server: Station) => Promise<() => Promise<void>>,
  measure: (client: Station) => Promise<T>,
): Promise<T> {
  const client = await Station.make('client');
  const server = await Station.make('server');
  const part = await join(client, server);
  client.ip('route add default via 10.0.0.1');
  await server.serve(/^Server listening/, 'iperf3', '-s', '--forceflush');
  try {
    return await measure(client);
  } finally {
    await Promise.all([client.close(), server.close()]);
    await part();
  }
}

async function measureConntide(packets: Packets, direction: Direction): Promise<Figures> {
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', addresses: ['203.0.113.1/24'] },
    ],
    rules: { 4: RULES },
  });
  const offload = packets === 'gso' ? 'virtio' : 'none';
  const join = async (client: Station, server: Station) => {
    const lan = await attachTun(gateway.interface('lan'), { name: 'lan0', offload });
    const wan = await attachTun(gateway.interface('wan'), { name: 'wan0', offload });
    client.adopt('lan0', ['10.0.0.2/24']);
    server.adopt('wan0', ['203.0.113.2/24']);
    return async () => {
      await Promise.all([lan.close(), wan.close()]);
      gateway.close();
    };
  };
  return withStations(join, async (client) => {
    await iperf(client, direction);
    const rates: number[] = [];
    const before = process.cpuUsage();
    const startMs = performance.now();
    for (let round = 0; round < ROUNDS; round++) rates.push(await iperf(client, direction));
    const { user, system } = process.cpuUsage(before);
    const passedUs = (performance.now() - startMs) * 1000;
    // Profiled apart: the profiler costs something itself.
    const places = await profile(() => iperf(client, direction));
    return { gigabits: median(rates), user: user / passedUs, system: system / passedUs, places };
  });
}

async function measureKernel(packets: Packets, direction: Direction): Promise<Figures> {
  const join = async (client: Station, server: Station) => {
    const router = await Station.make('router');
    const cables = [
      ['lan', client, '10.0.0.1/24', '10.0.0.2/24'],
      ['wan', server, '203.0.113.1/24', '203.0.113.2/24'],
    ] as const;
    for (const [name, station, near, far] of cables) {
      router.ip(`link add ${name} type veth peer name ${name}0 netns ${station.pid}`);
      router.addAddress(near, name);
      router.ip(`link set ${name} up`);
      station.addAddress(far, `${name}0`);
      station.ip(`link set ${name}0 up`);
      if (packets === 'gso') continue;
      const off = ['tso', 'off', 'gso', 'off', 'gro', 'off'];
      await router.output('ethtool', '-K', name, ...off);
      await station.output('ethtool', '-K', `${name}0`, ...off);
    }
    router.sysctl('net.ipv4.ip_forward', 1);
    execFileSync('nsenter', ['-t', String(router.pid), '-n', 'iptables-restore'], { input: RULES });
    return () => router.close();
  };
  return withStations(join, async (client) => {
    await iperf(client, direction);
    const rates: number[] = [];
    for (let round = 0; round < ROUNDS; round++) rates.push(await iperf(client, direction));
    return { gigabits: median(rates) };
  });
}

/** Shares of the time that this thread was busy during `work`, by place. */
async function profile(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: 200 });
  await session.post('Profiler.start');
  await work();
  const { profile: taken } = await session.post('Profiler.stop');
  session.disconnect();
  return placesOf(taken);
}

function placesOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Record<string, number> {
  const placeById = new Map(nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
  const times: Record<string, number> = {};
  let busy = 0;
  samples.forEach((id, i) => {
    const place = placeById.get(id) ?? 'Node and its event loop';
    if (place === 'idle') return;
    const time = timeDeltas[i] ?? 0;
    times[place] = (times[place] ?? 0) + time;
    busy += time;
  });
  return Object.fromEntries(Object.entries(times).map(([place, time]) => [place, time / busy]));
}

function placeOf({ functionName, url }: { functionName: string; url: string }): string {
  if (functionName === '(idle)') return 'idle';
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (/\/lib\/node\//.test(url)) return 'TUN adapter';
  if (/\/lib\//.test(url)) return 'gateway';
  // All calls through koffi share a native entry point, which the profiler knows by the name of any of them.
  if (url === '' && !functionName.startsWith('(')) return 'system calls: read, write';
  return 'Node and its event loop';
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

async function main(): Promise<void> {
  const version = (program: string, ...words: string[]) =>
    spawnSync(program, words, { encoding: 'utf8' }).stdout.split('\n')[0];
  console.log(
    `${cpus()[0]?.model.trim()}, ${cpus().length} cores, Linux ${release()}, Node ${process.versions.node},`,
  );
  console.log(
    `${version('iperf3', '--version')}, ${version('iptables', '--version')}; load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const packets of ['none', 'gso'] as const) {
    for (const direction of ['up', 'down'] as const) {
      const ours = await measureConntide(packets, direction);
      const theirs = await measureKernel(packets, direction);
      const ratio = percent(ours.gigabits / theirs.gigabits);
      console.log(
        `\n${packets}, ${direction}: conntide ${ours.gigabits.toFixed(2)} Gbit/s, kernel ${theirs.gigabits.toFixed(2)}, ratio ${ratio}`,
      );
      console.log(`  gateway: user ${percent(ours.user!)}, system ${percent(ours.system!)} of the time`);
      const places = Object.entries(ours.places!).sort(([, a], [, b]) => b - a);
      for (const [place, share] of places) console.log(`  ${percent(share).padStart(5)} ${place}`);
    }
  }
}

if (values.inside) await main();
else {
  const script = fileURLToPath(import.meta.url);
  const words = ['-n', process.execPath, script, '--inside', ...process.argv.slice(2)];
  process.exitCode = spawnSync('unshare', words, { stdio: 'inherit' }).status ?? 1;
}
