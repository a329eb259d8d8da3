/**
 * One stream connection that carries length-prefixed Ethernet frames, as a link: what QEMU and passt share.
 */
import type { Socket } from 'node:net';
import {
  claimPort,
  ETHERNET_HEADER_BYTES,
  EVERY_OFFLOAD,
  isDone,
  type LinkCounters,
  LONGEST_FRAME_BYTES,
} from '../network/attachment.js';
import type { LinkPort, Offload } from '../network/port.js';
import { FrameReader, FrameWriter } from './framing.js';
import { VIRTIO_HEADER_BYTES, VirtioHeader, writeVirtioHeader } from './virtio-header.js';

/** What a peer that does not read may cost by default. */
const QUEUE_BYTES = 0x10_0000;

export interface FramingOptions {
  /** Bytes that may wait for a peer that does not read; 1 MiB by default. Further frames are dropped. */
  readonly queueBytes?: number;
  /**
   * `virtio`: a virtio-net header of 12 bytes stands between the length, which counts it, and the frame, so that
   * checksums and segmentation can be left to the peer. For peers of our own: QEMU's and passt's have none, `none`.
   */
  readonly header?: 'none' | 'virtio';
}

/** Plugs a port into what `link` gives at the moment; returns what lets it go. `close` is called if the port ends. */
export function claimForLink(
  port: LinkPort,
  options: FramingOptions,
  counters: LinkCounters,
  link: () => FramedLink | undefined,
  close: () => void,
): () => void {
  const transmit = (frame: Uint8Array, offload?: Offload): void => {
    const current = link();
    if (current === undefined) counters.droppedFrames++;
    else current.transmit(frame, offload);
  };
  const release = claimPort(port, transmit, close);
  if (options.header !== 'virtio') return release;
  port.acceptOffloads?.(EVERY_OFFLOAD);
  return () => {
    if (port.onTransmit === undefined) return;
    release();
    port.acceptOffloads?.([]);
  };
}

/** A connection's life for the port; the port outlives it. */
export class FramedLink {
  readonly #socket: Socket;
  readonly #port: LinkPort;
  readonly #headerOut: Uint8Array | undefined;
  readonly #counters: LinkCounters;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;

  /** Frames go to `port` as soon as this exists. `counters` are shared by the connections of one attachment. */
  constructor(socket: Socket, port: LinkPort, counters: LinkCounters, options: FramingOptions) {
    this.#socket = socket;
    this.#port = port;
    this.#counters = counters;
    const hasHeaders = options.header === 'virtio';
    this.#headerOut = hasHeaders ? new Uint8Array(VIRTIO_HEADER_BYTES) : undefined;
    const longestBytes = LONGEST_FRAME_BYTES + (hasHeaders ? VIRTIO_HEADER_BYTES : 0);
    const header = new VirtioHeader();
    this.#reader = new FrameReader(longestBytes, (bytes) => {
      if (!hasHeaders) this.#receive(bytes, undefined);
      else if (header.read(bytes, bytes.length)) this.#receive(bytes.subarray(VIRTIO_HEADER_BYTES), header);
      else counters.malformedFrames++;
    });
    const queueBytes = options.queueBytes ?? QUEUE_BYTES;
    this.#writer = new FrameWriter({
      queueBytes,
      write: (bytes, done) => {
        socket.write(bytes, done);
      },
    });
    socket.on('data', (chunk: Uint8Array) => this.#take(chunk));
    socket.on('error', (error) => {
      counters.errors++;
      counters.lastError = error;
    });
  }

  transmit(frame: Uint8Array, offload: Offload | undefined): void {
    const header = this.#headerOut;
    let isTaken = false;
    if (header !== undefined) {
      writeVirtioHeader(header, frame, offload);
      isTaken = this.#socket.writable && this.#writer.add(frame, header);
    } else if (offload === undefined || isDone(offload)) {
      isTaken = this.#socket.writable && this.#writer.add(frame);
    }
    if (isTaken) this.#counters.transmittedFrames++;
    else this.#counters.droppedFrames++;
  }

  /** Ends the connection: what the system's buffer takes is still sent, nothing more is received. */
  close(): void {
    this.#reader.stop();
    this.#writer.flush();
    // Not `end`: a peer that does not read would hold it open for ever.
    this.#socket.destroy();
  }

  #receive(frame: Uint8Array, offload: Offload | undefined): void {
    if (frame.length < ETHERNET_HEADER_BYTES) {
      this.#counters.malformedFrames++;
      return;
    }
    this.#counters.receivedFrames++;
    if (offload === undefined || isDone(offload)) this.#port.receive(frame);
    else this.#port.receive(frame, offload);
  }

  #take(chunk: Uint8Array): void {
    if (this.#reader.push(chunk) || this.#socket.destroyed) return;
    this.#counters.malformedFrames++;
    this.#socket.destroy(new Error(`the peer announced a frame of ${this.#reader.frameBytes} bytes`));
  }
}
