/**
 * Sums of packets, long ones with a view. Hot.
 *
 * A `DataView` reads four bytes in one step, but to make one takes longer than a short packet's sum; so one is made when the
 * same buffer comes again, as those of links do that read into one.
 */
import { sumBytes, sumView } from './checksum.js';

/** Bytes from which on a view pays. */
const LONG = 192;

export class Sums {
  #bytes: Uint8Array | undefined;
  #view: DataView | undefined;

  /** Whether `bytes[from, to)` are sound: their sum and `initial`, a positive one, are all ones when folded. 1 or 0. */
  isWhole(bytes: Uint8Array, from: number, to: number, initial: number): 0 | 1 {
    const sum = to - from < LONG ? sumBytes(bytes, from, to) : this.sumLong(bytes, from, to);
    // A multiple of all ones: the same as folded to all ones, as it is not zero.
    return (sum + initial) % 0xffff === 0 ? 1 : 0;
  }

  /** The sum of a long range; with a view if the bytes are those of the long range before, as a reused buffer's are. */
  sumLong(bytes: Uint8Array, from: number, to: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = undefined;
      return sumBytes(bytes, from, to);
    }
    this.#view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return sumView(this.#view, from, to, 0);
  }
}
