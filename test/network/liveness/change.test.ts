/** What becomes of silent connections, TIME_WAIT and loopback prefixes, given anew while the gateway runs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DropReason } from '../../../lib/counters.js';
import { connect, Sandbox } from './sandbox.js';

const HOUR = 3_600_000;
const PROBE = 'lan tcp 198.51.100.7:80 > 10.0.0.2:40000 ACK seq 5019 ack 1010';

function probes(sandbox: Sandbox): number {
  return sandbox.take().filter((one) => one.startsWith(PROBE)).length;
}

describe('the inactivity clock', () => {
  it('that begins at c ends what was used last before in (c + T, c + 2T], whatever went before', () => {
    const intervals = fc.constantFrom(undefined, 60_000, HOUR);
    fc.assert(
      fc.property(
        intervals,
        fc.integer({ min: 1, max: 5 * HOUR }),
        fc.integer({ min: 1, max: 3 * HOUR }),
        (before, changedMs, T) => {
          fc.pre(before !== T && (before === undefined || changedMs <= before));
          const sandbox = new Sandbox(before === undefined ? {} : { inactivity: { intervalMs: before } });
          connect(sandbox);
          sandbox.until(changedMs);
          sandbox.gateway.change({ inactivity: { intervalMs: T } });
          sandbox.until(changedMs + 3 * T);
          expect(sandbox.ended.map(([reason]) => reason)).toEqual(['inactive']);
          expect(sandbox.ended[0]![1]).toBeGreaterThan(changedMs + T);
          expect(sandbox.ended[0]![1]).toBeLessThanOrEqual(changedMs + 2 * T);
          sandbox.gateway.close();
        },
      ),
      { numRuns: 80 },
    );
  });

  it('goes on where it was if its interval stays', () => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: HOUR } });
    connect(sandbox);
    for (let ms = HOUR / 4; ms <= 2 * HOUR; ms += HOUR / 4) {
      sandbox.until(ms);
      sandbox.gateway.change({ inactivity: { intervalMs: HOUR, onExpiry: 'reset-inside' } });
    }
    expect(sandbox.ended.map(([reason]) => reason)).toEqual(['inactive']);
    // And what an end hears is what was said last.
    expect(sandbox.take()).toEqual([expect.stringContaining('RST')]);
    sandbox.gateway.close();
  });

  it('that was taken away ends nothing', () => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: HOUR } });
    connect(sandbox);
    sandbox.until(HOUR);
    sandbox.gateway.change({});
    sandbox.until(20 * HOUR);
    expect(sandbox.count).toBe(1);
    sandbox.gateway.close();
  });
});

describe('keepalive', () => {
  it('asks from the change on, and not after it was taken away', () => {
    const sandbox = new Sandbox();
    connect(sandbox);
    sandbox.until(HOUR);
    expect(probes(sandbox)).toBe(0);
    sandbox.gateway.change({ keepalive: { intervalMs: 30_000 } });
    sandbox.until(HOUR + 30_000);
    expect(probes(sandbox)).toBe(0);
    sandbox.until(HOUR + 60_000);
    expect(probes(sandbox)).toBe(1);
    sandbox.gateway.change({});
    sandbox.until(2 * HOUR);
    expect(probes(sandbox)).toBe(0);
    sandbox.gateway.close();
  });

  it('asks those that are inside now', () => {
    const sandbox = new Sandbox({ keepalive: { intervalMs: 30_000 }, inside: ['dmz'] });
    connect(sandbox);
    sandbox.until(HOUR);
    expect(probes(sandbox)).toBe(0);
    sandbox.gateway.change({ keepalive: { intervalMs: 30_000 }, inside: ['lan'] });
    sandbox.until(HOUR + 60_000);
    expect(probes(sandbox)).toBeGreaterThan(0);
    sandbox.gateway.close();
  });
});

describe('TIME_WAIT', () => {
  const out = 'tcp 10.0.0.2:40000 > 198.51.100.7:80';
  const back = 'tcp 198.51.100.7:80 > 203.0.113.1:40000';
  function finish(sandbox: Sandbox): void {
    sandbox.receive('lan', `${out} FIN,ACK seq 1010 ack 5020`);
    sandbox.receive('wan', `${back} FIN,ACK seq 5020 ack 1011`);
    sandbox.receive('lan', `${out} ACK seq 1011 ack 5021`);
  }
  const syn = (sandbox: Sandbox, seq: number) => sandbox.receive('lan', `${out} SYN seq ${seq}`).length;

  it('gives its tuple away as said last, and remembers what it saw', () => {
    const sandbox = new Sandbox({ timeWaitReuse: { delayMs: 10_000 } });
    connect(sandbox);
    finish(sandbox);
    sandbox.until(2_000);
    expect(syn(sandbox, 9_000)).toBe(0);
    sandbox.gateway.change({ timeWaitReuse: { delayMs: 1_000 } });
    expect(syn(sandbox, 900)).toBe(0);
    expect(syn(sandbox, 9_000)).toBe(1);
    sandbox.gateway.close();
  });

  it('is as in Linux without the option, and not any more with it, for connections of before too', () => {
    for (const [then, passes] of [
      [{}, 1],
      [{ timeWaitReuse: { delayMs: 60_000 } }, 0],
    ] as const) {
      const sandbox = new Sandbox(passes === 1 ? { timeWaitReuse: { delayMs: 60_000 } } : {});
      connect(sandbox);
      finish(sandbox);
      sandbox.until(2_000);
      sandbox.gateway.change(then);
      expect(syn(sandbox, 9_000)).toBe(passes);
      sandbox.gateway.close();
    }
  });
});

it('loopback prefixes are martians from the change on, and hosts like others after the next', () => {
  const sandbox = new Sandbox({ loopbackPrefixes: ['10.99.0.0/16'] });
  const { gateway } = sandbox;
  const passes = (address: string) => {
    const before = gateway.drops.get(DropReason.MARTIAN);
    const sent = sandbox.receive('lan', `udp 10.0.0.2:5000 > ${address}:53 len 5`).length;
    expect(gateway.drops.get(DropReason.MARTIAN) - before).toBe(1 - sent);
    return sent;
  };
  const locals = () => [4, 6].map((version) => gateway.router.routes.list(version as 4 | 6).length);
  const [first] = [locals()];
  expect([passes('10.99.1.1'), passes('10.98.1.1')]).toEqual([0, 1]);
  gateway.change({ loopbackPrefixes: ['10.98.0.0/16', 'fd00:1009:bacc::/48'] });
  expect([passes('10.99.1.1'), passes('10.98.1.1')]).toEqual([1, 0]);
  const six = 'udp [fd00:a::2]:5000 > [fd00:1009:bacc::7]:53 len 5';
  expect(sandbox.receive('lan', six)).toEqual([]);
  gateway.change({});
  expect([passes('10.99.1.1'), passes('10.98.1.1')]).toEqual([1, 1]);
  expect(sandbox.receive('lan', six)).toHaveLength(1);
  gateway.change({ loopbackPrefixes: ['10.99.0.0/16'] });
  expect(locals()).toEqual(first);
  gateway.close();
});

it('a change that is refused changes nothing', () => {
  const sandbox = new Sandbox({ inactivity: { intervalMs: HOUR } });
  connect(sandbox);
  const refused = [
    { inactivity: { intervalMs: 0 } },
    { inside: ['nowhere'] },
    { keepalive: { intervalMs: 1000 }, loopbackPrefixes: ['10.99.0.1/16'] },
    { keepalive: { intervalMs: 1000 }, timeWaitReuse: { delayMs: 0 } },
  ];
  for (const options of refused) expect(() => sandbox.gateway.change(options)).toThrow();
  sandbox.take();
  sandbox.until(2 * HOUR);
  expect(sandbox.ended.map(([reason]) => reason)).toEqual(['inactive']);
  expect(probes(sandbox)).toBe(0);
  sandbox.gateway.close();
});
