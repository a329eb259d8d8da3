/** P1 and P2: connections that nobody uses end, with or without resets. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accept, connect, Sandbox } from './sandbox.js';

const HOUR = 3_600_000;
const T = 2 * HOUR;

describe('P1: the inactivity clock', () => {
  it('ends a connection used last at t in (t + T, t + 2T], by default with T of two hours', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 * T }), { minLength: 1, maxLength: 4 }), (gaps) => {
        const sandbox = new Sandbox({ inactivity: {} });
        let last = 0;
        let isOut = true;
        connect(sandbox);
        for (const gap of gaps) {
          sandbox.until(last + gap);
          if (sandbox.count === 0) break;
          // By turns: the same ACK again and again would count as retransmitted.
          isOut = !isOut;
          if (isOut) sandbox.receive('lan', 'tcp 10.0.0.2:40000 > 198.51.100.7:80 ACK seq 1010 ack 5020');
          else sandbox.receive('wan', 'tcp 198.51.100.7:80 > 203.0.113.1:40000 ACK seq 5020 ack 1010');
          last += gap;
        }
        sandbox.until(Math.max(sandbox.clock.nowMs(), last + 2 * T));
        expect(sandbox.ended).toHaveLength(1);
        const [reason, endedMs] = sandbox.ended[0]!;
        expect(reason).toBe('inactive');
        expect(endedMs).toBeGreaterThan(last + T);
        expect(endedMs).toBeLessThanOrEqual(last + 2 * T);
        sandbox.gateway.close();
      }),
      { numRuns: 60 },
    );
  });

  it('keeps a connection alive for ever that is used once per T', () => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: 60_000 } });
    connect(sandbox);
    for (let ms = 60_000; ms < HOUR; ms += 60_000) {
      sandbox.until(ms);
      const isOut = (ms / 60_000) % 2 === 0;
      if (isOut) sandbox.receive('lan', 'tcp 10.0.0.2:40000 > 198.51.100.7:80 ACK seq 1010 ack 5020');
      else sandbox.receive('wan', 'tcp 198.51.100.7:80 > 203.0.113.1:40000 ACK seq 5020 ack 1010');
      expect(sandbox.count).toBe(1);
    }
  });

  it('counts for every connection: forwards, UDP, hosts inside among themselves, IPv6', () => {
    const sandbox = new Sandbox({
      inactivity: { intervalMs: 100_000 },
      sysctls: { 'net.netfilter.nf_conntrack_udp_timeout_stream': 100_000 },
    });
    connect(sandbox);
    accept(sandbox);
    const pairs = [
      ['lan', '10.0.0.2:5000 > 198.51.100.7:53', 'wan', '198.51.100.7:53 > 203.0.113.1:5000'],
      ['lan', '10.0.0.3:5000 > 10.1.0.9:53', 'dmz', '10.1.0.9:53 > 10.0.0.3:5000'],
      ['lan', '[fd00:a::2]:5000 > [2001:db8:2::7]:53', 'wan', '[2001:db8:2::7]:53 > [2001:db8:1::1]:5000'],
    ] as const;
    for (const [from, ends, to, back] of pairs) {
      sandbox.receive(from, `udp ${ends} len 5`);
      sandbox.until(sandbox.clock.nowMs() + 2_500);
      expect(sandbox.receive(to, `udp ${back} len 5`)).toHaveLength(1);
      sandbox.receive(from, `udp ${ends} len 5`);
    }
    expect(sandbox.count).toBe(5);
    const last = sandbox.clock.nowMs();
    sandbox.until(last + 90_000);
    expect(sandbox.count).toBe(5);
    sandbox.until(last + 200_000);
    expect(sandbox.count).toBe(0);
    expect(sandbox.ended.map(([reason]) => reason)).toEqual(new Array(5).fill('inactive'));
    expect(sandbox.gateway.liveness.counters).toEqual({ expired: 5, resets: 0, probes: 0 });
    sandbox.gateway.close();
  });

  it('is off unless asked for, as in Linux', () => {
    const sandbox = new Sandbox();
    connect(sandbox);
    sandbox.until(4 * 24 * HOUR);
    expect(sandbox.count).toBe(1);
    sandbox.gateway.close();
  });

  it.each([
    { inactivity: { intervalMs: 0 } },
    { inactivity: { onExpiry: 'reset' as 'silent' } },
    { keepalive: { intervalMs: Number.NaN } },
    { inside: ['nowhere'] },
  ])('refuses %o', (options) => {
    expect(() => new Sandbox(options)).toThrow();
  });
});

describe('P2: on expiry', () => {
  const toGuest = 'lan tcp 198.51.100.7:80 > 10.0.0.2:40000 RST,ACK seq 5020 ack 1010 win 0';
  const toServer = 'wan tcp 203.0.113.1:40000 > 198.51.100.7:80 RST,ACK seq 1010 ack 5020 win 0';
  it.each([
    ['silent', []],
    ['reset-inside', [toGuest]],
    ['reset-both', [toGuest, toServer]],
  ] as const)('%s', (onExpiry, expected) => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: 1000, onExpiry } });
    connect(sandbox);
    sandbox.until(2000);
    expect(sandbox.take().map((one) => one.replace(/ df.*| ttl.*/, ''))).toEqual(expected);
    expect(sandbox.count).toBe(0);
    expect(sandbox.gateway.liveness.counters.resets).toBe(expected.length);
    sandbox.gateway.close();
  });

  it('the host that is inside may be the one that was called', () => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: 1000, onExpiry: 'reset-inside' } });
    accept(sandbox);
    sandbox.until(2000);
    const said = sandbox.take().map((one) => one.replace(/ df.*| ttl.*/, ''));
    expect(said).toEqual(['lan tcp 198.51.100.9:6000 > 10.0.0.2:80 RST,ACK seq 105 ack 300 win 0']);
    sandbox.gateway.close();
  });

  it('who is inside may be told', () => {
    const sandbox = new Sandbox({
      inside: ['wan'],
      inactivity: { intervalMs: 1000, onExpiry: 'reset-inside' },
    });
    connect(sandbox);
    sandbox.until(2000);
    expect(sandbox.take().map((one) => one.replace(/ df.*| ttl.*/, ''))).toEqual([toServer]);
    sandbox.gateway.close();
  });

  it('a RST has what the end has acknowledged, not what is under way to it', () => {
    const sandbox = new Sandbox({ inactivity: { intervalMs: 1000, onExpiry: 'reset-inside' } });
    connect(sandbox);
    sandbox.receive('wan', 'tcp 198.51.100.7:80 > 203.0.113.1:40000 PSH,ACK seq 5020 ack 1010 len 300');
    sandbox.until(2000);
    expect(sandbox.take()[0]).toContain('RST,ACK seq 5020 ack 1010');
    sandbox.gateway.close();
  });
});
