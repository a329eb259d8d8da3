/** P2 and P3 with a peer that is Linux's own TCP: it answers the probes, and takes the resets. */
import { spawn } from 'node:child_process';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createGateway, formatPacket, type Gateway, ManualClock, parsePacket } from '../../../lib/index.js';
import { attachTun, type TunAttachment } from '../../../lib/node/index.js';
import { enterNamespace, ip, missingForDevices } from '../../linux.js';

const missing = missingForDevices('liveness with a Linux peer', 'python3');

const CLIENT = `
import socket
s = socket.create_connection(('198.18.57.1', 80), 10)
s.sendall(b'hello')
print('got', s.recv(100), flush=True)
try:
    print('then', s.recv(100), flush=True)
except OSError as error:
    print('then', error.errno, flush=True)
`;

/** Answers what a client's segments ask for, as a server would that has five bytes to say. */
function serverOf(gateway: Gateway, withTimestamps: boolean) {
  const seen: string[] = [];
  const port = gateway.interface('wan');
  port.onTransmit = (bytes) => {
    const text = formatPacket(bytes);
    seen.push(text);
    const match = /^tcp (\S+) > (\S+) (\S+) seq (\d+)(?: ack (\d+))?/.exec(text);
    if (match === null) return;
    const [, from, to, flags] = match;
    const sequence = Number(match[4]);
    const stamp = /ts (\d+):/.exec(text)?.[1];
    const options = withTimestamps && stamp !== undefined ? `<nop,nop,ts 7:${stamp}>` : '';
    const say = (rest: string): void => {
      setImmediate(() => port.receive(parsePacket(`tcp ${to} > ${from} ${rest} ${options}`)));
    };
    if (flags === 'SYN') say(`SYN,ACK seq 4999 ack ${(sequence + 1) % 2 ** 32}`);
    else if (/len 5|data/.test(text)) {
      say(`PSH,ACK seq 5000 ack ${(sequence + 5) % 2 ** 32} data "world"`);
    }
  };
  return seen;
}

/** Waits until `isSo`, for packets that the kernel sends in its own time. */
async function eventually(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isSo()).toBe(true);
}

describe.skipIf(missing.length > 0)('a Linux peer', () => {
  beforeAll(enterNamespace);

  let gateway: Gateway | undefined;
  let tun: TunAttachment | undefined;

  afterEach(async () => {
    await tun?.close();
    gateway?.close();
  });

  it.each([
    ['with timestamps', true],
    ['without timestamps', false],
  ])(
    'answers probes and takes the reset: %s',
    async (_, withTimestamps) => {
      const clock = new ManualClock(0);
      gateway = createGateway({
        clock,
        tracking: 'always',
        maxConnections: 256,
        interfaces: [
          { name: 'lan', addresses: ['198.18.56.1/24'] },
          { name: 'wan', addresses: ['203.0.113.1/24'] },
        ],
        routes: ['default dev wan'],
        keepalive: { intervalMs: 1000 },
        inactivity: { intervalMs: 100_000, onExpiry: 'reset-both' },
      });
      const { liveness, engine } = gateway;
      const seen = serverOf(gateway, withTimestamps);
      tun = await attachTun(gateway.interface('lan'));
      for (const words of [
        ['addr', 'add', '198.18.56.2/24', 'dev', tun.name],
        ['route', 'add', '198.18.57.0/24', 'via', '198.18.56.1'],
      ]) {
        ip(...words);
      }
      const client = spawn('python3', ['-c', CLIENT]);
      let said = '';
      client.stdout.on('data', (text) => (said += text));
      client.stderr.on('data', (text) => (said += text));
      const ended = new Promise((resolve) => client.on('close', resolve));
      await eventually(() => said.includes('got'));
      expect(said).toBe("got b'world'\n");
      // The last ACK of the kernel may be delayed.
      await eventually(() => seen.some((text) => /ack 5005/.test(text)));
      const before = seen.length;
      clock.advance(2000);
      gateway.advance();
      expect(liveness.counters.probes).toBe(1);
      await eventually(() => seen.length > before);
      expect(seen.slice(before)).toEqual([expect.stringMatching(/ ACK seq \d+ ack 5005/)]);
      expect(engine.tracker.count).toBe(1);
      clock.advance(200_000);
      gateway.advance();
      expect(liveness.counters).toMatchObject({ expired: 1, resets: 2 });
      await ended;
      expect(said).toBe("got b'world'\nthen 104\n");
      expect(seen.at(-1)).toMatch(/RST,ACK seq \d+ ack 5005/);
    },
    30_000,
  );
});
