// @ts-check
/**
 * A ruleset's unit tests: does the firewall in rules.v4 do what it is for? No root, no namespaces, milliseconds.
 *
 *   npm install conntide vitest && npx vitest run        (in this folder; in a clone: npm run build first, and
 *                                                            npx vitest run --root examples/ruleset-test)
 */
import { readFileSync } from 'node:fs';
import { formatPacket, parsePacket, Router } from 'conntide';
import { beforeEach, expect, test } from 'vitest';

const rules = readFileSync(new URL('rules.v4', import.meta.url), 'utf8');
/** @type {Router} */
let router;
let nowMs = 0;

beforeEach(() => {
  nowMs = 0;
  router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', addresses: ['203.0.113.1/24'] },
    ],
    routes: ['default dev wan'],
  });
  router.engine.restore(4, rules, 'rules.v4');
});

/** What comes out when a packet comes in. @param {'lan' | 'wan'} name @param {string} packet */
function send(name, packet) {
  /** @type {string[]} */
  const sent = [];
  router.onTransmit = (index, bytes) => sent.push(`${index === 1 ? 'lan' : 'wan'} ${formatPacket(bytes)}`);
  router.receive(name === 'lan' ? 1 : 2, parsePacket(packet), nowMs);
  return sent;
}

test('guests go out with our address, and answers come back', () => {
  expect(send('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53')).toEqual([
    'wan udp 203.0.113.1:5000 > 1.1.1.1:53 ttl 63',
  ]);
  expect(send('wan', 'udp 1.1.1.1:53 > 203.0.113.1:5000')).toEqual([
    'lan udp 1.1.1.1:53 > 10.0.0.2:5000 ttl 63',
  ]);
});

test('an answer that comes too late is not let in', () => {
  send('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53');
  nowMs = 31_000;
  expect(send('wan', 'udp 1.1.1.1:53 > 203.0.113.1:5000')).toEqual([]);
});

test('port 8080 leads to the web server, port 80 does not', () => {
  expect(send('wan', 'tcp 198.51.100.9:4000 > 203.0.113.1:8080 SYN seq 1')).toEqual([
    expect.stringMatching(/^lan tcp 198\.51\.100\.9:4000 > 10\.0\.0\.2:80 SYN/),
  ]);
  expect(send('wan', 'tcp 198.51.100.9:4001 > 203.0.113.1:80 SYN seq 1')).toEqual([]);
});

test('nobody reaches a guest by its own address', () => {
  expect(send('wan', 'tcp 198.51.100.9:4000 > 10.0.0.2:80 SYN seq 1')).toEqual([]);
});

test('the gateway answers pings of guests only', () => {
  expect(send('lan', 'icmp 10.0.0.2 > 10.0.0.1 echo-request id 1 seq 1')).toHaveLength(1);
  expect(send('wan', 'icmp 198.51.100.9 > 203.0.113.1 echo-request id 1 seq 1')).toEqual([]);
});
