/**
 * Frames that were sent to a peer and of which nothing was heard yet: what bounds queues that tell nothing. Cold.
 */
import { ConfigurationError } from '../errors.js';

/** Fewer would be over before a peer could acknowledge the first of them. */
const LEAST = 64;
const MOST = 1 << 20;

export class Unheard {
  /** Frames under way, as far as is known. */
  count = 0;
  readonly #most: number;

  /** `most` undefined: any number. Throws a ConfigurationError. */
  constructor(most: number | undefined) {
    if (most !== undefined && !(Number.isInteger(most) && most >= LEAST && most <= MOST)) {
      throw new ConfigurationError('value', 'not a number of frames for a queue', {
        word: String(most),
        expected: `${LEAST} to ${MOST}`,
      });
    }
    this.#most = most ?? Number.POSITIVE_INFINITY;
  }

  /** One more; false, and not counted, if there are too many. */
  add(): boolean {
    if (this.count >= this.#most) return false;
    this.count++;
    return true;
  }

  /** The peer has taken so many more of them, or all. */
  heard(count: number | 'all'): void {
    this.count = count === 'all' ? 0 : Math.max(0, this.count - count);
  }
}
