import { expect, test } from 'vitest';
import { parsePacket } from '../../lib/scenario/notation.js';
import { runTrace } from '../../lib/scenario/run.js';
import { readTrace } from '../../lib/scenario/trace.js';

const ASKED = ['udp 10.0.0.2:4000 > 10.0.0.1:5353 len 4', 'udp [fd00:a::2]:4000 > [fd00:a::1]:5353 len 4'];

/** How many packets answer a datagram over IPv4 and one over IPv6: 0 where a socket took it, else an ICMP error. */
function answers(socket: object): number[] {
  const steps = ASKED.map((text) => ({ in: 'lan', packet: Buffer.from(parsePacket(text)).toString('hex') }));
  const text = JSON.stringify({ name: 'sockets', sockets: [{ proto: 'udp', port: 5353, ...socket }], steps });
  return runTrace(readTrace(text, 'sockets.json')).steps.map(({ out = [] }) => out.length);
}

test.each([
  // As Linux 6.18 answers, with the recorder's sockets.
  ['no address', {}, [0, 1]],
  ['0.0.0.0', { addr: '0.0.0.0' }, [0, 1]],
  ['one address', { addr: '10.0.0.1' }, [0, 1]],
  ['another address', { addr: '203.0.113.1' }, [1, 1]],
  ['::', { addr: '::' }, [1, 0]],
])('a socket with %s takes what comes to it', (_, socket, expected) => {
  expect(answers(socket)).toEqual(expected);
});
