/**
 * Rows G: what gVisor's "garbage collect connections" (2020) asks of a connection table, and the faults that it had.
 *
 * Proven elsewhere as well, at closer quarters: G1 against a slow twin with invariants after each command
 * (`test/conntrack/model.test.ts`), G2's hash against xxhash-wasm (`test/memory/hash.test.ts`), G3 and G10 for every subset
 * of a chain (`test/conntrack/table.test.ts`), G7 field by field (`test/conntrack/snapshot.test.ts`).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HANDSHAKE, Lab, MASQUERADE, Talk, TRACKED } from './lab.js';

const MINUTE = 60_000;
const FIVE_DAYS = 432_000_000;

it('G1: both tuples of a connection are there, or neither, after every step of a fuzz', () => {
  const step = fc.record({
    client: fc.integer({ min: 2, max: 5 }),
    port: fc.integer({ min: 1, max: 3 }),
    what: fc.constantFrom('ask', 'answer', 'error', 'wait', 'flush'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const lab = new Lab(MASQUERADE, { maxConnections: 8, buckets: 2 });
      const { connections } = lab.gateway.engine;
      const ended: ReturnType<Lab['list']> = [];
      connections.events.on('destroy', (connection) => ended.push(connection));
      for (const { client, port, what } of steps) {
        const seen = lab.list().find(({ original }) => original.source === `10.0.0.${client}`)?.reply;
        const back = `${seen?.destination ?? '203.0.113.1'}:${seen?.destinationPort ?? port}`;
        if (what === 'ask') lab.send('lan', `udp 10.0.0.${client}:${port} > 198.51.100.7:53 len 1`);
        if (what === 'answer') lab.send('wan', `udp 198.51.100.7:53 > ${back} len 1`);
        if (what === 'error') {
          const quoted = `{ udp ${back} > 198.51.100.7:53 len 1 }`;
          lab.send('wan', `icmp 198.51.100.1 > 203.0.113.1 host-unreachable ${quoted}`);
        }
        if (what === 'wait') lab.until(lab.clock.nowMs() + 11_000);
        if (what === 'flush') connections.delete({ original: { source: `10.0.0.${client}` } });
        const nowMs = lab.clock.nowMs();
        const live = lab.list();
        for (const { id, original, reply } of live) {
          expect(connections.list({ original }, nowMs).map((one) => one.id)).toEqual([id]);
          expect(connections.list({ reply }, nowMs).map((one) => one.id)).toEqual([id]);
          // Both are found by packets too: an answer to the reply tuple reaches the client.
          const answer = `udp 198.51.100.7:53 > ${reply.destination}:${reply.destinationPort} len 1`;
          const to = `> ${original.source}:${original.sourcePort} `;
          expect(lab.send('wan', answer)).toEqual([expect.stringContaining(to)]);
        }
        for (const { id, original, reply } of ended.splice(0)) {
          for (const other of [...connections.list({ original }), ...connections.list({ reply })]) {
            expect(other.id).not.toBe(id);
          }
        }
        expect(lab.count).toBeGreaterThanOrEqual(live.length);
      }
      lab.gateway.close();
    }),
    { numRuns: 30 },
  );
});

it('G2: 16 Ki buckets are the least by default, and their number is an option', () => {
  const buckets = (options: { maxConnections?: number; buckets?: number }) => {
    const { gateway } = new Lab(undefined, options);
    gateway.close();
    return gateway.engine.tracker.bucketCount;
  };
  expect(buckets({ maxConnections: 100 })).toBe(16_384);
  expect(buckets({ maxConnections: 65_536 })).toBe(65_536);
  expect(buckets({ maxConnections: 100, buckets: 4 })).toBe(4);
});

it('G3: lookup reaps the expired entries that it meets, and does not lose its place in the list', () => {
  // One bucket, its list both tuples of all; every second connection has been answered and lives longer.
  const lab = new Lab(MASQUERADE, { buckets: 1, reaper: { firstPassMs: 1_000_000 } });
  lab.flows(20);
  lab.until(3000);
  for (const [i, { reply }] of lab.list().entries()) {
    if (i % 2 === 0) {
      lab.send('wan', `udp 198.51.100.7:53 > ${reply.destination}:${reply.destinationPort} len 1`);
      lab.flows(1, i);
    }
  }
  lab.until(31_000);
  expect(lab.count).toBe(20);
  // Whoever is looked for, the first one met or the last, is found behind those that are reaped on the way.
  const ids = lab.list().map(({ id }) => id);
  lab.gateway.restore(4, MASQUERADE); // new rules: no packet is spared its lookup
  for (let i = 0; i < 20; i += 2) lab.flows(1, i);
  expect(lab.list().map(({ id }) => id)).toEqual(ids);
  expect(ids).toHaveLength(10);
  // A bucket's line tells most nodes that are not looked for from those that are, so these are not met; the list does not.
  const { reaper } = lab.gateway.engine;
  const { reapedOnLookup } = reaper.report();
  expect(reapedOnLookup).toBeGreaterThan(0);
  expect(lab.count).toBe(20 - reapedOnLookup);
  // Whose own packet comes is met in any case, and begins anew.
  for (let i = 1; i < 20; i += 2) lab.flows(1, i);
  expect(reaper.report()).toMatchObject({ passes: 0, reapedOnLookup: 10 });
  expect(lab.count).toBe(20);
});

describe('G4: the background reaper', () => {
  /** Times of the passes until `untilMs`. */
  function passes(lab: Lab, untilMs: number): number[] {
    const { reaper } = lab.gateway.engine;
    const times: number[] = [];
    while (reaper.nextMs <= untilMs) {
      times.push(reaper.nextMs);
      lab.until(Math.ceil(reaper.nextMs));
    }
    return times;
  }

  it('begins after 5 s, grows by 10 ms a pass up to 60 s / 128, and sweeps all within a minute', () => {
    const lab = new Lab(MASQUERADE);
    const times = passes(lab, 10 * MINUTE);
    const intervals = times.slice(1).map((time, i) => time - times[i]!);
    expect(times[0]).toBe(5000);
    expect(intervals.slice(0, 5)).toEqual([20, 30, 40, 50, 60]);
    expect(Math.max(...intervals)).toBeCloseTo(60_000 / 128, 6);
    expect(times.at(-1)! - times.at(-129)!).toBeLessThanOrEqual(60_000 + 1e-6);
  });

  it('comes back after 10 ms while more than 50 % were expired; 1/128 a pass, each entry counted once', () => {
    // Ten records a pass. All expire at 30 s, before the first pass.
    const lab = new Lab(MASQUERADE, { maxConnections: 1280, reaper: { firstPassMs: 30_000 } });
    lab.flows(1280);
    const { reaper } = lab.gateway.engine;
    for (let pass = 1; pass <= 128; pass++) {
      lab.until(30_000 + (pass - 1) * 10);
      expect(reaper.report()).toMatchObject({ passes: pass, examined: pass * 10, reaped: pass * 10 });
      expect(lab.count).toBe(1280 - pass * 10);
      expect(reaper.nextMs).toBe(30_000 + pass * 10);
    }
  });

  it('does not hurry when exactly half were expired', () => {
    const lab = new Lab(MASQUERADE, { maxConnections: 1280, reaper: { firstPassMs: 31_000 } });
    lab.flows(5);
    lab.until(2000);
    lab.flows(5, 5);
    expect(passes(lab, 31_060)).toEqual([31_000, 31_020, 31_050]);
    expect(lab.gateway.engine.reaper.report().reaped).toBe(5);
  });

  it('has options for all of it', () => {
    const reaper = {
      fractions: 10,
      minIntervalMs: 5,
      stepMs: 1,
      maxSweepMs: 70,
      firstPassMs: 100,
      threshold: 0,
    };
    expect(passes(new Lab(MASQUERADE, { reaper }), 127)).toEqual([100, 106, 113, 120, 127]);
  });
});

describe('G5: the reaper', () => {
  it('starts with the first ruleset that needs tracking, and stops with the gateway', () => {
    const { gateway } = new Lab(undefined);
    const { reaper } = gateway.engine;
    gateway.restore(4, '*filter\n:FORWARD DROP\nCOMMIT\n');
    expect(reaper.isRunning).toBe(false);
    gateway.restore(4, MASQUERADE);
    expect(reaper.isRunning).toBe(true);
    gateway.close();
    expect(reaper.isRunning).toBe(false);
  });

  it('runs after connections were restored, and reaps them', async () => {
    const before = new Lab(MASQUERADE);
    before.flows(100);
    const saved = await before.gateway.engine.saveConnections(10_000);
    for (const rules of [MASQUERADE, undefined]) {
      const lab = new Lab(rules);
      await lab.gateway.engine.restoreConnections(saved, 0);
      expect(lab.count).toBe(100);
      lab.until(2 * MINUTE);
      expect(lab.count, rules ?? 'without rules').toBe(0);
      lab.gateway.close();
    }
  });
});

it('G6: timeouts are those of Linux, under their names, and change at run time', () => {
  const lab = new Lab(MASQUERADE);
  const names = Object.entries({
    tcp_timeout_syn_sent: 120,
    tcp_timeout_syn_recv: 60,
    tcp_timeout_established: 432_000,
    tcp_timeout_fin_wait: 120,
    tcp_timeout_close_wait: 60,
    tcp_timeout_last_ack: 30,
    tcp_timeout_time_wait: 120,
    tcp_timeout_close: 10,
    udp_timeout: 30,
    udp_timeout_stream: 120,
    icmp_timeout: 30,
  });
  for (const [name, seconds] of names) {
    expect(lab.gateway.getSysctl(`net.netfilter.nf_conntrack_${name}`), name).toBe(seconds);
  }
  const talk = new Talk(lab);
  talk.say(HANDSHAKE);
  expect(talk.connection!.remainingMs).toBe(FIVE_DAYS);
  lab.gateway.sysctl('net.netfilter.nf_conntrack_tcp_timeout_established', 7);
  talk.say('< ACK seq 5000 ack 1000 | ESTABLISHED');
  expect(talk.connection!.remainingMs).toBe(7000);
});

it('G7: restored connections keep the time that was left, in another clock', async () => {
  const lab = new Lab(MASQUERADE, {}, 5_000_000_000);
  lab.flows(1);
  lab.until(5_000_010_000);
  const saved = await lab.gateway.engine.saveConnections(5_000_010_000);
  const other = new Lab(MASQUERADE, {}, 77_000);
  await other.gateway.engine.restoreConnections(saved, 77_000);
  expect(other.list().map(({ remainingMs, ageMs }) => [remainingMs, ageMs])).toEqual([[20_000, 10_000]]);
  // It is the same connection: the answer finds its way.
  const [{ reply }] = other.list() as [ReturnType<Lab['list']>[0]];
  const answer = other.send('wan', `udp 198.51.100.7:53 > 203.0.113.1:${reply.destinationPort} len 1`);
  expect(answer).toEqual([expect.stringContaining('> 10.0.2.0:5000')]);
});

it.each([
  ['translated', MASQUERADE],
  ['not translated', TRACKED],
])('G8: the state advances with every packet, %s', (_, rules) => {
  new Talk(new Lab(rules)).say(`
    ${HANDSHAKE}
    > PSH,ACK seq 1000 ack 5000 len 10 | ESTABLISHED
    < ACK seq 5000 ack 1010 | ESTABLISHED
    +400000000
    > FIN,ACK seq 1010 ack 5000 | FIN_WAIT
    < ACK seq 5000 ack 1011 | CLOSE_WAIT
    < FIN,ACK seq 5000 ack 1011 | LAST_ACK
    > ACK seq 1011 ack 5001 | TIME_WAIT
  `);
});

describe.each([
  ['translated', MASQUERADE],
  ['not translated', TRACKED],
])('G9: faults of gVisor that are none here, %s', (_, rules) => {
  it('a RST and one late ACK are not alive for five days', () => {
    const talk = new Talk(new Lab(rules)).say(`
      ${HANDSHAKE}
      < RST seq 5000 | CLOSE
      > ACK seq 1000 ack 5000 | CLOSE
    `);
    expect(talk.connection!.remainingMs).toBeLessThanOrEqual(10_000);
  });

  it('a second SYN of another number while connecting, then the whole handshake, is ESTABLISHED', () => {
    new Talk(new Lab(rules)).say(`
      > SYN seq 999 | new SYN_SENT
      > SYN seq 70999 | SYN_SENT
      < SYN,ACK seq 4999 ack 71000 | SYN_RECV
      > ACK seq 71000 ack 5000 | ESTABLISHED
    `);
  });

  it('a tuple that is used again after it was closed is a new connection', () => {
    new Talk(new Lab(rules)).say(`
      ${HANDSHAKE}
      > FIN,ACK seq 1000 ack 5000 | FIN_WAIT
      < FIN,ACK seq 5000 ack 1001 | LAST_ACK
      > ACK seq 1001 ack 5001 | TIME_WAIT
      > SYN seq 70999 | new SYN_SENT
      < SYN,ACK seq 90999 ack 71000 | SYN_RECV
      > ACK seq 71000 ack 91000 | ESTABLISHED
    `);
  });

  it('a SYN with ECE and CWR is a SYN', () => {
    new Talk(new Lab(rules)).say(`
      > SYN,ECE,CWR seq 999 | new SYN_SENT
      < SYN,ACK,ECE seq 4999 ack 1000 | SYN_RECV
      > ACK seq 1000 ack 5000 | ESTABLISHED
    `);
  });
});

it('G10: 8,000 tuples in one bucket, all expired: one sweep leaves nothing', () => {
  const lab = new Lab(MASQUERADE, { maxConnections: 4000, buckets: 1, reaper: { firstPassMs: 31_000 } });
  lab.flows(4000);
  expect(lab.count).toBe(4000);
  const { reaper } = lab.gateway.engine;
  while (reaper.report().passes < 128) lab.until(Math.ceil(reaper.nextMs));
  expect(reaper.report()).toMatchObject({ passes: 128, reaped: 4000, reapedOnLookup: 0 });
  expect(lab.count).toBe(0);
});

it('G11: one address, one server, 64,512 ports: all 64,512 connections get one, and no more', () => {
  const lab = new Lab(MASQUERADE, { maxConnections: 70_000 });
  const ports = new Set<string>();
  const connect = (i: number): string[] =>
    lab.send('lan', `udp 10.0.${2 + (i >>> 8)}.${i & 255}:${1024 + (i % 64_000)} > 198.51.100.7:53 len 1`);
  for (let i = 0; i < 64_512; i++) ports.add(/:(\d+) >/.exec(connect(i).join())?.[1] ?? 'none');
  expect(ports.size).toBe(64_512);
  expect(ports.has('none')).toBe(false);
  expect(connect(64_513)).toEqual([]);
  expect(lab.gateway.drops.toObject()).toEqual({ 'nat-exhausted': 1 });
}, 120_000);

describe('G12: packets without ports', () => {
  it.each([
    ['ESP', 'proto esp len 40'],
    ['GRE', 'proto gre data 0000080045000014'],
  ])('%s goes through a rule that translates addresses, and back', (_, rest) => {
    const lab = new Lab(MASQUERADE);
    expect(lab.send('lan', `ip 10.0.0.2 > 198.51.100.7 ${rest}`)).toEqual([
      expect.stringMatching(/^wan ip 203\.0\.113\.1 > 198\.51\.100\.7 proto/),
    ]);
    expect(lab.send('wan', `ip 198.51.100.7 > 203.0.113.1 ${rest}`)).toEqual([
      expect.stringMatching(/^lan ip 198\.51\.100\.7 > 10\.0\.0\.2 proto/),
    ]);
  });

  it('a fragment after the first leaves with its datagram, translated, in whatever order they come', () => {
    const lab = new Lab(MASQUERADE);
    const first = 'udp 10.0.0.2:5000 > 198.51.100.7:53 len 16 udplen 32 ipid 7 mf nosum';
    const second = 'ip 10.0.0.2 > 198.51.100.7 proto 17 ipid 7 frag 24 data 0102030405060708';
    expect(lab.send('lan', second)).toEqual([]);
    const left = lab.send('lan', first);
    expect(left).toHaveLength(2);
    for (const one of left) expect(one).toContain('203.0.113.1');
  });
});

it('G12: an ICMP error neither refreshes nor confirms the connection that it quotes', () => {
  const lab = new Lab(MASQUERADE);
  const error = 'icmp 198.51.100.1 > 203.0.113.1 host-unreachable';
  lab.send('wan', `${error} { udp 203.0.113.1:5000 > 198.51.100.7:53 len 1 }`);
  expect(lab.count).toBe(0);
  lab.flows(1);
  lab.until(10_000);
  const told = lab.send('wan', `${error} { udp 203.0.113.1:5000 > 198.51.100.7:53 len 1 }`);
  expect(told).toEqual([expect.stringContaining('lan icmp 198.51.100.1 > 10.0.2.0 host-unreachable')]);
  expect(lab.list()).toEqual([expect.objectContaining({ remainingMs: 20_000, seenReply: false })]);
});

it('G12: a packet that a filter rule drops leaves no entry behind', () => {
  const lab = new Lab(`${MASQUERADE}*filter\n-A FORWARD -p udp --dport 53 -j DROP\nCOMMIT\n`);
  lab.flows(3);
  expect(lab.count).toBe(0);
  expect(lab.gateway.drops.toObject()).toEqual({ 'rule-drop': 3 });
});

it('G13: a connection picked up in its middle is ESTABLISHED for five days; a bare RST begins nothing', () => {
  const talk = new Talk(new Lab(MASQUERADE)).say(`
    > ACK seq 1000 ack 5000 len 10 | new ESTABLISHED
    < ACK seq 5000 ack 1010 | ESTABLISHED
    > ACK seq 1010 ack 5000 | ESTABLISHED
  `);
  expect(talk.connection!.remainingMs).toBe(FIVE_DAYS);
  const lab = new Lab(TRACKED);
  new Talk(lab).say('> RST seq 1000 | gone');
  expect(lab.count).toBe(0);
});

describe('G14: replacing rules', () => {
  const DROP_53 = '*filter\n-A FORWARD -p udp --dport 53 -j DROP\nCOMMIT\n';

  it('is all or nothing', () => {
    const lab = new Lab(MASQUERADE);
    const before = lab.gateway.rules.save(4);
    expect(() => lab.gateway.restore(4, `${DROP_53}*nat\n-A POSTROUTING -j NOWHERE\nCOMMIT\n`)).toThrow(
      'NOWHERE',
    );
    expect(lab.gateway.rules.save(4)).toBe(before);
    expect(lab.send('lan', 'udp 10.0.0.2:5000 > 198.51.100.7:53 len 1')).toHaveLength(1);
  });

  it('changes nothing through what was got before', () => {
    const lab = new Lab(DROP_53);
    const got = lab.gateway.engine.rules4.toRuleset();
    for (const { chains } of got.tables) (chains as unknown[]).length = 0;
    expect(lab.gateway.rules.save(4)).toContain('--dport 53 -j DROP');
    expect(lab.send('lan', 'udp 10.0.0.2:5000 > 198.51.100.7:53 len 1')).toEqual([]);
  });

  it('applies from one packet to the next, even when done while a packet is under way', () => {
    const log = '*filter\n-A FORWARD -j LOG\n-A FORWARD -p udp --dport 54 -j DROP\nCOMMIT\n';
    const lab = new Lab(log);
    const packet = 'udp 10.0.0.2:5000 > 198.51.100.7:53 len 1';
    lab.gateway.engine.observers.onLog = () => lab.gateway.restore(4, DROP_53);
    expect(lab.send('lan', packet)).toHaveLength(1);
    expect(lab.send('lan', packet)).toEqual([]);
  });
});

it('G15: a tuple that is its own reply works, and reaping it removes exactly that', () => {
  const lab = new Lab(MASQUERADE, { tracking: 'always' });
  const heard: string[] = [];
  const socket = lab.gateway.udp.bind({ address: '127.0.0.1', port: 7000 });
  socket.onMessage = ({ bytes, from }) => heard.push(`${from.address}:${from.port} ${bytes[0]}`);
  lab.flows(1);
  lab.until(1000);
  socket.send(Uint8Array.of(1), '127.0.0.1:7000');
  socket.send(Uint8Array.of(2), '127.0.0.1:7000');
  expect(heard).toEqual(['127.0.0.1:7000 1', '127.0.0.1:7000 2']);
  expect(lab.list().map(({ original }) => original.source)).toEqual(['10.0.2.0', '127.0.0.1']);
  lab.until(3 * MINUTE);
  lab.flows(1, 9);
  expect(lab.count).toBe(1);
});
