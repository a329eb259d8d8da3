/**
 * A BroadcastChannel as an Ethernet segment: every page and worker of the origin that has it open hears each frame.
 * Browser-safe. The message is the frame's bytes, as v86's in-browser network (`v86-inbrowser-0`) has it.
 *
 * The channel copies a message once for each listener and tells nothing of slow ones, whom the platform queues for without
 * limit. `queueFrames` bounds what is sent to a segment that says nothing: to a page that is frozen, or hangs.
 */
import {
  type Attachment,
  claimPort,
  copyFrame,
  isDone,
  needEthernet,
  noTraffic,
  receiveFrame,
} from './attachment.js';
import type { LinkPort, Offload } from './port.js';
import { Unheard } from './unheard.js';

/** What is used of a BroadcastChannel. */
export interface BroadcastEndpoint {
  postMessage(message: unknown): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  removeEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
}

export interface BroadcastChannelOptions {
  /**
   * Frames that may be sent since anybody was last heard, at least 64; further ones are dropped and counted. Default: no
   * limit.
   */
  readonly queueFrames?: number;
}

/** Plugs an Ethernet port into a channel. Closing leaves the channel open: it is the caller's. */
export function attachBroadcastChannel(
  port: LinkPort,
  channel: BroadcastEndpoint,
  options: BroadcastChannelOptions = {},
): Attachment {
  needEthernet(port, 'a broadcast channel');
  const unheard = new Unheard(options.queueFrames);
  const counters = noTraffic();
  const transmit = (frame: Uint8Array, offload?: Offload): void => {
    if (offload !== undefined && !isDone(offload)) {
      counters.droppedFrames++;
      return;
    }
    if (!unheard.add()) {
      counters.droppedFrames++;
      return;
    }
    // A view would be cloned together with all of the buffer behind it.
    channel.postMessage(copyFrame(frame));
    counters.transmittedFrames++;
  };
  const close = (): void => {
    channel.removeEventListener('message', onMessage);
    release();
  };
  const release = claimPort(port, transmit, close);
  const onMessage = (event: { data: unknown }): void => {
    unheard.heard('all');
    receiveFrame(port, event.data, counters);
  };
  channel.addEventListener('message', onMessage);
  return { counters, close };
}
