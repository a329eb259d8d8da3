/**
 * pcapng files, written: one little-endian section, times in nanoseconds, a comment per packet. Cold.
 *
 * Blocks are handed to a sink one by one as they are made, each a fresh array that then belongs to the sink, so a
 * long capture is never held in memory. The section length is left open, as for any file written in one pass.
 */

import { ConfigurationError } from '../errors.js';
import type { CaptureDirection } from './captured.js';
import {
  BYTE_ORDER_MAGIC,
  ENHANCED_PACKET,
  IF_NAME,
  IF_TSRESOL,
  INTERFACE_DESCRIPTION,
  OPTION_COMMENT,
  PACKET_FLAGS,
  SECTION_HEADER,
} from './pcapng.js';
import { nanosecondCount } from './timestamp.js';

/** What a written file says about where it comes from. */
export interface SectionOptions {
  /** `shb_userappl`: the program that wrote it. */
  readonly application?: string;
  /** A comment on the whole file. */
  readonly comment?: string;
}

/** An interface to describe. */
export interface WrittenInterface {
  /** LINKTYPE_ number, 0 to 65535. */
  readonly linkType: number;
  readonly name?: string;
  /** Longest packet kept whole; 0, the default, is no limit. */
  readonly snapLengthBytes?: number;
}

/** A packet to write. A packet read from a capture has this shape. */
export interface WrittenPacket {
  /** As {@link PcapngWriter.addInterface} returned it. */
  readonly interfaceId: number;
  /** Whole seconds since 1970, at most the year 2554's. */
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanos: number;
  readonly bytes: Uint8Array;
  /** Defaults to the length of `bytes`. */
  readonly originalLengthBytes?: number;
  readonly direction?: CaptureDirection;
  /** Cut at 65,535 bytes of UTF-8. */
  readonly comment?: string;
}

const SHB_USERAPPL = 4;
const NANOSECONDS = 9;
const LONGEST_OPTION_BYTES = 0xffff;
const NO_OPTIONS: readonly Option[] = [];

type Option = readonly [code: number, value: Uint8Array];

/** Writes a pcapng file block by block into `sink`, beginning with the section header. */
export class PcapngWriter {
  readonly #sink: (block: Uint8Array) => void;
  #interfaces = 0;

  constructor(sink: (block: Uint8Array) => void, options: SectionOptions = {}) {
    this.#sink = sink;
    const [bytes, view] = allocate(SECTION_HEADER, 16, [
      ...textOption(OPTION_COMMENT, options.comment),
      ...textOption(SHB_USERAPPL, options.application ?? 'conntide'),
    ]);
    view.setUint32(8, BYTE_ORDER_MAGIC, true);
    view.setUint16(12, 1, true); // version 1.0
    view.setUint32(16, 0xffffffff, true); // section length: not known
    view.setUint32(20, 0xffffffff, true);
    sink(bytes);
  }

  /** Describes an interface and returns the id that its packets name. */
  addInterface(described: WrittenInterface): number {
    const [bytes, view] = allocate(INTERFACE_DESCRIPTION, 8, [
      ...textOption(IF_NAME, described.name),
      [IF_TSRESOL, Uint8Array.of(NANOSECONDS)],
    ]);
    view.setUint16(8, described.linkType, true);
    view.setUint32(12, described.snapLengthBytes ?? 0, true);
    this.#sink(bytes);
    return this.#interfaces++;
  }

  /** Throws a ConfigurationError, and writes nothing, if the interface or the time cannot be written. */
  addPacket(packet: WrittenPacket): void {
    if (!(packet.interfaceId >= 0 && packet.interfaceId < this.#interfaces)) {
      throw new ConfigurationError('value', 'no such interface was added', { word: `${packet.interfaceId}` });
    }
    const [high, low] = nanosecondCount(packet.seconds, packet.nanos);
    const kept = packet.bytes.length;
    const [bytes, view] = allocate(ENHANCED_PACKET, 20 + kept + (-kept & 3), [
      ...flagsOption(packet.direction),
      ...textOption(OPTION_COMMENT, packet.comment),
    ]);
    view.setUint32(8, packet.interfaceId, true);
    view.setUint32(12, high, true);
    view.setUint32(16, low, true);
    view.setUint32(20, kept, true);
    view.setUint32(24, packet.originalLengthBytes ?? kept, true);
    bytes.set(packet.bytes, 28);
    this.#sink(bytes);
  }
}

/** Writes a whole file at once; a packet's `interfaceId` is its interface's place in `interfaces`. */
export function writePcapng(
  interfaces: readonly WrittenInterface[],
  packets: Iterable<WrittenPacket>,
  options: SectionOptions = {},
): Uint8Array {
  const blocks: Uint8Array[] = [];
  const writer = new PcapngWriter((block) => blocks.push(block), options);
  for (const described of interfaces) writer.addInterface(described);
  for (const packet of packets) writer.addPacket(packet);
  return concatenate(blocks);
}

/** The blocks one behind the other. */
export function concatenate(blocks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let offset = 0;
  for (const block of blocks) {
    whole.set(block, offset);
    offset += block.length;
  }
  return whole;
}

/** A block with both lengths and its options written, the `bodyBytes` before the options still empty. */
function allocate(type: number, bodyBytes: number, options: readonly Option[]): [Uint8Array, DataView] {
  let optionBytes = options.length === 0 ? 0 : 4;
  for (const [, value] of options) optionBytes += 4 + value.length + (-value.length & 3);
  const length = 8 + bodyBytes + optionBytes + 4;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  view.setUint32(length - 4, length, true);
  let offset = 8 + bodyBytes;
  for (const [code, value] of options) {
    view.setUint16(offset, code, true);
    view.setUint16(offset + 2, value.length, true);
    bytes.set(value, offset + 4);
    offset += 4 + value.length + (-value.length & 3);
  }
  return [bytes, view];
}

function textOption(code: number, text: string | undefined): readonly Option[] {
  if (text === undefined || text === '') return NO_OPTIONS;
  const encoded = new TextEncoder().encode(text);
  let end = Math.min(encoded.length, LONGEST_OPTION_BYTES);
  // A character is not cut in two: its continuation bytes are 10xxxxxx.
  while (end < encoded.length && (encoded[end] & 0xc0) === 0x80) end--;
  return [[code, encoded.subarray(0, end)]];
}

function flagsOption(direction: CaptureDirection | undefined): readonly Option[] {
  if (direction === undefined) return NO_OPTIONS;
  return [[PACKET_FLAGS, Uint8Array.of(direction === 'in' ? 1 : 2, 0, 0, 0)]];
}
