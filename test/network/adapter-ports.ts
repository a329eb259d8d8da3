/** Ports for the adapters' tests: they keep what they get, or hand it on. */
import type { LinkPort, Offload } from '../../lib/network/port.js';

export interface Received {
  readonly frame: Uint8Array;
  readonly offload: Offload | undefined;
}

/** A port that keeps copies of all frames it is given. */
export class KeepingPort implements LinkPort {
  readonly link: 'ip' | 'ethernet';
  readonly mtu: number;
  readonly received: Received[] = [];
  onTransmit: LinkPort['onTransmit'];
  /** Called after each frame. */
  onReceived: ((count: number) => void) | undefined;

  /** What the adapter said that it does. */
  offloads: readonly string[] = [];

  constructor(link: 'ip' | 'ethernet' = 'ethernet', mtu = 1500) {
    this.link = link;
    this.mtu = mtu;
  }

  receive(frame: Uint8Array, offload?: Offload): void {
    if (frame.constructor !== Uint8Array)
      throw new TypeError(`a frame is a Uint8Array: ${frame.constructor}`);
    this.received.push({ frame: frame.slice(), offload: offload === undefined ? undefined : { ...offload } });
    this.onReceived?.(this.received.length);
  }

  acceptOffloads(kinds: readonly string[]): void {
    this.offloads = kinds;
  }

  get frames(): number[][] {
    return this.received.map(({ frame }) => [...frame]);
  }

  /** Resolves when `count` frames have come in all. */
  async until(count: number): Promise<void> {
    if (this.received.length >= count) return;
    await new Promise<void>((resolve) => {
      this.onReceived = (now) => {
        if (now >= count) resolve();
      };
    });
    this.onReceived = undefined;
  }
}

/** An Ethernet frame of `lengthBytes` whose bytes differ from those of any other `seed`. */
export function frameOf(seed: number, lengthBytes = 60): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, i) => (seed * 31 + i * 7) & 0xff);
}
