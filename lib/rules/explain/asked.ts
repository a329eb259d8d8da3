/**
 * What a match asks for, by the options that it is printed with, so that reasons name it in the rule's own words. Cold.
 */

import type { Tracker } from '../../conntrack/tracker.js';
import type { Host } from '../../host.js';
import type { Packet } from '../../wire/packet.js';
import type { Family, MatchSpec } from '../ast.js';
import type { RuleContext } from '../context.js';
import { findMatch } from '../text/registry.js';
import { isNot } from './base.js';

/** What a reason is found with. The packet is as the match saw it. */
export interface ReasonScope {
  readonly tracker: Tracker;
  readonly host: Host;
  readonly packet: Packet;
  readonly context: RuleContext;
}

export class Asked {
  /** `-m NAME` and its options. */
  readonly text: string;
  readonly #options = new Map<string, { readonly value: string; readonly negated: boolean }>();

  constructor(spec: MatchSpec, family: Family) {
    const parts = findMatch(spec.kind, family)?.print(spec, family) ?? [];
    const said = parts.filter((part) => part !== undefined && part !== '');
    this.text = [`-m ${spec.kind}`, ...said].join(' ');
    for (const part of said) {
      const found = /^(! )?--(\S+) ?([\s\S]*)$/.exec(part ?? '');
      if (found !== null) {
        this.#options.set(found[2] as string, { value: found[3] as string, negated: found[1] !== undefined });
      }
    }
  }

  /** The value of an option as printed; '' without. */
  value(option: string): string {
    return this.#options.get(option)?.value ?? '';
  }

  isNegated(option: string): boolean {
    return this.#options.get(option)?.negated === true;
  }

  /** `subject is X, wanted Y` for an option. */
  isNot(option: string, subject: string, is: string | number): string {
    return isNot(subject, is, this.value(option), this.isNegated(option));
  }
}

/** Why matches of a kind do not hold; undefined where the reason cannot be told. */
export type Reasons = {
  readonly [K in MatchSpec['kind']]?: (
    spec: SpecOf<K>,
    scope: ReasonScope,
    asked: Asked,
  ) => string | undefined;
};

type SpecOf<K> = MatchSpec extends infer S
  ? S extends { readonly kind: infer J }
    ? K extends J
      ? S
      : never
    : never
  : never;
