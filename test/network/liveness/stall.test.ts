/** P1 and P3 while the event loop stands still: missed sweeps are not made up for, and the bounds hold afterwards. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connect, Sandbox } from './sandbox.js';

const THERE = 'tcp 10.0.0.2:40000 > 198.51.100.7:80 ACK seq 1010 ack 5020';
const BACK = 'tcp 198.51.100.7:80 > 203.0.113.1:40000 ACK seq 5020 ack 1010';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** The event loop runs: alarms ring on time, up to `ms`. */
function run(sandbox: Sandbox, ms: number, stepMs = 100): void {
  while (sandbox.clock.nowMs() < ms) {
    const step = Math.min(stepMs, ms - sandbox.clock.nowMs());
    sandbox.clock.advance(step);
    vi.advanceTimersByTime(step);
  }
}

/** The event loop stands still until `ms`, and then its alarm rings late. */
function stall(sandbox: Sandbox, ms: number): void {
  sandbox.clock.set(ms);
  vi.advanceTimersToNextTimer();
}

describe('keepalive after a stall', () => {
  // K = 30 s, stalls of up to 20 of them.
  it.each([31_000, 65_000, 100_000, 600_000])('of %d ms asks once, not once per missed sweep', (stallMs) => {
    const sandbox = new Sandbox({ keepalive: {} });
    connect(sandbox);
    run(sandbox, 29_000);
    expect(sandbox.take()).toEqual([]);
    stall(sandbox, 29_000 + stallMs);
    expect(sandbox.take().length).toBeLessThanOrEqual(1);
    expect(sandbox.gateway.liveness.counters.probes).toBeLessThanOrEqual(1);
    // The end is asked every K from then on, at the moments that it would have been asked at.
    const before = sandbox.gateway.liveness.counters.probes;
    run(sandbox, 29_000 + stallMs + 300_000);
    expect(sandbox.gateway.liveness.counters.probes - before).toBeGreaterThanOrEqual(9);
    expect(sandbox.gateway.liveness.counters.probes - before).toBeLessThanOrEqual(10);
    sandbox.gateway.close();
  });

  it('keeps P3: an end that spoke at t is asked in (t + K, t + 2K]', () => {
    for (let t = 640_500; t < 672_000; t += 2_750) {
      const sandbox = new Sandbox({ keepalive: {} });
      connect(sandbox);
      run(sandbox, 29_000);
      stall(sandbox, 640_000);
      run(sandbox, t);
      sandbox.receive('lan', THERE);
      run(sandbox, t + 30_000);
      expect(sandbox.take()).toEqual([]);
      run(sandbox, t + 60_000);
      expect(sandbox.take()).toHaveLength(1);
      sandbox.gateway.close();
    }
  });
});

describe('the inactivity clock after a stall', () => {
  const T = 60_000;

  it('of ten T has not ended a connection whose packets waited, used once per T before and after', () => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: T } });
    connect(sandbox);
    let isOut = false;
    const use = () => {
      isOut = !isOut;
      sandbox.receive(isOut ? 'lan' : 'wan', isOut ? THERE : BACK);
    };
    run(sandbox, 2_000);
    use();
    stall(sandbox, 2_000 + 10 * T);
    use();
    expect(sandbox.ended).toEqual([]);
    for (let ms = 2_000 + 11 * T; ms < 2_000 + 20 * T; ms += T) {
      run(sandbox, ms);
      use();
    }
    expect(sandbox.ended).toEqual([]);
    sandbox.gateway.close();
  });

  it('keeps P1: a connection used last at t ends in (t + T, t + 2T]', () => {
    for (let t = 601_000; t < 660_000; t += 5_500) {
      const sandbox = new Sandbox({ inactivity: { intervalMs: T } });
      connect(sandbox);
      run(sandbox, 2_000);
      sandbox.receive('lan', THERE);
      stall(sandbox, 600_000);
      run(sandbox, t);
      sandbox.receive('wan', BACK);
      run(sandbox, t + 2 * T);
      expect(sandbox.ended).toHaveLength(1);
      const [reason, endedMs] = sandbox.ended[0]!;
      expect(reason).toBe('inactive');
      expect(endedMs).toBeGreaterThan(t + T);
      expect(endedMs).toBeLessThanOrEqual(t + 2 * T);
      sandbox.gateway.close();
    }
  });

  it('that was told to advance by its owner has missed nothing: each sweep comes at its time', () => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: T }, keepalive: {} });
    connect(sandbox);
    sandbox.until(2 * T);
    expect(sandbox.ended.map(([reason]) => reason)).toEqual(['inactive']);
    expect(sandbox.gateway.liveness.counters.probes).toBeGreaterThanOrEqual(2);
    sandbox.gateway.close();
  });
});
