/** The helper that docs/helpers.md shows does what it says. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PackageCopy, ROOT } from '../package-copy.js';

const copy = new PackageCopy('helpers-page');

beforeAll(() => copy.make(), 60_000);

afterAll(() => copy.remove());

const page = readFileSync(join(ROOT, 'docs/helpers.md'), 'utf8');

/** What follows the page's code: a client behind NAT asks to be called. */
const USE = `
import { formatPacket, parsePacket, Router } from 'conntide';
const router = new Router({
  interfaces: [
    { name: 'lan', addresses: ['10.0.0.1/24'], mtu: 1500 },
    { name: 'wan', addresses: ['203.0.113.1/24'], mtu: 1500 },
  ],
  routes: ['default dev wan'],
});
router.sysctl('net.ipv4.ip_forward', 1);
router.engine.helpers.register(chat);
router.engine.restore(4, \`*raw
-A PREROUTING -p tcp --dport 7000 -j CT --helper chat
COMMIT
*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
\`);
router.onTransmit = (index, bytes) => console.log(formatPacket(bytes.slice()).split(' ').slice(0, 4).join(' '));
const hello = Buffer.from('CALLME 5000\\n').toString('hex');
router.receive(1, parsePacket('tcp 10.0.0.2:4000 > 198.51.100.7:7000 SYN seq 0'), 0);
router.receive(2, parsePacket('tcp 198.51.100.7:7000 > 203.0.113.1:4000 SYN,ACK seq 0 ack 1'), 1);
router.receive(1, parsePacket('tcp 10.0.0.2:4000 > 198.51.100.7:7000 PSH,ACK seq 1 ack 1 data ' + hello), 2);
router.receive(2, parsePacket('tcp 198.51.100.7:9 > 203.0.113.1:5000 SYN seq 0'), 3);
`;

test('the example lets the server call the client behind NAT', () => {
  const code = page.split('<!-- helper -->')[1]?.match(/^```js\n([\s\S]*?)^```$/m)?.[1] ?? '';
  const file = join(copy.folder, 'pasted.mjs');
  writeFileSync(file, code + USE);
  const { stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(stdout.trim().split('\n')).toEqual([
    'tcp 203.0.113.1:4000 > 198.51.100.7:7000',
    'tcp 198.51.100.7:7000 > 10.0.0.2:4000',
    'tcp 203.0.113.1:4000 > 198.51.100.7:7000',
    'tcp 198.51.100.7:9 > 10.0.0.2:5000',
  ]);
});
