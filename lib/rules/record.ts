/**
 * The record of a packet's way through the tables: which rules and policies it was counted at, and whether the next
 * packet of its flow would take the same way. Hot.
 *
 *   rules.startRecording(into);            // [room for numbers of rules]
 *   rules.traverse(...), rules.traverse(...)
 *   const count = rules.stopRecording();   // -1: not to be repeated
 *   ...
 *   if (rules.generation === then) rules.replay(into, 0, count, 1, lengthBytes);
 *
 * A way may be repeated when every condition that was asked, of the rules that matched and of those that did not, is of
 * the flow alone (`purity.ts`) and every rule that matched only leads on or decides. Conditions of a rule are asked in
 * order up to the first that fails: one that depends on more does no harm behind one that fails. A target that
 * does more, a packet dropped as malformed, a rule trace, a listener of `onRule`, another walk than the usual one, or no
 * room in `into` make the answer -1. Repeating gives the verdict that was, which whoever records must remember; to set a
 * listener afterwards does not change `generation`.
 *
 * Numbers of rules are for `replay` alone: table << 24 | rule.
 */
const TABLE_SHIFT = 24;
const NOT_REPEATABLE = -1;

export class WalkRecord {
  /** Whether a record is being made: 1 or 0. */
  isOpen: 0 | 1 = 0;
  #into: Int32Array = new Int32Array(0);
  #count = 0;
  #isRepeatable: 0 | 1 = 0;

  /** `into` is borrowed until {@link close}. */
  open(into: Int32Array): void {
    this.#into = into;
    this.#count = 0;
    this.#isRepeatable = 1;
    this.isOpen = 1;
  }

  /** Returns how many numbers were written, or -1. */
  close(): number {
    const count = this.isOpen === 1 && this.#isRepeatable === 1 ? this.#count : NOT_REPEATABLE;
    this.isOpen = 0;
    return count;
  }

  /** The packet was counted at a rule. */
  add(table: number, rule: number): void {
    const at = this.#count++;
    if (at < this.#into.length) this.#into[at] = (table << TABLE_SHIFT) | rule;
    else this.#isRepeatable = 0;
  }

  /** Another packet of the flow may go another way. */
  spoil(): void {
    this.#isRepeatable = 0;
  }
}
