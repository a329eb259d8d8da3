/**
 * A table compiled: its chains one behind the other in one array, a record of words per rule. Made by `rows.ts`,
 * walked by `walk.ts`.
 *
 *   word  0 flags      1 protocol   2 in test    3 out test
 *         4 matches from            5 matches to (exclusive)
 *         6 action     7 operand of the action: rule to go on at, or index of a target
 *         8 source     9 its mask  10 destination 11 its mask                          (IPv4)
 *         8-11 source 12-15 mask   16-19 destination 20-23 mask                        (IPv6)
 *
 * Behind the rules of each chain stands a record that always matches: the policy, or the end of a user's chain. So a
 * rule is one number for the whole table, and the walk needs no lengths. Counters have a place per record.
 */
import type { TableName, TableSpec } from './ast.js';
import type { Classifier } from './classify/classifier.js';
import type { Match, Target } from './context.js';
import type { InterfaceTest } from './interfaces.js';
import type { RulePlaces } from './places.js';
import type { Release } from './shared.js';

/** Words per rule. */
export const RULE_WORDS_4 = 12;
export const RULE_WORDS_6 = 24;

/** Bits of word 0: what is asked, and whether the answer is turned round. */
export const RuleFlag = {
  SOURCE: 1,
  SOURCE_NEGATED: 2,
  DESTINATION: 4,
  DESTINATION_NEGATED: 8,
  IN: 16,
  IN_NEGATED: 32,
  OUT: 64,
  OUT_NEGATED: 128,
  PROTOCOL: 256,
  PROTOCOL_NEGATED: 512,
  FRAGMENT: 1024,
  NOT_FRAGMENT: 2048,
  /** No condition: the rule is in an indexed run, whose number stands from bit {@link RUN_SHIFT} on. */
  INDEXED: 4096,
} as const;
export const RUN_SHIFT = 13;
/** Runs of a table that can be numbered. */
export const MOST_RUNS = 2 ** 17;

/** Word 6. */
export const Action = {
  /** No target: on to the next rule. */
  NEXT: 0,
  ACCEPT: 1,
  DROP: 2,
  /** Back behind the last jump; without one, the chain's policy. Also a user's chain's end. */
  RETURN: 3,
  JUMP: 4,
  GOTO: 5,
  TARGET: 6,
  POLICY_ACCEPT: 7,
  POLICY_DROP: 8,
} as const;

/** No chain of the table at a hook. */
export const NO_CHAIN = -1;

/** What a program was made of. */
export interface TableSource {
  readonly name: TableName;
  /** The typed rules, with the counters that they came with; may be read again from a text, without an error. */
  table(): TableSpec;
}

export interface TableProgram {
  readonly source: TableSource;
  /** Index of the table, see `rules.ts`. */
  readonly index: number;
  /** [rules * RULE_WORDS] */
  readonly words: Int32Array;
  /** Interface tests by index. */
  readonly interfaces: readonly InterfaceTest[];
  /** All rules' matches, in order. */
  readonly matches: readonly Match[];
  readonly targets: readonly Target[];
  /** [5] first rule of the chain at a hook, or {@link NO_CHAIN}. */
  readonly starts: Int32Array;
  /** [5] the chain's policy. */
  readonly policies: Int32Array;
  /** [rules] */
  readonly packets: Float64Array;
  /** [rules] bytes of IP packets. */
  readonly bytes: Float64Array;
  /** [rules] where each stands. */
  readonly places: RulePlaces;
  /** [rules] 1: all of its conditions depend on the flow alone, and its target only leads on or decides (`purity.ts`). */
  readonly isFlowPure: Uint8Array;
  /** [rules] first of its matches that depends on more than the flow, or where they end. */
  readonly impureFrom: Int32Array;
  /** The index over long runs of rules; undefined without such a run. */
  readonly classifier: Classifier | undefined;
  /** Whether a rule of the table needs connections to be tracked: 1 or 0. */
  readonly needsTracking: 0 | 1;
  /** Whether one needs whole packets, not fragments: 1 or 0. */
  readonly needsWhole: 0 | 1;
  /** Lets go of what the rules share with others. */
  readonly releases: readonly Release[];
  /** Most jumps that can be open at a time. */
  readonly depth: number;
}
