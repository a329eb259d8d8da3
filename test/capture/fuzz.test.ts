import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readCapture, readPackets } from '../../lib/capture/capture.js';
import { writePcapng } from '../../lib/capture/pcapng-writer.js';
import { ConfigurationError } from '../../lib/errors.js';
import {
  block,
  enhanced,
  interfaceBlock,
  join,
  option,
  pcapHeader,
  pcapRecord,
  section,
  u8,
  u16,
  u32,
} from './bytes.js';

const packet = u8(0x45, 0, 0, 20, 1, 2, 3);
const SOUND_FILES = [
  writePcapng(
    [{ linkType: 1, name: 'lan' }],
    [1, 2, 3].map((seconds) => ({ interfaceId: 0, seconds, nanos: 7, bytes: packet, comment: 'ACCEPT' })),
  ),
  join(
    section('big'),
    interfaceBlock(
      'big',
      1,
      5,
      option('big', 2, 'wan'),
      option('big', 9, u8(0x8a)),
      option('big', 14, u32('big', 0, 9)),
    ),
    enhanced('big', 0, [1, 2], packet, 99, option('big', 1, 'hello')),
    block('big', 3, join(u32('big', 7), packet)),
    block('big', 2, join(u16('big', 0, 0), u32('big', 0, 0, 7, 7), packet)),
    section('little'),
    interfaceBlock('little', 113),
    enhanced('little', 0, [1, 2], packet),
  ),
  join(
    pcapHeader('little', 0xa1b2c3d4, 1),
    pcapRecord('little', 1, 2, packet),
    pcapRecord('little', 3, 4, packet),
  ),
  join(pcapHeader('big', 0xa1b23c4d, 101), pcapRecord('big', 1, 2, packet), pcapRecord('big', 3, 4, packet)),
];

type Change = { kind: 'byte' | 'word' | 'cut' | 'repeat'; at: number; value: number };
const changes = fc.array(
  fc.record<Change>({
    kind: fc.constantFrom('byte', 'byte', 'word', 'cut', 'repeat'),
    at: fc.nat(400),
    value: fc.oneof(
      fc.nat(0xffffffff),
      fc.constantFrom(0, 1, 4, 8, 12, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff),
    ),
  }),
  { minLength: 1, maxLength: 5 },
);

function changed(sound: Uint8Array, list: readonly Change[]): Uint8Array {
  let bytes: Uint8Array = sound.slice();
  for (const { kind, at, value } of list) {
    if (bytes.length === 0) return bytes;
    const place = at % bytes.length;
    if (kind === 'byte') bytes[place] = value;
    if (kind === 'word') bytes.set(u32('little', value).subarray(0, bytes.length - place), place);
    if (kind === 'cut') bytes = bytes.subarray(0, place).slice();
    if (kind === 'repeat') bytes = join(bytes.subarray(0, place), bytes.subarray(place >> 1));
  }
  return bytes;
}

/** Reads to the end; anything thrown but a ConfigurationError that points into the file fails. */
function survives(bytes: Uint8Array): void {
  let count = 0;
  try {
    for (const read of readPackets(bytes)) {
      count++;
      expect(read.bytes.buffer).toBe(bytes.buffer);
      expect(read.nanos >= 0 && read.nanos < 1e9 && Number.isFinite(read.timeMs)).toBe(true);
    }
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    expect(error.place.offsetBytes).toBeGreaterThanOrEqual(0);
    expect(error.place.offsetBytes).toBeLessThanOrEqual(bytes.length);
  }
  // The smallest packet takes 16 bytes, so reading has moved on with each.
  expect(count).toBeLessThanOrEqual(bytes.length / 16);
  try {
    expect(readCapture(bytes).packets).toHaveLength(count);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    expect(count).toBe(0);
  }
}

test.each([0, 1, 2, 3])('sound file %d is read without damage', (index) => {
  const capture = readCapture(SOUND_FILES[index]);
  expect(capture.damage).toBeUndefined();
  expect(capture.packets.length).toBeGreaterThan(1);
});

test('a file with bytes changed, cut or repeated is read or refused, never more', () => {
  fc.assert(
    fc.property(fc.constantFrom(...SOUND_FILES), changes, (sound, list) => survives(changed(sound, list))),
    { numRuns: 5000 },
  );
});

test('a file cut at any byte is read up to there', () => {
  for (const sound of SOUND_FILES) {
    for (let length = 0; length <= sound.length; length++) survives(sound.slice(0, length));
  }
});

test('random bytes behind a good beginning are read or refused', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...SOUND_FILES),
      fc.nat(60),
      fc.uint8Array({ maxLength: 200 }),
      (sound, keep, tail) => survives(join(sound.subarray(0, keep), tail)),
    ),
    { numRuns: 2000 },
  );
});
