/**
 * The conditions that every rule may have without a match: addresses, interfaces, fragment. Cold.
 */

import type { ErrorPlace } from '../../errors.js';
import type {
  AddressCondition,
  CounterSpec,
  Family,
  InterfaceCondition,
  MatchSpec,
  ProtocolCondition,
  RuleSpec,
  TargetSpec,
} from '../ast.js';
import { isZero, maskWords, plainNetwork } from './address.js';
import { maskedAddress } from './values.js';
import type { Where } from './where.js';

const INTERFACE_NAME_MAX = 15;
const HAS_NO_OUTPUT: ReadonlySet<string> = new Set(['PREROUTING', 'INPUT']);
const HAS_NO_INPUT: ReadonlySet<string> = new Set(['POSTROUTING', 'OUTPUT']);

type Addresses = readonly (AddressCondition | undefined)[];
/** Without addresses: a rule for any. */
const ANY: Addresses = [undefined];

/** What rules have apart from their conditions. */
export interface RuleBase {
  readonly place: ErrorPlace;
  readonly counters: CounterSpec | undefined;
  readonly protocol: ProtocolCondition | undefined;
  readonly matches: readonly MatchSpec[];
  readonly target: TargetSpec;
}

export class RuleConditions {
  readonly #family: Family;
  /** Letters of the options that were given, and where. */
  #letters = '';
  readonly #options: Where[] = [];
  #sources = ANY;
  #destinations = ANY;
  #in: InterfaceCondition | undefined;
  #out: InterfaceCondition | undefined;
  #fragment: RuleSpec['fragment'];

  constructor(family: Family) {
    this.#family = family;
  }

  /** The option of a rule that was given first, if any was. */
  get first(): Where | undefined {
    return this.#options[0];
  }

  /** Refuses an option that was given before. */
  once(letter: string, option: Where): void {
    if (this.#letters.includes(letter)) option.refuse('conflict', `-${letter} can be given once only`);
    this.#letters += letter;
    this.#options.push(option);
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
    if (HAS_NO_OUTPUT.has(chain)) this.#given('o')?.refuse('conflict', `${chain} has no outgoing interface`);
    if (HAS_NO_INPUT.has(chain)) this.#given('i')?.refuse('conflict', `${chain} has no incoming interface`);
  }

  /** A rule for each pair of the sources and destinations. */
  rules(base: RuleBase): readonly RuleSpec[] {
    const rules: RuleSpec[] = [];
    for (const source of this.#sources) {
      for (const destination of this.#destinations) {
        // Written out: a copy by `...` would have a hidden class of its own.
        const { place, matches, target } = base;
        const rule: { -readonly [K in keyof RuleSpec]: RuleSpec[K] } = { place, matches, target };
        if (base.counters !== undefined) rule.counters = base.counters;
        if (base.protocol !== undefined) rule.protocol = base.protocol;
        if (source !== undefined) rule.source = source;
        if (destination !== undefined) rule.destination = destination;
        if (this.#in !== undefined) rule.inInterface = this.#in;
        if (this.#out !== undefined) rule.outInterface = this.#out;
        if (this.#fragment !== undefined) rule.fragment = this.#fragment;
        rules.push(rule);
      }
    }
    return rules;
  }

  #given(letter: string): Where | undefined {
    const at = this.#letters.indexOf(letter);
    return at < 0 ? undefined : this.#options[at];
  }

  #addresses(value: Where, negated: boolean): Addresses {
    if (this.#family === 4) {
      const plain = plainNetwork(value.word);
      if (plain !== undefined) {
        if (isZero(plain.mask) && !negated) return ANY;
        return [{ words: maskWords(plain.words, plain.mask), mask: plain.mask, negated }];
      }
    }
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
