/** Callbacks of the user's that throw: whoever brought the packet hears of it, and the next one goes its way. */
import { expect, it } from 'vitest';
import { createGateway, formatPacket, parsePacket } from '../../lib/index.js';

const RULES = [
  '*nat',
  '-A POSTROUTING -o wan -j MASQUERADE',
  'COMMIT',
  '*filter',
  '-A FORWARD -p tcp -j LOG',
  '-A FORWARD -p tcp -j REJECT',
  'COMMIT',
  '',
].join('\n');

const PACKETS = [
  'udp 10.0.0.2:1 > 1.1.1.1:53 len 1',
  'udp 10.0.0.2:2 > 1.1.1.1:53 len 2000',
  'tcp 10.0.0.2:1 > 1.1.1.1:53 SYN',
  'tcp 10.0.0.2:1 > 10.0.0.1:53 SYN',
  'udp 10.0.0.2:1 > 10.0.0.1:53 len 1',
  'icmp 10.0.0.2 > 10.0.0.1 echo-request id 1 seq 1',
  'udp 10.0.0.2:1 > 1.1.1.1:53 len 1 ttl 1',
];

function makeGateway() {
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'], mtu: 9000 },
      { name: 'wan', addresses: ['203.0.113.1/24'] },
    ],
    routes: ['default dev wan'],
    rules: { 4: RULES },
    seed: 1,
    maxConnections: 64,
    sysctls: { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv4.icmp_msgs_per_sec': 1_000_000 },
  });
  const sent: string[] = [];
  const keep = (bytes: Uint8Array): void => {
    sent.push(formatPacket(bytes));
  };
  const receive = (text: string): void => gateway.interface('lan').receive(parsePacket(text));
  const throwing = (): never => {
    throw new Error('mine');
  };
  return { gateway, sent, keep, receive, throwing };
}

/** What a gateway sends for each packet. */
function answers({ gateway, sent, keep, receive }: ReturnType<typeof makeGateway>): string[] {
  for (const port of gateway.interfaces) port.onTransmit = keep;
  sent.length = 0;
  for (const text of PACKETS) receive(text);
  return sent.map((text) => text.replace(/ ipid \d+/, ''));
}

it.each(['onTransmit', 'onLog', 'new connection', 'own datagram'] as const)('%s', (what) => {
  const untouched = makeGateway();
  const expected = answers(untouched);
  expect(expected).toHaveLength(8);
  const bench = makeGateway();
  const { gateway, receive, throwing } = bench;
  const socket = gateway.udp.bind({ port: 9 });
  let thrown = 0;
  const listen = (): void => {
    if (what === 'onLog') gateway.engine.observers.onLog = throwing;
    if (what === 'new connection') gateway.engine.connections.events.on('new', throwing);
    if (what === 'onTransmit' || what === 'own datagram') {
      for (const port of gateway.interfaces) port.onTransmit = throwing;
    }
  };
  listen();
  const work =
    what === 'own datagram'
      ? [
          () => socket.send(new Uint8Array(1), '1.1.1.1:53'),
          () => socket.send(new Uint8Array(1), '10.0.0.2:53'),
        ]
      : PACKETS.map((text) => () => receive(text));
  for (let i = 0; i < 50; i++) {
    for (const one of work) {
      try {
        one();
      } catch (error) {
        expect(String(error)).toBe('Error: mine');
        thrown++;
      }
    }
  }
  // More often than packets may be under way inside one another.
  expect(thrown).toBeGreaterThan(12);
  gateway.engine.observers.onLog = undefined;
  gateway.engine.connections.events.removeAllListeners();
  gateway.engine.connections.flush();
  // No record was lost, no passage, and nothing is under way: everything is as if it had not happened.
  expect(answers(bench)).toEqual(expected);
  for (let port = 1; port <= 64; port++) receive(`udp 10.0.0.9:${port} > 1.1.1.2:53 len 1`);
  expect(gateway.engine.tracker.count).toBe(64);
  gateway.close();
  untouched.gateway.close();
});
