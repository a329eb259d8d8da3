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
