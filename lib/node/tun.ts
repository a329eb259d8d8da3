/**
 * A TUN or TAP device of Linux as a link. Hot, but for opening and closing.
 *
 * Waking up: Node watches sockets and pipes, not devices, and a pool thread or a worker that blocks in `read` or
 * `poll` holds the process and costs a hop per packet. So the device takes the place of a pipe: a Socket is made for
 * a pipe's reading end, and the device is put under that end's number before the event loop sees it (dup3). From then
 * on the loop's epoll waits for the device: no thread, no timer, nothing to pay while it is quiet, and `close` is
 * the socket's. Packets/s measured: docs/adapters.md.
 *
 * The loop reads the first packet of a wake-up into our one buffer; the rest, up to WEIGHT, is read here until the
 * device is empty, then the loop has its turn. Writing does not wait either: the device takes a packet or refuses it.
 */
import { close as closeFile, closeSync } from 'node:fs';
import { Socket } from 'node:net';
import {
  type Attachment,
  claimPort,
  isDone,
  type LinkCounters,
  LONGEST_FRAME_BYTES,
  noTraffic,
  shortestFrameBytes,
} from '../network/attachment.js';
import { FrameViews } from '../network/frame-views.js';
import type { OffloadKind } from '../network/offload/features.js';
import type { LinkPort, Offload } from '../network/port.js';
import { loadSystemCalls, O_CLOEXEC, openTunDevice, type SystemCalls, type TunDevice } from './tun-device.js';
import { VIRTIO_HEADER_BYTES, VirtioHeader, writeVirtioHeader } from './virtio-header.js';

export interface TunOptions {
  /** The device's name, up to 15 bytes; by default the kernel chooses. A device that is there is used. */
  readonly name?: string;
  /**
   * `virtio`: checksums and segmentation are left to the other side, in both directions: packets of up to 64 KiB
   * arrive with an {@link Offload}. Default `none`.
   */
  readonly offload?: 'none' | 'virtio';
  /** `up`, the default, brings the device up; its addresses and routes are the caller's to set. */
  readonly state?: 'up' | 'down';
  /** The device can no longer be read: somebody deleted it. Closing is still the caller's. */
  readonly onGone?: (error: Error) => void;
}

export interface TunAttachment extends Attachment {
  /** The device's name. */
  readonly name: string;
  /** What may be left to the device in frames that it is sent; none without `offload`. */
  readonly offloads: readonly OffloadKind[];
  /** Lets the process end although the device is open. */
  unref(): void;
  /** Resolves when the device is closed, and gone unless it is persistent. */
  close(): Promise<void>;
}

/** Packets read at one wake-up before the event loop gets its turn, as NAPI's weight. */
const WEIGHT = 64;

/**
 * Opens a device and plugs it into a port: TUN for a port of IP packets, TAP for one of Ethernet frames. The device
 * gets the port's MTU. Throws a ConfigurationError that says what is missing: koffi, the right, the name.
 */
export async function attachTun(port: LinkPort, options: TunOptions = {}): Promise<TunAttachment> {
  const system = await loadSystemCalls();
  const offload = options.offload ?? 'none';
  const device = openTunDevice(system, {
    name: options.name,
    link: port.link,
    offload,
    mtu: port.mtu,
    state: options.state ?? 'up',
  });
  const writer = new TunWriter(system, device.fd, offload);
  let release: () => void;
  try {
    release = claimPort(
      port,
      (frame, left) => writer.write(frame, left),
      () => closeOnce(),
    );
  } catch (error) {
    closeSync(device.fd);
    throw error;
  }
  if (device.offloads.length > 0) port.acceptOffloads?.(device.offloads);
  const reader = new TunReader(system, device.fd, port, offload, writer.counters);
  const socket = watch(system, device, reader);
  socket.on('error', (error: NodeJS.ErrnoException) => {
    const gone = new Error(`read: ${system.nameOf(-(error.errno ?? 0))}`, { cause: error });
    writer.counters.errors++;
    writer.counters.lastError = gone;
    options.onGone?.(gone);
  });
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    release();
    if (device.offloads.length > 0) port.acceptOffloads?.([]);
    reader.stop();
    writer.stop();
    socket.destroy();
    // The last descriptor takes the device down, which waits for the kernel: not on this thread.
    await new Promise<void>((resolve) => closeFile(device.fd, () => resolve()));
  };
  const closeOnce = (): Promise<void> => {
    closing ??= close();
    return closing;
  };
  return {
    name: device.name,
    offloads: device.offloads,
    counters: writer.counters,
    unref: () => {
      socket.unref();
    },
    close: closeOnce,
  };
}

/** A Socket whose descriptor is the device. See the head of this file. */
function watch(system: SystemCalls, device: TunDevice, reader: TunReader): Socket {
  const ends = new Int32Array(2);
  if (system.pipe2(ends, O_CLOEXEC) < 0) throw new Error(`pipe2: ${system.nameOf(system.errno())}`);
  const [readingEnd, writingEnd] = ends;
  const options = {
    fd: readingEnd,
    readable: true,
    writable: false,
    onread: {
      buffer: reader.buffer,
      callback: (lengthBytes: number): boolean => reader.drain(lengthBytes),
    },
  };
  const socket = new Socket(options);
  const isPut = system.dup3(device.fd, readingEnd, O_CLOEXEC) >= 0;
  closeSync(writingEnd);
  if (!isPut) {
    const code = system.nameOf(system.errno());
    socket.destroy();
    throw new Error(`dup3: ${code}`);
  }
  return socket;
}

class TunReader {
  readonly buffer: Uint8Array;
  readonly #system: SystemCalls;
  readonly #fd: number;
  readonly #port: LinkPort;
  readonly #counters: LinkCounters;
  readonly #views: FrameViews;
  readonly #header: VirtioHeader | undefined;
  readonly #headerBytes: number;
  readonly #shortestBytes: number;
  #isStopped = false;

  constructor(system: SystemCalls, fd: number, port: LinkPort, offload: string, counters: LinkCounters) {
    this.#system = system;
    this.#fd = fd;
    this.#port = port;
    this.#counters = counters;
    this.#header = offload === 'virtio' ? new VirtioHeader() : undefined;
    this.#headerBytes = offload === 'virtio' ? VIRTIO_HEADER_BYTES : 0;
    this.#shortestBytes = this.#headerBytes + shortestFrameBytes(port);
    this.buffer = new Uint8Array(this.#headerBytes + LONGEST_FRAME_BYTES);
    this.#views = new FrameViews(this.buffer, this.#headerBytes);
  }

  /** Takes the packet in the buffer and what else is there. Returns true: the loop goes on reading. */
  drain(lengthBytes: number): boolean {
    const system = this.#system;
    const { buffer } = this;
    for (let left = WEIGHT - 1; !this.#isStopped; left--) {
      this.#receive(lengthBytes);
      if (left === 0 || this.#isStopped) break;
      lengthBytes = system.read(this.#fd, buffer, buffer.length);
      // Empty, or gone: then the loop's own read says so.
      if (lengthBytes <= 0) break;
    }
    return true;
  }

  stop(): void {
    this.#isStopped = true;
  }

  #receive(lengthBytes: number): void {
    const header = this.#header;
    if (
      lengthBytes < this.#shortestBytes ||
      (header !== undefined && !header.read(this.buffer, lengthBytes))
    ) {
      this.#counters.malformedFrames++;
      return;
    }
    this.#counters.receivedFrames++;
    const frame = this.#views.of(lengthBytes - this.#headerBytes);
    if (header === undefined || isDone(header)) this.#port.receive(frame);
    else this.#port.receive(frame, header);
  }
}

class TunWriter {
  readonly counters: LinkCounters = noTraffic();
  readonly #system: SystemCalls;
  readonly #fd: number;
  /** Header and frame together, for devices that want a header. */
  readonly #staging: Uint8Array | undefined;
  #lastErrno = 0;
  #isStopped = false;

  constructor(system: SystemCalls, fd: number, offload: string) {
    this.#system = system;
    this.#fd = fd;
    this.#staging =
      offload === 'virtio' ? new Uint8Array(VIRTIO_HEADER_BYTES + LONGEST_FRAME_BYTES) : undefined;
  }

  write(frame: Uint8Array, offload: Offload | undefined): void {
    const { length } = frame;
    const staging = this.#staging;
    if (this.#isStopped || length > LONGEST_FRAME_BYTES) {
      this.counters.droppedFrames++;
      return;
    }
    let written: number;
    if (staging === undefined) {
      if (offload !== undefined && !isDone(offload)) {
        this.counters.droppedFrames++;
        return;
      }
      written = this.#system.write(this.#fd, frame, length);
    } else {
      staging.set(frame, VIRTIO_HEADER_BYTES);
      writeVirtioHeader(staging, frame, offload);
      written = this.#system.write(this.#fd, staging, VIRTIO_HEADER_BYTES + length);
    }
    if (written >= 0) this.counters.transmittedFrames++;
    else this.#refused();
  }

  stop(): void {
    this.#isStopped = true;
  }

  #refused(): void {
    const { counters } = this;
    counters.droppedFrames++;
    counters.errors++;
    const errno = this.#system.errno();
    // A device that is down refuses every packet: one object will do.
    if (errno === this.#lastErrno && counters.lastError !== undefined) return;
    this.#lastErrno = errno;
    counters.lastError = new Error(`write: ${this.#system.nameOf(errno)}`);
  }
}
