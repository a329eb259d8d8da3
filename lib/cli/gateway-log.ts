/**
 * What a running gateway tells: a line for each event, for people or as JSON. Cold.
 */
import type { Console } from './console.js';

/** What an event has to say; undefined is left out. */
export type LogFields = Readonly<Record<string, unknown>>;

export class GatewayLog {
  readonly #out: Console;
  readonly #form: 'text' | 'json';
  readonly #time: () => Date;

  constructor(out: Console, form: 'text' | 'json', time: () => Date = () => new Date()) {
    this.#out = out;
    this.#form = form;
    this.#time = time;
  }

  /** Something happened: `event` and `fields` for programs, `text` for people. */
  event(event: string, text: string, fields: LogFields = {}): void {
    const time = this.#time().toISOString();
    this.#out.line(
      this.#form === 'json' ? JSON.stringify({ time, event, ...fields }) : `${time.slice(11, 23)} ${text}`,
    );
    this.#out.flush();
  }

  /** Something went wrong, and the gateway goes on. */
  error(event: string, messages: readonly string[]): void {
    if (this.#form === 'json') {
      this.event(event, '', { errors: messages });
      return;
    }
    for (const message of messages) this.#out.error(`conntide: ${message}`);
  }
}
