/**
 * The emitter of the table's events: it tells when listeners come or go, so that the tracker calls nobody while there are
 * none. Cold.
 */
import { EventEmitter } from 'eventemitter3';
import type { ConnectionEvents } from './connections.js';

type Listener<T extends keyof ConnectionEvents> = EventEmitter.EventListener<ConnectionEvents, T>;

export class ConnectionEmitter extends EventEmitter<ConnectionEvents> {
  readonly #listenersChanged: () => void;

  constructor(listenersChanged: () => void) {
    super();
    this.#listenersChanged = listenersChanged;
  }

  override on<T extends keyof ConnectionEvents>(event: T, fn: Listener<T>, context?: unknown): this {
    super.on(event, fn, context);
    this.#listenersChanged();
    return this;
  }

  override addListener<T extends keyof ConnectionEvents>(event: T, fn: Listener<T>, context?: unknown): this {
    return this.on(event, fn, context);
  }

  override once<T extends keyof ConnectionEvents>(event: T, fn: Listener<T>, context?: unknown): this {
    super.once(event, fn, context);
    this.#listenersChanged();
    return this;
  }

  override removeListener<T extends keyof ConnectionEvents>(
    event: T,
    fn?: Listener<T>,
    context?: unknown,
    once?: boolean,
  ): this {
    super.removeListener(event, fn, context, once);
    this.#listenersChanged();
    return this;
  }

  override off<T extends keyof ConnectionEvents>(
    event: T,
    fn?: Listener<T>,
    context?: unknown,
    once?: boolean,
  ): this {
    return this.removeListener(event, fn, context, once);
  }

  override removeAllListeners(event?: keyof ConnectionEvents): this {
    super.removeAllListeners(event);
    this.#listenersChanged();
    return this;
  }
}
