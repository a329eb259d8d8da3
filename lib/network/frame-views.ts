/**
 * Views of one reused receive buffer, by length. Hot: for the lengths of ordinary frames each view is made once and
 * then lent out again and again; longer frames, which carry many segments each, get a fresh view.
 */

/** Covers Ethernet at MTU 1500 with room; at most this many views of about 100 bytes are kept. */
const CACHED_LENGTHS = 2048;

export class FrameViews {
  readonly #bytes: Uint8Array;
  readonly #offset: number;
  readonly #views: (Uint8Array | undefined)[] = new Array(CACHED_LENGTHS).fill(undefined);

  /** Views begin at `offset` of `bytes`. */
  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  /** The first `lengthBytes` from the offset; borrowed until the buffer is filled anew. */
  of(lengthBytes: number): Uint8Array {
    if (lengthBytes >= CACHED_LENGTHS) return this.#make(lengthBytes);
    let view = this.#views[lengthBytes];
    if (view === undefined) {
      view = this.#make(lengthBytes);
      this.#views[lengthBytes] = view;
    }
    return view;
  }

  #make(lengthBytes: number): Uint8Array {
    return this.#bytes.subarray(this.#offset, this.#offset + lengthBytes);
  }
}
