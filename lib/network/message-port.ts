/**
 * A MessagePort, or a worker's two ends of one, as a link. Browser-safe.
 *
 * A frame is a message: a Uint8Array whose buffer is transferred, so the receiver gets it without a copy. A frame
 * that leaves work to the receiver (checksums, segmentation) goes as `{ frame, offload }`, and only to a peer of
 * ours (`offload: 'pass'`); without that it is dropped and counted. Message ports tell nothing of a slow receiver:
 * there is no limit here to what the platform queues.
 */
import {
  type Attachment,
  claimPort,
  copyFrame,
  EVERY_OFFLOAD,
  isDone,
  isSoundOffload,
  noTraffic,
  receiveFrame,
} from './attachment.js';
import type { LinkPort, Offload } from './port.js';

/** What is used of a MessagePort, a Worker or a worker's own scope, in browsers and in Node alike. */
export interface MessageEndpoint {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  removeEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  /** Ports need it to begin; workers have none. */
  start?(): void;
}

export interface MessagePortOptions {
  /** `pass`: the other end is one of ours and takes frames with work left to do. Default `none`. */
  readonly offload?: 'none' | 'pass';
}

/** A frame with work left to do, as a message. */
interface OffloadMessage {
  readonly frame: Uint8Array;
  readonly offload: Offload;
}

/** Plugs a port into one end of a message channel. Closing leaves the channel open: it is the caller's. */
export function attachMessagePort(
  port: LinkPort,
  endpoint: MessageEndpoint,
  options: MessagePortOptions = {},
): Attachment {
  const counters = noTraffic();
  const passes = options.offload === 'pass';
  const transmit = (frame: Uint8Array, offload?: Offload): void => {
    if (offload !== undefined && !passes && !isDone(offload)) {
      counters.droppedFrames++;
      return;
    }
    const owned = copyFrame(frame);
    const message = offload === undefined || !passes ? owned : { frame: owned, offload: copyOf(offload) };
    endpoint.postMessage(message, [owned.buffer]);
    counters.transmittedFrames++;
  };
  const close = (): void => {
    endpoint.removeEventListener('message', onMessage);
    release();
    if (passes) port.acceptOffloads?.([]);
  };
  const release = claimPort(port, transmit, close);
  if (passes) port.acceptOffloads?.(EVERY_OFFLOAD);
  const onMessage = (event: { data: unknown }): void => {
    if (passes && isOffloadMessage(event.data)) {
      receiveFrame(port, event.data.frame, counters, event.data.offload);
    } else {
      receiveFrame(port, event.data, counters);
    }
  };
  endpoint.addEventListener('message', onMessage);
  endpoint.start?.();
  return { counters, close };
}

function copyOf(offload: Offload): Offload {
  const { needsChecksum, checksumStart, checksumOffset, gsoType, gsoSizeBytes, headerBytes } = offload;
  return { needsChecksum, checksumStart, checksumOffset, gsoType, gsoSizeBytes, headerBytes };
}

function isOffloadMessage(message: unknown): message is OffloadMessage {
  if (typeof message !== 'object' || message === null) return false;
  const { frame, offload } = message as Partial<OffloadMessage>;
  return frame instanceof Uint8Array && isSoundOffload(offload, frame.length);
}
