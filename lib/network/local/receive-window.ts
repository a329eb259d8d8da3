/**
 * The receiving half of a TCP endpoint: what arrived, in which order, and how much more may (RFC 9293 section 3.8.6). Cold.
 *
 * The window's right edge never moves back, and moves on only by enough to be worth telling (silly windows).
 */
import { TcpFlag } from '../../wire/tcp.js';
import { Reassembly } from './reassembly.js';
import type { TcpSegment } from './tcp-segment.js';

/** Largest window that a segment without scaling can tell. */
export const MOST_WINDOW = 0xffff;

export class ReceiveWindow {
  /** The program reads no more: what arrives is thrown away. */
  isDeaf = false;
  /** The peer's FIN and all before it arrived. */
  isOver = false;
  /** The peer's initial sequence number. */
  readonly initial: number;
  readonly #bytes: Reassembly;
  readonly #limitBytes: number;
  /** Where the FIN stands, once one arrived. */
  #finAt: number | undefined = undefined;
  #edge: number;

  constructor(initial: number, limitBytes: number) {
    this.initial = initial;
    this.#limitBytes = limitBytes;
    this.#bytes = new Reassembly((initial + 1) | 0);
    this.#edge = (initial + 1 + Math.min(limitBytes, MOST_WINDOW)) | 0;
  }

  /** First sequence number that is missing. */
  get next(): number {
    return this.#bytes.next;
  }

  get readableBytes(): number {
    return this.#bytes.readableBytes;
  }

  /** Bytes that may come. */
  get roomBytes(): number {
    return (this.#edge - this.#bytes.next) | 0;
  }

  get hasGap(): boolean {
    return this.#bytes.hasGap;
  }

  /** Whether a segment of `length` sequence numbers has a place in the window (RFC 9293 section 3.10.7.4). */
  fits(sequence: number, length: number): boolean {
    const from = (sequence - this.next) | 0;
    const room = this.roomBytes;
    // Behind a closed window payload is thrown away, but acknowledgements count.
    if (room === 0) return from === 0;
    return from < room && from + length > (length === 0 ? -1 : 0);
  }

  /** Takes what fits of a segment's payload, and its FIN. Says whether anything came nearer to the end. */
  take({ sequence, payload, flags }: TcpSegment): boolean {
    const before = this.next;
    const room = (this.#edge - sequence) | 0;
    this.#bytes.add(sequence, payload.subarray(0, Math.max(0, room)));
    if ((flags & TcpFlag.FIN) !== 0 && room > payload.length) this.#finAt = (sequence + payload.length) | 0;
    if (this.isDeaf) while (this.#bytes.read() !== undefined);
    if (!this.isOver && this.#finAt === this.next) {
      this.isOver = true;
      this.#bytes.next = (this.next + 1) | 0;
    }
    return this.next !== before;
  }

  read(): Uint8Array | undefined {
    return this.#bytes.read();
  }

  clear(): void {
    this.#bytes.clear();
  }

  /** Whether the window has grown by enough to tell a peer whose segments have `mss` bytes. */
  hasNews(mss: number): boolean {
    return ((this.#edgeNow() - this.#edge) | 0) >= Math.min(this.#limitBytes / 2, 2 * mss);
  }

  /** Moves the edge if there is news; returns the window. */
  open(mss: number): number {
    if (this.hasNews(mss)) this.#edge = this.#edgeNow();
    return Math.max(0, this.roomBytes);
  }

  #edgeNow(): number {
    return (this.next + this.#limitBytes - this.readableBytes) | 0;
  }
}
