/**
 * An interface condition of rules: a name or the beginning of one, asked by index. The answer for an index is
 * remembered, so that no packet compares names. Hot.
 */
import type { Host } from '../host.js';
import type { InterfaceCondition } from './ast.js';

const UNKNOWN = 0;
const NO = 1;
const YES = 2;

export class InterfaceTest {
  readonly #host: Host;
  readonly #name: string;
  readonly #wildcard: boolean;
  #answers = new Uint8Array(16);

  constructor(host: Host, condition: InterfaceCondition) {
    this.#host = host;
    this.#name = condition.name;
    this.#wildcard = condition.wildcard;
  }

  /** 1 if the interface with this index (0: none) has such a name. */
  matches(index: number): number {
    const answer = index < this.#answers.length ? (this.#answers[index] as number) : UNKNOWN;
    return answer === UNKNOWN ? this.#ask(index) : answer - NO;
  }

  /** Forgets the answers: interfaces were made, removed or renamed. */
  forget(): void {
    this.#answers.fill(UNKNOWN);
  }

  #ask(index: number): number {
    const name = this.#host.interfaceName(index);
    const holds = this.#wildcard ? name.startsWith(this.#name) : name === this.#name;
    // An index that has no interface yet may get one.
    if (name === '' && index !== 0) return holds ? 1 : 0;
    if (index >= this.#answers.length) {
      const wider = new Uint8Array(2 * index);
      wider.set(this.#answers);
      this.#answers = wider;
    }
    this.#answers[index] = holds ? YES : NO;
    return holds ? 1 : 0;
  }
}
