import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LinkPort, Offload } from '../../lib/network/port.js';
import { attachTun, type TunAttachment } from '../../lib/node/tun.js';
import { VIRTIO_HEADER_BYTES, VirtioHeader, writeVirtioHeader } from '../../lib/node/virtio-header.js';
import { enterNamespace, ip, missingForDevices, run } from '../linux.js';
import { KeepingPort } from '../network/adapter-ports.js';
import { checksum } from './checksum.js';

const missing = missingForDevices('tests with a real TUN device', 'ping', 'nsenter', 'python3');

/** Answers each ping to any address. */
class EchoPort implements LinkPort {
  readonly link = 'ip';
  readonly mtu = 1400;
  onTransmit: LinkPort['onTransmit'];
  echoes = 0;

  receive(packet: Uint8Array): void {
    if (packet[0] !== 0x45 || packet[9] !== 1 || packet[20] !== 8) return;
    this.echoes++;
    const answer = packet.slice();
    answer.set(packet.subarray(16, 20), 12);
    answer.set(packet.subarray(12, 16), 16);
    answer[20] = 0;
    answer[22] = 0;
    answer[23] = 0;
    const sum = checksum(answer.subarray(20));
    answer[22] = sum >> 8;
    answer[23] = sum & 0xff;
    this.onTransmit?.(answer);
  }
}

describe.skipIf(missing.length > 0)('a TUN device', () => {
  const open: TunAttachment[] = [];
  const children: ChildProcess[] = [];

  beforeAll(enterNamespace);

  afterEach(async () => {
    await Promise.all(open.splice(0).map((tun) => tun.close()));
    for (const child of children.splice(0)) child.kill();
  });

  it('carries pings to the port and the answers back', async () => {
    const port = new EchoPort();
    const tun = await attachTun(port, { name: 'echo0' });
    open.push(tun);
    expect(tun.name).toBe('echo0');
    ip('addr', 'add', '10.77.0.1/24', 'dev', 'echo0');
    const { status, output } = await run('ping', '-n', '-c', '20', '-i', '0.01', '-W', '2', '10.77.0.9');
    expect(output).toContain('20 received');
    expect(status).toBe(0);
    expect(port.echoes).toBe(20);
    expect(tun.counters.transmittedFrames).toBe(20);
    expect(tun.counters).toMatchObject({ errors: 0, droppedFrames: 0, malformedFrames: 0 });
  });

  it('has the MTU of the port, is up, and is gone after close', async () => {
    const tun = await attachTun(new EchoPort(), { name: 'mtu0' });
    const shown = ip('link', 'show', 'mtu0');
    expect(shown).toContain('mtu 1400');
    expect(shown).toMatch(/<[^>]*\bUP\b/);
    await tun.close();
    expect(() => execFileSync('ip', ['link', 'show', 'mtu0'], { stdio: 'pipe' })).toThrow();
    await tun.close();
  });

  it('is a TAP device for a port of Ethernet frames', async () => {
    const port = new KeepingPort('ethernet');
    const tun = await attachTun(port);
    open.push(tun);
    expect(tun.name).toMatch(/^tap\d+$/);
    ip('addr', 'add', '10.78.0.1/24', 'dev', tun.name);
    const asked = run('ping', '-n', '-c', '1', '-W', '1', '10.78.0.9');
    const isArp = (frame: number[]) => frame[12] === 8 && frame[13] === 6;
    for (let count = 1; !port.frames.some(isArp); count++) await port.until(count);
    await asked;
    const arp = port.frames.find(isArp);
    expect(arp?.slice(0, 6)).toEqual([255, 255, 255, 255, 255, 255]);
    expect(arp?.slice(38, 42)).toEqual([10, 78, 0, 9]);
  });

  it('takes what came while nobody looked, more than one wake-up reads', async () => {
    const port = new KeepingPort('ip');
    const tun = await attachTun(port, { name: 'many0' });
    open.push(tun);
    ip('addr', 'add', '10.79.0.1/24', 'dev', 'many0');
    // This thread stands still meanwhile: all of it waits in the device.
    const python = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(300): s.sendto(i.to_bytes(2, 'big'), ('10.79.0.2', 9))`;
    execFileSync('python3', ['-c', python]);
    const numbers = () =>
      port.frames.filter((f) => f[0] === 0x45 && f[9] === 17).map((f) => (f[28] << 8) | f[29]);
    for (let count = 300; numbers().length < 300; count++) await port.until(count);
    expect(numbers()).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });

  it('counts what a device that is down refuses, and goes on', async () => {
    const port = new KeepingPort('ip');
    const tun = await attachTun(port, { name: 'down0', state: 'down' });
    open.push(tun);
    for (let i = 0; i < 3; i++) port.onTransmit?.(Uint8Array.of(0x45, 0, 0, 20, ...new Array(16).fill(0)));
    expect(tun.counters).toMatchObject({ errors: 3, droppedFrames: 3, transmittedFrames: 0 });
    expect(tun.counters.lastError?.message).toBe('write: EIO');
  });

  it('lets go of the port and tells of its end when the device is deleted under it', async () => {
    const port = new KeepingPort('ip');
    let tell: (error: Error) => void = () => {};
    const gone = new Promise<Error>((resolve) => {
      tell = resolve;
    });
    const tun = await attachTun(port, { name: 'gone0', onGone: (error) => tell(error) });
    open.push(tun);
    ip('link', 'del', 'gone0');
    expect((await gone).message).toBe('read: EBADFD');
    expect(tun.counters.errors).toBe(1);
    await tun.close();
    expect(port.onTransmit).toBeUndefined();
  });

  it('refuses a device that is in use, and leaves the port free', async () => {
    open.push(await attachTun(new KeepingPort('ip'), { name: 'twice0' }));
    const port = new KeepingPort('ip');
    await expect(attachTun(port, { name: 'twice0' })).rejects.toThrow(/the device is in use \('twice0'\)/);
    expect(port.onTransmit).toBeUndefined();
  });

  it('refuses a port that is plugged in, and leaves no device behind', async () => {
    const port = new KeepingPort('ip');
    port.onTransmit = () => {};
    await expect(attachTun(port, { name: 'taken0' })).rejects.toThrow('plugged in already');
    expect(ip('link', 'show')).not.toContain('taken0');
  });

  it('names what is wrong with a name', async () => {
    const port = new KeepingPort('ip');
    await expect(attachTun(port, { name: 'sixteen-bytes-xx' })).rejects.toThrow(/expected up to 15 bytes/);
    await expect(attachTun(port, { name: 'a/b' })).rejects.toThrow(/not a name for an interface \('a\/b'\)/);
  });

  it('passes segments of up to 64 KiB through whole, both ends computing what was left to do', async () => {
    const [near, far] = [new Wire(), new Wire()];
    near.peer = far;
    far.peer = near;
    const tun = await attachTun(near, { name: 'gso0', offload: 'virtio' });
    open.push(tun);
    expect(near.offloads).toEqual(expect.arrayContaining(['checksum', 'tcp4', 'tcp6']));
    expect(tun.offloads).toEqual(near.offloads);
    open.push(await attachTun(far, { name: 'gso1', offload: 'virtio' }));
    const other = spawn('unshare', ['-n', 'sh', '-c', 'echo ready; exec sleep 60']);
    children.push(other);
    await new Promise((resolve) => other.stdout.once('data', resolve));
    const inside = ['-t', String(other.pid), '-n'];
    ip('link', 'set', 'gso1', 'netns', String(other.pid));
    ip('addr', 'add', '10.80.0.1/24', 'dev', 'gso0');
    const configure = 'ip addr add 10.80.0.2/24 dev gso1 && ip link set gso1 up';
    execFileSync('nsenter', [...inside, 'sh', '-c', configure]);
    const server = spawn('nsenter', [...inside, process.execPath, '-e', HASHING_SERVER]);
    children.push(server);
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const { output } = await run(process.execPath, '-e', HASHING_CLIENT);
    const [sent, heard] = output.trim().split('\n');
    expect(sent).toMatch(/^[0-9a-f]{64}$/);
    expect(heard).toBe(sent);
    expect(near.longest).toBeGreaterThan(20_000);
    expect(near.kinds).toContain('tcp4');
  }, 20_000);
});

/** A cable to another port. */
class Wire implements LinkPort {
  readonly link = 'ip';
  readonly mtu = 1500;
  onTransmit: LinkPort['onTransmit'];
  peer: Wire | undefined;
  longest = 0;
  readonly kinds = new Set<string>();
  offloads: readonly string[] = [];

  acceptOffloads(kinds: readonly string[]): void {
    this.offloads = kinds;
  }

  receive(frame: Uint8Array, offload?: Offload): void {
    this.longest = Math.max(this.longest, frame.length);
    if (offload !== undefined) this.kinds.add(offload.gsoType);
    this.peer?.onTransmit?.(frame, offload);
  }
}

const HASHING_SERVER = `
const server = require('net').createServer({ allowHalfOpen: true }, (socket) => {
  const hash = require('crypto').createHash('sha256');
  socket.on('data', (chunk) => hash.update(chunk));
  socket.on('end', () => socket.end(hash.digest('hex')));
});
server.listen(8000, '10.80.0.2', () => console.log('ready'));`;

const HASHING_CLIENT = `
const bytes = require('crypto').randomBytes(4 << 20);
console.log(require('crypto').createHash('sha256').update(bytes).digest('hex'));
const socket = require('net').connect(8000, '10.80.0.2', () => socket.end(bytes));
socket.setTimeout(10000, () => socket.destroy());
socket.on('data', (chunk) => console.log(String(chunk)));`;

describe('the virtio-net header', () => {
  /** An IPv4 TCP packet of `payloadBytes` behind a header, `flags` in its TCP header. */
  function packetBehindHeader(payloadBytes: number, flags = 0x10): Uint8Array {
    const bytes = new Uint8Array(VIRTIO_HEADER_BYTES + 40 + payloadBytes);
    bytes[VIRTIO_HEADER_BYTES] = 0x45;
    bytes[VIRTIO_HEADER_BYTES + 32] = 0x50;
    bytes[VIRTIO_HEADER_BYTES + 33] = flags;
    return bytes;
  }
  const segmented: Offload = {
    needsChecksum: 1,
    checksumStart: 20,
    checksumOffset: 16,
    gsoType: 'tcp4',
    gsoSizeBytes: 1448,
    headerBytes: 40,
  };

  it.each<[string, Offload]>([
    [
      'a packet that is whole',
      {
        ...segmented,
        needsChecksum: 0,
        checksumStart: 0,
        checksumOffset: 0,
        gsoType: 'none',
        gsoSizeBytes: 0,
        headerBytes: 0,
      },
    ],
    ['a checksum to complete', { ...segmented, gsoType: 'none', gsoSizeBytes: 0, headerBytes: 0 }],
    ['TCP over IPv4', segmented],
    ['TCP over IPv6', { ...segmented, gsoType: 'tcp6' }],
    ['UDP', { ...segmented, gsoType: 'udp', checksumOffset: 6, headerBytes: 28 }],
  ])('is read as it was written: %s', (_, offload) => {
    const bytes = packetBehindHeader(3000);
    writeVirtioHeader(bytes, bytes.subarray(VIRTIO_HEADER_BYTES), offload);
    const read = new VirtioHeader();
    expect(read.read(bytes, bytes.length)).toBe(true);
    expect({ ...read }).toEqual(offload);
  });

  it('has the layout of the specification', () => {
    const bytes = packetBehindHeader(3000);
    writeVirtioHeader(bytes, bytes.subarray(VIRTIO_HEADER_BYTES), segmented);
    expect([...bytes.subarray(0, 12)]).toEqual([1, 1, 40, 0, 0xa8, 5, 20, 0, 16, 0, 0, 0]);
  });

  it('says that segments carry CWR if the packet does', () => {
    const bytes = packetBehindHeader(3000, 0x90);
    writeVirtioHeader(bytes, bytes.subarray(VIRTIO_HEADER_BYTES), segmented);
    expect(bytes[1]).toBe(0x81);
    const read = new VirtioHeader();
    expect(read.read(bytes, bytes.length)).toBe(true);
    expect(read.gsoType).toBe('tcp4');
  });

  it('counts the headers itself instead of believing the hint', () => {
    const bytes = packetBehindHeader(3000);
    writeVirtioHeader(bytes, bytes.subarray(VIRTIO_HEADER_BYTES), { ...segmented, headerBytes: 999 });
    const read = new VirtioHeader();
    read.read(bytes, bytes.length);
    expect(read.headerBytes).toBe(40);
  });

  it.each<[string, Partial<Offload>, Record<number, number>]>([
    ['a checksum field that crosses the end', { checksumStart: 3039 - 16 }, {}],
    ['segments of no bytes', { gsoSizeBytes: 0 }, {}],
    ['segments without a checksum', {}, { 0: 0 }],
    ['fragmented UDP', {}, { 1: 3 }],
    ['a TCP header of 16 bytes', {}, { [VIRTIO_HEADER_BYTES + 32]: 0x40 }],
    ['a TCP header past the end', { checksumStart: 3020 }, {}],
  ])('is refused: %s', (_, wrong, bytesAt) => {
    const bytes = packetBehindHeader(3000);
    writeVirtioHeader(bytes, bytes.subarray(VIRTIO_HEADER_BYTES), { ...segmented, ...wrong });
    for (const [at, value] of Object.entries(bytesAt)) bytes[Number(at)] = value;
    expect(new VirtioHeader().read(bytes, bytes.length)).toBe(false);
  });

  it.each([0, 5, VIRTIO_HEADER_BYTES])('is refused: only %i bytes and no frame', (lengthBytes) => {
    expect(new VirtioHeader().read(packetBehindHeader(0), lengthBytes)).toBe(false);
  });
});
