import { expect, test } from 'vitest';
import { Status } from '../../../lib/conntrack/entries.js';
import { MASQUERADE, Network, TFTP } from './network.js';

const REQUEST = 'udp 10.0.0.2:4000 > 198.51.100.7:69 data 000166006f6374657400';

test('the answer comes from a port of the server’s choice, to the port that asked', () => {
  const network = new Network(TFTP, MASQUERADE);
  network.packet('lan', REQUEST);
  const [left] = network.packet('wan', 'udp 198.51.100.7:3333 > 203.0.113.1:4000 data 00030001');
  expect(left?.head).toContain('198.51.100.7:3333 > 10.0.0.2:4000');
  expect(network.status(3333, 4000) & Status.EXPECTED).toBe(Status.EXPECTED);
});

test('an acknowledgement asks for nothing', () => {
  const network = new Network(TFTP);
  network.packet('lan', 'udp 10.0.0.2:4000 > 198.51.100.7:69 data 00040001');
  expect(network.engine.connections.expected()).toEqual([]);
});

test('a request without room for its opcode passes', () => {
  const network = new Network(TFTP);
  expect(network.passes('lan', 'udp 10.0.0.2:4000 > 198.51.100.7:69 data 00')).toBe(true);
  expect(network.engine.connections.expected()).toEqual([]);
});
