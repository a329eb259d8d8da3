/** Rules exchanged with pauses: packets in between meet the old ones, and nothing is half done. */
import { expect, test } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { ConfigurationError } from '../../lib/errors.js';
import type { Pacing } from '../../lib/rules/slices.js';
import { Gate, view } from './acl.js';

const UDP = 'udp 10.0.0.2:4000 > 198.51.100.7:53';

const text = (rules: readonly string[]): string =>
  `*filter\n:FORWARD ACCEPT [7:700]\n${rules.join('\n')}\nCOMMIT\n`;

const many = (count: number, target: string): string[] =>
  Array.from({ length: count }, (_, i) => `[${i}:1] -A FORWARD -s 10.1.${i >> 8}.${i & 255} -j ${target}`);

/** Pauses after every slice; `meanwhile` is called in each pause. */
function pacing(meanwhile: (pause: number) => void): Pacing & { pauses: number } {
  const paced = {
    pauses: 0,
    budgetMs: 0,
    clock: new ManualClock(),
    pause: async () => {
      await Promise.resolve();
      meanwhile(paced.pauses++);
    },
  };
  return paced;
}

test('packets meet the old rules until the new ones are complete, then the new ones', async () => {
  const gate = new Gate();
  gate.load(4, 'filter', ['-A FORWARD -j DROP']);
  const seen = new Set<number>();
  const paced = pacing(() => seen.add(gate.send(view(UDP))));
  const rules = [...many(2000, 'DROP'), '-A FORWARD -j ACCEPT'];
  await gate.rules4.restoreGradually(text(rules), paced);
  expect(paced.pauses).toBeGreaterThan(100);
  expect([...seen]).toEqual([0]);
  expect(gate.send(view(UDP))).toBe(1);
  const twin = new Gate();
  twin.rules4.restore(text(rules));
  twin.send(view(UDP));
  expect(gate.rules4.save('with')).toBe(twin.rules4.save('with'));
});

test('typed rules too, with their counters', async () => {
  const [gate, twin] = [new Gate(), new Gate()];
  twin.rules4.restore(text(many(100, 'ACCEPT')));
  await gate.rules4.replaceGradually(
    twin.rules4.toRuleset(),
    pacing(() => {}),
  );
  expect(gate.rules4.save('with')).toBe(twin.rules4.save('with'));
});

test('a text that is refused changes nothing and lets go of what it had taken', async () => {
  const gate = new Gate();
  gate.load(4, 'filter', ['-A FORWARD -j DROP']);
  const before = gate.rules4.save('with');
  const { generation } = gate.rules4;
  gate.sets.restore('create S hash:ip\n');
  const used = ['-A FORWARD -m set --match-set S src', ...many(100, 'DROP')];
  const refused = text([...used, '-A FORWARD -m set --match-set MISSING src']);
  const restored = gate.rules4.restoreGradually(
    refused,
    pacing(() => {}),
  );
  await expect(restored).rejects.toBeInstanceOf(ConfigurationError);
  expect(gate.rules4.save('with')).toBe(before);
  expect(gate.rules4.generation).toBe(generation);
  gate.sets.restore('destroy S\n');
});

test('a pause that throws ends the work, and what was taken is let go of', async () => {
  const gate = new Gate();
  gate.sets.restore('create S hash:ip\n');
  const rules = ['-A FORWARD -m set --match-set S src', ...many(500, 'DROP')];
  const slices = pacing(() => {});
  await gate.rules4.restoreGradually(text(rules), slices);
  gate.rules4.remove();
  gate.sets.restore('destroy S\ncreate S hash:ip\n');
  // In the last third: the set is in use by then.
  const late = Math.floor(slices.pauses * 0.9);
  const broken = pacing((pause) => {
    if (pause === late) expect(() => gate.sets.restore('destroy S\n')).toThrow();
    if (pause === late) throw new Error('stopped');
  });
  await expect(gate.rules4.restoreGradually(text(rules), broken)).rejects.toThrow('stopped');
  expect(gate.rules4.hasTable(3)).toBe(0);
  gate.sets.restore('destroy S\n');
});

test('of two changes the one that ends last stands, and other tables stay', async () => {
  const gate = new Gate();
  gate.load(4, 'mangle', ['-A FORWARD -j ACCEPT']);
  const long = gate.rules4.restoreGradually(
    text([...many(300, 'DROP'), '-A FORWARD -j DROP']),
    pacing((pause) => {
      if (pause === 5) gate.load(4, 'filter', ['-A FORWARD -j ACCEPT']);
    }),
  );
  await long;
  expect(gate.send(view(UDP))).toBe(0);
  expect(gate.rules4.hasTable(1)).toBe(1);
});

test('work goes on until the budget is spent', async () => {
  const gate = new Gate();
  const clock = new ManualClock();
  let readings = 0;
  const counting = {
    nowMs: () => {
      readings++;
      clock.advance(0.25);
      return clock.nowMs();
    },
  };
  let pauses = 0;
  const pause = async (): Promise<void> => {
    pauses++;
  };
  await gate.rules4.restoreGradually(text(many(1000, 'DROP')), { pause, clock: counting, budgetMs: 2 });
  // One reading begins a turn, eight quarters of a millisecond later it is over; reading and compiling end theirs early.
  const turns = Math.ceil(readings / 9);
  expect(pauses - turns).toBeGreaterThanOrEqual(0);
  expect(pauses - turns).toBeLessThanOrEqual(1);
  expect(pauses).toBeGreaterThan(10);
});
