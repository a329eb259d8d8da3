/**
 * A v86 guest's network card as a link: the emulator's bus events carry one Ethernet frame each. Browser-safe.
 */
import { ConfigurationError } from '../errors.js';
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

/** What is used of a `V86` object; nothing of the package is imported. */
export interface V86Emulator {
  add_listener(event: string, listener: (frame: Uint8Array) => void): void;
  remove_listener(event: string, listener: (frame: Uint8Array) => void): void;
  /** Always there; optional because the package's own types do not name it. */
  readonly bus?: { send(event: string, frame: Uint8Array): void };
}

export interface V86LinkOptions {
  /** Which network card, from 0, the default. */
  readonly card?: number;
}

/** Plugs a guest's card into an Ethernet port. Do not give the emulator a `network_relay_url` as well. */
export function attachV86(port: LinkPort, emulator: V86Emulator, options: V86LinkOptions = {}): Attachment {
  needEthernet(port, 'a v86 guest');
  const { bus } = emulator;
  if (bus === undefined) {
    throw new ConfigurationError('value', 'this object has no bus', { expected: 'an emulator of v86' });
  }
  const card = options.card ?? 0;
  const sendEvent = `net${card}-send`;
  const receiveEvent = `net${card}-receive`;
  const counters = noTraffic();
  const transmit = (frame: Uint8Array, offload?: Offload): void => {
    if (offload !== undefined && !isDone(offload)) {
      counters.droppedFrames++;
      return;
    }
    counters.transmittedFrames++;
    // The emulator may keep it until the guest has offered a buffer.
    bus.send(receiveEvent, copyFrame(frame));
  };
  const close = (): void => {
    emulator.remove_listener(sendEvent, onFrame);
    release();
  };
  const release = claimPort(port, transmit, close);
  const onFrame = (frame: Uint8Array): void => receiveFrame(port, frame, counters);
  emulator.add_listener(sendEvent, onFrame);
  return { counters, close };
}
