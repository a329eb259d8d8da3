/**
 * One stream connection that carries length-prefixed Ethernet frames, as a link: what QEMU and passt share.
 */
import type { Socket } from 'node:net';
import {
  ETHERNET_HEADER_BYTES,
  isDone,
  type LinkCounters,
  LONGEST_FRAME_BYTES,
} from '../network/attachment.js';
import type { LinkPort, Offload } from '../network/port.js';
import { FrameReader, FrameWriter } from './framing.js';

/** What a peer that does not read may cost by default. */
export const DEFAULT_QUEUE_BYTES = 0x10_0000;

/** A connection's life for the port; the port outlives it. */
export class FramedLink {
  readonly #socket: Socket;
  readonly #counters: LinkCounters;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;

  /** Frames go to `port` as soon as this exists. `counters` are shared by the connections of one attachment. */
  constructor(socket: Socket, port: LinkPort, counters: LinkCounters, queueBytes: number) {
    this.#socket = socket;
    this.#counters = counters;
    this.#reader = new FrameReader(LONGEST_FRAME_BYTES, (frame) => {
      if (frame.length < ETHERNET_HEADER_BYTES) {
        counters.malformedFrames++;
        return;
      }
      counters.receivedFrames++;
      port.receive(frame);
    });
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
    const isWhole = offload === undefined || isDone(offload);
    if (isWhole && this.#socket.writable && this.#writer.add(frame)) this.#counters.transmittedFrames++;
    else this.#counters.droppedFrames++;
  }

  /** Ends the connection: what the system's buffer takes is still sent, nothing more is received. */
  close(): void {
    this.#reader.stop();
    this.#writer.flush();
    // Not `end`: a peer that does not read would hold it open for ever.
    this.#socket.destroy();
  }

  #take(chunk: Uint8Array): void {
    if (this.#reader.push(chunk) || this.#socket.destroyed) return;
    this.#counters.malformedFrames++;
    this.#socket.destroy(new Error(`the peer announced a frame of ${this.#reader.frameBytes} bytes`));
  }
}
