/**
 * Run in a process of its own with --expose-gc and a large semi-space: sends packets through a long indexed chain and
 * prints by how much the heap grew. With `replay`, ways that were recorded are counted again instead; with `plant`, one
 * object is made per packet: that must show.
 */
import { setImmediate } from 'node:timers/promises';
import { mixedRules } from '../../bench/rules/rulesets.js';
import { Engine } from '../../lib/engine.js';
import { StaticHost } from '../../lib/host.js';
import { Packet } from '../../lib/wire/packet.js';

const RULES = 2000;
const FLOWS = 256;
const PACKETS = 100_000;
const ROUNDS = 5;
const FORWARD = 2;
const FILTER = 3;

const [version, mode] = process.argv.slice(2);
const family = version === '6' ? 6 : 4;

/** UDP to port 443, from and to addresses that differ by flow. */
function packetOf(flow: number): Packet {
  const header = family === 4 ? 20 : 40;
  const bytes = new Uint8Array(header + 8);
  const view = new DataView(bytes.buffer);
  if (family === 4) {
    view.setUint32(0, 0x45000000 | bytes.length);
    view.setUint32(8, 0x40110000);
    view.setUint32(12, 0x0a000000 | (flow * 65_537));
    view.setUint32(16, 0xac100000 | (flow * 257));
    let sum = 0;
    for (let i = 0; i < header; i += 2) sum += view.getUint16(i);
    view.setUint16(10, ~((sum & 0xffff) + (sum >>> 16)));
  } else {
    view.setUint32(0, 0x60000000);
    view.setUint32(4, (8 << 16) | (17 << 8) | 64);
    for (const at of [8, 24]) view.setUint32(at, 0xfd000000);
    view.setUint32(20, flow);
    view.setUint32(36, flow * 257);
  }
  view.setUint32(header, (4000 << 16) | 443);
  view.setUint32(header + 4, 8 << 16);
  const packet = new Packet();
  const reason = packet.parse(bytes);
  if (reason !== 0) throw new Error(`not a packet: ${reason}`);
  packet.inInterface = 1;
  packet.outInterface = 2;
  return packet;
}

/** The rules of the measurements, with IPv6 addresses where that is asked. */
function rules(): string {
  const lines = mixedRules(RULES).map((line) =>
    family === 4
      ? line
      : line.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)(?:\/(\d+))?/, (_, a, b, c, d, bits) => {
          const words = `fd${a}:${b}:${c}:${d}`.replace(/^fd\d+/, 'fd00');
          return `${words}::/${bits === '8' ? 16 : 64}`;
        }),
  );
  return ['*filter', ':FORWARD ACCEPT', ...lines, 'COMMIT', ''].join('\n');
}

const host = new StaticHost([{ name: 'lan' }, { name: 'wan' }]);
const engine = new Engine({ host, maxConnections: 64 });
const { rules4, rules6 } = engine;
const table = family === 4 ? rules4 : rules6;
engine.restore(family, rules());
const packets = Array.from({ length: FLOWS }, (_, flow) => packetOf(flow));
engine.tracker.begin(1000);
const path = new Int32Array(16);
table.startRecording(path);
table.traverse(FILTER, FORWARD, packets[0] as Packet);
const recorded = table.stopRecording();
if (recorded < 1) throw new Error('the way cannot be repeated');

const kept = new Array<unknown>(FLOWS).fill(undefined);
function send(): number {
  let accepted = 0;
  for (let n = 0; n < PACKETS; n++) {
    const flow = n % FLOWS;
    if (mode === 'replay') {
      table.startRecording(path);
      accepted += table.traverse(FILTER, FORWARD, packets[flow] as Packet);
      table.replay(path, 0, table.stopRecording(), 1, 28);
    } else {
      accepted += table.traverse(FILTER, FORWARD, packets[flow] as Packet);
    }
    if (mode === 'plant') kept[flow] = { n };
  }
  return accepted;
}

for (let round = 0; round < 5; round++) send();
let grown = Number.POSITIVE_INFINITY;
for (let round = 0; round < ROUNDS; round++) {
  globalThis.gc!();
  await setImmediate();
  const before = process.memoryUsage().heapUsed;
  const accepted = send();
  const growth = process.memoryUsage().heapUsed - before;
  if (accepted === 0) throw new Error('no packet passed');
  grown = Math.min(grown, growth);
}
console.log(JSON.stringify({ packets: PACKETS, grownBytes: grown }));
