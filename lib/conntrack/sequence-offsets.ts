/**
 * How far a TCP connection's sequence numbers are shifted because a helper made some of its segments longer or shorter.
 *
 * Per direction: the sequence number of the segment that was changed last, the shift up to there and the shift behind.
 * Only the last change is remembered, as on Linux: what was sent before an earlier one is taken to have arrived.
 */
import type { Direction } from './entries.js';

const POSITION = 0;
const BEFORE = 1;
const AFTER = 2;
const LINE = 3;

export class SequenceOffsets {
  /** [2 * LINE] int32: position, before, after of the original direction, then of the reply. */
  readonly #words = new Int32Array(2 * LINE);

  /** Shift of a sequence number that the sender of `direction` chose. */
  sent(direction: Direction, sequence: number): number {
    return this.#at(direction, sequence);
  }

  /** Shift of a number as the receiver of `direction` sees it: what must be taken off its acknowledgement. */
  received(direction: Direction, sequence: number): number {
    return this.#at(direction, (sequence - (this.#words[direction * LINE + BEFORE] as number)) | 0);
  }

  /** The segment at `sequence` was made `bytes` longer (shorter if negative); not again if it is a repeat. */
  change(direction: Direction, sequence: number, bytes: number): void {
    const words = this.#words;
    const at = direction * LINE;
    const before = words[at + BEFORE] as number;
    const after = words[at + AFTER] as number;
    if (before !== after && (((words[at + POSITION] as number) - sequence) | 0) >= 0) return;
    words[at + POSITION] = sequence;
    words[at + BEFORE] = after;
    words[at + AFTER] = (after + bytes) | 0;
  }

  #at(direction: Direction, sequence: number): number {
    const at = direction * LINE;
    const isBehind = (((this.#words[at + POSITION] as number) - sequence) | 0) < 0;
    return this.#words[at + (isBehind ? AFTER : BEFORE)] as number;
  }
}
