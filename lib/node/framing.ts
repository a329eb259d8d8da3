/**
 * Frames on a byte stream, as QEMU and passt have them: 4 bytes of length, big-endian, then the frame. Hot.
 *
 * The reader lends frames out as views of the chunk they came in; only a frame that is split over chunks is copied,
 * into one buffer of the longest frame. A length beyond that ends the stream: what follows cannot be told apart any
 * more. The writer gathers frames in buffers of a fixed number and hands over whole buffers, so that a peer that does
 * not read costs bounded memory; what does not fit is dropped.
 */

const LENGTH_BYTES = 4;
const NO_HEADER = new Uint8Array(0);

export class FrameReader {
  readonly #longestBytes: number;
  readonly #onFrame: (frame: Uint8Array) => void;
  readonly #partial: Uint8Array;
  /** Bytes of the length field seen so far, and what they say. */
  #lengthBytesSeen = 0;
  #frameBytes = 0;
  #partialBytes = 0;
  #isBroken = false;

  /** `onFrame` gets each frame, borrowed for the call, also one of length 0. */
  constructor(longestBytes: number, onFrame: (frame: Uint8Array) => void) {
    this.#longestBytes = longestBytes;
    this.#onFrame = onFrame;
    this.#partial = new Uint8Array(longestBytes);
  }

  /** The length that broke the stream, or that of the newest frame. */
  get frameBytes(): number {
    return this.#frameBytes;
  }

  /** Takes what arrived. Returns false once a frame claims to be longer than allowed: the stream is lost. */
  push(chunk: Uint8Array): boolean {
    const end = chunk.length;
    // A Buffer's views would be Buffers, whose `slice` does not copy as that of a Uint8Array does.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, end);
    let at = 0;
    while (at < end && !this.#isBroken) {
      if (this.#lengthBytesSeen < LENGTH_BYTES) {
        this.#frameBytes = this.#frameBytes * 0x100 + bytes[at++];
        if (++this.#lengthBytesSeen < LENGTH_BYTES) continue;
        if (this.#frameBytes > this.#longestBytes) {
          this.#isBroken = true;
          return false;
        }
        if (this.#frameBytes > 0) continue;
      }
      const missing = this.#frameBytes - this.#partialBytes;
      const take = Math.min(missing, end - at);
      const piece = bytes.subarray(at, at + take);
      at += take;
      if (take === missing && this.#partialBytes === 0) {
        this.#finish(piece);
      } else {
        this.#partial.set(piece, this.#partialBytes);
        this.#partialBytes += take;
        if (take === missing) this.#finish(this.#partial.subarray(0, this.#frameBytes));
      }
    }
    return !this.#isBroken;
  }

  /** Stops: what is left of the chunk under way is thrown away. */
  stop(): void {
    this.#isBroken = true;
  }

  #finish(frame: Uint8Array): void {
    this.#lengthBytesSeen = 0;
    this.#frameBytes = 0;
    this.#partialBytes = 0;
    this.#onFrame(frame);
  }
}

/** Size of one buffer of the writer: holds at least one longest frame. */
const BATCH_BYTES = 0x2_0000;

export interface FrameWriterOptions {
  /** Bytes that may wait for a slow peer; rounded up to whole buffers of 128 KiB, at least two. */
  readonly queueBytes: number;
  /** Takes bytes of whole frames; they are its own until it calls `done`. */
  readonly write: (bytes: Uint8Array, done: () => void) => void;
}

export class FrameWriter {
  readonly #write: FrameWriterOptions['write'];
  readonly #free: Batch[] = [];
  #current: Batch | undefined;
  #isScheduled = false;
  readonly #flush = (): void => {
    this.#isScheduled = false;
    this.flush();
  };

  constructor(options: FrameWriterOptions) {
    this.#write = options.write;
    const batches = Math.max(2, Math.ceil(options.queueBytes / BATCH_BYTES));
    for (let i = 0; i < batches; i++) this.#free.push(new Batch(this.#free));
  }

  /** Copies a frame and what is to stand before it; it leaves at the end of the running task. Returns false, and drops it, if there is no room. */
  add(frame: Uint8Array, header: Uint8Array = NO_HEADER): boolean {
    const length = header.length + frame.length;
    if (length + LENGTH_BYTES > BATCH_BYTES) return false;
    let batch = this.#current;
    if (batch !== undefined && batch.used + LENGTH_BYTES + length > BATCH_BYTES) {
      this.flush();
      batch = undefined;
    }
    if (batch === undefined) {
      batch = this.#free.pop();
      if (batch === undefined) return false;
      this.#current = batch;
    }
    batch.add(header, frame);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      queueMicrotask(this.#flush);
    }
    return true;
  }

  /** Hands over what has been gathered. */
  flush(): void {
    const batch = this.#current;
    if (batch === undefined) return;
    this.#current = undefined;
    this.#write(batch.bytes.subarray(0, batch.used), batch.giveBack);
  }
}

class Batch {
  /** Made at first use: a peer that keeps up never needs the last ones. */
  #bytes: Uint8Array | undefined;
  used = 0;
  readonly giveBack: () => void;

  constructor(free: Batch[]) {
    this.giveBack = () => {
      this.used = 0;
      free.push(this);
    };
  }

  get bytes(): Uint8Array {
    this.#bytes ??= new Uint8Array(BATCH_BYTES);
    return this.#bytes;
  }

  add(header: Uint8Array, frame: Uint8Array): void {
    const bytes = this.bytes;
    const length = header.length + frame.length;
    let at = this.used;
    bytes[at++] = length >>> 24;
    bytes[at++] = length >>> 16;
    bytes[at++] = length >>> 8;
    bytes[at++] = length;
    if (header.length > 0) bytes.set(header, at);
    bytes.set(frame, at + header.length);
    this.used = at + length;
  }
}
