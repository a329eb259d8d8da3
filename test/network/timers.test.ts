import { describe, expect, it } from 'vitest';
import { createGateway } from '../../lib/network/gateway.js';
import { Timers } from '../../lib/network/timers.js';
import { parsePacket } from '../../lib/scenario/notation.js';

describe('timers', () => {
  it('leave a part that stays due for the next time, and go on with the others', () => {
    const timers = new Timers();
    const done: string[] = [];
    let left = 3;
    timers.add({
      nextMs: () => (left > 0 ? 10 : Number.POSITIVE_INFINITY),
      advance: () => {
        left -= 0.5;
        done.push(`slice, ${left} left`);
      },
    });
    let next = 20;
    timers.add({
      nextMs: () => next,
      advance: (nowMs) => {
        done.push(`other@${nowMs}`);
        next += 20;
      },
    });
    timers.advance(40);
    expect(done).toEqual(['slice, 2.5 left', 'slice, 2 left', 'other@20', 'other@40']);
    expect(timers.nextMs()).toBe(10);
    timers.advance(41);
    timers.advance(42);
    expect(timers.nextMs()).toBe(60);
  });
});

describe('a gateway whose connections expire all at once', () => {
  const FLOWS = 2048;

  it('reaps them in slices, and gives the event loop its turn between', () => {
    // Every look at it takes 0.2 ms: five to a slice of a millisecond.
    const clock = {
      timeMs: 0,
      stepMs: 0,
      nowMs() {
        this.timeMs += this.stepMs;
        return this.timeMs;
      },
    };
    const gateway = createGateway({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24'] },
        { name: 'wan', addresses: ['192.0.2.1/24'] },
      ],
      routes: ['default via 192.0.2.254'],
      tracking: 'always',
      maxConnections: FLOWS,
      clock,
      reaper: { fractions: 1 },
    });
    const lan = gateway.interfaces[0]!;
    const { tracker, reaper } = gateway.engine;
    gateway.advance();
    for (let flow = 0; flow < FLOWS; flow++) {
      lan.receive(parsePacket(`udp 10.0.0.2:${1024 + flow} > 198.51.100.7:53 data 00`));
    }
    expect(tracker.count).toBe(FLOWS);
    clock.timeMs = 40_000;
    clock.stepMs = 0.2;
    const counts: number[] = [];
    for (let turn = 0; tracker.count > 0; turn++) {
      gateway.advance();
      counts.push(tracker.count);
      if (tracker.count > 0) expect(gateway.timers.nextMs(), 'due at once').toBeLessThanOrEqual(clock.timeMs);
      expect(turn).toBeLessThan(1000);
      clock.timeMs += 1;
    }
    expect(counts.length).toBeGreaterThan(5);
    const steps = counts.map((count, i) => (i === 0 ? FLOWS : (counts[i - 1] as number)) - count);
    expect(Math.max(...steps)).toBeLessThan(FLOWS / 5);
    expect(reaper.report()).toMatchObject({ reaped: FLOWS, reapedOnLookup: 0 });
    gateway.close();
  });
});
