/** The egress proxy of docs/endpoints.md runs as it is printed: a guest with a TCP of its own goes through it. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PackageCopy, ROOT } from '../package-copy.js';

const copy = new PackageCopy('endpoints-page');

beforeAll(() => copy.make(), 60_000);

afterAll(() => copy.remove());

const page = readFileSync(join(ROOT, 'docs/endpoints.md'), 'utf8');
const [, proxy = ''] = /<!-- proxy -->\n+```js\n([\s\S]*?)^```$/m.exec(page) ?? [];

/**
 * What the test does around it: the address that the guest asks is one of this machine in truth, with an echo on one
 * port and nobody on the others.
 */
const GUEST = `
import { Packet } from 'conntide';
import { TcpEndpoint } from './dist/network/local/tcp-endpoint.js';
import { readSegment, writeSegment } from './dist/network/local/tcp-segment.js';

const echo = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
await new Promise((resolve) => echo.listen(0, '127.0.0.1', resolve));
const connect = net.connect;
const asked = [];
net.connect = (port, address) => {
  asked.push(address + ':' + port);
  return connect(port === 80 ? echo.address().port : 1, '127.0.0.1');
};

const lan = gateway.interface('lan');
const guests = new Map();
lan.onTransmit = (bytes) => {
  const packet = new Packet();
  packet.parse(bytes);
  guests.get(packet.u16(packet.transport + 2)).receive(readSegment(packet), performance.now());
};
function guest(port, destinationPort) {
  const addresses = Int32Array.of(0x0a000002, 0, 0, 0, 0x5db8d822, 0, 0, 0);
  const ends = { version: 4, addresses, sourcePort: port, destinationPort };
  const transmit = (segment) => lan.receive(writeSegment(ends, segment, 64, 1));
  const endpoint = new TcpEndpoint({ mss: 1460, random: { u32: () => 7 }, transmit });
  guests.set(port, endpoint);
  endpoint.connect(performance.now());
  return endpoint;
}
async function until(isThere) {
  while (!isThere()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const one = guest(4000, 80);
one.write(new TextEncoder().encode('through the proxy'), performance.now());
let heard = '';
await until(() => {
  for (let part = one.read(); part !== undefined; part = one.read()) heard += new TextDecoder().decode(part);
  return heard.length >= 17;
});
one.end(performance.now());
await until(() => one.state === 'TIME_WAIT');
const other = guest(4001, 81);
await until(() => other.state === 'CLOSED');
console.log(JSON.stringify({ asked, heard, one: one.state, other: other.error }));
gateway.close();
echo.close();
`;

test('it connects guests with what they asked for, and says when that cannot be reached', () => {
  expect(proxy).toContain('originalDst');
  const file = join(copy.folder, 'pasted.mjs');
  writeFileSync(file, proxy + GUEST);
  const { stdout, stderr, status } = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect(JSON.parse(stdout)).toEqual({
    asked: ['93.184.216.34:80', '93.184.216.34:81'],
    heard: 'through the proxy',
    one: 'TIME_WAIT',
    other: 'ECONNRESET',
  });
}, 60_000);

test('without a guest it ends by itself', () => {
  const file = join(copy.folder, 'alone.mjs');
  writeFileSync(file, proxy);
  const { stdout, stderr, status } = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect({ stdout, stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 });
});
