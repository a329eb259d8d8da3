/**
 * Capture files of either format, read from memory. Cold.
 *
 * Damage: a recording that was interrupted ends in half a packet. `readPackets` yields everything before the
 * damage and throws then; `readCapture` gives everything before it together with the error, so that a caller may
 * use what there is and still say what is missing. A file that is no capture at all is always an error.
 */

import { ConfigurationError } from '../errors.js';
import { type CapturedPacket, type CaptureInterface, captureError } from './captured.js';
import { beginsLikePcap, readPcap } from './pcap.js';
import { readPcapng, SECTION_HEADER } from './pcapng.js';

export type { CapturedPacket, CaptureInterface } from './captured.js';

export type CaptureFormat = 'pcap' | 'pcapng';

export interface ReadOptions {
  /** The file's name, for error messages. */
  readonly file?: string;
}

/** A whole file, as far as it could be read. */
export interface Capture {
  readonly format: CaptureFormat;
  readonly interfaces: readonly CaptureInterface[];
  /** In file order, which need not be the order of time. */
  readonly packets: readonly CapturedPacket[];
  /** Why reading ended before the end of the file, if it did. */
  readonly damage?: ConfigurationError;
}

/**
 * Yields the packets of a pcap or pcapng file in file order. Throws a {@link ConfigurationError} that names the
 * byte where it cannot go on, after the packets before that.
 */
export function* readPackets(
  bytes: Uint8Array,
  options: ReadOptions = {},
): Generator<CapturedPacket, void, undefined> {
  yield* open(bytes, [], formatOf(bytes, options.file), options.file);
}

/**
 * Reads a pcap or pcapng file. Damage after the first packet or interface comes back in `damage`; throws a
 * {@link ConfigurationError} only if the file has neither.
 */
export function readCapture(bytes: Uint8Array, options: ReadOptions = {}): Capture {
  const format = formatOf(bytes, options.file);
  const interfaces: CaptureInterface[] = [];
  const packets: CapturedPacket[] = [];
  try {
    for (const packet of open(bytes, interfaces, format, options.file)) packets.push(packet);
  } catch (error) {
    if (!(error instanceof ConfigurationError) || interfaces.length === 0) throw error;
    return { format, interfaces, packets, damage: error };
  }
  return { format, interfaces, packets };
}

function open(bytes: Uint8Array, interfaces: CaptureInterface[], format: CaptureFormat, file?: string) {
  return format === 'pcap' ? readPcap(bytes, interfaces, file) : readPcapng(bytes, interfaces, file);
}

function formatOf(bytes: Uint8Array, file: string | undefined): CaptureFormat {
  const expected = 'a pcap or pcapng file';
  if (bytes.length < 4) {
    const what = bytes.length === 0 ? 'the file is empty' : `the file has only ${bytes.length} bytes`;
    throw captureError('syntax', what, file, 0, expected);
  }
  const magic = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, false);
  if (magic === SECTION_HEADER) return 'pcapng';
  if (beginsLikePcap(bytes)) return 'pcap';
  if (magic >>> 16 === 0x1f8b) {
    throw captureError('unsupported', 'the file is compressed with gzip', file, 0, `${expected}, unpacked`);
  }
  if (magic === 0x28b52ffd) {
    throw captureError('unsupported', 'the file is compressed with zstd', file, 0, `${expected}, unpacked`);
  }
  throw captureError('syntax', 'not a capture file', file, 0, expected);
}
