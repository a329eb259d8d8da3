/**
 * pcapng files, read: sections of either byte order, any number of interfaces, Enhanced, Simple and the obsolete
 * Packet Block; blocks of other types are stepped over. Cold. The layout is draft-ietf-opsawg-pcapng's:
 *
 *     block:   type 4 | total length 4 | body, padded to 4 | total length 4
 *     options: code 2 | length 2 | value, padded to 4 | ... | code 0, length 0
 *
 * Every length is checked against the file before it is followed, and every block moves at least 12 bytes on, so
 * reading ends whatever the bytes. A section's own length field is not believed: the next section header ends it.
 * Does not read decryption secrets, name resolution or statistics.
 */

import {
  type CaptureDirection,
  type CapturedPacket,
  type CaptureInterface,
  captureError,
} from './captured.js';
import { type CaptureTime, msOfTime, timeOfCount } from './timestamp.js';

/** Same in both byte orders, so that it can be read before the order is known. */
export const SECTION_HEADER = 0x0a0d0d0a;
export const INTERFACE_DESCRIPTION = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
export const ENHANCED_PACKET = 6;

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BYTE_ORDER_MAGIC_SWAPPED = 0x4d3c2b1a;

const OPTION_END = 0;
export const OPTION_COMMENT = 1;
export const IF_NAME = 2;
export const IF_TSRESOL = 9;
const IF_TSOFFSET = 14;
/** Both in the Enhanced and in the obsolete Packet Block. */
export const PACKET_FLAGS = 2;

const MICROSECONDS = 6;
const SMALLEST_BLOCK_BYTES = 12;

/** An interface with what is needed to read its packets' times. */
interface TimedInterface {
  readonly described: CaptureInterface;
  /** `if_tsresol` as written. */
  readonly resolution: number;
  /** Seconds to add to every time. */
  readonly offsetSeconds: number;
}

/** One block's bounds, after its lengths have been checked. */
interface Block {
  readonly offset: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  readonly little: boolean;
}

/**
 * Yields the packets of a pcapng file in file order; interfaces are put into `interfaces` as they are met, always
 * before their packets. Throws a ConfigurationError at the first block that is cut off or against the format,
 * after all the packets before it. A Simple Packet Block has no time: it is given that of the packet before it.
 */
export function* readPcapng(
  bytes: Uint8Array,
  interfaces: CaptureInterface[],
  file?: string,
): Generator<CapturedPacket, void, undefined> {
  const reader = new BlockReader(bytes, file);
  let section: TimedInterface[] = [];
  let time: CaptureTime = { seconds: 0, nanos: 0 };
  let offset = 0;
  let little = false;
  while (offset < bytes.length) {
    const type = reader.type(offset, little);
    if (type === SECTION_HEADER) {
      little = reader.byteOrder(offset);
      section = [];
    } else if (offset === 0) {
      throw captureError('syntax', 'the file does not begin with a section header', file, 0);
    }
    const block = reader.block(offset, little);
    if (type === SECTION_HEADER) {
      reader.checkSection(block);
    } else if (type === INTERFACE_DESCRIPTION) {
      const added = reader.interfaceDescription(block, interfaces.length);
      interfaces.push(added.described);
      section.push(added);
    } else if (type === ENHANCED_PACKET || type === OBSOLETE_PACKET) {
      const packet = reader.packet(block, section, type);
      time = packet;
      yield packet;
    } else if (type === SIMPLE_PACKET) {
      yield reader.simplePacket(block, section, time);
    }
    offset = block.bodyEnd + 4;
  }
}

class BlockReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: string | undefined;

  constructor(bytes: Uint8Array, file: string | undefined) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
  }

  type(offset: number, little: boolean): number {
    if (this.#bytes.length - offset < SMALLEST_BLOCK_BYTES) {
      throw this.#error('the last block is cut off', offset);
    }
    return this.#view.getUint32(offset, little);
  }

  /** True if the section whose header is at `offset` is little-endian. */
  byteOrder(offset: number): boolean {
    const magic = this.#view.getUint32(offset + 8, false);
    if (magic === BYTE_ORDER_MAGIC) return false;
    if (magic === BYTE_ORDER_MAGIC_SWAPPED) return true;
    throw this.#error('a section header without a byte-order mark', offset, '1a2b3c4d');
  }

  block(offset: number, little: boolean): Block {
    const length = this.#view.getUint32(offset + 4, little);
    if (length < SMALLEST_BLOCK_BYTES || length % 4 !== 0) {
      throw this.#error(`a block of ${length} bytes`, offset, 'a multiple of 4, at least 12');
    }
    const left = this.#bytes.length - offset;
    if (length > left) throw this.#error(`a block of ${length} bytes where ${left} are left`, offset);
    const bodyEnd = offset + length - 4;
    const trailing = this.#view.getUint32(bodyEnd, little);
    if (trailing !== length) {
      throw this.#error(`a block of ${length} bytes that ends as one of ${trailing}`, offset);
    }
    return { offset, bodyStart: offset + 8, bodyEnd, little };
  }

  checkSection(block: Block): void {
    this.#needBody(block, 16);
    const major = this.#view.getUint16(block.bodyStart + 4, block.little);
    if (major !== 1) {
      throw captureError('unsupported', `pcapng version ${major}`, this.#file, block.offset, 'version 1');
    }
  }

  interfaceDescription(block: Block, id: number): TimedInterface {
    this.#needBody(block, 8);
    const { bodyStart, little } = block;
    let name: string | undefined;
    let resolution = MICROSECONDS;
    let offsetSeconds = 0;
    this.#options(block, bodyStart + 8, (code, start, length) => {
      if (code === IF_NAME) name = this.#text(start, length);
      if (code === IF_TSRESOL && length >= 1) resolution = this.#bytes[start];
      if (code === IF_TSOFFSET && length >= 8) offsetSeconds = this.#signed64(start, little);
    });
    const described = {
      id,
      linkType: this.#view.getUint16(bodyStart, little),
      snapLengthBytes: this.#view.getUint32(bodyStart + 4, little),
      ...(name === undefined ? {} : { name }),
    };
    return { described, resolution, offsetSeconds };
  }

  /** An Enhanced Packet Block, or the obsolete one, whose interface number shares its word with a drop count. */
  packet(block: Block, section: readonly TimedInterface[], type: number): CapturedPacket {
    this.#needBody(block, 20);
    const { bodyStart, bodyEnd, little } = block;
    const view = this.#view;
    const index =
      type === OBSOLETE_PACKET ? view.getUint16(bodyStart, little) : view.getUint32(bodyStart, little);
    const from = this.#interface(block, section, index);
    const capturedLength = view.getUint32(bodyStart + 12, little);
    const start = bodyStart + 20;
    if (capturedLength > bodyEnd - start) {
      throw this.#error(
        `a packet of ${capturedLength} bytes in a block that has ${bodyEnd - start}`,
        block.offset,
      );
    }
    let direction: CaptureDirection | undefined;
    let comment: string | undefined;
    this.#options(block, start + capturedLength + (-capturedLength & 3), (code, at, length) => {
      if (code === OPTION_COMMENT) {
        const text = this.#text(at, length);
        comment = comment === undefined ? text : `${comment}\n${text}`;
      }
      if (code === PACKET_FLAGS && length >= 4) {
        const way = view.getUint32(at, little) & 3;
        if (way === 1) direction = 'in';
        if (way === 2) direction = 'out';
      }
    });
    const counted = timeOfCount(
      view.getUint32(bodyStart + 4, little),
      view.getUint32(bodyStart + 8, little),
      from.resolution,
    );
    const time = { seconds: counted.seconds + from.offsetSeconds, nanos: counted.nanos };
    return {
      ...this.#common(from, time, start, capturedLength),
      originalLengthBytes: view.getUint32(bodyStart + 16, little),
      ...(direction === undefined ? {} : { direction }),
      ...(comment === undefined ? {} : { comment }),
    };
  }

  simplePacket(block: Block, section: readonly TimedInterface[], time: CaptureTime): CapturedPacket {
    this.#needBody(block, 4);
    const from = this.#interface(block, section, 0);
    const start = block.bodyStart + 4;
    const originalLengthBytes = this.#view.getUint32(block.bodyStart, block.little);
    const kept = Math.min(originalLengthBytes, from.described.snapLengthBytes || originalLengthBytes);
    if (kept > block.bodyEnd - start) {
      throw this.#error(
        `a packet of ${kept} bytes in a block that has ${block.bodyEnd - start}`,
        block.offset,
      );
    }
    return { ...this.#common(from, time, start, kept), originalLengthBytes };
  }

  #common(from: TimedInterface, time: CaptureTime, start: number, lengthBytes: number) {
    const { id, linkType, name } = from.described;
    return {
      seconds: time.seconds,
      nanos: time.nanos,
      timeMs: msOfTime(time),
      interfaceId: id,
      ...(name === undefined ? {} : { interfaceName: name }),
      linkType,
      bytes: this.#bytes.subarray(start, start + lengthBytes),
    };
  }

  #interface(block: Block, section: readonly TimedInterface[], index: number): TimedInterface {
    const found = section[index];
    if (found === undefined) {
      throw this.#error(`a packet of interface ${index}, which its section has not described`, block.offset);
    }
    return found;
  }

  /** Calls `visit` for each option from `start` to the block's end or the end mark. */
  #options(block: Block, start: number, visit: (code: number, start: number, length: number) => void): void {
    let offset = start;
    while (block.bodyEnd - offset >= 4) {
      const code = this.#view.getUint16(offset, block.little);
      const length = this.#view.getUint16(offset + 2, block.little);
      if (code === OPTION_END) return;
      offset += 4;
      if (length > block.bodyEnd - offset) {
        throw this.#error(`option ${code} of ${length} bytes runs out of its block`, offset - 4);
      }
      visit(code, offset, length);
      offset += length + (-length & 3);
    }
  }

  #needBody(block: Block, lengthBytes: number): void {
    const has = block.bodyEnd - block.bodyStart;
    if (has < lengthBytes) {
      throw this.#error(`a block body of ${has} bytes`, block.offset, `at least ${lengthBytes}`);
    }
  }

  #text(start: number, lengthBytes: number): string {
    return new TextDecoder().decode(this.#bytes.subarray(start, start + lengthBytes)).replace(/\0+$/, '');
  }

  #signed64(offset: number, little: boolean): number {
    const high = this.#view.getInt32(offset + (little ? 4 : 0), little);
    return high * 0x1_0000_0000 + this.#view.getUint32(offset + (little ? 0 : 4), little);
  }

  #error(message: string, offset: number, expected?: string) {
    return captureError('syntax', message, this.#file, offset, expected);
  }
}
