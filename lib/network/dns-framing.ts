/**
 * Messages out of a stream: before each stand two bytes of its length (RFC 1035 section 4.2.2). Cold; safe against hostile
 * bytes: nothing is kept but the message that is incomplete, and its bytes are copied once however they are cut.
 */

const LENGTH_BYTES = 2;

export class DnsFraming {
  /** A length came that no message may have: what follows means nothing. */
  isBroken = false;
  readonly #leastBytes: number;
  readonly #mostBytes: number;
  #length = 0;
  /** Bytes of the length that came. */
  #lengthBytes = 0;
  #message: Uint8Array | undefined;
  #count = 0;

  /** Messages of fewer or more bytes break it. */
  constructor(leastBytes: number, mostBytes: number) {
    this.#leastBytes = leastBytes;
    this.#mostBytes = mostBytes;
  }

  /** Whether a message has begun and not ended. */
  get isPartial(): boolean {
    return this.#lengthBytes > 0;
  }

  /** The messages that end in `chunk`, which may have any part of any number of them. They are the caller's own. */
  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    for (let at = 0; at < chunk.length && !this.isBroken; ) {
      if (this.#lengthBytes < LENGTH_BYTES) {
        this.#length = (this.#length << 8) | (chunk[at++] as number);
        this.#lengthBytes++;
        if (this.#lengthBytes < LENGTH_BYTES) continue;
        this.isBroken = this.#length < this.#leastBytes || this.#length > this.#mostBytes;
        continue;
      }
      this.#message ??= new Uint8Array(this.#length);
      const part = chunk.subarray(at, at + this.#length - this.#count);
      this.#message.set(part, this.#count);
      this.#count += part.length;
      at += part.length;
      if (this.#count < this.#length) continue;
      const message = this.#message;
      this.#message = undefined;
      this.#count = 0;
      this.#length = 0;
      this.#lengthBytes = 0;
      yield message;
    }
  }
}

/** A message as it goes into a stream: its length and itself in one piece (RFC 7766 section 8). */
export function frameMessage(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(LENGTH_BYTES + message.length);
  framed[0] = message.length >>> 8;
  framed[1] = message.length & 0xff;
  framed.set(message, LENGTH_BYTES);
  return framed;
}
