import { describe, expect, test } from 'vitest';
import { Status } from '../../../lib/conntrack/entries.js';
import { Control, FTP, MASQUERADE, Network } from './network.js';

const DATA_SYN = 'tcp 198.51.100.7:20 > 10.0.0.2:5000 SYN seq 1';
const PORT = 'PORT 10,0,0,2,19,136\r\n';

function isExpected(network: Network, sourcePort: number, destinationPort: number): boolean {
  return (network.status(sourcePort, destinationPort) & Status.EXPECTED) !== 0;
}

describe('a data connection', () => {
  test('is RELATED once after PORT, from any port of the server', () => {
    const network = new Network(FTP);
    const control = new Control(network).greet();
    expect(control.say('client', PORT)).toBe(PORT);
    expect(network.engine.connections.expected(network.nowMs)).toMatchObject([
      {
        source: '198.51.100.7',
        sourcePort: undefined,
        destination: '10.0.0.2',
        destinationPort: 5000,
        remainingMs: 300_000,
        master: { helper: 'ftp' },
      },
    ]);
    network.packet('wan', DATA_SYN);
    expect(isExpected(network, 20, 5000)).toBe(true);
    expect(network.engine.connections.expected()).toEqual([]);
    network.packet('wan', DATA_SYN.replace(':20', ':21'));
    expect(isExpected(network, 21, 5000)).toBe(false);
  });

  test('is not expected any more after 300 seconds', () => {
    for (const [afterMs, expected] of [
      [299_999, true],
      [300_000, false],
    ] as const) {
      const network = new Network(FTP);
      new Control(network).greet().say('client', PORT);
      network.nowMs = afterMs;
      network.packet('wan', DATA_SYN);
      expect(isExpected(network, 20, 5000), `after ${afterMs} ms`).toBe(expected);
    }
  });

  test('is not expected without the CT target', () => {
    const network = new Network();
    new Control(network).greet().say('client', PORT);
    network.packet('wan', DATA_SYN);
    expect(network.status(20, 5000)).toBeGreaterThan(0);
    expect(isExpected(network, 20, 5000)).toBe(false);
  });

  test('is not expected once the control connection is gone', () => {
    const network = new Network(FTP);
    new Control(network).greet().say('client', PORT);
    network.engine.connections.delete({ protocol: 6 });
    expect(network.engine.connections.expected(0)).toEqual([]);
    network.packet('wan', DATA_SYN);
    expect(isExpected(network, 20, 5000)).toBe(false);
  });
});

describe('behind NAT', () => {
  const behindNat = () => new Control(new Network(FTP, MASQUERADE), '203.0.113.1:4000').greet();

  test('PORT names the public address, and later numbers follow its length in both directions', () => {
    const control = behindNat();
    const { network, client, server } = control;
    expect(control.say('client', PORT)).toBe('PORT 203,0,113,1,19,136\r\n');
    const [left] = network.packet('lan', control.segment(client, 'NOOP\r\n'));
    expect(left?.head).toContain(`seq ${client.next + 3} `);
    const [back] = network.packet(
      'wan',
      `tcp ${server.ends} ACK seq ${server.next} ack ${server.awaited + 6}`,
    );
    expect(back?.head).toContain(`ack ${client.next + 6} `);
  });

  test('PORT that comes again is rewritten again, and shifts nothing further', () => {
    const control = behindNat();
    control.say('client', PORT);
    const [again] = control.network.packet(
      'lan',
      control.segment(control.client, PORT, control.client.next - PORT.length),
    );
    expect(again?.payload).toBe('PORT 203,0,113,1,19,136\r\n');
    const [next] = control.network.packet('lan', control.segment(control.client, 'NOOP\r\n'));
    expect(next?.head).toContain(`seq ${control.client.next + 3} `);
  });

  test('the data connection reaches the client', () => {
    const control = behindNat();
    control.say('client', PORT);
    const [left] = control.network.packet('wan', 'tcp 198.51.100.7:20 > 203.0.113.1:5000 SYN seq 1');
    expect(left).toMatchObject({ by: 'lan' });
    expect(left?.head).toContain('198.51.100.7:20 > 10.0.0.2:5000');
  });

  test('a port that another client was promised is exchanged for a free one, which leads to the right client', () => {
    const control = behindNat();
    control.say('client', PORT);
    const { network } = control;
    const other = { from: 'lan' as const, ends: '10.0.0.3:4100 > 198.51.100.7:21', next: 1, awaited: 1 };
    network.packet('lan', `tcp ${other.ends} SYN seq 0`);
    network.packet('wan', 'tcp 198.51.100.7:21 > 203.0.113.1:4100 SYN,ACK seq 0 ack 1');
    network.packet('lan', control.segment(other, 'USER me\r\n'));
    other.next += 9;
    const [left] = network.packet('lan', control.segment(other, 'PORT 10,0,0,3,19,136\r\n'));
    const [, high, low] = /^PORT 203,0,113,1,(\d+),(\d+)\r\n$/.exec(left?.payload ?? '') ?? [];
    const port = Number(high) * 256 + Number(low);
    expect(port).toBeGreaterThan(5000);
    const [data] = network.packet('wan', `tcp 198.51.100.7:20 > 203.0.113.1:${port} SYN seq 1`);
    expect(data?.head).toContain('> 10.0.0.3:5000');
  });
});

test('a command cut in two does not pass in part', () => {
  const control = new Control(new Network(FTP)).greet();
  expect(control.say('client', 'PORT 10,0,0,2,1')).toBeUndefined();
  expect(control.say('client', PORT)).toBe(PORT);
});

test('a command in the middle of a line is no command', () => {
  const control = new Control(new Network(FTP)).greet();
  control.say('client', 'STOR ');
  control.say('client', PORT);
  expect(control.network.engine.connections.expected()).toEqual([]);
});

test('an address that is not the sender’s opens no way', () => {
  const control = new Control(new Network(FTP)).greet();
  expect(control.say('client', 'PORT 10,0,0,9,19,136\r\n')).toBe('PORT 10,0,0,9,19,136\r\n');
  expect(control.network.engine.connections.expected()).toEqual([]);
});
