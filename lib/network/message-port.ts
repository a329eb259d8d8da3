/**
 * A MessagePort, or a worker's two ends of one, as a link. Browser-safe.
 *
 * A frame is a message: a Uint8Array whose buffer is transferred, so the receiver gets it without a copy. A frame
 * that leaves work to the receiver (checksums, segmentation) goes as `{ frame, offload }`, and only to a peer of
 * ours (`offload: 'pass'`); without that it is dropped and counted.
 *
 * Message ports tell nothing of a slow receiver, and queue without limit. So ends of ours tell each other
 * (`acknowledge: 'frames'`): `{ acknowledged: n }` for so many more messages taken, `{ acknowledged: 'all' }` when one
 * begins to listen. No more than `queueFrames` are under way then; further ones are dropped and counted. Of other peers
 * nothing is known but that they speak: `queueFrames`, if it is given, are sent to one that says nothing.
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
import { Unheard } from './unheard.js';

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
  /**
   * `frames`: the other end is one of ours with the same option, and both say what they have taken. Default: `frames`
   * with `offload: 'pass'`, else `none`.
   */
  readonly acknowledge?: 'none' | 'frames';
  /**
   * Frames that may be under way, at least 64: 1,024 by default with `acknowledge: 'frames'`. To a peer that does not
   * acknowledge so many may be sent since it was last heard; by default there is no limit.
   */
  readonly queueFrames?: number;
}

/** Messages that are acknowledged at a time. */
const ACKNOWLEDGED = 32;
const DEFAULT_QUEUE = 1024;

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
  const acknowledges = (options.acknowledge ?? (passes ? 'frames' : 'none')) === 'frames';
  const queue = options.queueFrames ?? (acknowledges ? DEFAULT_QUEUE : undefined);
  const underWay = new Unheard(queue);
  let taken = 0;
  const transmit = (frame: Uint8Array, offload?: Offload): void => {
    if (offload !== undefined && !passes && !isDone(offload)) {
      counters.droppedFrames++;
      return;
    }
    if (!underWay.add()) {
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
    if (!acknowledges) underWay.heard('all');
    else if (isAcknowledgement(event.data)) {
      underWay.heard(event.data.acknowledged);
      return;
    } else if (++taken === ACKNOWLEDGED) {
      endpoint.postMessage({ acknowledged: taken }, []);
      taken = 0;
    }
    if (passes && isOffloadMessage(event.data)) {
      receiveFrame(port, event.data.frame, counters, event.data.offload);
    } else {
      receiveFrame(port, event.data, counters);
    }
  };
  endpoint.addEventListener('message', onMessage);
  endpoint.start?.();
  if (acknowledges) endpoint.postMessage({ acknowledged: 'all' }, []);
  return { counters, close };
}

function copyOf(offload: Offload): Offload {
  const { needsChecksum, checksumStart, checksumOffset, gsoType, gsoSizeBytes, headerBytes } = offload;
  return { needsChecksum, checksumStart, checksumOffset, gsoType, gsoSizeBytes, headerBytes };
}

function isAcknowledgement(message: unknown): message is { acknowledged: number | 'all' } {
  if (typeof message !== 'object' || message === null) return false;
  const { acknowledged } = message as { acknowledged?: unknown };
  return acknowledged === 'all' || (Number.isInteger(acknowledged) && (acknowledged as number) > 0);
}

function isOffloadMessage(message: unknown): message is OffloadMessage {
  if (typeof message !== 'object' || message === null) return false;
  const { frame, offload } = message as Partial<OffloadMessage>;
  return frame instanceof Uint8Array && isSoundOffload(offload, frame.length);
}
