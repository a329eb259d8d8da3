import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCapture } from '../../lib/capture/capture.js';
import { LinkType } from '../../lib/capture/link.js';
import { createGateway } from '../../lib/network/gateway.js';
import { joinPorts } from '../../lib/network/switch.js';
import { CaptureFile, captureToFile } from '../../lib/node/capture-file.js';
import { frameOf, KeepingPort } from '../network/adapter-ports.js';
import { checksum } from './checksum.js';

const hasTshark = spawnSync('tshark', ['-v']).status === 0;
if (!hasTshark) console.warn('SKIPPED: reading a recording with tshark: there is no tshark');

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'conntide-capture-'));
  path = join(folder, 'x.pcapng');
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** The beginning of a ping from 10.0.0.2 to 10.0.0.`host`, up to its checksum. */
function pingTo(host: number): number[] {
  const head = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, host];
  const sum = checksum(Uint8Array.from(head));
  head[10] = sum >> 8;
  head[11] = sum & 255;
  return [...head, 8, 0];
}

/** A gateway whose second interface leads to 10.1.0.0/24. */
function twoInterfaces() {
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', addresses: ['10.1.0.1/24'] },
    ],
    routes: ['default dev wan'],
  });
  for (const port of gateway.interfaces) port.onTransmit = () => {};
  return gateway;
}

/** A ping from 10.0.0.2 to a host that is not on its link. */
function ping(host: number): Uint8Array {
  const bytes = Uint8Array.from([...pingTo(host), 0xf7, 0xff, 0, 0, 0, 0]);
  bytes[17] = 1;
  bytes.fill(0, 10, 12);
  const sum = checksum(bytes.subarray(0, 20));
  bytes[10] = sum >> 8;
  bytes[11] = sum & 255;
  return bytes;
}

describe('a capture file', () => {
  it('has interfaces, directions, times and bytes as they were', async () => {
    let nowMs = 1_700_000_000_000.25;
    const file = new CaptureFile(path, { epochMs: () => nowMs });
    const lan = file.addInterface('lan', 'ethernet');
    const wan = file.addInterface('wan', 'ip');
    const borrowed = frameOf(1);
    file.record(lan, 'in', borrowed);
    borrowed.fill(0);
    nowMs += 1000;
    file.record(wan, 'out', frameOf(2, 33));
    await file.close();
    const { interfaces, packets, damage } = readCapture(readFileSync(path));
    expect(damage).toBeUndefined();
    expect(interfaces.map(({ name, linkType }) => [name, linkType])).toEqual([
      ['lan', LinkType.ETHERNET],
      ['wan', LinkType.RAW],
    ]);
    const read = packets.map((p) => [
      p.interfaceName,
      p.direction,
      p.seconds,
      p.nanos,
      new Uint8Array(p.bytes),
    ]);
    expect(read).toEqual([
      ['lan', 'in', 1_700_000_000, 250_000, frameOf(1)],
      ['wan', 'out', 1_700_000_001, 250_000, frameOf(2, 33)],
    ]);
    expect(file.counters).toEqual({ recordedFrames: 2, leftOutFrames: 0 });
  });

  it('keeps so many bytes of a frame if told to, and its length', async () => {
    const file = new CaptureFile(path, { snapLengthBytes: 20 });
    const lan = file.addInterface('lan', 'ethernet');
    file.record(lan, 'in', frameOf(1));
    file.record(lan, 'in', frameOf(2, 15));
    await file.close();
    const { packets } = readCapture(readFileSync(path));
    expect(packets.map((p) => [p.bytes.length, p.originalLengthBytes])).toEqual([
      [20, 60],
      [15, 15],
    ]);
  });

  it('records both directions of a port that it stands before', async () => {
    const file = new CaptureFile(path);
    const [gateway, peer] = [new KeepingPort(), new KeepingPort()];
    const tapped = file.tap(gateway, 'lan');
    joinPorts(tapped, peer);
    peer.onTransmit?.(frameOf(1));
    gateway.onTransmit?.(frameOf(2));
    expect(gateway.frames).toEqual([[...frameOf(1)]]);
    expect(peer.frames).toEqual([[...frameOf(2)]]);
    tapped.onTransmit = undefined;
    expect(gateway.onTransmit).toBeUndefined();
    await file.close();
    const { packets } = readCapture(readFileSync(path));
    expect(packets.map((p) => [p.direction, new Uint8Array(p.bytes)])).toEqual([
      ['in', frameOf(1)],
      ['out', frameOf(2)],
    ]);
  });

  it("records a gateway's interface whatever is plugged into it, until told not to", async () => {
    const gateway = createGateway({ interfaces: [{ name: 'lan', addresses: ['10.0.0.1/24'] }] });
    const lan = gateway.interface('lan');
    const answers: Uint8Array[] = [];
    lan.onTransmit = (packet) => answers.push(packet.slice());
    const [file, second] = [new CaptureFile(path), new CaptureFile(`${path}2`)];
    const ping = () => Uint8Array.from([...pingTo(1), 0xf7, 0xff, 0, 0, 0, 0]);
    const stop = lan.capture(file);
    lan.capture(second);
    lan.receive(ping());
    stop();
    lan.receive(ping());
    await Promise.all([file.close(), second.close()]);
    gateway.close();
    expect(answers.length).toBe(2);
    const { packets } = readCapture(readFileSync(path));
    expect(packets.map((p) => [p.interfaceName, p.direction, new Uint8Array(p.bytes)])).toEqual([
      ['lan', 'in', ping()],
      ['lan', 'out', answers[0]],
    ]);
    expect(readCapture(readFileSync(`${path}2`)).packets.length).toBe(4);
  });

  it('leaves frames out that the disk is too slow for, and holds no more than its queue', async () => {
    const file = new CaptureFile(path, { queueBytes: 10_000 });
    const lan = file.addInterface('lan', 'ethernet');
    for (let i = 0; i < 100; i++) file.record(lan, 'in', frameOf(i, 1000));
    expect(file.counters.recordedFrames).toBe(9);
    expect(file.counters.leftOutFrames).toBe(91);
    await file.close();
    expect(readCapture(readFileSync(path)).packets.length).toBe(9);
  });

  it('records nothing after close, and closes once', async () => {
    const file = new CaptureFile(path);
    const lan = file.addInterface('lan', 'ethernet');
    await Promise.all([file.close(), file.close()]);
    file.record(lan, 'in', frameOf(1));
    expect(file.counters).toEqual({ recordedFrames: 0, leftOutFrames: 1 });
  });

  it('says at once that it cannot be made, and at the end that it could not be written', async () => {
    expect(() => new CaptureFile(join(folder, 'no', 'x'))).toThrow(/x: there is no such file/);
    const file = new CaptureFile('/dev/full');
    const lan = file.addInterface('lan', 'ethernet');
    file.record(lan, 'in', frameOf(1));
    await expect(file.close()).rejects.toThrow('/dev/full: no space left on the device');
  });

  it('records all interfaces of a gateway from one line, and is whole when it has stopped', async () => {
    const gateway = twoInterfaces();
    const [lan] = gateway.interfaces;
    const capture = captureToFile(gateway, path, { comment: 'all' });
    const alone = captureToFile(lan, `${path}2`);
    lan.receive(ping(9));
    await Promise.all([capture.stop(), alone.stop(), capture.stop()]);
    lan.receive(ping(9));
    gateway.close();
    expect(capture.counters).toEqual({ recordedFrames: 2, leftOutFrames: 0 });
    const all = readCapture(readFileSync(path)).packets;
    expect(all.map((p) => [p.interfaceName, p.direction])).toEqual([
      ['lan', 'in'],
      ['wan', 'out'],
    ]);
    const one = readCapture(readFileSync(`${path}2`)).packets;
    expect(one.map((p) => [p.interfaceName, p.direction])).toEqual([['lan', 'in']]);
    expect(() => captureToFile(gateway, join(folder, 'no', 'x'))).toThrow(/x: there is no such file/);
  });

  it.skipIf(!hasTshark)('of a gateway is understood by tshark', async () => {
    const gateway = twoInterfaces();
    const capture = captureToFile(gateway, path);
    gateway.interface('lan').receive(ping(9));
    await capture.stop();
    gateway.close();
    const fields = ['frame.interface_name', 'frame.packet_flags_direction', 'ip.ttl'];
    const words = fields.flatMap((field) => ['-e', field]);
    const shown = execFileSync('tshark', ['-r', path, '-T', 'fields', ...words], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    expect(
      shown
        .trim()
        .split('\n')
        .map((line) => line.split('\t')),
    ).toEqual([
      ['lan', expect.stringMatching(/^(1|0x0*1)$/), '64'],
      ['wan', expect.stringMatching(/^(2|0x0*2)$/), '63'],
    ]);
  });

  it.skipIf(!hasTshark)('is understood by tshark', async () => {
    const file = new CaptureFile(path, { comment: 'of a test' });
    const wan = file.addInterface('wan', 'ip');
    const ping = [
      0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0, 0xf7, 0xff, 0, 0, 0, 0,
    ];
    file.record(wan, 'out', Uint8Array.from(ping));
    await file.close();
    const fields = ['frame.interface_name', 'frame.packet_flags_direction', 'ip.src', 'icmp.type'];
    const words = fields.flatMap((field) => ['-e', field]);
    const shown = execFileSync('tshark', ['-r', path, '-T', 'fields', ...words], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    expect(shown.trim().split('\t')).toEqual(['wan', expect.stringMatching(/^(2|0x0*2)$/), '10.0.0.1', '8']);
  });
});
