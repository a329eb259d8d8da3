/** Jumps, gotos and returns, policies and counters: the walk against a recursive twin, and the cases one by one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DropReason } from '../../lib/counters.js';
import { ConfigurationError } from '../../lib/errors.js';
import { Gate, Hook, view } from './acl.js';

const UDP = 'udp 10.0.0.2:4000 > 198.51.100.7:53';

// ---- the twin ----

interface TwinRule {
  /** The rule matches packets that have one of these marks' bits set; 0: all packets. */
  readonly bits: number;
  readonly target: 'none' | 'ACCEPT' | 'DROP' | 'RETURN' | 'jump' | 'goto';
  readonly to: number;
}
type TwinChain = readonly TwinRule[];

/** Counts per `chain/rule`; the chain's number 0 is the base chain, of which every chain is called by smaller ones only. */
class Twin {
  readonly counts = new Map<string, number>();

  constructor(readonly chains: readonly TwinChain[]) {}

  run(mark: number): 'ACCEPT' | 'DROP' {
    const said = this.#walk(0, mark);
    if (said !== 'end') return said;
    this.#count('0/P');
    return 'ACCEPT';
  }

  #walk(chain: number, mark: number): 'ACCEPT' | 'DROP' | 'end' {
    for (const [i, { bits, target, to }] of (this.chains[chain] as TwinChain).entries()) {
      if (bits !== 0 && (bits & mark) === 0) continue;
      this.#count(`${chain}/${i + 1}`);
      if (target === 'ACCEPT' || target === 'DROP') return target;
      if (target === 'RETURN') return 'end';
      if (target === 'goto') return this.#walk(to, mark);
      if (target === 'jump') {
        const said = this.#walk(to, mark);
        if (said !== 'end') return said;
      }
    }
    return 'end';
  }

  #count(key: string): void {
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }
}

const nameOf = (chain: number): string => (chain === 0 ? 'FORWARD' : `C${chain}`);

function ruleText(chain: number, { bits, target, to }: TwinRule): string {
  const condition = bits === 0 ? '' : `-m mark ! --mark 0/${bits}`;
  const action =
    target === 'none'
      ? ''
      : target === 'jump'
        ? `-j ${nameOf(to)}`
        : target === 'goto'
          ? `-g ${nameOf(to)}`
          : `-j ${target}`;
  return `-A ${nameOf(chain)} ${condition} ${action}`;
}

/** Chains of which each calls only later ones, so that there is no loop. */
const chainsArbitrary = fc.integer({ min: 1, max: 7 }).chain((count) =>
  fc.tuple(
    ...Array.from({ length: count }, (_, chain) =>
      fc.array(
        fc
          .record({
            bits: fc.integer({ min: 0, max: 7 }),
            target: fc.constantFrom(
              'none',
              'ACCEPT',
              'DROP',
              'RETURN',
              'jump',
              'jump',
              'goto',
            ) as fc.Arbitrary<TwinRule['target']>,
            to: fc.integer({ min: chain + 1, max: Math.max(chain + 1, count - 1) }),
          })
          .map(
            (rule): TwinRule =>
              rule.to < count || (rule.target !== 'jump' && rule.target !== 'goto')
                ? rule
                : { ...rule, target: 'none' },
          ),
        { maxLength: 5 },
      ),
    ),
  ),
);

test('any chains: verdicts and counters are those of the recursive twin', () => {
  fc.assert(
    fc.property(
      chainsArbitrary,
      fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 12 }),
      (chains, marks) => {
        const gate = new Gate();
        const texts = chains.flatMap((chain, i) => [
          ...chain.map((rule) => ruleText(i, rule)),
          `-A ${nameOf(i)} -p 254`,
        ]);
        gate.load(4, 'filter', texts);
        const twin = new Twin(chains);
        for (const mark of marks) {
          const packet = view(UDP);
          packet.mark = mark;
          const verdict = gate.send(packet);
          expect(verdict === 1 ? 'ACCEPT' : 'DROP').toBe(twin.run(mark));
        }
        const counts = new Map<string, number>();
        for (const { chain, number, packets, bytes } of gate.rules4.counters()) {
          if (packets === 0) continue;
          expect(bytes).toBe(packets * 28);
          const index = chain === 'FORWARD' ? 0 : Number(chain.slice(1));
          counts.set(`${index}/${number === 'policy' ? 'P' : number}`, packets);
        }
        expect(counts).toEqual(twin.counts);
      },
    ),
    { numRuns: 400 },
  );
});

// ---- cases ----

/** Counts per `CHAIN/rule` after one packet. */
function hits(gate: Gate): Record<string, number> {
  const seen: Record<string, number> = {};
  for (const { chain, number, packets } of gate.rules4.counters())
    if (packets > 0) seen[`${chain}/${number}`] = packets;
  return seen;
}

describe('chains', () => {
  test('a chain reached by goto ends where the chain that went there would have ended', () => {
    const gate = new Gate();
    gate.load(4, 'filter', [
      '-A FORWARD -j A',
      '-A FORWARD -j DROP',
      '-A A -g B',
      '-A A -j ACCEPT',
      '-A B -p udp',
    ]);
    expect(gate.send(view(UDP))).toBe(0);
    expect(hits(gate)).toEqual({ 'FORWARD/1': 1, 'A/1': 1, 'B/1': 1, 'FORWARD/2': 1 });
  });

  test('goto from a built-in chain leads back to its policy', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -g A', '-A FORWARD -j DROP', '-A A -j RETURN']);
    expect(gate.send(view(UDP))).toBe(1);
    expect(hits(gate)).toEqual({ 'FORWARD/1': 1, 'A/1': 1, 'FORWARD/policy': 1 });
  });

  test('RETURN in a built-in chain is its policy, and the drop says so', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -p udp -j RETURN', '-A FORWARD -j ACCEPT'], 'DROP');
    const packet = view(UDP);
    expect(gate.send(packet)).toBe(0);
    expect(packet.reason).toBe(DropReason.RULE_POLICY);
  });

  test('-j DROP gives its own reason', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -j DROP']);
    const packet = view(UDP);
    gate.send(packet);
    expect(packet.reason).toBe(DropReason.RULE_DROP);
  });

  test('a packet that a match cannot read is counted nowhere', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -p udp --dport 53 -j ACCEPT', '-A FORWARD -p udp -j ACCEPT']);
    const packet = view('ip 10.0.0.2 > 198.51.100.7 proto udp len 4');
    expect(gate.send(packet)).toBe(0);
    expect(packet.reason).toBe(DropReason.RULE_MALFORMED);
    expect(hits(gate)).toEqual({});
  });

  test('calls deeper than any usual stack end', () => {
    const gate = new Gate();
    const depth = 2000;
    const chains = Array.from({ length: depth }, (_, i) => `-A C${i} -j C${i + 1}`);
    gate.load(4, 'filter', ['-A FORWARD -j C0', ...chains, `-A C${depth} -p udp`, '-A FORWARD -j DROP']);
    expect(gate.send(view(UDP))).toBe(0);
    expect(hits(gate)[`C${depth}/1`]).toBe(1);
  });

  test('a table without a chain at the hook lets packets pass uncounted', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -j DROP']);
    expect(gate.send(view(UDP), 'filter', Hook.PREROUTING)).toBe(1);
    expect(gate.send(view(UDP), 'mangle', Hook.FORWARD)).toBe(1);
  });

  test('outgoing interfaces are unknown in INPUT, incoming ones in OUTPUT', () => {
    const gate = new Gate();
    gate.load(4, 'filter', [
      '-A INPUT -j A',
      '-A OUTPUT -j A',
      '-A FORWARD -j A',
      '-A A -i lan0',
      '-A A -o wan0',
    ]);
    gate.send(view(UDP), 'filter', Hook.INPUT);
    gate.send(view(UDP), 'filter', Hook.OUTPUT);
    expect(hits(gate)).toEqual({
      'INPUT/1': 1,
      'OUTPUT/1': 1,
      'A/1': 1,
      'A/2': 1,
      'INPUT/policy': 1,
      'OUTPUT/policy': 1,
    });
  });
});

describe('counters', () => {
  test('those of the text are carried on', () => {
    const gate = new Gate();
    gate.rules4.restore('*filter\n:FORWARD ACCEPT [10:1000]\n[3:300] -A FORWARD -p udp\nCOMMIT\n');
    gate.send(view(UDP));
    expect(gate.rules4.save('with')).toContain(':FORWARD ACCEPT [11:1028]\n');
    expect(gate.rules4.save('with')).toContain('[4:328] -A FORWARD -p udp\n');
    gate.rules4.zero();
    expect(gate.rules4.save('with')).toContain('[0:0] -A FORWARD -p udp\n');
  });

  test('a rule counts before its target changes the packet', () => {
    const gate = new Gate();
    gate.load(4, 'mangle', ['-A FORWARD -p tcp --syn -j TCPMSS --set-mss 500', '-A FORWARD -p tcp']);
    gate.send(view('tcp 10.0.0.2:1 > 1.1.1.1:2 SYN'), 'mangle');
    const saved = gate.rules4.save('with');
    expect(saved).toContain('[1:40] -A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN');
    expect(saved).toContain('[1:44] -A FORWARD -p tcp\n');
  });
});

describe('replacing', () => {
  test('only the tables of the new ruleset are replaced', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -p udp']);
    gate.load(4, 'mangle', ['-A FORWARD -p udp']);
    gate.send(view(UDP));
    gate.send(view(UDP), 'mangle');
    gate.load(4, 'mangle', ['-A FORWARD -p tcp']);
    const saved = gate.rules4.save('with');
    expect(saved).toContain('[1:28] -A FORWARD -p udp');
    expect(saved).toContain('[0:0] -A FORWARD -p tcp');
    gate.rules4.remove('mangle');
    expect(gate.rules4.hasTable(1)).toBe(0);
    expect(gate.rules4.hasTable(3)).toBe(1);
  });

  test('a ruleset with an error changes nothing', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -p udp -j DROP']);
    const before = gate.rules4.save('with');
    expect(() => gate.rules4.restore('*filter\nCOMMIT\n*mangle\n-A FORWARD -j NOWHERE\nCOMMIT\n')).toThrow(
      ConfigurationError,
    );
    expect(gate.rules4.save('with')).toBe(before);
    expect(gate.rules4.hasTable(1)).toBe(0);
  });

  test('chains that call each other are refused', () => {
    const gate = new Gate();
    expect(() => gate.load(4, 'filter', ['-A FORWARD -j A', '-A A -j B', '-A B -g A'])).toThrow(
      ConfigurationError,
    );
  });

  test('typed rules are checked for chains that do not exist', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -j A', '-A A -p udp']);
    const { tables } = gate.rules4.toRuleset();
    const without = tables.map((table) => ({
      ...table,
      chains: table.chains.filter(({ name }) => name !== 'A'),
    }));
    expect(() => gate.rules4.replace({ family: 4, tables: without })).toThrow(ConfigurationError);
    expect(() => gate.rules6.replace({ family: 4, tables })).toThrow(ConfigurationError);
  });
});

describe('tracking is needed', () => {
  test.each([
    ['filter', '-A FORWARD -p udp --dport 53 -j ACCEPT', 0],
    ['filter', '-A FORWARD -m limit --limit 1/s -j REJECT', 0],
    ['raw', '-A PREROUTING -j CT --notrack', 0],
    ['raw', '-A PREROUTING -j NOTRACK', 0],
    ['raw', '-A PREROUTING -j CT --zone 1', 1],
    ['filter', '-A FORWARD -m state --state NEW', 1],
    ['filter', '-A FORWARD -m conntrack --ctstate NEW', 1],
    ['filter', '-A FORWARD -m connmark --mark 1', 1],
    ['filter', '-A FORWARD -m connbytes --connbytes 1 --connbytes-dir both --connbytes-mode packets', 1],
    ['filter', '-A FORWARD -p tcp -m connlimit --connlimit-above 2', 1],
    ['mangle', '-A FORWARD -j CONNMARK --save-mark', 1],
    ['nat', '-A POSTROUTING -j MASQUERADE', 1],
    ['nat', '-A PREROUTING -p tcp -j REDIRECT', 1],
    ['nat', '-A PREROUTING -j ACCEPT', 0],
    ['filter', '-A UNUSED -m state --state NEW', 1],
  ] as const)('%s %s: %d', (table, rule, needed) => {
    const gate = new Gate();
    gate.load(4, table, [rule]);
    expect(gate.rules4.needsTracking).toBe(needed);
    expect(gate.rules6.needsTracking).toBe(0);
    gate.rules4.remove();
    expect(gate.rules4.needsTracking).toBe(0);
  });
});

describe('interfaces', () => {
  test('a name is asked once per interface, and again when interfaces change', () => {
    let asked = 0;
    let name = 'lan0';
    const gate = new Gate({
      host: {
        interfaceName: () => {
          asked++;
          return name;
        },
        mtu: () => 1500,
        masqueradeAddress: () => 0,
        redirectAddress: () => 0,
        addressType: () => 1,
        reroute: () => {},
        reject: () => {},
      },
    });
    gate.load(4, 'filter', ['-A FORWARD -i lan0 -j DROP', '-A FORWARD ! -i lan0 -j ACCEPT']);
    for (let i = 0; i < 5; i++) expect(gate.send(view(UDP))).toBe(0);
    expect(asked).toBe(1);
    name = 'eth9';
    gate.rules4.interfacesChanged();
    expect(gate.send(view(UDP))).toBe(1);
  });
});

describe('observers', () => {
  test('every rule that counts is told, the ends of chains too', () => {
    const seen: string[] = [];
    const gate = new Gate({
      observers: { onRule: ({ table, chain, number }) => seen.push(`${table}:${chain}:${number}`) },
    });
    gate.load(4, 'filter', ['-A FORWARD -p tcp', '-A FORWARD -j A', '-A A -p udp']);
    gate.send(view(UDP));
    expect(seen).toEqual(['filter:FORWARD:2', 'filter:A:1', 'filter:A:return', 'filter:FORWARD:policy']);
  });

  test('TRACE tells of the rules behind it', () => {
    const seen: string[] = [];
    const gate = new Gate({
      observers: { onTrace: ({ table, chain, number }) => seen.push(`${table}:${chain}:${number}`) },
    });
    gate.load(4, 'raw', ['-A PREROUTING -p udp -j TRACE', '-A PREROUTING -p udp']);
    gate.load(4, 'filter', ['-A FORWARD -p udp -j ACCEPT']);
    const packet = view(UDP);
    gate.send(packet, 'raw', Hook.PREROUTING);
    gate.send(packet);
    expect(seen).toEqual(['raw:PREROUTING:2', 'raw:PREROUTING:policy', 'filter:FORWARD:1']);
  });
});
