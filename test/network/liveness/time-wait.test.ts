/** C2: when a tuple in TIME_WAIT is given to a new connection. */
import { describe, expect, it } from 'vitest';
import { Flow, Network, NO_NAT, ONE_PORT } from './flow.js';

type Stamps = 'timestamps' | 'sequence numbers';

/** Options of a segment at `ms`. */
function stamp(stamps: Stamps, ms: number): string {
  return stamps === 'timestamps' ? `<nop,nop,ts ${ms >>> 0}:1>` : '';
}

/** Opens and closes a connection at once; whether the SYN got through. */
function connect(flow: Flow, isn: number, stamps: Stamps, ms: number): boolean {
  const options = stamp(stamps, ms);
  const s = (offset: number) => (isn + offset) >>> 0;
  if (flow.packet('>', `SYN seq ${s(0)} ${options}`) === 'dropped') return false;
  flow.packet('<', `SYN,ACK seq 4999 ack ${s(1)} ${options}`);
  flow.packet('>', `ACK seq ${s(1)} ack 5000 ${options}`);
  flow.packet('>', `FIN,ACK seq ${s(1)} ack 5000 ${options}`);
  flow.packet('<', `ACK seq 5000 ack ${s(2)} ${options}`);
  flow.packet('<', `FIN,ACK seq 5000 ack ${s(2)} ${options}`);
  expect(flow.packet('>', `ACK seq ${s(2)} ack 5001 ${options}`)).toContain('TIME_WAIT');
  return true;
}

/** How many of 1000 attempts, 10 ms apart, get through. */
function successes(rules: string, delayMs: number, stamps: Stamps, ports: 'one' | 'many'): number {
  const network = new Network(rules, { timeWaitReuse: { delayMs } });
  let count = 0;
  for (let i = 0; i < 1000; i++) {
    network.nowMs = i * 10;
    const flow = new Flow(network, ports === 'one' ? 40000 : 20000 + i);
    // Without timestamps sequence numbers go up; with them they are no help.
    const isn = stamps === 'timestamps' ? 500_000 - i * 7 : 1000 + i * 100;
    if (connect(flow, isn, stamps, i * 10)) count++;
  }
  return count;
}

describe.each([
  ['one port of the client, no NAT', NO_NAT, 'one'],
  ['one port of the client, SNAT to one port', ONE_PORT, 'one'],
  ['many ports of the client, SNAT to one port', ONE_PORT, 'many'],
] as const)('connect, close, connect again every 10 ms, 1000 times: %s', (_, rules, ports) => {
  it.each([
    [1000, 10],
    [10, 500],
    [9, 1000],
    [1, 1000],
  ])('delay %i ms: %i get through', (delayMs, expected) => {
    expect(successes(rules, delayMs, 'timestamps', ports)).toBe(expected);
    expect(successes(rules, delayMs, 'sequence numbers', ports)).toBe(expected);
  });
});

it('1000 ms is the default', () => {
  const network = new Network(ONE_PORT, { timeWaitReuse: {} });
  const tries = [0, 1000, 1001].map((ms, i) => {
    network.nowMs = ms;
    return connect(new Flow(network, 20000 + i), 1000 + i * 100, 'sequence numbers', ms);
  });
  expect(tries).toEqual([true, false, true]);
});

describe.each([
  ['the same 4-tuple', NO_NAT, 40000],
  ['another client behind the same port', ONE_PORT, 40001],
])('a connection in TIME_WAIT: %s', (_, rules, second) => {
  function goesThrough(first: [number, number], next: [number, number] | [number]): boolean {
    const network = new Network(rules, { timeWaitReuse: {} });
    connect(new Flow(network, 40000), first[0], 'timestamps', first[1]);
    network.nowMs = 5000;
    const [isn, ms] = next;
    return connect(
      new Flow(network, second),
      isn,
      ms === undefined ? 'sequence numbers' : 'timestamps',
      ms ?? 0,
    );
  }

  it('gives its tuple to a newer timestamp, whatever the sequence number', () => {
    expect(goesThrough([9000, 100], [1000, 101])).toBe(true);
    expect(goesThrough([9000, 100], [20_000, 100])).toBe(false);
    expect(goesThrough([9000, 100], [20_000, 99])).toBe(false);
  });

  it('compares timestamps as signed 32-bit numbers', () => {
    expect(goesThrough([9000, 0xffffffff], [1000, 0])).toBe(true);
    expect(goesThrough([9000, 0], [20_000, 0xffffffff])).toBe(false);
    expect(goesThrough([9000, 0], [20_000, 0x7fffffff])).toBe(true);
  });

  it('gives it to a SYN without timestamps whose sequence number is beyond its end', () => {
    // SYN, FIN: the end is the first number and 2.
    expect(goesThrough([9000, 100], [9002])).toBe(false);
    expect(goesThrough([9000, 100], [9003])).toBe(true);
    expect(goesThrough([0xfffffff0, 100], [5])).toBe(true);
  });
});

it.each([
  ['the same 4-tuple', NO_NAT, 40000],
  ['another client behind the same port', ONE_PORT, 40001],
])('FIN_WAIT_2 never gives its tuple: %s', (_, rules, second) => {
  const network = new Network(rules, { timeWaitReuse: { delayMs: 1 } });
  const first = new Flow(network, 40000);
  first.say(`
    > SYN seq 999 | NEW#1 SYN_SENT :${rules === NO_NAT ? 40000 : 7000}
    < SYN,ACK seq 4999 ack 1000 | #1 SYN_RECV
    > ACK seq 1000 ack 5000 | #1 ESTABLISHED
    > FIN,ACK seq 1000 ack 5000 | #1 FIN_WAIT
    < ACK seq 5000 ack 1001 | #1 CLOSE_WAIT
    +50000
  `);
  const said = new Flow(network, second).packet('>', 'SYN seq 77000');
  // On the same tuple it passes as a SYN on a live connection does, and changes nothing.
  expect(said).toBe(second === 40000 ? '#1 CLOSE_WAIT :40000' : 'dropped');
  expect(first.connection?.state).toBe('CLOSE_WAIT');
});

it('a delay that is none is refused', () => {
  expect(() => new Network(NO_NAT, { timeWaitReuse: { delayMs: 0 } })).toThrow(/out of range/);
});

it('without the option it is as in Linux', () => {
  const network = new Network(ONE_PORT);
  expect(connect(new Flow(network, 40000), 1000, 'sequence numbers', 0)).toBe(true);
  // At once, if the sequence number is higher, even on another client's port; never, if it is not.
  expect(connect(new Flow(network, 40001), 2000, 'sequence numbers', 0)).toBe(true);
  network.nowMs = 60_000;
  expect(connect(new Flow(network, 40002), 100, 'sequence numbers', 0)).toBe(false);
});
