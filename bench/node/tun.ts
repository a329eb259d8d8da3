/**
 * Packets per second through a TUN device, without anything behind it: what the adapter and the kernel cost. Each round
 * fills the device's queue while this thread stands still, then reads it empty.
 *
 *   tsc -p tsconfig.bench.json && sudo unshare -n node .build/bench/node/tun.js
 */
import { execFileSync } from 'node:child_process';
import { cpus, release } from 'node:os';
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { LinkPort } from '../../lib/network/port.js';
import { attachTun } from '../../lib/node/tun.js';

const PACKETS = 40_000;
const ROUNDS = 7;
const SENDER = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 32, 1 << 30)  # SO_SNDBUFFORCE
s.connect(('10.5.0.2', 9))
for i in range(${PACKETS}): s.send(b'x' * 100)`;

class CountingPort implements LinkPort {
  readonly link = 'ip';
  readonly mtu = 1500;
  onTransmit: LinkPort['onTransmit'];
  readonly #answer: 'echo' | 'count';
  count = 0;
  firstMs = 0;
  lastMs = 0;

  constructor(answer: 'echo' | 'count') {
    this.#answer = answer;
  }

  receive(packet: Uint8Array): void {
    if (packet[9] !== 17 || packet[0] !== 0x45) return;
    if (this.count++ === 0) this.firstMs = performance.now();
    if (this.#answer === 'echo') this.onTransmit?.(packet);
    if (this.count === PACKETS) this.lastMs = performance.now();
  }
}

async function measure(answer: 'echo' | 'count', offload: 'none' | 'virtio'): Promise<void> {
  const port = new CountingPort(answer);
  const tun = await attachTun(port, { name: 'bench0', offload });
  execFileSync('ip', ['link', 'set', 'bench0', 'txqueuelen', '100000']);
  execFileSync('ip', ['addr', 'add', '10.5.0.1/24', 'dev', 'bench0']);
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    port.count = 0;
    execFileSync('python3', ['-c', SENDER]);
    const lastMs = performance.now() + 5000;
    while (port.count < PACKETS && performance.now() < lastMs) await setImmediate();
    if (port.count < PACKETS) throw new Error(`${PACKETS - port.count} packets were lost`);
    rates.push(Math.round(PACKETS / ((port.lastMs - port.firstMs) / 1000)));
  }
  const before = process.cpuUsage();
  await setTimeout(1000);
  const idle = process.cpuUsage(before);
  const startMs = performance.now();
  await tun.close();
  const closeMs = performance.now() - startMs;
  rates.sort((a, b) => a - b);
  console.log(
    `${answer.padEnd(6)} offload ${offload.padEnd(7)} packets/s median ${rates[ROUNDS >> 1]} best ${rates.at(-1)}` +
      `  idle ${((idle.user + idle.system) / 1e4).toFixed(2)} % of a core  close ${closeMs.toFixed(0)} ms`,
  );
}

console.log(`${cpus()[0]?.model}, ${cpus().length} cores, Linux ${release()}, Node ${process.version}`);
for (const answer of ['count', 'echo'] as const) {
  for (const offload of ['none', 'virtio'] as const) await measure(answer, offload);
}
