/**
 * Classic pcap files, read: microsecond and nanosecond resolution, both byte orders. Cold.
 *
 * Layout (draft-ietf-opsawg-pcap): a 24-byte file header, then records of a 16-byte header and the packet.
 * Does not read the variants with a longer record header (Kuznetsov's, Navtel's, IXIA's): refused by name.
 */

import { type CapturedPacket, type CaptureInterface, captureError } from './captured.js';
import { msOfTime } from './timestamp.js';

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
/** Magic numbers of files whose records differ. */
const UNSUPPORTED_MAGICS = new Map([
  [0xa1b2cd34, "Kuznetsov's modified pcap"],
  [0xa1e2cb12, "Navtel's modified pcap"],
  [0x1c0001ac, "IXIA's hardware pcap"],
  [0x1c0001ab, "IXIA's software pcap"],
]);

/** True if the file begins like any pcap file, supported or not. `bytes` holds at least 4. */
export function beginsLikePcap(bytes: Uint8Array): boolean {
  const big = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, false);
  const little = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  return [big, little].some(
    (magic) => magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS || UNSUPPORTED_MAGICS.has(magic),
  );
}

/**
 * Yields the packets of a classic pcap file; its one interface is put into `interfaces` first.
 * Throws a ConfigurationError at the first record that is cut off, after all the packets before it.
 */
export function* readPcap(
  bytes: Uint8Array,
  interfaces: CaptureInterface[],
  file?: string,
): Generator<CapturedPacket, void, undefined> {
  if (bytes.length < FILE_HEADER_BYTES) {
    throw captureError('syntax', 'the file header is cut off', file, 0, `${FILE_HEADER_BYTES} bytes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bigMagic = view.getUint32(0, false);
  const little = bigMagic !== MAGIC_MICROSECONDS && bigMagic !== MAGIC_NANOSECONDS;
  const magic = view.getUint32(0, little);
  if (magic !== MAGIC_MICROSECONDS && magic !== MAGIC_NANOSECONDS) {
    const name = UNSUPPORTED_MAGICS.get(magic) ?? UNSUPPORTED_MAGICS.get(bigMagic) ?? 'not a pcap file';
    throw captureError('unsupported', name, file, 0, 'a pcap or pcapng file');
  }
  const major = view.getUint16(4, little);
  if (major !== 2) {
    throw captureError('unsupported', `pcap version ${major}`, file, 4, 'version 2');
  }
  const nanosPerUnit = magic === MAGIC_NANOSECONDS ? 1 : 1000;
  const unitsPerSecond = 1_000_000_000 / nanosPerUnit;
  // The upper half of the word may say how long the frame check sequence is; an IP packet ends before it.
  const linkType = view.getUint32(20, little) & 0xffff;
  interfaces.push({ id: interfaces.length, linkType, snapLengthBytes: view.getUint32(16, little) });
  const interfaceId = interfaces.length - 1;

  let offset = FILE_HEADER_BYTES;
  while (offset < bytes.length) {
    if (bytes.length - offset < RECORD_HEADER_BYTES) {
      throw captureError('syntax', "the last packet's header is cut off", file, offset);
    }
    const capturedLength = view.getUint32(offset + 8, little);
    const start = offset + RECORD_HEADER_BYTES;
    if (capturedLength > bytes.length - start) {
      const left = bytes.length - start;
      throw captureError(
        'syntax',
        `a packet of ${capturedLength} bytes where ${left} are left`,
        file,
        offset,
      );
    }
    // A fraction of a second or more is against the format, but written by some: the rest is carried.
    const units = view.getUint32(offset + 4, little);
    const seconds = view.getUint32(offset, little) + Math.floor(units / unitsPerSecond);
    const nanos = (units % unitsPerSecond) * nanosPerUnit;
    yield {
      seconds,
      nanos,
      timeMs: msOfTime({ seconds, nanos }),
      interfaceId,
      linkType,
      bytes: bytes.subarray(start, start + capturedLength),
      originalLengthBytes: view.getUint32(offset + 12, little),
    };
    offset = start + capturedLength;
  }
}
