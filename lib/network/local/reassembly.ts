/**
 * A stream of bytes put together from segments in any order, repeated and overlapping (RFC 9293 section 3.4). Cold.
 *
 * Positions are sequence numbers (int32, wrapping). `next` is the first byte that is missing. Bytes that came first
 * stay: a later segment cannot change them. Whoever adds has cut segments to the window, which bounds what is held.
 */

/** Pieces that are held behind gaps, and the size up to which small ones in order become one: a stream of single bytes
 * must not cost hundreds of times its length. */
const MOST_PIECES = 1024;
const SMALL_BYTES = 2048;

export class Reassembly {
  /** First sequence number that is missing. */
  next: number;
  /** Bytes in order that nobody has read. */
  readableBytes = 0;
  readonly #ready: Uint8Array[] = [];
  /** Beyond `next`, in order, without overlap. */
  readonly #ahead: { from: number; bytes: Uint8Array }[] = [];

  constructor(next: number) {
    this.next = next;
  }

  /** Whether bytes wait behind a gap. */
  get hasGap(): boolean {
    return this.#ahead.length > 0;
  }

  /** Adds `bytes`, which stand at `from`; they are copied. */
  add(from: number, bytes: Uint8Array): void {
    const skip = Math.max(0, (this.next - from) | 0);
    if (skip >= bytes.length) return;
    this.#insert((from + skip) | 0, bytes.subarray(skip));
    while (this.#ahead.length > 0 && this.#ahead[0]!.from === this.next) {
      const { bytes: part } = this.#ahead.shift()!;
      this.#append(part);
      this.readableBytes += part.length;
      this.next = (this.next + part.length) | 0;
    }
  }

  #append(part: Uint8Array): void {
    const last = this.#ready.at(-1);
    if (last === undefined || last.length + part.length > SMALL_BYTES) {
      this.#ready.push(part);
      return;
    }
    const joined = new Uint8Array(last.length + part.length);
    joined.set(last);
    joined.set(part, last.length);
    this.#ready[this.#ready.length - 1] = joined;
  }

  /** Fills the gaps between what is held with what `bytes` has of them. */
  #insert(from: number, bytes: Uint8Array): void {
    let at = 0;
    let i = 0;
    while (at < bytes.length) {
      const here = (from + at) | 0;
      while (i < this.#ahead.length && ((endOf(this.#ahead[i]!) - here) | 0) <= 0) i++;
      const held = this.#ahead[i];
      const gap = held === undefined ? bytes.length - at : (held.from - here) | 0;
      if (gap > 0) {
        if (this.#ahead.length >= MOST_PIECES && here !== this.next) return;
        const count = Math.min(gap, bytes.length - at);
        this.#ahead.splice(i, 0, { from: here, bytes: bytes.slice(at, at + count) });
        at += count;
        i++;
      } else at += (endOf(held!) - here) | 0;
    }
  }

  /** The oldest bytes that are in order, or undefined. They belong to the caller. */
  read(): Uint8Array | undefined {
    const part = this.#ready.shift();
    if (part !== undefined) this.readableBytes -= part.length;
    return part;
  }

  clear(): void {
    this.#ready.length = 0;
    this.#ahead.length = 0;
    this.readableBytes = 0;
  }
}

function endOf({ from, bytes }: { from: number; bytes: Uint8Array }): number {
  return (from + bytes.length) | 0;
}
