/**
 * Run in a process of its own with --expose-gc and a large semi-space: sends super-packets through a router, cut or whole,
 * and prints by how much the heap grew.
 */
import { setImmediate } from 'node:timers/promises';
import type { Offload } from '../../lib/network/port.js';
import { Router } from '../../lib/network/router.js';
import { superPacket } from '../network/offload/packets.js';

const PACKETS = 4000;
const [way, protocol] = process.argv.slice(2) as ['cut' | 'whole', 'tcp' | 'udp'];

const router = new Router({
  interfaces: [
    { name: 'lan', addresses: ['10.0.0.1/24'] },
    {
      name: 'wan',
      addresses: ['203.0.113.1/24'],
      offloads: way === 'whole' ? ['checksum', 'tcp4', 'tcp6', 'udp'] : [],
    },
  ],
  routes: ['default dev wan'],
  maxConnections: 64,
  seed: 1,
});
router.engine.restore(4, '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n');
let left = 0;
router.output = {
  transmit(
    _index: number,
    _bytes: Uint8Array,
    start: number,
    end: number,
    _origin,
    offload: Offload | undefined,
  ) {
    left += offload === undefined ? 1 : end - start;
  },
};
const { bytes, offload } = superPacket({
  protocol,
  from: '10.0.0.2',
  to: '198.51.100.7',
  payloadBytes: 9000,
  gsoSizeBytes: 1400,
});
const work = bytes.slice();
let nowMs = 0;

function send(): void {
  for (let n = 0; n < PACKETS; n++) {
    work.set(bytes);
    if (n % 256 === 0) nowMs++;
    router.receive(1, work, nowMs, undefined, offload);
  }
}

for (let round = 0; round < 6; round++) send();
let grown = Number.POSITIVE_INFINITY;
left = 0;
for (let round = 0; round < 5; round++) {
  globalThis.gc!();
  await setImmediate();
  const before = process.memoryUsage().heapUsed;
  send();
  grown = Math.min(grown, process.memoryUsage().heapUsed - before);
}
console.log(JSON.stringify({ packets: PACKETS, grownBytes: grown, left: left / 5 / PACKETS }));
