/**
 * What the CT target asks of tracking beyond a zone, by number: packets carry the number to the tracker. Cold.
 */
import type { Helper } from './helpers/helper.js';
import type { Timeouts } from './timeouts.js';

/** What a number stands for. */
export interface TemplateOptions {
  readonly helper?: Helper | undefined;
  /** Timeouts instead of the default ones. */
  readonly timeouts?: Timeouts | undefined;
}

/** Numbers fit the eight bits that `Packet.template` has for them; 0 is nothing. */
const MOST = 255;

export class Templates {
  readonly #options: (TemplateOptions | undefined)[] = [undefined];

  /** Number of `options`, equal ones have the same; 0 when all numbers are given out. */
  numberOf(options: TemplateOptions): number {
    const known = this.#options.findIndex(
      (one) => one !== undefined && one.helper === options.helper && one.timeouts === options.timeouts,
    );
    if (known > 0) return known;
    return this.#options.length > MOST ? 0 : this.#options.push(options) - 1;
  }

  of(number: number): TemplateOptions | undefined {
    return this.#options[number];
  }
}
