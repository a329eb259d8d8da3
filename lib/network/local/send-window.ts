/**
 * What a peer allows to be under way (RFC 9293 section 3.10.7.4): old segments do not change it. Cold.
 */
import type { TcpSegment } from './tcp-segment.js';

export class SendWindow {
  bytes = 0;
  largestBytes = 0;
  #sequence = 0;
  #acknowledgement = 0;

  /** Takes a segment's window; `scale` is its sender's. */
  set({ sequence, acknowledgement, window }: TcpSegment, scale: number): void {
    this.bytes = window << scale;
    this.largestBytes = Math.max(this.largestBytes, this.bytes);
    this.#sequence = sequence;
    this.#acknowledgement = acknowledgement;
  }

  /** The same, unless a later segment told already. */
  update(segment: TcpSegment, scale: number): void {
    const later = (segment.sequence - this.#sequence) | 0;
    if (later < 0 || (later === 0 && ((segment.acknowledgement - this.#acknowledgement) | 0) < 0)) return;
    this.set(segment, scale);
  }
}
