/**
 * set: whether the packet is in a set. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { SetMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';
import type { RuleScope } from '../rows.js';
import type { LookupOptions } from '../sets/element.js';
import { useSet } from '../sets/registry.js';
import { type SetHandle, SetQuery, testSet } from '../sets/set.js';

/** Bit n for each dimension n whose side is the source. */
export function sourceBits(sides: readonly ('src' | 'dst')[]): number {
  return sides.reduce((bits, side, i) => (side === 'src' ? bits | (1 << i) : bits), 0);
}

export class SetMembershipMatch implements Match {
  readonly #handle: SetHandle;
  readonly #query = new SetQuery();
  readonly #options: LookupOptions;
  readonly #negated: 0 | 1;

  constructor(spec: SetMatch, scope: RuleScope) {
    this.#handle = useSet(spec.name, scope);
    this.#query.dimensions = spec.sides.length;
    this.#query.sources = sourceBits(spec.sides);
    this.#negated = spec.negated ? 1 : 0;
    const common = { returnsNomatch: spec.returnNomatch, packets: undefined, bytes: undefined };
    const ofMembers = {
      ...common,
      keepsCounters: !spec.updateCounters || !spec.updateSubcounters,
      ofMembers: undefined,
    };
    this.#options = {
      ...common,
      keepsCounters: !spec.updateCounters,
      packets: spec.packets,
      bytes: spec.bytes,
      ofMembers,
    };
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const query = this.#query;
    query.packet = packet;
    query.context = context;
    query.options = this.#options;
    return (testSet(this.#handle.set, query) ^ this.#negated) as 0 | 1;
  }
}
