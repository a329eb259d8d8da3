/** The flow cache changes speed only: a router with it and one without do the same to the same packets. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatConnection } from '../../lib/conntrack/dump.js';
import { Router } from '../../lib/network/router.js';
import { SeededRandom } from '../../lib/random.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { PacketType } from '../../lib/wire/packet.js';

const LAN = 1;
const WAN = 2;
const DMZ = 3;

const NAT4 = `*nat
-A PREROUTING -i wan -p udp --dport 8000 -j DNAT --to-destination 10.0.0.9:80
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
`;
const NAT6 = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
/** Tables around NAT: what is allowed to be learned, and what is not. */
const FILTERS = [
  '*filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -i lan -j ACCEPT\n-A FORWARD -p udp --dport 80 -j ACCEPT\nCOMMIT\n',
  '*filter\n:FORWARD ACCEPT\n:seen -\n-A FORWARD -p udp -j seen\n-A FORWARD -p tcp --dport 81 -j DROP\n-A seen -s 1.1.1.1\n-A seen -j RETURN\nCOMMIT\n',
  '*filter\n:FORWARD ACCEPT\n-A FORWARD -m ttl --ttl-lt 10 -j DROP\n-A FORWARD -m length --length 100:200 -j ACCEPT\nCOMMIT\n',
  '*mangle\n-A FORWARD -p tcp -j TTL --ttl-set 33\n-A PREROUTING -p udp -j MARK --set-mark 7\nCOMMIT\n',
  '*filter\n:FORWARD DROP\n-A FORWARD -m limit --limit 1000/s --limit-burst 3 -j ACCEPT\nCOMMIT\n',
  '*raw\n-A PREROUTING -p udp --dport 5301 -j NOTRACK\nCOMMIT\n',
];

interface Flow {
  readonly text: (reply: boolean) => string;
  readonly from: number;
  readonly to: number;
  readonly protocol: 'udp' | 'tcp';
}

function two(protocol: 'udp' | 'tcp', original: string, reply: string, from = LAN, to = WAN): Flow {
  return { protocol, from, to, text: (isReply) => `${protocol} ${isReply ? reply : original}` };
}

const FLOWS: readonly Flow[] = [
  two('udp', '10.0.0.2:5001 > 1.1.1.1:53', '1.1.1.1:53 > 203.0.113.1:5001'),
  two('udp', '10.0.0.2:5002 > 1.1.1.1:5301', '1.1.1.1:5301 > 203.0.113.1:5002'),
  two('udp', '1.1.1.1:6000 > 203.0.113.1:8000', '10.0.0.9:80 > 1.1.1.1:6000', WAN, LAN),
  two('udp', '10.0.0.2:5003 > 192.168.1.2:99', '192.168.1.2:99 > 10.0.0.2:5003', LAN, DMZ),
  two('tcp', '10.0.0.2:4001 > 1.1.1.1:80', '1.1.1.1:80 > 203.0.113.1:4001'),
  two('tcp', '10.0.0.3:4002 > 1.1.1.2:81', '1.1.1.2:81 > 203.0.113.1:4002'),
  two('udp', '[fd00:a::2]:5001 > [2001:db8:2::1]:53', '[2001:db8:2::1]:53 > [2001:db8:1::1]:5001'),
  two('tcp', '[fd00:a::2]:4001 > [2001:db8:2::1]:80', '[2001:db8:2::1]:80 > [2001:db8:1::1]:4001'),
];

type Step =
  | {
      readonly kind: 'packet';
      flow: number;
      reply: boolean;
      extra: string;
      length: number;
      lead: number;
      pace: number;
    }
  | { readonly kind: 'wait'; ms: number }
  | { readonly kind: 'change'; which: number };

/** Changes by number, see `Side.change`; rules that can be learned from come more often. */
const CHANGES = [
  0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15, 15, 15, 16,
];

const EXTRAS = [
  ...Array<string>(60).fill(''),
  'ttl 1',
  'ttl 2',
  'ttl 9',
  'df',
  'tos 4',
  'frag 8',
  'mf',
  'ipsum 1',
  'sum 7',
  'nosum',
  'udplen 9',
  'options 01010101',
  'cut 30',
  'ipid 9',
];

const packet = fc.record({
  kind: fc.constant('packet' as const),
  flow: fc.nat(FLOWS.length - 1),
  reply: fc.boolean(),
  extra: fc.constantFrom(...EXTRAS),
  length: fc.constantFrom(0, 0, 1, 12, 100, 191, 1300, 1460, 8001),
  lead: fc.constantFrom(0, 0, 14, 17),
  pace: fc.nat(250),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 300, arbitrary: packet },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 1, 100, 100, 2100, 2100, 2100, 31_000, 121_000, 301_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('change' as const), which: fc.constantFrom(...CHANGES) }),
  },
);

class Side {
  readonly router: Router;
  readonly sent: string[] = [];
  readonly #buffers = new Map<number, Uint8Array>();
  #hasPeers = false;

  constructor(flowCache: boolean) {
    this.router = new Router({
      flowCache,
      seed: 1,
      random: new SeededRandom(5),
      maxConnections: 16_384,
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'], mtu: 1400 },
        { name: 'dmz', addresses: ['192.168.1.1/24'], mtu: 9000 },
      ],
      routes: ['default dev wan', '-6 default dev wan'],
      wallTimeMs: (nowMs) => nowMs,
    });
    this.router.engine.restore(4, NAT4);
    this.router.engine.restore(4, FILTERS[0]!);
    this.router.engine.restore(6, NAT6);
    this.router.onTransmit = (index, bytes, origin) => {
      this.sent.push(`${index} ${origin} ${Buffer.from(bytes).toString('hex')}`);
    };
  }

  /** The packet lies behind `lead` bytes, and others are behind it. */
  receive(index: number, bytes: Uint8Array, nowMs: number, lead = 0): void {
    // A link that reads into a buffer of its own has the same views of it again and again.
    const size = lead + bytes.length + (lead & 3);
    let buffer = this.#buffers.get(size);
    if (buffer === undefined) this.#buffers.set(size, (buffer = new Uint8Array(size).fill(0xa5)));
    buffer.set(bytes, lead);
    const header = { packetStart: lead, packetType: PacketType.HOST, macHigh: 1, macLow: 2 };
    this.router.receive(index, buffer, nowMs, lead === 0 ? undefined : header);
  }

  change(which: number, nowMs: number): void {
    const { router } = this;
    if (which < FILTERS.length) router.engine.restore(4, FILTERS[which]!);
    else if (which === 6) router.engine.rules4.remove();
    else if (which === 7) router.engine.restore(4, NAT4);
    else if (which === 8) router.engine.rules4.zero();
    else if (which === 9)
      router.sysctl(
        'net.netfilter.nf_conntrack_acct',
        1 - (router.getSysctl('net.netfilter.nf_conntrack_acct') ?? 0),
      );
    else if (which === 10)
      router.sysctl('net.ipv4.ip_forward', 1 - (router.getSysctl('net.ipv4.ip_forward') ?? 0));
    else if (which === 11) router.routes.setLink(DMZ, nowMs % 2 === 0 ? 'down' : 'up');
    else if (which === 12) this.#toggleAddress();
    else if (which === 14) rekey(router, 500);
    else if (which === 15) countUp(router);
    else if (which === 16)
      router.sysctl(
        'net.netfilter.nf_conntrack_checksum',
        1 - (router.getSysctl('net.netfilter.nf_conntrack_checksum') ?? 0),
      );
    else router.engine.connections.delete({ protocol: 17, original: { source: '10.0.0.2' } });
  }

  /** The peer's address becomes one of our own, or is that no more. */
  #toggleAddress(): void {
    if (this.#hasPeers) this.router.removeAddress(LAN, '1.1.1.1/32');
    else this.router.addAddress(LAN, '1.1.1.1/32');
    this.#hasPeers = !this.#hasPeers;
  }

  /** Everything that can be told apart, but entries whose time is over. */
  state(nowMs: number): unknown {
    const { engine } = this.router;
    return {
      connections: engine.connections.list({}, nowMs).map((connection) => formatConnection(connection)),
      drops: engine.drops.toObject(),
      statistics: { ...engine.tracker.statistics },
      rules: [engine.save(4, 'with'), engine.save(6, 'with')],
    };
  }
}

/** Sequence numbers of both ends of a TCP flow, for segments that follow one another. */
class Ends {
  readonly next = [1000, 5000];
  steps = 0;

  /** Flags, numbers and window of a segment. */
  segment(reply: boolean, length: number, pace: number): string {
    const side = reply ? 1 : 0;
    const sequence = this.next[side]!;
    const ack = this.next[1 - side]!;
    if (this.steps < 3) {
      const text = [
        'SYN seq 1000 win 60000 <mss 1460,sackok,nop,wscale 7>',
        'SYN,ACK seq 5000 ack 1001 win 60000 <mss 1460,sackok,nop,wscale 7>',
        'ACK seq 1001 ack 5001 win 500',
      ];
      this.next[0] = 1001;
      this.next[1] = 5001;
      return text[this.steps++]!;
    }
    if (pace === 0) return `RST seq ${sequence}`;
    if (pace === 1) return `FIN,ACK seq ${sequence} ack ${ack} win 500`;
    if (pace === 2) return `SYN seq ${sequence + 70_000} win 60000`;
    if (pace === 3) return `ACK seq ${sequence + 10_000_000} ack ${ack} win 500`;
    if (pace === 4) return `ACK seq ${sequence} ack ${ack - 20} win 0`;
    if (pace === 5) return `ACK seq ${sequence} ack ${ack} win 500 <nop,nop,sack ${ack + 10}-${ack + 20}>`;
    if (pace === 6) return `PSH,ACK,URG seq ${sequence} ack ${ack} win 500 <nop,nop,ts 7:8>`;
    if (pace > 240) return `ACK seq ${sequence} ack ${ack} win 501`;
    this.next[side] = sequence + length;
    return `${pace % 2 === 0 ? 'ACK' : 'PSH,ACK'} seq ${sequence} ack ${ack} win 500`;
  }
}

/** The tables' hash changes, as under attack; later calls move `work` entries' worth. */
function rekey({ engine }: Router, work: number): void {
  for (const table of engine.tracker.tables()) {
    if (table.isRekeyed === 0) table.beginRekey();
    else if (table.isRekeying === 1) table.rekey(work);
  }
}

/** All counters come close to where their low words end. */
function countUp({ engine }: Router): void {
  for (const { entries } of engine.tracker.tables()) {
    for (let slot = 0; slot < entries.slots.highWater; slot++) {
      const entry = entries.entryOfSlot(slot);
      entries.setCounters(entry, 0, 2 ** 32 - 2, 2 ** 32 - 100);
      entries.setCounters(entry, 1, 2 ** 33 - 2, 2 ** 33 - 100);
    }
  }
}

function play(steps: readonly Step[]): number {
  const cached = new Side(true);
  const plain = new Side(false);
  const ends = FLOWS.map(() => new Ends());
  let nowMs = 10;
  for (const [n, one] of steps.entries()) {
    if (one.kind === 'wait') nowMs += one.ms;
    else if (one.kind === 'change') for (const side of [cached, plain]) side.change(one.which, nowMs);
    else {
      nowMs += one.pace & 1;
      const { text, protocol, from, to } = FLOWS[one.flow]!;
      const end = ends[one.flow]!;
      const reply = protocol === 'tcp' && end.steps < 3 ? end.steps === 1 : one.reply;
      const segment = protocol === 'tcp' ? end.segment(reply, one.length, one.pace) : '';
      const bytes = parsePacket(`${text(reply)} ${segment} len ${one.length} ${one.extra}`);
      for (const side of [cached, plain]) side.receive(reply ? to : from, bytes, nowMs, one.lead);
    }
    expect(cached.sent, `step ${n}`).toEqual(plain.sent);
    if (n % 50 === 0) expect(cached.state(nowMs)).toEqual(plain.state(nowMs));
  }
  expect(cached.state(nowMs)).toEqual(plain.state(nowMs));
  expect(plain.router.flowCached).toBe(0);
  return cached.router.flowCached;
}

describe('the flow cache', () => {
  it('does to any packets what the long way does', { timeout: 120_000 }, () => {
    let short = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 100, maxLength: 600, size: 'max' }), (steps) => {
        short += play(steps);
      }),
      { numRuns: 60, endOnFailure: true },
    );
    expect(short).toBeGreaterThan(2000);
  });

  it('finds its flows again when a table under attack has changed its hash', () => {
    const side = new Side(true);
    const { router } = side;
    for (const at of [0, 6]) {
      const { text, from, to } = FLOWS[at]!;
      const send = (reply: boolean, nowMs: number) =>
        side.receive(reply ? to : from, parsePacket(`${text(reply)} len 9`), nowMs);
      const taken = () => {
        const before = router.flowCached;
        for (let n = 0; n < 10; n++) send(n % 2 === 1, 5000 + n);
        return router.flowCached - before;
      };
      for (let n = 0; n < 20; n++) send(n % 2 === 1, 300 * n);
      expect(taken()).toBe(10);
      rekey(router, 0);
      expect(taken(), 'not moved yet').toBe(10);
      rekey(router, 1_000_000);
      expect(router.engine.tracker.table(at === 0 ? 4 : 6).isRekeying).toBe(0);
      expect(taken()).toBe(10);
      expect(side.sent.length).toBeGreaterThanOrEqual(50);
    }
  });

  it('takes packets in batches as it takes them one by one', () => {
    fc.assert(
      fc.property(fc.array(packet, { minLength: 1, maxLength: 300, size: 'max' }), (packets) => {
        const sides = [new Side(true), new Side(true)];
        // More connections than the prefetch finds too few to bother about.
        for (const { router } of sides) fill(router);
        const ends = FLOWS.map(() => new Ends());
        let batch: Uint8Array[] = [];
        let from = LAN;
        const flush = () => {
          for (const bytes of batch) sides[0]!.receive(from, bytes, 20);
          sides[1]!.router.processBatch(
            from,
            batch.map((bytes) => bytes.slice()),
            batch.length,
            20,
          );
          batch = [];
        };
        for (const { flow, reply, length, pace, extra } of packets) {
          const one = FLOWS[flow]!;
          const segment = one.protocol === 'tcp' ? ends[flow]!.segment(reply, length, pace) : '';
          const bytes = parsePacket(`${one.text(reply)} ${segment} len ${length} ${extra}`);
          const side = reply ? one.to : one.from;
          if (side !== from) flush();
          from = side;
          batch.push(bytes);
        }
        flush();
        expect(sides[1]!.sent).toEqual(sides[0]!.sent);
        expect(sides[1]!.state(20)).toEqual(sides[0]!.state(20));
      }),
      { numRuns: 5, endOnFailure: true },
    );
  });
});

/** Nine thousand connections of a flood. */
function fill(router: Router): void {
  const bytes = parsePacket('udp 10.0.0.99:1 > 1.1.1.9:1 nosum');
  for (let port = 1; port <= 9000; port++) {
    const one = bytes.slice();
    one[20] = port >>> 8;
    one[21] = port;
    router.receive(LAN, one, 10);
  }
}
