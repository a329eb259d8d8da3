/**
 * The frames of a gateway's interfaces as blocks of a pcapng file, each with its interface, direction and time. Cold.
 *
 *   const blocks = [];
 *   const stop = gateway.capture(new PcapngRecorder((block) => blocks.push(block)));
 *   new Blob(blocks);   // opens in Wireshark at any moment
 *
 * Nothing is held here: each block is made when its frame passes, and belongs to the sink from then on. How many are
 * kept is the sink's business. Frames with work left to do (checksums, segmentation) are recorded as they are.
 */
import { LinkType } from '../capture/link.js';
import { PcapngWriter } from '../capture/pcapng-writer.js';
import { timeOfMs } from '../capture/timestamp.js';
import type { FrameRecorder } from './gateway-interface.js';
import type { LinkPort } from './port.js';

export interface RecorderOptions {
  /** Bytes of each frame that are kept; all by default. */
  readonly snapLengthBytes?: number;
  /** Milliseconds since 1970, with a fraction; the machine's clock by default. */
  readonly epochMs?: () => number;
  /** A comment on the whole file. */
  readonly comment?: string;
}

export class PcapngRecorder implements FrameRecorder {
  readonly #writer: PcapngWriter;
  readonly #snapLengthBytes: number;
  readonly #epochMs: () => number;

  /** `sink` gets the blocks in order, the section's header at once; it must not throw. */
  constructor(sink: (block: Uint8Array) => void, options: RecorderOptions = {}) {
    this.#snapLengthBytes = options.snapLengthBytes ?? 0;
    this.#epochMs = options.epochMs ?? (() => performance.timeOrigin + performance.now());
    this.#writer = new PcapngWriter(sink, options.comment === undefined ? {} : { comment: options.comment });
  }

  /** Describes an interface; returns the id that its frames are recorded with. */
  addInterface(name: string, link: LinkPort['link']): number {
    return this.#writer.addInterface({
      name,
      linkType: link === 'ethernet' ? LinkType.ETHERNET : LinkType.RAW,
      snapLengthBytes: this.#snapLengthBytes,
    });
  }

  /** Records a frame, which is copied. `in` is from the link to us. */
  record(interfaceId: number, direction: 'in' | 'out', frame: Uint8Array): void {
    const { seconds, nanos } = timeOfMs(this.#epochMs());
    const kept = this.#snapLengthBytes === 0 ? frame.length : Math.min(frame.length, this.#snapLengthBytes);
    this.#writer.addPacket({
      interfaceId,
      seconds,
      nanos,
      bytes: kept === frame.length ? frame : frame.subarray(0, kept),
      originalLengthBytes: frame.length,
      direction,
    });
  }
}
