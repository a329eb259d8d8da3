/** P3: hosts inside are asked whether they are there. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accept, connect, Sandbox } from './sandbox.js';

const OUT = 'tcp 10.0.0.2:40000 > 198.51.100.7:80';
const ANSWER = `${OUT} ACK seq 1010 ack 5020`;
const PROBE = 'lan tcp 198.51.100.7:80 > 10.0.0.2:40000 ACK seq 5019 ack 1010';

/** Probes that have left since it was asked last. */
function probes(sandbox: Sandbox): string[] {
  return sandbox.take().map((one) => one.replace(/ win.*| df.*| ttl.*/, ''));
}

describe.each([
  [undefined, 30_000],
  [300_000, 300_000],
])('keepalive, interval %s', (intervalMs, K) => {
  it('asks between K and 2K of silence from the inside, with the number before the next', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 * K }), (gap) => {
        const sandbox = new Sandbox({ keepalive: intervalMs === undefined ? {} : { intervalMs } });
        connect(sandbox);
        sandbox.until(gap);
        sandbox.take();
        sandbox.receive('lan', ANSWER);
        // What comes from outside does not count.
        sandbox.until(gap + Math.floor(K / 2));
        sandbox.receive('wan', 'tcp 198.51.100.7:80 > 203.0.113.1:40000 ACK seq 5020 ack 1010');
        sandbox.until(gap + K);
        expect(probes(sandbox)).toEqual([]);
        sandbox.until(gap + 2 * K);
        expect(probes(sandbox)).toEqual([PROBE]);
        sandbox.gateway.close();
      }),
      { numRuns: 40 },
    );
  });

  it('asks again after an answer, K to 2K later, and for ever: the connection lives on', () => {
    const sandbox = new Sandbox({ keepalive: intervalMs === undefined ? {} : { intervalMs } });
    connect(sandbox);
    let asked = 0;
    for (let ms = 1000; ms < 40 * K; ms += 1000) {
      sandbox.until(ms);
      for (const probe of probes(sandbox)) {
        expect(probe).toBe(PROBE);
        asked++;
        expect(sandbox.receive('lan', ANSWER)).toEqual([
          expect.stringContaining('wan tcp 203.0.113.1:40000 > 198.51.100.7:80 ACK seq 1010 ack 5020'),
        ]);
      }
    }
    expect(asked).toBeGreaterThanOrEqual(19);
    expect(asked).toBeLessThanOrEqual(40);
    const [connection] = sandbox.gateway.engine.connections.list();
    // Answers that repeat themselves are no retransmissions: the five days stay.
    expect(connection!.remainingMs).toBeGreaterThan(431_000_000 - 2 * K);
    sandbox.gateway.close();
  });
});

describe('a probe', () => {
  it('that is answered by RST ends the entry, and the peer gets the RST', () => {
    const sandbox = new Sandbox({ keepalive: {} });
    connect(sandbox);
    sandbox.until(60_000);
    expect(probes(sandbox)).toEqual([PROBE]);
    expect(sandbox.receive('lan', `${OUT} RST seq 1010 win 0`)).toHaveLength(1);
    expect(sandbox.ended).toEqual([]);
    sandbox.until(60_001);
    expect(sandbox.gateway.engine.connections.list({}, 60_001).filter((one) => one.remainingMs > 0)).toEqual(
      [],
    );
    // A new connection on the same tuple is a new one.
    expect(sandbox.receive('lan', `${OUT} SYN seq 7`)).toHaveLength(1);
    expect(sandbox.gateway.engine.connections.list()[0]!.state).toBe('SYN_SENT');
    expect(sandbox.ended).toEqual([['rst', 60_001]]);
    sandbox.gateway.close();
  });

  it('that is answered by RST and met by nobody afterwards ends as rst too, when it is swept', () => {
    const sandbox = new Sandbox({ keepalive: {} });
    connect(sandbox);
    sandbox.until(60_000);
    sandbox.receive('lan', `${OUT} RST seq 1010 win 0`);
    sandbox.until(200_000);
    expect(sandbox.ended.map(([reason]) => reason)).toEqual(['rst']);
    expect(sandbox.count).toBe(0);
    sandbox.gateway.close();
  });

  it('goes to the host inside although it was the one that was called', () => {
    const sandbox = new Sandbox({ keepalive: {} });
    accept(sandbox);
    sandbox.until(60_000);
    expect(probes(sandbox)).toEqual(['lan tcp 198.51.100.9:6000 > 10.0.0.2:80 ACK seq 104 ack 300']);
    sandbox.gateway.close();
  });

  it('is not sent to hosts outside, nor about connections that are closing', () => {
    const sandbox = new Sandbox({ keepalive: {}, inside: ['dmz'] });
    connect(sandbox);
    sandbox.until(200_000);
    expect(probes(sandbox)).toEqual([]);
    const other = new Sandbox({ keepalive: {} });
    connect(other);
    other.receive('lan', `${OUT} FIN,ACK seq 1010 ack 5020`);
    other.until(100_000);
    expect(probes(other)).toEqual([]);
    sandbox.gateway.close();
    other.gateway.close();
  });

  it('is repeated while nobody answers', () => {
    const sandbox = new Sandbox({ keepalive: {} });
    connect(sandbox);
    sandbox.until(180_000);
    expect(sandbox.gateway.liveness.counters.probes).toBeGreaterThanOrEqual(4);
    expect(new Set(probes(sandbox))).toEqual(new Set([PROBE]));
    sandbox.gateway.close();
  });

  function useless(probeAnswers: 'ignored' | 'counted') {
    const sandbox = new Sandbox({
      keepalive: { intervalMs: 10_000 },
      inactivity: { intervalMs: 100_000, probeAnswers },
    });
    connect(sandbox);
    for (let ms = 500; ms <= 400_000 && sandbox.count > 0; ms += 500) {
      sandbox.until(ms);
      if (sandbox.take().length > 0) sandbox.receive('lan', ANSWER);
    }
    sandbox.gateway.close();
    return sandbox;
  }

  it('has answers that are no use of the connection: it ends by inactivity', () => {
    const { ended } = useless('ignored');
    expect(ended).toHaveLength(1);
    expect(ended[0]![0]).toBe('inactive');
    expect(ended[0]![1]).toBeLessThanOrEqual(200_000);
  });

  it('has answers that are use of it, if asked for', () => {
    expect(useless('counted').ended).toEqual([]);
  });

  it('that crosses data is answered by use: a segment with data counts', () => {
    const sandbox = new Sandbox({
      keepalive: { intervalMs: 10_000 },
      inactivity: { intervalMs: 100_000 },
    });
    connect(sandbox);
    let sequence = 1010;
    for (let ms = 500; ms <= 400_000; ms += 500) {
      sandbox.until(ms);
      if (sandbox.take().length === 0) continue;
      sandbox.receive('lan', `${OUT} PSH,ACK seq ${sequence++} ack 5020 len 1`);
    }
    expect(sandbox.count).toBe(1);
    sandbox.gateway.close();
  });
});
