/**
 * First packets of connections that are parsed and tracked in one go (`conntrack/opening.ts`): a router that does so and
 * one that does not (without a flow cache) do the same to the same packets, whatever rules, helpers and limits there are.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatConnection } from '../../lib/conntrack/dump.js';
import type { TimeWaitOptions } from '../../lib/conntrack/time-wait.js';
import { Router } from '../../lib/network/router.js';
import { SeededRandom } from '../../lib/random.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { PacketType } from '../../lib/wire/packet.js';
import { Verdict } from '../../lib/wire/verdict.js';

const LAN = 1;
const WAN = 2;

const RULES = [
  '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n',
  '*nat\n-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 1.1.1.9:5300\n-A POSTROUTING -o wan -j SNAT --to-source 203.0.113.2\nCOMMIT\n',
  '*nat\n-A PREROUTING -p tcp --dport 53 -j REDIRECT --to-ports 9\n-A POSTROUTING -o wan -j MASQUERADE --random-fully\nCOMMIT\n',
  '*nat\n-A POSTROUTING -o wan -p udp -j SNAT --to-source 203.0.113.1-203.0.113.2:2000-2003\nCOMMIT\n',
  '*mangle\n-A PREROUTING -p udp --dport 53 -j MARK --set-mark 5\n-A PREROUTING -s 10.0.0.4 -j DROP\n-A FORWARD -j TTL --ttl-dec 1\n-A POSTROUTING -p tcp -j TTL --ttl-set 9\nCOMMIT\n',
  '*mangle\n-A PREROUTING -p udp -s 10.0.0.3 -j TTL --ttl-set 1\n-A PREROUTING -p tcp -j NFQUEUE\nCOMMIT\n',
  '*filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A FORWARD -i lan -p udp -j ACCEPT\n-A FORWARD -p tcp --dport 80 -j REJECT\nCOMMIT\n',
  '*filter\n:FORWARD ACCEPT\n-A FORWARD -p udp --dport 80 -j DROP\n-A FORWARD -m mac --mac-source 02:00:00:00:00:07 -j DROP\nCOMMIT\n',
  '*raw\n-A PREROUTING -p udp --dport 53 -j NOTRACK\nCOMMIT\n',
  '*raw\n-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\n-A PREROUTING -s 10.0.0.3 -j CT --zone 4\nCOMMIT\n',
  '*security\n-A FORWARD -p udp --dport 443 -j DROP\nCOMMIT\n',
];

const SETTINGS = [
  ['net.netfilter.nf_conntrack_checksum', '0'],
  ['net.netfilter.nf_conntrack_acct', '0'],
  ['net.netfilter.nf_conntrack_max', '20'],
  ['net.netfilter.nf_conntrack_udp_timeout', '3'],
  ['net.ipv4.ip_forward', '0'],
] as const;

/** Things done to a packet, each seldom. */
const EXTRAS = [
  ...Array<string>(40).fill(''),
  'ttl 1',
  'ttl 2',
  'df',
  'tos 4',
  'frag 8',
  'mf',
  'ipsum 1',
  'sum 7',
  'nosum',
  'udplen 9',
  'udplen 4',
  'options 01010101',
  'cut 30',
  'cut 24',
];

const SOURCES = [
  '10.0.0.2',
  '10.0.0.3',
  '10.0.0.4',
  '10.0.0.5',
  '10.0.0.1',
  '0.0.0.0',
  '127.0.0.1',
  '224.0.0.9',
];
const DESTINATIONS = [
  ...['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.1', '1.1.1.2', '1.1.1.3'],
  ...['10.0.0.3', '203.0.113.1', '203.0.113.255', '255.255.255.255', '224.0.0.1', '127.0.0.1', '192.168.9.9'],
];

const packet = fc.record({
  kind: fc.constant('packet' as const),
  protocol: fc.constantFrom('udp', 'udp', 'tcp', 'udplite'),
  source: fc.oneof(
    { weight: 20, arbitrary: fc.nat(3) },
    { weight: 1, arbitrary: fc.nat(SOURCES.length - 1) },
  ),
  destination: fc.oneof(
    { weight: 20, arbitrary: fc.nat(5) },
    { weight: 2, arbitrary: fc.nat(DESTINATIONS.length - 1) },
  ),
  port: fc.constantFrom(1000, 1001, 1002, 2000, 5000),
  to: fc.constantFrom(53, 80, 443, 21, 5000),
  flags: fc.constantFrom(
    'SYN',
    'SYN',
    'SYN',
    'SYN',
    'ACK',
    'SYN,ACK',
    'RST',
    'FIN,ACK',
    'SYN,FIN',
    'SYN,PSH',
  ),
  extra: fc.constantFrom(...EXTRAS),
  isReply: fc.nat(4).map((n) => n === 0),
  length: fc.constantFrom(0, 0, 1, 20, 1473),
  padding: fc.constantFrom(0, 0, 0, 6),
  header: fc.constantFrom('none', 'none', 'host', 'broadcast'),
});
const step = fc.oneof(
  { weight: 300, arbitrary: packet },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('rules' as const), which: fc.nat(RULES.length - 1) }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: 'noRules' as const }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 900, 4000, 31_000) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('setting' as const),
      which: fc.nat(SETTINGS.length - 1),
      isOn: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('helper' as const), isOn: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('listen' as const), isOn: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reserve' as const), isOn: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('address' as const), isOn: fc.boolean() }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type PacketStep = Extract<Step, { kind: 'packet' }>;

interface Circumstances {
  readonly timeWaitReuse?: TimeWaitOptions;
  /** The table has changed its hash, to one that no two tables share: so nobody must be evicted. */
  readonly isAttacked?: boolean;
}

class Side {
  readonly router: Router;
  /** What left, and the events that were heard. */
  readonly told: string[] = [];
  readonly #before = new Map<string, number>();
  #helperGone: (() => void) | undefined;
  #reservation: { release(): void } | undefined;
  #hasAddress = false;

  constructor(flowCache: boolean, { timeWaitReuse, isAttacked }: Circumstances) {
    this.router = new Router({
      flowCache,
      seed: 1,
      random: new SeededRandom(5),
      ...(isAttacked === true ? { maxConnections: 16_384 } : { maxConnections: 64, buckets: 8 }),
      ...(timeWaitReuse === undefined ? {} : { timeWaitReuse }),
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '203.0.113.2/24'], mtu: 1480 },
      ],
      routes: ['default dev wan', 'prohibit 192.168.9.0/24'],
      loopbackPrefixes: [],
    });
    const { router } = this;
    router.engine.restore(4, RULES[0] as string);
    // Memory is asked for ahead as in a large table.
    const { foresight } = router.engine.tracker.table(4);
    if (foresight === undefined) throw new Error('NAT asks for nothing ahead');
    if (flowCache) foresight.least = 0;
    router.onTransmit = (index, bytes, origin) => {
      this.told.push(`${index} ${origin} ${Buffer.from(bytes).toString('hex')}`);
    };
    // Twice the time that anything lives with this setting is the default otherwise.
    for (const [name] of SETTINGS) this.#before.set(name, router.getSysctl(name) ?? 0);
  }

  readonly #hear = (connection: unknown): void => {
    this.told.push(`new ${JSON.stringify(connection)}`);
  };

  #heardTo(isOn: boolean): void {
    const { events } = this.router.engine.connections;
    events.off('new', this.#hear).removeAllListeners('destroy');
    if (!isOn) return;
    events.on('new', this.#hear);
    events.on('destroy', (connection, reason) => {
      this.told.push(`destroy ${reason} ${JSON.stringify(connection)}`);
    });
  }

  receive(step: PacketStep, bytes: Uint8Array, nowMs: number): void {
    const from = step.isReply ? WAN : LAN;
    const start = step.header === 'none' ? 0 : 14;
    const buffer = new Uint8Array(start + bytes.length + step.padding).fill(0xee);
    buffer.set(bytes, start);
    const packetType = step.header === 'broadcast' ? PacketType.BROADCAST : PacketType.HOST;
    const header = {
      packetStart: start,
      packetType,
      macHigh: 0x02000000,
      macLow: step.port % 2 === 0 ? 7 : 8,
    };
    this.router.receive(from, buffer, nowMs, step.header === 'none' ? undefined : header);
  }

  /** Time passes, and the reaper takes all that is over: lookups of the long way would take some of it. */
  wait(nowMs: number): void {
    const { tracker } = this.router.engine;
    for (const table of tracker.tables()) {
      if (table.isRekeying === 1) table.rekey(500);
      table.sweep(0, table.entries.slots.highWater, tracker.timeOf(nowMs), 1e9, new Int32Array(3));
    }
    this.router.advance(nowMs);
  }

  attack(): void {
    for (const table of this.router.engine.tracker.tables()) table.beginRekey();
  }

  do(step: Exclude<Step, PacketStep | { kind: 'wait' }>): void {
    const { router } = this;
    const { engine } = router;
    if (step.kind === 'rules') engine.restore(4, RULES[step.which] as string);
    else if (step.kind === 'noRules') engine.rules4.remove();
    else if (step.kind === 'setting') {
      const [name, value] = SETTINGS[step.which] as (typeof SETTINGS)[number];
      router.sysctl(name, step.isOn ? value : (this.#before.get(name) as number));
    } else if (step.kind === 'helper') {
      this.#helperGone?.();
      this.#helperGone = step.isOn
        ? engine.helpers.register({
            name: 'any',
            protocol: 'udp',
            ports: [443],
            onPacket: () => Verdict.ACCEPT,
          })
        : undefined;
    } else if (step.kind === 'listen') this.#heardTo(step.isOn);
    else if (step.kind === 'reserve') {
      this.#reservation?.release();
      this.#reservation = step.isOn
        ? router.ports.reserve({ version: 4, protocol: 17, port: 1000, last: 1001, owner: 'test' })
        : undefined;
    } else {
      if (step.isOn && !this.#hasAddress) router.addAddress(LAN, '1.1.1.2/32');
      if (!step.isOn && this.#hasAddress) router.removeAddress(LAN, '1.1.1.2/32');
      this.#hasAddress = step.isOn;
    }
  }

  /** Everything that can be told apart, but entries whose time is over. */
  state(nowMs: number): unknown {
    const { engine } = this.router;
    return {
      connections: engine.connections.list({}, nowMs).map((connection) => formatConnection(connection)),
      drops: engine.drops.toObject(),
      trackerDrops: engine.tracker.drops.toObject(),
      exhausted: engine.nat.exhaustedCount,
      statistics: { ...engine.tracker.statistics },
      rules: engine.save(4, 'with'),
    };
  }
}

function bytesOf(step: PacketStep): Uint8Array | undefined {
  const { protocol, port, to } = step;
  const source = SOURCES[step.source] as string;
  const destination = DESTINATIONS[step.destination] as string;
  const ends = step.isReply
    ? `${destination}:${to} > 203.0.113.1:${port}`
    : `${source}:${port} > ${destination}:${to}`;
  const segment = protocol === 'tcp' ? `${step.flags} seq ${port} win 60000` : '';
  try {
    return parsePacket(`${protocol} ${ends} ${segment} len ${step.length} ${step.extra}`);
  } catch {
    return undefined;
  }
}

/** Plays the steps to both; returns how many connections were begun. */
function play(steps: readonly Step[], circumstances: Circumstances): number {
  const quick = new Side(true, circumstances);
  const slow = new Side(false, circumstances);
  const isAttacked = circumstances.isAttacked === true;
  let nowMs = 10;
  for (const [n, one] of steps.entries()) {
    if (one.kind === 'wait') {
      nowMs += one.ms;
      for (const side of [quick, slow]) side.wait(nowMs);
    } else if (one.kind === 'packet') {
      const bytes = bytesOf(one);
      if (bytes === undefined) continue;
      for (const side of [quick, slow]) side.receive(one, bytes, nowMs);
    } else if (!isAttacked || one.kind !== 'setting') for (const side of [quick, slow]) side.do(one);
    if (isAttacked && n === 20) for (const side of [quick, slow]) side.attack();
    expect(quick.told, `step ${n}`).toEqual(slow.told);
    if (n % 20 === 0) expect(quick.state(nowMs), `step ${n}`).toEqual(slow.state(nowMs));
  }
  expect(quick.state(nowMs)).toEqual(slow.state(nowMs));
  return quick.router.engine.tracker.statistics.insert;
}

const CIRCUMSTANCES: readonly (readonly [string, Circumstances])[] = [
  ['as on Linux', {}],
  ['while TIME_WAIT gives tuples away', { timeWaitReuse: { delayMs: 1 } }],
  ['while the table is under attack', { isAttacked: true }],
];

describe('a packet that begins a connection', () => {
  it.each(CIRCUMSTANCES)(
    'is sent on as one that goes the long way, %s',
    { timeout: 120_000 },
    (_name, circumstances) => {
      let begun = 0;
      fc.assert(
        fc.property(fc.array(step, { minLength: 100, maxLength: 400, size: 'max' }), (steps) => {
          begun += play(steps, circumstances);
        }),
        { numRuns: 40, endOnFailure: true },
      );
      expect(begun).toBeGreaterThan(1000);
    },
  );
});
