/** Recorded ways: what is written down, when a way must not be repeated, and that repeating counts as walking does. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Packet } from '../../lib/wire/packet.js';
import { Gate, Hook, view } from './acl.js';

const TCP = 'tcp 10.0.0.2:4000 > 198.51.100.7:80 SYN';
const UDP = 'udp 10.0.0.2:4000 > 198.51.100.7:53';

/** The record of one packet's way through FORWARD: -1, or `chain/number` of where it was counted. */
function wayOf(gate: Gate, packet: Packet): readonly string[] | -1 {
  const into = new Int32Array(32);
  const { rules4 } = gate;
  rules4.startRecording(into);
  gate.send(packet);
  const count = rules4.stopRecording();
  if (count < 0) return -1;
  const before = countsOf(gate);
  rules4.replay(into, 0, count, 1, 1000);
  const after = countsOf(gate);
  return [...after.keys()].flatMap((key) => Array(after.get(key)! - before.get(key)!).fill(key) as string[]);
}

function countsOf({ rules4 }: Gate): Map<string, number> {
  return new Map([...rules4.counters()].map((at) => [`${at.chain}/${at.number}`, at.packets]));
}

function gateWith(rules: readonly string[], version = 4): Gate {
  const gate = new Gate();
  gate.load(version, 'filter', rules);
  return gate;
}

describe('a way that is recorded', () => {
  test('has the rules and the policy that the packet was counted at, through chains', () => {
    const gate = gateWith([
      '-A FORWARD -p udp -j ACCEPT',
      '-A FORWARD -p tcp',
      '-A FORWARD -m comment --comment hello -j USER',
      '-A FORWARD -i lan0 -o wan0 -s 10.0.0.0/8 -p tcp --dport 80',
      '-A USER -m conntrack --ctstate INVALID',
      '-A USER -m multiport -p tcp --dports 80,443 -g LAST',
      '-A USER -j DROP',
      '-A LAST -j RETURN',
    ]);
    expect(wayOf(gate, view(TCP))).toEqual([
      'FORWARD/2',
      'FORWARD/3',
      'FORWARD/4',
      'FORWARD/policy',
      'LAST/1',
      'USER/1',
      'USER/2',
    ]);
  });

  test.each([
    '-m length --length 40',
    '-m mark --mark 0',
    '-p tcp --tcp-flags SYN SYN',
    '-m conntrack --ctstatus NONE --ctstate INVALID',
    '-m conntrack --ctstate SNAT',
    '-m limit --limit 1/s',
    '-m ttl --ttl-gt 200',
    '-m addrtype --dst-type LOCAL',
    '-m statistic --mode nth --every 3 --packet 2',
    '-m dscp --dscp 1',
  ])(
    'is not to be repeated when a rule asks for more than the flow, whether it matches or not: %s',
    (rule) => {
      expect(wayOf(gateWith([`-A FORWARD ${rule}`, '-A FORWARD -j ACCEPT']), view(TCP))).toBe(-1);
    },
  );

  test.each([
    '-p udp -m length --length 40',
    '-d 10.0.0.0/8 -m limit --limit 1/s',
    '-i wan0 -j MARK --set-mark 1',
    '-p tcp --dport 443 -m length --length 40',
    '-m conntrack --ctstate NEW -m limit --limit 1/s -j LOG',
  ])('is to be repeated when a condition of the flow fails before that: %s', (rule) => {
    expect(wayOf(gateWith([`-A FORWARD ${rule}`, '-A FORWARD -j ACCEPT']), view(TCP))).toEqual(['FORWARD/2']);
  });

  test.each(['MARK --set-mark 1', 'LOG', 'CONNMARK --set-mark 1', 'TRACE', 'REJECT', 'TTL --ttl-inc 1'])(
    'is not to be repeated when a target did something: %s',
    (target) => {
      const gate = new Gate();
      const table = target.startsWith('TTL') ? 'mangle' : target === 'TRACE' ? 'raw' : 'filter';
      const hook = table === 'raw' ? Hook.PREROUTING : Hook.FORWARD;
      gate.load(4, table, [`-A ${table === 'raw' ? 'PREROUTING' : 'FORWARD'} -j ${target}`]);
      const packet = view(TCP);
      gate.rules4.startRecording(new Int32Array(8));
      gate.send(packet, table, hook);
      expect(gate.rules4.stopRecording()).toBe(-1);
    },
  );

  test('is not to be repeated when a packet was dropped as malformed', () => {
    const packet = view(TCP);
    packet.end = packet.transport + 10;
    expect(wayOf(gateWith(['-A FORWARD -p tcp --dport 80 -j ACCEPT']), packet)).toBe(-1);
  });

  test('is not to be repeated when there is no room for it, nor without a record', () => {
    const gate = gateWith(['-A FORWARD', '-A FORWARD', '-A FORWARD -j ACCEPT']);
    gate.rules4.startRecording(new Int32Array(2));
    gate.send(view(TCP));
    expect(gate.rules4.stopRecording()).toBe(-1);
    expect(gate.rules4.stopRecording()).toBe(-1);
  });

  test('is not to be repeated while somebody listens to rules, or walks another way', () => {
    const heard: unknown[] = [];
    const listened = new Gate({ observers: { onRule: (place) => heard.push(place) } });
    listened.load(4, 'filter', ['-A FORWARD -j ACCEPT']);
    expect(wayOf(listened, view(TCP))).toBe(-1);
    expect(heard.length).toBe(1);
    const gate = gateWith(['-A FORWARD -j ACCEPT']);
    gate.rules4.walkWith({ run: () => 1 });
    expect(wayOf(gate, view(TCP))).toBe(-1);
    gate.rules4.walkWith(undefined);
    expect(wayOf(gate, view(TCP))).toEqual(['FORWARD/1']);
  });

  test('holds the ways through several tables, each counted once', () => {
    const gate = gateWith(['-A FORWARD -j ACCEPT']);
    gate.load(4, 'mangle', ['-A FORWARD -p udp', '-A FORWARD -p tcp']);
    const into = new Int32Array(8);
    gate.rules4.startRecording(into);
    gate.send(view(UDP), 'mangle');
    gate.send(view(UDP), 'filter');
    const count = gate.rules4.stopRecording();
    gate.rules4.replay(into, 0, count, 10, 6000);
    const counts = [...gate.rules4.counters()].filter(({ chain }) => chain === 'FORWARD');
    expect(counts.map((at) => `${at.table} ${at.number} ${at.packets} ${at.bytes}`)).toEqual([
      'filter 1 11 6028',
      'filter policy 0 0',
      'mangle 1 11 6028',
      'mangle 2 0 0',
      'mangle policy 11 6028',
    ]);
  });
});

test('the generation is another after whatever changes a way or its counters', () => {
  const gate = gateWith(['-A FORWARD -j ACCEPT']);
  const { rules4 } = gate;
  const seen = new Set([rules4.generation]);
  const changes = [
    () => gate.load(4, 'filter', ['-A FORWARD -j DROP']),
    () => rules4.zero(),
    () => rules4.interfacesChanged(),
    () => rules4.walkWith(undefined),
    () => rules4.remove('filter'),
  ];
  for (const change of changes) {
    change();
    seen.add(rules4.generation);
  }
  expect(seen.size).toBe(changes.length + 1);
  gate.send(view(TCP));
  expect(seen.has(rules4.generation)).toBe(true);
});

// ---- against walking ----

const condition = fc.constantFrom(
  '',
  '-p tcp',
  '-p udp --dport 53',
  '-p udp ! --sport 4000',
  '! -s 10.0.0.0/8',
  '-s 10.0.0.0/9',
  '-i lan0',
  '! -o wan0',
  '-m state --state INVALID',
  '-m conntrack ! --ctstate NEW,UNTRACKED',
  '-m iprange --src-range 10.0.0.1-10.0.0.2',
  '-p udp -m multiport --dports 1:52,80',
  '-m length --length 0:30',
  '-m ttl --ttl-lt 10 -p udp',
);
const target = fc.constantFrom(
  '',
  '-j ACCEPT',
  '-j DROP',
  '-j RETURN',
  '-j USER',
  '-g USER',
  '-j MARK --set-mark 7',
);
const rule = fc.tuple(condition, target).map((parts) => parts.join(' '));

test('a packet repeated has the verdict and the counts that one walked has', () => {
  let repeated = 0;
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 8 }),
      fc.array(
        rule.filter((text) => !text.includes('USER')),
        { maxLength: 4 },
      ),
      fc.constantFrom(TCP, UDP, 'udp 11.0.0.1:4000 > 198.51.100.7:80'),
      (forward, user, notation) => {
        const rules = [
          ...forward.map((text) => `-A FORWARD ${text}`),
          ...user.map((text) => `-A USER ${text}`),
          '-A USER',
        ];
        const [walked, recorded] = [gateWith(rules), gateWith(rules)];
        const first = view(notation);
        const into = new Int32Array(32);
        recorded.rules4.startRecording(into);
        const verdict = recorded.send(first);
        const count = recorded.rules4.stopRecording();
        expect(walked.send(view(notation))).toBe(verdict);
        expect(recorded.rules4.save('with')).toBe(walked.rules4.save('with'));
        if (count < 0) return;
        repeated++;
        // Another packet of the flow: longer, on its last hops, with another mark.
        const second = view(notation);
        second.bytes[second.start + 8] = 2;
        second.mark = 9;
        expect(walked.send(second)).toBe(verdict);
        recorded.rules4.replay(into, 0, count, 1, second.lengthBytes);
        expect(recorded.rules4.save('with')).toBe(walked.rules4.save('with'));
        expect(second.mark).toBe(9);
      },
    ),
    { numRuns: 500 },
  );
  expect(repeated).toBeGreaterThan(100);
});
