/**
 * What goes over links, written to a pcapng file as it happens: one file, any number of interfaces, each frame with
 * its direction and time. Readable by Wireshark while it grows.
 *
 * A disk that is slow costs frames of the recording, never memory without bound nor time of the packet path: what does
 * not fit the queue is counted. Frames with work left to do (checksums, segmentation) are recorded as they are.
 */
import { createWriteStream, openSync, type WriteStream } from 'node:fs';
import type { FrameRecorder } from '../network/gateway-interface.js';
import type { OffloadKind } from '../network/offload/features.js';
import { PcapngRecorder, type RecorderOptions } from '../network/pcapng-recorder.js';
import type { LinkPort, Offload } from '../network/port.js';
import { fileError } from './files.js';

export interface CaptureFileOptions extends RecorderOptions {
  /** Bytes that may wait for the disk, 16 MiB by default; further frames are left out. */
  readonly queueBytes?: number;
}

export interface CaptureFileCounters {
  recordedFrames: number;
  /** Frames that are not in the file: the disk is slow, or writing failed. */
  leftOutFrames: number;
}

export class CaptureFile implements FrameRecorder {
  readonly path: string;
  readonly counters: CaptureFileCounters = { recordedFrames: 0, leftOutFrames: 0 };
  readonly #stream: WriteStream;
  readonly #recorder: PcapngRecorder;
  readonly #queueBytes: number;
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;

  /** Makes the file, or empties it. Throws a ConfigurationError if that cannot be. */
  constructor(path: string, options: CaptureFileOptions = {}) {
    this.path = path;
    this.#queueBytes = options.queueBytes ?? 0x100_0000;
    let fd: number;
    try {
      fd = openSync(path, 'w');
    } catch (error) {
      throw fileError(error, path);
    }
    this.#stream = createWriteStream(path, { fd });
    this.#stream.on('error', (error) => {
      this.#failure = error;
    });
    this.#recorder = new PcapngRecorder((block) => this.#stream.write(block), options);
  }

  /** Describes an interface; returns the id that its frames are recorded with. */
  addInterface(name: string, link: LinkPort['link']): number {
    return this.#recorder.addInterface(name, link);
  }

  /** Records a frame, which is copied. `in` is from the link to us. After `close` nothing is recorded. */
  record(interfaceId: number, direction: 'in' | 'out', frame: Uint8Array): void {
    const isOpen = this.#closed === undefined && this.#failure === undefined;
    if (!isOpen || this.#stream.writableLength + frame.length > this.#queueBytes) {
      this.counters.leftOutFrames++;
      return;
    }
    this.#recorder.record(interfaceId, direction, frame);
    this.counters.recordedFrames++;
  }

  /**
   * Stands before a port: whatever is attached to the returned port instead is recorded in both directions. A
   * gateway's interface needs no second port: `gateway.interface('lan').capture(file)`.
   */
  tap(port: LinkPort, name: string): LinkPort {
    return new TappedPort(port, this, this.addInterface(name, port.link));
  }

  /** Writes out what waits and closes the file. Throws a ConfigurationError if anything could not be written. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve, reject) => {
      const settle = (): void => {
        if (this.#failure === undefined) resolve();
        else reject(fileError(this.#failure, this.path));
      };
      if (this.#stream.closed) settle();
      else {
        this.#stream.once('close', settle);
        this.#stream.end();
      }
    });
    return this.#closed;
  }
}

/** What can be recorded: a gateway, or one interface of it. */
export interface Recordable {
  capture(recorder: FrameRecorder): () => void;
}

/** A recording to a file that goes on. */
export interface FileCapture {
  readonly path: string;
  readonly counters: Readonly<CaptureFileCounters>;
  /**
   * Ends it: nothing more is recorded, what waits is written out, the file is closed. Throws a ConfigurationError if
   * anything could not be written. Twice does nothing more.
   */
  stop(): Promise<void>;
}

/**
 * Records what passes over all interfaces of a gateway, or over one, to a pcapng file: `captureToFile(gateway, path)`.
 * Throws a ConfigurationError if there can be no such file.
 */
export function captureToFile(what: Recordable, path: string, options: CaptureFileOptions = {}): FileCapture {
  const file = new CaptureFile(path, options);
  const detach = what.capture(file);
  return {
    path,
    counters: file.counters,
    stop: () => {
      detach();
      return file.close();
    },
  };
}

class TappedPort implements LinkPort {
  readonly #port: LinkPort;
  readonly #file: CaptureFile;
  readonly #id: number;
  #onTransmit: LinkPort['onTransmit'];

  constructor(port: LinkPort, file: CaptureFile, id: number) {
    this.#port = port;
    this.#file = file;
    this.#id = id;
  }

  get link(): LinkPort['link'] {
    return this.#port.link;
  }

  get mtu(): number {
    return this.#port.mtu;
  }

  get onTransmit(): LinkPort['onTransmit'] {
    return this.#onTransmit ?? this.#port.onTransmit;
  }

  set onTransmit(transmit: LinkPort['onTransmit']) {
    this.#onTransmit = transmit;
    this.#port.onTransmit =
      transmit === undefined
        ? undefined
        : (frame, offload) => {
            this.#file.record(this.#id, 'out', frame);
            transmit(frame, offload);
          };
  }

  acceptOffloads(kinds: readonly OffloadKind[]): void {
    this.#port.acceptOffloads?.(kinds);
  }

  receive(frame: Uint8Array, offload?: Offload): void {
    this.#file.record(this.#id, 'in', frame);
    this.#port.receive(frame, offload);
  }
}
