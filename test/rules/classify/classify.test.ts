/** The index against the walk that asks every rule: same verdicts, marks, counters and memories on random rulesets. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EntryId } from '../../../lib/conntrack/entries.js';
import { DropReason } from '../../../lib/counters.js';
import { StaticHost } from '../../../lib/host.js';
import { SeededRandom } from '../../../lib/random.js';
import { parsePacket } from '../../../lib/scenario/notation.js';
import { Packet } from '../../../lib/wire/packet.js';
import { Gate, Hook, LAN, view, WAN } from '../acl.js';
import { Draw } from './draw.js';

/** The same rules with an index and without. */
class Twins {
  readonly gates: readonly [Gate, Gate];
  readonly #version: 4 | 6;

  constructor(version: 4 | 6, rules: readonly string[]) {
    this.#version = version;
    const make = (ruleIndex: 'auto' | 'none'): Gate => {
      const gate = new Gate({ ruleIndex, random: new SeededRandom(3) });
      gate.load(version, 'filter', rules);
      return gate;
    };
    this.gates = [make('auto'), make('none')];
  }

  /** Sends a packet through both; says what became of it. */
  send(notation: string, tracked: boolean, marks: number, ways: readonly [number, number]): string[] {
    return this.gates.map((gate) => {
      const packet = new Packet();
      if (packet.parse(parsePacket(notation)) !== DropReason.NONE) return 'not a packet';
      [packet.inInterface, packet.outInterface] = ways;
      packet.mark = marks;
      if (tracked) {
        gate.tracker.begin(gate.nowMs);
        if (gate.tracker.track(packet, Hook.PREROUTING) !== 1) return 'not tracked';
      } else if (marks === 3) {
        packet.ctinfo = 7;
      }
      const verdict = gate.send(packet);
      if (tracked && verdict === 1) gate.tracker.confirm(packet);
      return `${verdict} ${verdict === 1 ? '' : packet.reason} ${packet.mark}`;
    });
  }

  counters(): string[] {
    return this.gates.map((gate) => gate.rules(this.#version).save('with'));
  }

  later(ms: number): void {
    for (const gate of this.gates) gate.nowMs += ms;
  }
}

describe.each([4, 6] as const)('IPv%s', (version) => {
  test('a packet fares as without an index, and is counted at the same rules', { timeout: 120_000 }, () => {
    let reached = 0;
    fc.assert(
      fc.property(
        fc.nat(),
        fc.oneof(fc.integer({ min: 2, max: 30 }), fc.integer({ min: 20, max: 700 })),
        fc.integer({ min: 0, max: 6 }),
        (seed, count, chains) => {
          const draw = new Draw(seed, version);
          const twins = new Twins(version, draw.rules(count, chains));
          for (let i = 0; i < 100; i++) {
            const way = [draw.of([0, LAN, LAN, WAN, 9]), draw.of([0, WAN, WAN, LAN])] as const;
            const notation = draw.packet();
            const [indexed, plain] = twins.send(notation, draw.once(2), draw.int(4), way);
            expect(`${notation}: ${indexed}`).toBe(`${notation}: ${plain}`);
            if (plain !== 'not a packet' && plain !== 'not tracked') reached++;
            twins.later(draw.int(300));
          }
          const [indexed, plain] = twins.counters();
          expect(indexed).toBe(plain);
        },
      ),
      { numRuns: 40 },
    );
    expect(reached).toBeGreaterThan(2000);
  });
});

test('ranges that overlap in every dimension are told apart as far as there is room', {
  timeout: 120_000,
}, () => {
  fc.assert(
    fc.property(fc.nat(), fc.oneof(fc.integer({ min: 100, max: 600 }), fc.constant(3000)), (seed, count) => {
      const draw = new Draw(seed, 4);
      const twins = new Twins(4, draw.wideRules(count));
      for (let i = 0; i < 100; i++) {
        const notation = `${draw.of(['udp', 'tcp'])} ${draw.widePacket()}`;
        const [indexed, plain] = twins.send(notation, false, 0, [LAN, WAN]);
        expect(`${notation}: ${indexed}`).toBe(`${notation}: ${plain}`);
      }
      const [indexed, plain] = twins.counters();
      expect(indexed).toBe(plain);
    }),
    { numRuns: 8 },
  );
});

/** Rules that nobody meets, so that a chain is long. */
const others = (chain: string): string[] =>
  Array.from({ length: 40 }, (_, i) => `-A ${chain} -s 192.0.2.${i} -j DROP`);

function countsOf(gate: Gate, chain: string): number[] {
  return [...gate.rules4.counters()]
    .filter((at) => at.chain === chain && at.packets > 0)
    .map(({ packets }) => packets);
}

test('a chain that is called twice in a walk is looked up twice', () => {
  const twins = new Twins(4, [
    '-A FORWARD -j USER',
    '-A FORWARD -p udp -j USER',
    ...others('USER'),
    '-A USER -s 10.0.0.0/8 -p udp --dport 53',
    ...others('USER'),
  ]);
  twins.send('udp 10.0.0.2:4000 > 198.51.100.7:53', false, 0, [LAN, WAN]);
  expect(twins.gates.map((gate) => countsOf(gate, 'USER'))).toEqual([[2], [2]]);
});

test('a packet that a target changed is looked up again', () => {
  const rules = [
    ...others('FORWARD'),
    '-A FORWARD -s 10.0.0.2 -j CONNMARK --set-mark 1',
    '-A FORWARD -s 10.0.0.2 -j CT --notrack',
    ...others('FORWARD'),
    ...Array<string>(12).fill('-A FORWARD -m state --state INVALID'),
    ...Array<string>(12).fill('-A FORWARD -m state --state UNTRACKED'),
  ].map((rule) => rule.replace('FORWARD', 'PREROUTING').replace('-j DROP', '-j NOTRACK'));
  for (const ruleIndex of ['auto', 'none'] as const) {
    const gate = new Gate({ ruleIndex });
    gate.load(4, 'raw', rules);
    gate.send(view('udp 10.0.0.2:4000 > 198.51.100.7:53'), 'raw', Hook.PREROUTING);
    const counted = [...gate.rules4.counters()].filter(({ packets }) => packets > 0);
    const untracked = Array.from({ length: 12 }, (_, i) => 95 + i);
    expect(counted.map(({ number }) => number)).toEqual([41, 42, ...untracked, 'policy']);
  }
});

test('interfaces that are renamed are asked for again', () => {
  const names = ['lan0', 'wan0'];
  const inner = new StaticHost(names.map((name) => ({ name, mtu: 1500 })));
  const host = Object.assign(Object.create(inner) as typeof inner, {
    interfaceName: (index: number) => names[index - 1] ?? '',
  });
  const gate = new Gate({ host });
  gate.load(4, 'filter', [
    ...Array.from({ length: 40 }, (_, i) => `-A FORWARD -i eth${i} -j DROP`),
    '-A FORWARD -j ACCEPT',
  ]);
  const UDP = 'udp 10.0.0.2:4000 > 198.51.100.7:53';
  expect(gate.send(view(UDP))).toBe(1);
  names[0] = 'eth20';
  gate.rules4.interfacesChanged();
  expect(gate.send(view(UDP))).toBe(0);
});

test('rules that are skipped do not keep a way from being repeated', () => {
  const rules = [
    ...others('FORWARD'),
    ...others('FORWARD').map((rule) => rule.replace('-j', '-m length --length 1 -j')),
  ];
  const gate = new Gate();
  gate.load(4, 'filter', rules);
  const into = new Int32Array(8);
  gate.rules4.startRecording(into);
  gate.send(view('udp 10.0.0.2:4000 > 198.51.100.7:53'));
  expect(gate.rules4.stopRecording()).toBe(1);
});

test('a condition behind one that may drop the packet is not known', () => {
  const rules = Array.from(
    { length: 40 },
    (_, i) => `-A FORWARD -p tcp -m tcp --tcp-option 2 -m multiport --dports ${i + 1}`,
  );
  for (const ruleIndex of ['auto', 'none'] as const) {
    const gate = new Gate({ ruleIndex });
    gate.load(4, 'filter', [...others('FORWARD'), ...rules]);
    const packet = view('tcp 10.0.0.2:4000 > 198.51.100.7:53 SYN');
    packet.bytes[packet.transport + 12] = 0xf0;
    expect(gate.send(packet)).toBe(0);
    expect(packet.reason).toBe(DropReason.RULE_MALFORMED);
  }
});

test('SNAT and DNAT are states beside the others', () => {
  const STATUS_SRC_NAT = 16;
  const gate = new Gate();
  gate.load(4, 'filter', [
    ...Array<string>(30).fill('-A FORWARD -m conntrack --ctstate INVALID,SNAT'),
    ...Array<string>(30).fill('-A FORWARD -m conntrack --ctstate ESTABLISHED'),
  ]);
  const packet = view('udp 10.0.0.2:4000 > 198.51.100.7:53');
  gate.tracker.begin(0);
  gate.tracker.track(packet, Hook.PREROUTING);
  const { entries } = gate.tracker.table(4);
  const entry = packet.entry as EntryId;
  entries.setStatus(entry, entries.status(entry) | STATUS_SRC_NAT);
  gate.send(packet);
  expect(countsOf(gate, 'FORWARD')).toEqual(Array(31).fill(1));
});
