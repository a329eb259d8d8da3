import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readCapture } from '../../lib/capture/capture.js';
import { describeFrame, LinkFrame, LinkOutcome } from '../../lib/capture/link.js';

const place = new URL('../../examples/replay/gateway.pcapng', import.meta.url);
const file = new Uint8Array(readFileSync(place));

describe('the bundled capture', () => {
  const capture = readCapture(file, { file: 'gateway.pcapng' });

  test('has the interfaces lan and wan, and packets received on both, in the order of time', () => {
    expect(capture.damage).toBeUndefined();
    expect(capture.interfaces).toMatchObject([
      { id: 0, name: 'lan', linkType: 1 },
      { id: 1, name: 'wan', linkType: 1 },
    ]);
    expect(new Set(capture.packets.map((packet) => `${packet.interfaceName} ${packet.direction}`))).toEqual(
      new Set(['lan in', 'wan in']),
    );
    const times = capture.packets.map((packet) => packet.timeMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times[times.length - 1] - times[0]).toBeGreaterThan(60_000);
  });

  test('holds whole packets of both IP versions, and else only ARP', () => {
    const frame = new LinkFrame();
    const counts = new Map<string, number>();
    for (const { linkType, bytes, originalLengthBytes } of capture.packets) {
      expect(bytes.length).toBe(originalLengthBytes);
      expect(bytes.length).toBeLessThanOrEqual(1514);
      const outcome = frame.find(linkType, bytes, 0, bytes.length);
      const kind = describeFrame(frame, linkType);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      if (outcome === LinkOutcome.IP) expect(bytes[frame.offset] >> 4).toBe(frame.ipVersion);
    }
    expect([...counts.keys()].sort()).toEqual(['ARP', 'IPv4', 'IPv6']);
    expect(counts.get('IPv4')).toBeGreaterThan(400);
    expect(counts.get('IPv6')).toBeGreaterThan(100);
  });

  test('is used as far as it goes when it is cut short', () => {
    const cut = readCapture(file.subarray(0, file.length - 1));
    expect(cut.packets).toHaveLength(capture.packets.length - 1);
    expect(cut.damage?.code).toBe('syntax');
  });
});

const editcap = 'editcap';
const hasEditcap = spawnSync(editcap, ['--version']).error === undefined;
if (!hasEditcap) console.warn('editcap is not installed: what it converts is not read back');

describe.skipIf(!hasEditcap)('converted by the real editcap (skipped where it is not installed)', () => {
  test.each([
    ['pcap', 'pcap', 1000],
    ['nsecpcap', 'pcap', 1],
    ['pcapng', 'pcapng', 1],
  ])('to %s, it is the same capture', (target, format, nanosPerUnit) => {
    const folder = mkdtempSync(join(tmpdir(), 'conntide-capture-'));
    try {
      const converted = join(folder, 'converted');
      execFileSync(editcap, ['-F', target, place.pathname, converted], { stdio: 'ignore' });
      const read = readCapture(new Uint8Array(readFileSync(converted)));
      const essence = ({ packets }: typeof read) =>
        packets.map(({ seconds, nanos, bytes, originalLengthBytes }) => ({
          seconds,
          nanos: nanos - (nanos % nanosPerUnit),
          bytes: Array.from(bytes),
          originalLengthBytes,
        }));
      expect(read.format).toBe(format);
      expect(essence(read)).toEqual(essence(readCapture(file)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
