/**
 * Sums of long packets, with a view. Hot.
 *
 * A `DataView` reads four bytes in one step, but to make one takes longer than a short packet's sum; so one is made when the
 * same buffer comes again, as those of links do that read into one.
 */
import { fold, sumBytes, sumView } from './checksum.js';

/** Bytes from which on it pays. */
export const LONG_BYTES = 192;

export class LongSum {
  #bytes: Uint8Array | undefined;
  #view: DataView | undefined;

  /** The sum of `bytes[from, to)`, 16 bits; with a view if the bytes are those of the long packet before. */
  sum(bytes: Uint8Array, from: number, to: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = undefined;
      return fold(sumBytes(bytes, from, to));
    }
    this.#view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return sumView(this.#view, from, to, 0);
  }
}
