/**
 * A bounded queue between packets that arrive and a program that reads: an async iterable with one reader. Cold.
 *
 * What finds the queue full is refused, as a socket's receive buffer does; nothing grows without bound. After `close`
 * what waits can still be read, then the iteration ends.
 */
export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly #items: { readonly item: T; readonly bytes: number }[] = [];
  readonly #most: number;
  readonly #mostBytes: number;
  #waiting: ((result: IteratorResult<T, undefined>) => void)[] = [];
  #bytes = 0;
  #isClosed = false;

  constructor(most: number, mostBytes = Number.POSITIVE_INFINITY) {
    this.#most = most;
    this.#mostBytes = mostBytes;
  }

  get length(): number {
    return this.#items.length;
  }

  /** Adds an item of `bytes` bytes; false if it does not fit. */
  push(item: T, bytes = 0): boolean {
    if (this.#isClosed) return false;
    const reader = this.#waiting.shift();
    if (reader !== undefined) {
      reader({ value: item, done: false });
      return true;
    }
    if (this.#items.length >= this.#most || this.#bytes + bytes > this.#mostBytes) return false;
    this.#items.push({ item, bytes });
    this.#bytes += bytes;
    return true;
  }

  /** The oldest item, or undefined. */
  shift(): T | undefined {
    const first = this.#items.shift();
    if (first === undefined) return undefined;
    this.#bytes -= first.bytes;
    return first.item;
  }

  close(): void {
    this.#isClosed = true;
    for (const reader of this.#waiting) reader({ value: undefined, done: true });
    this.#waiting = [];
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => {
        const [first] = this.#items;
        if (first !== undefined) {
          this.shift();
          return Promise.resolve({ value: first.item, done: false });
        }
        if (this.#isClosed) return Promise.resolve({ value: undefined, done: true });
        return new Promise((resolve) => this.#waiting.push(resolve));
      },
    };
  }
}
