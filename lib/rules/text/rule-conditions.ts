/**
 * The conditions that every rule may have without a match: addresses, interfaces, fragment. Cold.
 */

import type { AddressCondition, Family, InterfaceCondition, RuleSpec } from '../ast.js';
import { isZero } from './address.js';
import { maskedAddress } from './values.js';
import type { Where } from './where.js';

const INTERFACE_NAME_MAX = 15;
const HAS_NO_OUTPUT: ReadonlySet<string> = new Set(['PREROUTING', 'INPUT']);
const HAS_NO_INPUT: ReadonlySet<string> = new Set(['POSTROUTING', 'OUTPUT']);

type Conditions = Pick<RuleSpec, 'source' | 'destination' | 'inInterface' | 'outInterface' | 'fragment'>;

export class RuleConditions {
  readonly #family: Family;
  readonly #seen = new Map<string, Where>();
  #sources: readonly (AddressCondition | undefined)[] = [undefined];
  #destinations: readonly (AddressCondition | undefined)[] = [undefined];
  #in: InterfaceCondition | undefined;
  #out: InterfaceCondition | undefined;
  #fragment: RuleSpec['fragment'];

  constructor(family: Family) {
    this.#family = family;
  }

  /** The option of a rule that was given first, if any was. */
  get first(): Where | undefined {
    return this.#seen.values().next().value;
  }

  /** Refuses an option that was given before. */
  once(letter: string, option: Where): void {
    if (this.#seen.has(letter)) option.refuse('conflict', `-${letter} can be given once only`);
    this.#seen.set(letter, option);
  }

  read(letter: 's' | 'd' | 'i' | 'o' | 'f', value: Where, option: Where, negated: boolean): void {
    this.once(letter, option);
    if (letter === 's') this.#sources = this.#addresses(value, negated);
    else if (letter === 'd') this.#destinations = this.#addresses(value, negated);
    else if (letter === 'i') this.#in = readInterface(value, negated);
    else if (letter === 'o') this.#out = readInterface(value, negated);
    else {
      if (this.#family === 6) option.refuse('unsupported', 'IPv6 has no -f', '-m frag');
      this.#fragment = negated ? 'not-fragment' : 'fragment';
    }
  }

  /** There is no outgoing interface yet in PREROUTING and INPUT, and no incoming one in OUTPUT and POSTROUTING. */
  checkInterfaces(chain: string): void {
    if (HAS_NO_OUTPUT.has(chain))
      this.#seen.get('o')?.refuse('conflict', `${chain} has no outgoing interface`);
    if (HAS_NO_INPUT.has(chain))
      this.#seen.get('i')?.refuse('conflict', `${chain} has no incoming interface`);
  }

  /** A set of conditions for each pair of the sources and destinations. */
  product(): readonly Conditions[] {
    return this.#sources.flatMap((source) =>
      this.#destinations.map((destination) => ({
        ...(source !== undefined && { source }),
        ...(destination !== undefined && { destination }),
        ...(this.#in !== undefined && { inInterface: this.#in }),
        ...(this.#out !== undefined && { outInterface: this.#out }),
        ...(this.#fragment !== undefined && { fragment: this.#fragment }),
      })),
    );
  }

  #addresses(value: Where, negated: boolean): readonly (AddressCondition | undefined)[] {
    const parts = value.word.split(',').map((part) => part.trimStart());
    if (parts.length > 1 && negated) value.refuse('conflict', 'several addresses cannot be negated');
    return parts.map((part) => {
      const reading = { family: this.#family, where: value, protocol: undefined, next: () => '' };
      const { words, mask } = maskedAddress(part, reading);
      return isZero(mask) && !negated ? undefined : { words, mask, negated };
    });
  }
}

function readInterface(value: Where, negated: boolean): InterfaceCondition | undefined {
  const { word } = value;
  if (word === '' || word.length > INTERFACE_NAME_MAX) {
    value.refuse('value', 'not an interface name', `1 to ${INTERFACE_NAME_MAX} characters`);
  }
  const wildcard = word.endsWith('+');
  const name = wildcard ? word.slice(0, -1) : word;
  return name === '' && !negated ? undefined : { name, wildcard, negated };
}
