/**
 * A TCP connection as a program has it: a pair of web streams, and where the client wanted to go. Cold.
 *
 * Reading slowly closes the window towards the client; writing waits for room in the send buffer. Ending `writable` is a
 * FIN, aborting it or `abort()` a reset; cancelling `readable` throws away what still comes.
 */

import type { SocketAddress } from './socket-address.js';
import { SocketError } from './socket-error.js';
import { TcpEndpoint } from './tcp-endpoint.js';
import type { TcpFlow } from './tcp-flows.js';
import type { TcpEndpointOptions } from './tcp-options.js';
import type { LocalTime } from './udp.js';

export class TcpConnection {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
  /** Where the client wanted to go before NAT redirected it, as SO_ORIGINAL_DST tells. */
  readonly originalDst: SocketAddress;
  readonly interface: string;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when both sides have ended: with nothing, or with why it was cut off. */
  readonly closed: Promise<SocketError | undefined>;
  readonly endpoint: TcpEndpoint;
  readonly #time: LocalTime;
  readonly #settled: () => void;
  #end: (error: SocketError | undefined) => void = () => {};
  #isReported = false;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;
  #reading: ReadableStreamDefaultController<Uint8Array> | undefined;
  #writing: WritableStreamDefaultController | undefined;

  /** `settled` is told after each of the program's calls. */
  constructor(
    flow: TcpFlow,
    time: LocalTime,
    options: Omit<TcpEndpointOptions, 'onChange'>,
    settled: () => void,
  ) {
    this.source = flow.source;
    this.destination = flow.destination;
    this.originalDst = flow.originalDst;
    this.interface = flow.interface;
    this.#time = time;
    this.#settled = settled;
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.endpoint = new TcpEndpoint({ ...options, onChange: () => this.#changed() });
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#reading = controller;
        },
        pull: (controller) => this.#pull(controller),
        cancel: () => {
          this.#reading = undefined;
          this.endpoint.ignoreInput(time.nowMs);
          settled();
        },
      },
      new CountQueuingStrategy({ highWaterMark: 0 }),
    );
    this.writable = new WritableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#writing = controller;
        },
        write: (chunk) => this.#write(chunk),
        close: () => {
          this.#writing = undefined;
          this.endpoint.end(time.nowMs);
          settled();
        },
        abort: () => {
          this.#writing = undefined;
          this.abort();
        },
      },
      new CountQueuingStrategy({ highWaterMark: 1 }),
    );
  }

  /** Ends the connection at once with a reset. */
  abort(): void {
    this.endpoint.abort();
    this.#settled();
  }

  #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> | undefined {
    if (this.#give(controller)) return undefined;
    return new Promise((resolve) => {
      this.#wakeReader = () => {
        if (this.#reading !== undefined && !this.#give(controller)) return;
        this.#wakeReader = undefined;
        resolve();
      };
    });
  }

  /** Gives the reader what there is; false if it must wait. */
  #give(controller: ReadableStreamDefaultController<Uint8Array>): boolean {
    const bytes = this.endpoint.read();
    if (bytes !== undefined) controller.enqueue(bytes);
    else if (this.endpoint.error !== undefined) return true;
    else if (this.endpoint.isAtEnd) {
      this.#reading = undefined;
      controller.close();
    } else return false;
    return true;
  }

  async #write(chunk: Uint8Array): Promise<void> {
    let at = 0;
    for (;;) {
      if (this.endpoint.isGone)
        throw new SocketError(this.endpoint.error ?? 'ECONNRESET', 'the connection is over');
      at += this.endpoint.write(chunk.subarray(at), this.#time.nowMs);
      this.#settled();
      if (at >= chunk.length) return;
      // Sending may have been answered already.
      if (this.endpoint.roomBytes > 0 || this.endpoint.isGone) continue;
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
    }
  }

  #changed(): void {
    const { endpoint } = this;
    if (endpoint.error !== undefined) {
      const error = new SocketError(endpoint.error, 'the connection was cut off');
      this.#reading?.error(error);
      this.#writing?.error(error);
      this.#reading = undefined;
      this.#writing = undefined;
    }
    this.#wakeReader?.();
    const wakeWriter = this.#wakeWriter;
    if (wakeWriter !== undefined && (endpoint.roomBytes > 0 || endpoint.isGone)) {
      this.#wakeWriter = undefined;
      wakeWriter();
    }
    if (endpoint.state === 'CLOSED') this.#settled();
    if (!endpoint.isGone || this.#isReported) return;
    this.#isReported = true;
    const { error } = endpoint;
    this.#end(error === undefined ? undefined : new SocketError(error, 'the connection was cut off'));
  }
}
