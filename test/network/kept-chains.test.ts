/** The chains of forwards and policy stay whatever door a change of the engine's rules takes. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { ConfigurationError } from '../../lib/errors.js';
import { createGateway, type Gateway } from '../../lib/network/gateway.js';
import { restoreRuleset } from '../../lib/rules/restore.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';

const USER = '*filter\n:FORWARD DROP\n-A FORWARD -p icmp -j ACCEPT\nCOMMIT\n';
const OTHER = '*filter\n:FORWARD ACCEPT\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n';

class Bench {
  readonly gateway: Gateway;
  readonly #sent: string[] = [];

  constructor() {
    this.gateway = createGateway({
      clock: new ManualClock(0),
      maxConnections: 64,
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
      ],
      routes: ['default dev wan'],
      rules: { 4: USER },
      policy: { allowOut: ['1.1.1.1'] },
      forwards: ['tcp 8080:10.0.0.2/80'],
    });
    for (const port of this.gateway.interfaces) {
      port.onTransmit = (bytes) => this.#sent.push(`${port.name} ${formatPacket(bytes)}`);
    }
  }

  get rules(): string {
    return this.gateway.rules.save(4);
  }

  /** Whether the guest reaches an address by UDP. */
  reaches(address: string): boolean {
    this.#sent.length = 0;
    this.gateway.interface('lan').receive(parsePacket(`udp 10.0.0.2:5000 > ${address}:9 len 1`));
    return this.#sent.some((one) => one.startsWith('wan udp'));
  }
}

const pacing = { pause: () => Promise.resolve(), clock: { nowMs: () => 0 } };
const read = (text: string) => restoreRuleset(text, { family: 4 });

describe('the chains of policy and forwards', () => {
  it.each<[string, (gateway: Gateway) => void | Promise<void>]>([
    ['gateway.restore', (gateway) => gateway.restore(4, OTHER)],
    ['gateway.rules.restore', (gateway) => gateway.rules.restore(4, OTHER)],
    ['engine.restore', ({ engine }) => engine.restore(4, OTHER)],
    ['engine.restoreGradually', ({ engine }) => engine.restoreGradually(4, OTHER, pacing)],
    ['rules4.restore', ({ engine }) => engine.rules4.restore(OTHER)],
    ['rules4.replace', ({ engine }) => engine.rules4.replace(read(OTHER))],
    ['rules4.replaceGradually', ({ engine }) => engine.rules4.replaceGradually(read(OTHER), pacing)],
  ])('stay with %s', async (_door, change) => {
    const bench = new Bench();
    const before = bench.rules.match(/CONNTIDE-\S+/g);
    await change(bench.gateway);
    expect(bench.rules).toContain('-A FORWARD -p udp -j ACCEPT');
    expect(bench.rules).not.toContain('-p icmp');
    expect(bench.rules.match(/CONNTIDE-\S+/g)).toEqual(before);
    expect([bench.reaches('1.1.1.1'), bench.reaches('2.2.2.2')]).toEqual([true, false]);
    bench.gateway.close();
  });

  it('stay when tables are taken away: the user’s part goes', () => {
    const bench = new Bench();
    bench.gateway.restore(4, `*raw\n-A PREROUTING -p 50 -j DROP\nCOMMIT\n`);
    bench.gateway.engine.rules4.remove();
    expect(bench.rules).not.toContain('-p icmp');
    expect(bench.rules).not.toContain('*raw');
    expect(bench.rules).toContain('-A FORWARD -j CONNTIDE-POLICY');
    expect(bench.reaches('2.2.2.2')).toBe(false);
    bench.gateway.close();
  });

  it('stay when the change is refused, with everything else', () => {
    const bench = new Bench();
    const before = bench.rules;
    for (const text of ['*filter\n-A FORWARD -j NOWHERE\nCOMMIT\n', '*filter\n-A FORWARD --what\nCOMMIT\n']) {
      expect(() => bench.gateway.engine.restore(4, text)).toThrow(ConfigurationError);
      expect(bench.rules).toBe(before);
    }
    bench.gateway.close();
  });

  it('go with the policy, not with a change of rules', () => {
    const bench = new Bench();
    bench.gateway.engine.restore(4, OTHER);
    bench.gateway.policy(undefined);
    expect(bench.rules).not.toContain('CONNTIDE-POLICY');
    expect(bench.reaches('2.2.2.2')).toBe(true);
    bench.gateway.close();
  });
});

/** Rules that no packet here meets. */
const others = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `-A FORWARD -s 192.0.${i >> 8}.${i & 255} -j DROP`);
const text = (...lines: string[]): string => ['*filter', ...lines, 'COMMIT', ''].join('\n');

describe('a text that is compiled with the chains of policy and forwards', () => {
  it.each([
    ['a policy and rules', text(':FORWARD DROP [3:4]', ...others(30), '[5:6] -A FORWARD -p udp -j ACCEPT')],
    [
      'chains of the user',
      text(':A - [0:0]', ':ZZ - [0:0]', '-A FORWARD -j ZZ', '-A ZZ -g A', '-A A -p udp -j ACCEPT'),
    ],
    ['two tables', `*nat\n-A PREROUTING -p udp --dport 9\nCOMMIT\n${text('-A FORWARD -p udp -j RETURN')}`],
    ['a table that has none of ours', '*raw\n-A PREROUTING -p udp\nCOMMIT\n'],
    [
      'chains of ours',
      text(':CONNTIDE-POLICY - [0:0]', '-A FORWARD -p icmp', '-A FORWARD -j CONNTIDE-POLICY'),
    ],
    ['rules that are inserted', text('-A FORWARD -p udp -j ACCEPT', '-I FORWARD -p udp --dport 9')],
  ])('is as if its typed rules were put in place: %s', async (_, rules) => {
    const ways: ((bench: Bench) => void | Promise<void>)[] = [
      ({ gateway }) => gateway.engine.rules4.replace(read(rules)),
      ({ gateway }) => gateway.engine.rules4.restore(rules),
      ({ gateway }) => gateway.engine.restoreGradually(4, rules, pacing),
    ];
    const saved: string[] = [];
    for (const way of ways) {
      const bench = new Bench();
      bench.reaches('1.1.1.1');
      await way(bench);
      for (const address of ['1.1.1.1', '2.2.2.2']) bench.reaches(address);
      // Taken away and given again: it is known which jumps are ours.
      bench.gateway.policy(undefined);
      const without = bench.gateway.rules.save(4, 'with');
      bench.gateway.policy({ allowOut: ['2.2.2.2'] });
      saved.push(`${without}\n${bench.gateway.rules.save(4, 'with')}`);
      bench.gateway.close();
    }
    expect(saved[1]).toBe(saved[0]);
    expect(saved[2]).toBe(saved[0]);
  });

  it('goes on counting what its chains counted, pauses included', async () => {
    const bench = new Bench();
    let sent = 0;
    const pause = async (): Promise<void> => {
      if (++sent <= 50)
        bench.gateway.interface('lan').receive(parsePacket(`tcp 10.0.0.2:${sent} > 2.2.2.2:9 SYN`));
    };
    await bench.gateway.engine.restoreGradually(4, text(...others(900)), { ...pacing, budgetMs: 0, pause });
    expect(sent).toBeGreaterThan(50);
    const counted = [...bench.gateway.engine.rules4.counters()].filter(
      ({ table, chain, packets }) => table === 'filter' && chain.startsWith('CONNTIDE-') && packets > 0,
    );
    expect(counted.map(({ packets }) => packets)).toContain(50);
    bench.gateway.close();
  });

  it('has them as they are when it is put in place', async () => {
    const bench = new Bench();
    let pauses = 0;
    const pause = async (): Promise<void> => {
      if (++pauses === 20) bench.gateway.policy({ allowOut: ['2.2.2.2'] });
    };
    await bench.gateway.engine.restoreGradually(
      4,
      OTHER.replace('COMMIT', `${others(900).join('\n')}\nCOMMIT`),
      {
        ...pacing,
        budgetMs: 0,
        pause,
      },
    );
    expect(pauses).toBeGreaterThan(40);
    expect(bench.rules).toContain('-s 192.0.3.1');
    expect(bench.rules).toContain('2.2.2.2');
    expect(bench.rules).not.toContain('1.1.1.1');
    expect([bench.reaches('1.1.1.1'), bench.reaches('2.2.2.2')]).toEqual([false, true]);
    bench.gateway.close();
  });
});
