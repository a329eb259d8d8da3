import { describe, expect, test } from 'vitest';
import { formatConnection, formatExpectation } from '../../../lib/conntrack/dump.js';
import { Status } from '../../../lib/conntrack/entries.js';
import type { Helper } from '../../../lib/conntrack/helpers/helper.js';
import { DropReason } from '../../../lib/counters.js';
import { ConfigurationError } from '../../../lib/errors.js';
import { Verdict } from '../../../lib/wire/verdict.js';
import { Control, FTP, hex, MASQUERADE, Network } from './network.js';

const CHAT_RULE = '*raw\n-A PREROUTING -p udp --dport 7000 -j CT --helper chat\nCOMMIT\n';

/** Expects a connection to the port that a packet names: `CALLME 5000`. */
function chat(options: Partial<Helper<{ calls: number }>> = {}): Helper<{ calls: number }> {
  return {
    name: 'chat',
    protocol: 'udp',
    begin: () => ({ calls: 0 }),
    onPacket(call) {
      call.state.calls++;
      const found = /^CALLME (\d+)/.exec(new TextDecoder().decode(call.payload));
      if (found === null) return Verdict.ACCEPT;
      const port = call.expect({ port: Number(found[1]), protocol: 6 });
      if (port === undefined) return Verdict.DROP;
      const text = new TextEncoder().encode(`203.0.113.1 ${port}`);
      return call.isTranslated ? call.replace(7, found[1]!.length, text) : Verdict.ACCEPT;
    },
    ...options,
  };
}

function call(port: number): string {
  return `udp 10.0.0.2:4000 > 198.51.100.7:7000 data ${hex(`CALLME ${port}`)}`;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.code;
    throw error;
  }
  return 'none';
}

describe('a helper of one’s own', () => {
  test('is attached by the CT target, expects connections and rewrites what NAT hides', () => {
    const network = new Network();
    network.engine.helpers.register(chat());
    network.engine.restore(4, CHAT_RULE + MASQUERADE);
    const [left] = network.packet('lan', call(5000));
    expect(left?.payload).toBe('CALLME 203.0.113.1 5000');
    expect(left?.head).not.toContain('bad checksum');
    const [data] = network.packet('wan', 'tcp 198.51.100.7:9 > 203.0.113.1:5000 SYN seq 1');
    expect(data?.head).toContain('> 10.0.0.2:5000');
  });

  test('with ports of its own needs no rule', () => {
    const network = new Network();
    const remove = network.engine.helpers.register(chat({ ports: [7000] }));
    network.packet('lan', call(5000));
    expect(network.engine.connections.expected()).toHaveLength(1);
    expect(network.engine.connections.list()[0]).toMatchObject({ helper: 'chat', status: Status.CONFIRMED });
    remove();
    network.packet('lan', call(5001));
    expect(network.engine.connections.expected()).toMatchObject([{ destinationPort: 5000 }]);
  });

  test('that drops a packet is named as the reason, and a new connection is forgotten', () => {
    const network = new Network();
    network.engine.helpers.register(chat({ ports: [7000], onPacket: () => Verdict.DROP }));
    expect(network.passes('lan', call(5000))).toBe(false);
    expect(network.engine.drops.get(DropReason.HELPER)).toBe(1);
    expect(network.engine.connections.size).toBe(0);
    expect(network.engine.tracker.count).toBe(0);
  });

  test('keeps a state per connection', () => {
    const states: unknown[] = [];
    const network = new Network();
    const helper = chat({ ports: [7000] });
    network.engine.helpers.register({
      ...helper,
      onPacket(one) {
        states.push(one.state);
        return helper.onPacket(one);
      },
    });
    network.packet('lan', call(1));
    network.packet('lan', call(2));
    network.packet('lan', call(3).replace(':4000', ':4001'));
    expect(states).toEqual([{ calls: 2 }, { calls: 2 }, { calls: 1 }]);
    expect(states[0]).toBe(states[1]);
  });

  test('may expect as many connections as it says, the oldest go first', () => {
    const network = new Network();
    network.engine.helpers.register(chat({ ports: [7000], maxExpected: 2, expectationTimeoutMs: 1000 }));
    for (const port of [1, 2, 3]) network.packet('lan', call(port));
    const ports = () => network.engine.connections.expected(network.nowMs).map((one) => one.destinationPort);
    expect(ports().sort()).toEqual([2, 3]);
    network.nowMs = 1000;
    expect(ports()).toEqual([]);
  });

  test('may expect anyone, often, with a helper for what comes', () => {
    const network = new Network();
    network.engine.helpers.register(
      chat({
        ports: [7000],
        onPacket: (one) => {
          one.expect({ port: 5000, from: 'anyone', occurs: 'often', helper: 'chat' });
          return Verdict.ACCEPT;
        },
      }),
    );
    network.packet('lan', call(1));
    for (const source of ['198.51.100.1:1', '198.51.100.2:2']) {
      network.packet('wan', `udp ${source} > 10.0.0.2:5000 len 1`);
    }
    const expected = network.engine.connections.list({ original: { destinationPort: 5000 } });
    expect(expected).toHaveLength(2);
    for (const one of expected) {
      expect(one).toMatchObject({ helper: 'chat', status: Status.CONFIRMED | Status.EXPECTED });
    }
  });

  test('is refused with a name that is taken, or none, or a port that is none', () => {
    const { helpers } = new Network().engine;
    expect(codeOf(() => helpers.register(chat({ name: 'ftp', protocol: 'tcp' })))).toBe('conflict');
    expect(codeOf(() => helpers.register(chat({ name: 'ftp' })))).toBe('none');
    expect(codeOf(() => helpers.register(chat({ name: '' })))).toBe('value');
    expect(codeOf(() => helpers.register(chat({ name: 'a name too long to be' })))).toBe('value');
    expect(codeOf(() => helpers.register(chat({ ports: [0] })))).toBe('value');
    expect(codeOf(() => helpers.register(chat({ protocol: 300 })))).toBe('value');
  });
});

test('a rule that names a helper that there is not, for its protocol, is refused', () => {
  const { engine } = new Network();
  const rule = (text: string) => () => engine.restore(4, `*raw\n-A PREROUTING ${text}\nCOMMIT\n`);
  expect(codeOf(rule('-p udp --dport 21 -j CT --helper ftp'))).toBe('unknown');
  expect(codeOf(rule('-p tcp --dport 21 -j CT --helper chat'))).toBe('unknown');
  expect(codeOf(rule('-p tcp --dport 21 -j CT --helper ftp'))).toBe('none');
});

test('there are never more expectations than nf_conntrack_expect_max', () => {
  const network = new Network();
  network.engine.helpers.register(chat({ ports: [7000], maxExpected: 0 }));
  network.engine.sysctl.set('nf_conntrack_expect_max', 2);
  expect([1, 2, 3].map((port) => network.passes('lan', call(port)))).toEqual([true, true, false]);
  expect(network.engine.sysctl.get('nf_conntrack_expect_max')).toBe(2);
  network.nowMs = 300_000;
  expect(network.passes('lan', call(4))).toBe(true);
});

test('expectations are told of when they are announced and when they end', () => {
  const network = new Network(FTP);
  const told: string[] = [];
  network.engine.connections.events.on('expect', (one) => told.push(`expect ${one.destinationPort}`));
  network.engine.connections.events.on('expectEnd', (one, end) => told.push(`${end} ${one.destinationPort}`));
  const control = new Control(network).greet();
  control.say('client', 'PORT 10,0,0,2,0,1\r\n');
  control.say('client', 'PORT 10,0,0,2,0,2\r\n');
  network.packet('wan', 'tcp 198.51.100.7:20 > 10.0.0.2:2 SYN seq 1');
  control.say('client', 'PORT 10,0,0,2,0,3\r\n');
  network.engine.connections.flush();
  const again = new Control(network).greet();
  again.say('client', 'PORT 10,0,0,2,0,4\r\n');
  network.engine.tick((network.nowMs += 300_000));
  expect(told).toEqual([
    'expect 1',
    'replaced 1',
    'expect 2',
    'used 2',
    'expect 3',
    'master-gone 3',
    'expect 4',
    'timeout 4',
  ]);
});

test('connections and expectations are printed as conntrack prints them', () => {
  const network = new Network(FTP);
  const { connections } = network.engine;
  new Control(network).greet().say('client', 'PORT 10,0,0,2,19,136\r\n');
  expect(connections.expected(0).map(formatExpectation)).toEqual([
    '300 proto=6 src=198.51.100.7 dst=10.0.0.2 sport=0 dport=5000 mask-src=255.255.255.255 ' +
      'mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.0.0.2 master-dst=198.51.100.7 sport=4000 ' +
      'dport=21 class=0 helper=ftp',
  ]);
  expect(connections.list().map((one) => formatConnection(one))[0]).toMatch(/mark=0 helper=ftp use=1$/);
});

test('extensions are given back with their connections', () => {
  const network = new Network(FTP);
  const { connections, tracker } = network.engine;
  for (let i = 0; i < 3; i++) {
    new Control(network).greet().say('client', 'PORT 10,0,0,2,19,136\r\n');
    network.packet('wan', 'tcp 198.51.100.7:20 > 10.0.0.2:5000 SYN seq 1');
    expect(connections.flush()).toBe(2);
  }
  const { entries } = tracker.table(4);
  const entry = entries.take();
  expect(tracker.table(4).extensions.of(entry)).toBeUndefined();
  tracker.table(4).extensions.extend(entry);
  expect(entries.extension(entry)).toBeLessThanOrEqual(2);
});
