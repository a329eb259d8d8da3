/**
 * Bytes that were written and are not acknowledged yet: a ring that grows up to its limit. Cold.
 */

const FIRST_BYTES = 4096;

export class ByteRing {
  readonly limitBytes: number;
  length = 0;
  #bytes = new Uint8Array(0);
  #start = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get roomBytes(): number {
    return this.limitBytes - this.length;
  }

  /** Takes as many bytes as there is room for; returns how many. */
  push(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.roomBytes);
    if (this.length + count > this.#bytes.length) this.#grow(this.length + count);
    const capacity = this.#bytes.length;
    const at = (this.#start + this.length) % capacity;
    const first = Math.min(count, capacity - at);
    this.#bytes.set(bytes.subarray(0, first), at);
    this.#bytes.set(bytes.subarray(first, count), 0);
    this.length += count;
    return count;
  }

  /** A copy of the `count` bytes from `offset` on, which are there. */
  copy(offset: number, count: number): Uint8Array {
    const capacity = this.#bytes.length;
    const copy = new Uint8Array(count);
    if (count === 0) return copy;
    const at = (this.#start + offset) % capacity;
    const first = Math.min(count, capacity - at);
    copy.set(this.#bytes.subarray(at, at + first));
    copy.set(this.#bytes.subarray(0, count - first), first);
    return copy;
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    this.length -= count;
    this.#start = this.length === 0 ? 0 : (this.#start + count) % this.#bytes.length;
  }

  clear(): void {
    this.length = 0;
    this.#start = 0;
    this.#bytes = new Uint8Array(0);
  }

  #grow(need: number): void {
    const larger = new Uint8Array(Math.min(this.limitBytes, Math.max(FIRST_BYTES, 2 * need)));
    const held = this.copy(0, this.length);
    larger.set(held);
    this.#bytes = larger;
    this.#start = 0;
  }
}
