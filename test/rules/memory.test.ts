/** Matches that remember: rates, counts and lists, over time that the test moves. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Gate, view } from './acl.js';

const UDP = 'udp 10.0.0.2:4000 > 198.51.100.7:53';

/** A gate with one rule that drops what it matches; says whether packets match as time goes by. */
class Meter {
  readonly gate: Gate;

  constructor(rule: string, gate = new Gate()) {
    this.gate = gate;
    gate.load(4, 'filter', [`-A FORWARD ${rule} -j DROP`]);
  }

  at(nowMs: number, packet = view(UDP)): boolean {
    this.gate.nowMs = nowMs;
    return this.gate.send(packet) === 0;
  }
}

describe('limit', () => {
  test('lets a burst through, then one per interval', () => {
    const meter = new Meter('-m limit --limit 1/s --limit-burst 3');
    expect([0, 0, 0, 0].map((ms) => meter.at(ms))).toEqual([true, true, true, false]);
    expect(meter.at(996)).toBe(false);
    expect(meter.at(1000)).toBe(true);
    expect(meter.at(1004)).toBe(false);
    expect([9000, 9000, 9000, 9000].map((ms) => meter.at(ms))).toEqual([true, true, true, false]);
  });

  test('over any time no more packets match than the rate and the burst allow', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 60 }), (pauses) => {
        const meter = new Meter('-m limit --limit 2/s --limit-burst 4');
        let nowMs = 0;
        let matched = 0;
        for (const pause of pauses) {
          nowMs += pause;
          if (meter.at(nowMs)) matched++;
        }
        expect(matched).toBeLessThanOrEqual(4 + nowMs / 500);
      }),
    );
  });
});

describe('statistic', () => {
  test('nth takes every third from the second on', () => {
    const meter = new Meter('-m statistic --mode nth --every 3 --packet 1');
    expect([1, 2, 3, 4, 5, 6].map(() => meter.at(0))).toEqual([false, true, false, false, true, false]);
  });

  test('random draws from the injected source', () => {
    const draws = [0, 0x3fffffff, 0x40000000, 0x80000000];
    const gate = new Gate({ random: { u32: () => draws.shift() ?? 0, pick: (first) => first } });
    const meter = new Meter('-m statistic --mode random --probability 0.5', gate);
    expect([1, 2, 3, 4].map(() => meter.at(0))).toEqual([true, true, false, true]);
  });
});

describe('quota', () => {
  test('is over with the first packet that does not fit', () => {
    const meter = new Meter('-m quota --quota 60');
    expect([1, 2, 3].map(() => meter.at(0))).toEqual([true, true, false]);
    const one = new Meter('-m quota --quota 60');
    expect(one.at(0, view(`${UDP} len 100`))).toBe(false);
    expect(one.at(0)).toBe(false);
  });
});

describe('time', () => {
  const at = (iso: string): number => Date.parse(`${iso}Z`);

  test.each([
    ['--timestart 08:00 --timestop 18:00', '2026-03-02T12:00:00', true],
    ['--timestart 08:00 --timestop 18:00', '2026-03-02T07:59:59', false],
    ['--timestart 22:00 --timestop 02:00', '2026-03-02T23:00:00', true],
    ['--timestart 22:00 --timestop 02:00', '2026-03-02T12:00:00', false],
    ['--weekdays Mon', '2026-03-02T12:00:00', true],
    ['--weekdays Tue', '2026-03-02T12:00:00', false],
    ['! --weekdays Mon', '2026-03-02T12:00:00', false],
    ['--weekdays Sun', '2026-03-01T00:00:00', true],
    ['--monthdays 1', '2026-03-01T12:00:00', true],
    ['--monthdays 29', '2028-02-29T12:00:00', true],
    ['--monthdays 31', '1970-01-31T12:00:00', true],
    ['--monthdays 30', '2026-12-31T12:00:00', false],
    ['--datestart 2026-03-02 --datestop 2026-03-03', '2026-03-02T12:00:00', true],
    ['--datestop 2026-03-01', '2026-03-02T12:00:00', false],
    // the hours after midnight belong to the day before
    ['--timestart 23:00 --timestop 01:00 --contiguous --weekdays Mon', '2026-03-03T00:30:00', true],
    ['--timestart 23:00 --timestop 01:00 --weekdays Mon', '2026-03-03T00:30:00', false],
  ])('%s at %s: %s', (options, moment, holds) => {
    const gate = new Gate({ wallTimeMs: (nowMs) => nowMs });
    expect(new Meter(`-m time ${options}`, gate).at(at(moment))).toBe(holds);
  });

  test('days of the month are those of the calendar', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (seconds) => {
        const day = new Date(seconds * 1000).getUTCDate();
        const gate = new Gate({ wallTimeMs: () => seconds * 1000 });
        expect(new Meter(`-m time --monthdays ${day}`, gate).at(0)).toBe(true);
        const other = (day % 31) + 1;
        expect(
          new Meter(`-m time --monthdays ${other}`, new Gate({ wallTimeMs: () => seconds * 1000 })).at(0),
        ).toBe(false);
      }),
      { numRuns: 50 },
    );
  });
});

describe('recent and hashlimit', () => {
  test('a list is shared by rules of one name and survives their replacement', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -m recent --set --name seen']);
    gate.send(view(UDP));
    const meter = new Meter('-m recent --rcheck --seconds 10 --name seen', gate);
    expect(meter.at(9_000)).toBe(true);
    expect(meter.at(10_004)).toBe(false);
    expect(meter.at(9_000, view('udp 10.0.0.3:1 > 1.1.1.1:2'))).toBe(false);
  });

  test('a list that no rule names any more is forgotten', () => {
    const gate = new Gate();
    gate.load(4, 'filter', ['-A FORWARD -m recent --set --name seen']);
    gate.send(view(UDP));
    gate.load(4, 'filter', ['-A FORWARD -p tcp']);
    expect(new Meter('-m recent --rcheck --name seen', gate).at(0)).toBe(false);
  });

  test('rules that are refused leave nothing behind', () => {
    const gate = new Gate();
    expect(() =>
      gate.load(4, 'filter', [
        '-A FORWARD -m recent --set --name seen',
        '-A FORWARD -m set --match-set none src',
      ]),
    ).toThrow();
    gate.load(4, 'filter', ['-A FORWARD -m recent --set --name seen --mask 255.255.0.0']);
    gate.send(view(UDP));
    expect(new Meter('-m recent --rcheck --name seen', gate).at(0, view('udp 10.0.9.9:1 > 1.1.1.1:2'))).toBe(
      true,
    );
  });

  test('the least recently seen of a hundred addresses goes first', () => {
    const gate = new Gate();
    gate.load(4, 'filter', [
      '-A FORWARD -p udp --sport 1 -m recent --set',
      '-A FORWARD -p udp --sport 2 -m recent --rcheck -j DROP',
    ]);
    const from = (i: number, port: number) => view(`udp 10.0.${i >> 8}.${i & 255}:${port} > 1.1.1.1:2`);
    for (let i = 1; i <= 100; i++) gate.send(from(i, 1));
    gate.send(from(1, 1));
    gate.send(from(101, 1));
    expect([1, 2, 3, 101].map((i) => gate.send(from(i, 2)) === 0)).toEqual([true, false, true, true]);
  });

  test('hashlimit keeps a bucket per source', () => {
    const meter = new Meter(
      '-m hashlimit --hashlimit-upto 1/s --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name a --hashlimit-htable-expire 60000',
    );
    const other = view('udp 10.0.0.3:1 > 1.1.1.1:2');
    expect([meter.at(0), meter.at(0), meter.at(0), meter.at(0, other)]).toEqual([true, true, false, true]);
    expect([meter.at(1000), meter.at(1000)]).toEqual([true, false]);
  });

  test('a full hashlimit table drops new sources', () => {
    const gate = new Gate();
    gate.load(4, 'filter', [
      '-A FORWARD -m hashlimit --hashlimit-upto 9/s --hashlimit-mode srcip --hashlimit-name a --hashlimit-htable-max 2',
    ]);
    const from = (host: number) => gate.send(view(`udp 10.0.0.${host}:1 > 1.1.1.1:2`));
    expect([from(1), from(2), from(3), from(1)]).toEqual([1, 1, 0, 1]);
  });
});
