/**
 * A port as a pair of web streams, one Uint8Array for each frame: the duplex convention of browser stacks. Browser-safe.
 *
 * `readable` yields what the port sends, as copies that belong to the reader; it holds `queueFrames` frames and drops
 * further ones, as a network card does whose owner is slow. `writable` takes frames for the port and is always ready.
 * Closing either side, or cancelling, unplugs the port.
 */
import {
  type Attachment,
  claimPort,
  copyFrame,
  isDone,
  type LinkCounters,
  noTraffic,
  receiveFrame,
} from './attachment.js';
import type { LinkPort, Offload } from './port.js';

/** The convention: two ends of one pipe. */
export interface FrameStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

export interface StreamsOptions {
  /** Frames that wait for a slow reader, 1,024 by default. */
  readonly queueFrames?: number;
}

/** A port's own pair. */
export interface LinkStreams extends FrameStreams, Attachment {
  close(): void;
}

/** The port's own pair, for whoever wants to pipe it: `linkStreams(port).readable.pipeTo(stack.writable)`. */
export function linkStreams(port: LinkPort, options: StreamsOptions = {}): LinkStreams {
  const counters = noTraffic();
  const queueFrames = options.queueFrames ?? 1024;
  let out: ReadableStreamDefaultController<Uint8Array> | undefined;
  let inward: WritableStreamDefaultController | undefined;
  const transmit = (frame: Uint8Array, offload?: Offload): void => {
    if (out === undefined || (out.desiredSize ?? 0) <= 0 || (offload !== undefined && !isDone(offload))) {
      counters.droppedFrames++;
      return;
    }
    out.enqueue(copyFrame(frame));
    counters.transmittedFrames++;
  };
  const close = (): void => {
    release();
    const [reading, writing] = [out, inward];
    out = undefined;
    inward = undefined;
    reading?.close();
    writing?.error(new Error('the port was unplugged'));
  };
  const release = claimPort(port, transmit, close);
  const readable = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        out = controller;
      },
      cancel: () => {
        out = undefined;
        release();
      },
    },
    new CountQueuingStrategy({ highWaterMark: queueFrames }),
  );
  const writable = new WritableStream<Uint8Array>({
    start: (controller) => {
      inward = controller;
    },
    write: (frame) => {
      receiveFrame(port, frame, counters);
    },
    close: () => {
      inward = undefined;
      close();
    },
    abort: () => {
      inward = undefined;
      close();
    },
  });
  return { readable, writable, counters, close };
}

/** Pipes the port and a stack's pair into each other until one of them ends or `close()` is called. */
export function attachStreams(
  port: LinkPort,
  peer: FrameStreams,
  options: StreamsOptions = {},
): Attachment & { readonly done: Promise<void> } {
  const ours = linkStreams(port, options);
  const counters: LinkCounters = ours.counters;
  const stop = new AbortController();
  const { signal } = stop;
  const note = (error: unknown): void => {
    if (signal.aborted) return;
    counters.errors++;
    counters.lastError = error instanceof Error ? error : new Error(String(error));
  };
  // One way's end ends the other: half a link is none.
  const ways = [
    ours.readable.pipeTo(peer.writable, { signal }).catch(note),
    peer.readable.pipeTo(ours.writable, { signal }).catch(note),
  ];
  const done = Promise.race(ways)
    .then(() => stop.abort())
    .then(() => Promise.all(ways))
    .then(() => ours.close());
  return {
    counters,
    done,
    close: () => {
      stop.abort();
      return done;
    },
  };
}
