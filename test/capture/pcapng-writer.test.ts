import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readCapture } from '../../lib/capture/capture.js';
import { wrapInEthernet } from '../../lib/capture/link.js';
import { PcapngWriter, type WrittenPacket, writePcapng } from '../../lib/capture/pcapng-writer.js';
import { hex, u8 } from './bytes.js';

/** 10.0.0.2:5000 > 1.1.1.1:53 UDP, no payload. */
const UDP = hex('4500001c000040004011 22cd 0a000002 01010101 1388 0035 0008 0000');
const UDP6 = hex(
  '60000000 0008 11 40 fd00000a000000000000000000000002 20010db8000100000000000000000001 1388 0035 0008 8f0e',
);

describe('PcapngWriter', () => {
  test('what is written is read back', () => {
    const packetOf = (interfaces: number) =>
      fc.record(
        {
          interfaceId: fc.integer({ min: 0, max: interfaces - 1 }),
          seconds: fc.integer({ min: 0, max: 4_000_000_000 }),
          nanos: fc.integer({ min: 0, max: 999_999_999 }),
          bytes: fc.uint8Array({ maxLength: 70 }),
          originalLengthBytes: fc.integer({ min: 0, max: 0xffffffff }),
          direction: fc.constantFrom('in' as const, 'out' as const),
          comment: fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => !text.endsWith('\0')),
        },
        { requiredKeys: ['interfaceId', 'seconds', 'nanos', 'bytes', 'originalLengthBytes'] },
      );
    const files = fc
      .array(
        fc.record({
          linkType: fc.integer({ min: 0, max: 65535 }),
          name: fc.stringMatching(/^[a-z0-9.]{1,15}$/),
        }),
        {
          minLength: 1,
          maxLength: 4,
        },
      )
      .chain((interfaces) => fc.tuple(fc.constant(interfaces), fc.array(packetOf(interfaces.length))));
    fc.assert(
      fc.property(files, ([interfaces, packets]) => {
        const capture = readCapture(writePcapng(interfaces, packets));
        expect(capture.damage).toBeUndefined();
        expect(capture.interfaces).toEqual(
          interfaces.map((each, id) => ({ id, ...each, snapLengthBytes: 0 })),
        );
        expect(capture.packets).toEqual(
          packets.map((packet) => ({
            ...packet,
            linkType: interfaces[packet.interfaceId].linkType,
            interfaceName: interfaces[packet.interfaceId].name,
            timeMs: packet.seconds * 1000 + packet.nanos / 1e6,
          })),
        );
      }),
    );
  });

  test('every block is handed over as soon as it is made, and whole', () => {
    const blocks: Uint8Array[] = [];
    const writer = new PcapngWriter((block) => blocks.push(block));
    expect(blocks).toHaveLength(1);
    expect(writer.addInterface({ linkType: 101, name: 'lan' })).toBe(0);
    expect(writer.addInterface({ linkType: 1 })).toBe(1);
    writer.addPacket({ interfaceId: 1, seconds: 1, nanos: 2, bytes: u8(1, 2, 3) });
    expect(blocks).toHaveLength(4);
    for (const block of blocks) {
      const view = new DataView(block.buffer);
      expect(view.getUint32(4, true)).toBe(block.length);
      expect(view.getUint32(block.length - 4, true)).toBe(block.length);
    }
  });

  test('an interface that was not added and a time before 1970 are refused, nothing is written', () => {
    const blocks: Uint8Array[] = [];
    const writer = new PcapngWriter((block) => blocks.push(block));
    const packet = { seconds: 1, nanos: 0, bytes: u8(1) };
    expect(() => writer.addPacket({ ...packet, interfaceId: 0 })).toThrow('no such interface was added');
    writer.addInterface({ linkType: 1 });
    expect(() => writer.addPacket({ ...packet, interfaceId: 0, seconds: -1 })).toThrow(
      'cannot hold this time',
    );
    expect(blocks).toHaveLength(2);
  });

  test('a comment too long for its option is cut between two characters', () => {
    const comment = 'ü'.repeat(40_000);
    const packet = { interfaceId: 0, seconds: 0, nanos: 0, bytes: u8(), comment };
    const [read] = readCapture(writePcapng([{ linkType: 1 }], [packet])).packets;
    expect(read.comment).toBe('ü'.repeat(32_767));
  });
});

function has(program: string): boolean {
  const installed = spawnSync(program, ['--version']).error === undefined;
  if (!installed) console.warn(`${program} is not installed: its reading of our captures is not tested`);
  return installed;
}

/** Runs a real program on a written capture of two packets. */
function runOn(program: string, args: readonly string[]): string {
  const packets: WrittenPacket[] = [
    {
      interfaceId: 0,
      seconds: 1_700_000_000,
      nanos: 123_456_789,
      bytes: wrapInEthernet(UDP),
      comment: 'ACCEPT flow=1',
      direction: 'out',
    },
    {
      interfaceId: 1,
      seconds: 1_700_000_001,
      nanos: 1,
      bytes: wrapInEthernet(UDP6),
      comment: 'DROP filter/FORWARD/3',
    },
  ];
  const interfaces = [
    { linkType: 1, name: 'lan' },
    { linkType: 1, name: 'wan' },
  ];
  const folder = mkdtempSync(joinPath(tmpdir(), 'conntide-capture-'));
  try {
    const file = joinPath(folder, 'written.pcapng');
    writeFileSync(file, writePcapng(interfaces, packets));
    return execFileSync(program, ['-r', file, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe.skipIf(!has('tcpdump'))('the real tcpdump (skipped where it is not installed)', () => {
  test('reads what was written', () => {
    expect(runOn('tcpdump', ['-nn', '-tt', '--nano']).trim().split('\n')).toEqual([
      expect.stringMatching(/^1700000000\.123456789 .*IP 10\.0\.0\.2\.5000 > 1\.1\.1\.1\.53:/),
      expect.stringMatching(/^1700000001\.000000001 .*IP6 fd00:a::2\.5000 > 2001:db8:1::1\.53:/),
    ]);
  });
});

describe.skipIf(!has('tshark'))('the real tshark (skipped where it is not installed)', () => {
  test('reads what was written, comments and interface names included', () => {
    const fields = ['frame.time_epoch', 'frame.interface_name', 'frame.comment', 'udp.dstport'];
    const output = runOn('tshark', ['-T', 'fields', ...fields.flatMap((field) => ['-e', field])]);
    expect(output.trim().split('\n')).toEqual([
      '1700000000.123456789\tlan\tACCEPT flow=1\t53',
      '1700000001.000000001\twan\tDROP filter/FORWARD/3\t53',
    ]);
  });
});
