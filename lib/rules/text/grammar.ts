/**
 * How a match or target declares its options. A declaration is a table: the options with their readers and rules
 * (may be negated, must be given, excludes, requires), how the typed object is built from what was given, how it is
 * printed, and what the kernel asks of a rule that has it. `command.ts` reads by it, `print-rule.ts` prints by it,
 * `kernel-checks.ts` checks by it. Cold.
 */

import type { Family, MatchSpec, ProtocolCondition, RuleSpec, TableName, TargetSpec } from '../ast.js';
import type { Where } from './where.js';

/** What a reader may ask beyond its own text. */
export interface Reading {
  readonly family: Family;
  /** The value's word. */
  readonly where: Where;
  /** `-p` as far as it was read when the option came. */
  readonly protocol: ProtocolCondition | undefined;
  /** Takes the following word too; refuses with `expected` if there is none. */
  readonly next: (expected: string) => string;
}

/** Text to value; refuses through `reading.where`. */
export type Reader<T> = (text: string, reading: Reading) => T;

export interface OptionTraits {
  readonly aka?: readonly string[];
  readonly negation?: 'allowed';
  readonly presence?: 'required';
  /** Other options of the same extension, by their main name. */
  readonly excludes?: readonly string[];
  readonly requires?: readonly string[];
}

/** Without a reader the option takes no value and gives `true`. */
export interface OptionGrammar<T> extends OptionTraits {
  readonly read?: Reader<T>;
}

export interface GivenOption<T> {
  readonly value: T;
  readonly negated: boolean;
  readonly where: Where;
}

type Options = Readonly<Record<string, OptionGrammar<unknown>>>;
/** The options of a table that were given, in the order of the text. */
export type Given<O extends Options> = {
  readonly [K in keyof O]?: O[K] extends OptionGrammar<infer T> ? GivenOption<T> : never;
};

export interface BuildContext {
  readonly family: Family;
  /** The name after -m or -j. */
  readonly where: Where;
  readonly protocol: ProtocolCondition | undefined;
}

/** Hooks as bits; also the bits of reachability. */
export const Hook = { PREROUTING: 1, INPUT: 2, FORWARD: 4, OUTPUT: 8, POSTROUTING: 16 } as const;

/** Names outside of the ruleset that rules refer to. A kind that is left out is not checked. */
export interface KnownNames {
  readonly sets?: ReadonlySet<string>;
  /** Connection tracking helpers, with the protocols each of them is for. */
  readonly helpers?: ReadonlyMap<string, readonly number[]>;
  /** Timeout policies of connection tracking. */
  readonly timeouts?: ReadonlySet<string>;
}

export interface KernelContext {
  readonly known: KnownNames;
  readonly family: Family;
  readonly table: TableName;
  readonly rule: RuleSpec;
  /** Hooks from which the rule can be reached; 0 if from none. */
  readonly hooks: number;
}

/** What the kernel asks of a rule; the check says what is wrong. */
export interface KernelNeeds<S> {
  /** `-p` must be one of these, not negated. */
  readonly protocols?: readonly number[];
  readonly tables?: readonly TableName[];
  /** The rule must be reachable from no other hooks. */
  readonly hooks?: number;
  readonly check?: (spec: S, context: KernelContext) => string | undefined;
}

/** `print` gives the parts of the text; undefined ones are left out. */
export interface Extension<S> extends KernelNeeds<S> {
  readonly name: string;
  readonly family?: Family;
  readonly options: Options;
  /** At least one of the options must be given. */
  readonly anyOf?: readonly string[];
  readonly build: (given: Readonly<Record<string, GivenOption<unknown>>>, context: BuildContext) => S;
  readonly print: (spec: S, family: Family) => readonly (string | undefined)[];
}
export type MatchExtension = Extension<MatchSpec>;
export type TargetExtension = Extension<TargetSpec>;

interface Declaration<S, O extends Options> extends KernelNeeds<S> {
  readonly name: string;
  readonly family?: Family;
  readonly options: O;
  readonly anyOf?: readonly (keyof O & string)[];
  readonly build: (given: Given<O>, context: BuildContext) => S;
  readonly print: (spec: S, family: Family) => readonly (string | undefined)[];
}

/** Declares a match; its name is the `kind` of what it builds. */
export function match<S extends MatchSpec, O extends Options>(
  declaration: Declaration<S, O>,
): MatchExtension {
  return declaration as unknown as MatchExtension;
}

/** Declares a target; its name is the `kind` of what it builds. */
export function target<S extends TargetSpec, O extends Options>(
  declaration: Declaration<S, O>,
): TargetExtension {
  return declaration as unknown as TargetExtension;
}

export function takes<T>(read: Reader<T>, traits: OptionTraits = {}): OptionGrammar<T> {
  return { ...traits, read };
}

/** An option without a value. */
export function flag(traits: OptionTraits = {}): OptionGrammar<true> {
  return traits;
}

/** Leaves out what is undefined, as exact optional properties want it. */
export function compact<T extends object>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  const given: Partial<T> = {};
  for (const name in fields) {
    if (fields[name] !== undefined) given[name] = fields[name];
  }
  return given as T;
}

/** `! --name value`; undefined if `value` is: the option is not printed. An empty value prints the name alone. */
export function say(name: string, value: string | number | undefined, negated = false): string | undefined {
  if (value === undefined) return undefined;
  return `${negated ? '! ' : ''}--${name}${value === '' ? '' : ` ${value}`}`;
}

/** `--name` if it holds. */
export function sayIf(name: string, holds: boolean): string | undefined {
  return holds ? `--${name}` : undefined;
}
