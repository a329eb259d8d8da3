/**
 * Timeout policies by name: timeouts of their own for the connections that a rule chooses (`CT --timeout NAME`), as
 * `nfct timeout add` makes them. Cold.
 *
 * A policy is for one family and one protocol. What it does not name keeps the value that the tracker had when the
 * policy was made. A connection keeps the policy of its first packet, also when the rule is gone.
 */
import { ConfigurationError } from '../errors.js';
import { Timeouts } from './timeouts.js';

/** A named set of timeouts. */
export interface TimeoutPolicy {
  readonly name: string;
  readonly family: 4 | 6;
  /** Protocol number. */
  readonly protocol: number;
  readonly timeouts: Timeouts;
}

/** Longest name (CTNL_TIMEOUT_NAME_MAX of Linux less its end). */
const LONGEST_NAME = 31;

export class TimeoutPolicies {
  readonly #policies = new Map<string, TimeoutPolicy>();
  readonly #defaults: Timeouts;

  /** `defaults`: where what a policy does not name comes from. */
  constructor(defaults: Timeouts) {
    this.#defaults = defaults;
  }

  /**
   * Makes a policy. `seconds` is by the tracker's `nf_conntrack_*` names. Throws a ConfigurationError for a name that
   * is taken, or for timeouts that do not exist; nothing is made then.
   */
  define(
    name: string,
    options: { readonly family: 4 | 6; readonly protocol: number; readonly seconds: Record<string, number> },
  ): TimeoutPolicy {
    if (name === '' || name.length > LONGEST_NAME) {
      throw new ConfigurationError('value', 'not a name of a timeout policy', {
        word: name,
        expected: `1 to ${LONGEST_NAME} characters`,
      });
    }
    if (this.#policies.has(name)) {
      throw new ConfigurationError('conflict', 'there is such a timeout policy already', { word: name });
    }
    const timeouts = new Timeouts();
    timeouts.copyFrom(this.#defaults);
    for (const [timeout, value] of Object.entries(options.seconds)) timeouts.set(timeout, value);
    const policy = { name, family: options.family, protocol: options.protocol, timeouts };
    this.#policies.set(name, policy);
    return policy;
  }

  /** Policy of a name, or undefined. */
  get(name: string): TimeoutPolicy | undefined {
    return this.#policies.get(name);
  }

  /** Forgets a policy: later rules cannot name it. Returns whether there was one. */
  remove(name: string): boolean {
    return this.#policies.delete(name);
  }

  /** Names of all policies. */
  names(): ReadonlySet<string> {
    return new Set(this.#policies.keys());
  }
}
