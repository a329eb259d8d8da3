/**
 * Run in a process of its own with --expose-gc and a large semi-space: forwards packets through a gateway, in by one kind
 * of link and out by another, and prints by how many bytes a packet the heap grew. `plant` makes one object a packet.
 */
import { ManualClock } from '../../lib/clock.js';
import { createGateway } from '../../lib/network/gateway.js';
import { parsePacket } from '../../lib/scenario/notation.js';

const PACKETS = 50_000;
const ROUNDS = 5;
const GUEST = '52:54:00:00:00:02';

const [from, to, plant] = process.argv.slice(2);
const side = (name: string, link: string | undefined, own: string, peer: string, mac: string) =>
  link === 'ethernet'
    ? { name, link: 'ethernet' as const, mac, addresses: [own], stations: [{ address: peer, mac: GUEST }] }
    : { name, addresses: [own] };
const gateway = createGateway({
  interfaces: [
    side('lan', from, '10.0.0.1/24', '10.0.0.2', '02:00:00:00:00:01'),
    side('wan', to, '203.0.113.1/24', '203.0.113.9', '02:00:00:00:00:02'),
  ],
  rules: { 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
  clock: new ManualClock(5),
});
const lan = gateway.interface('lan');
const kept = new Array<unknown>(16);
let sent = 0;
gateway.interface('wan').onTransmit = (frame) => {
  sent++;
  if (plant === 'plant') kept[sent & 15] = { length: frame.length };
};

const packet = parsePacket('udp 10.0.0.2:5000 > 203.0.113.9:53 len 64');
const headerBytes = from === 'ethernet' ? 14 : 0;
const template = new Uint8Array(headerBytes + packet.length);
if (headerBytes > 0) template.set([2, 0, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 8, 0]);
template.set(packet, headerBytes);
const frame = new Uint8Array(template.length);

function send(): void {
  for (let n = 0; n < PACKETS; n++) {
    frame.set(template);
    lan.receive(frame);
  }
}

// Until the compilers are done with it.
for (let round = 0; round < 4; round++) send();
let least = Number.POSITIVE_INFINITY;
for (let round = 0; round < ROUNDS; round++) {
  globalThis.gc!();
  const before = process.memoryUsage().heapUsed;
  const sentBefore = sent;
  send();
  least = Math.min(least, (process.memoryUsage().heapUsed - before) / PACKETS);
  if (sent - sentBefore !== PACKETS) throw new Error(`${PACKETS - (sent - sentBefore)} packets dropped`);
}
gateway.close();
console.log(least);
