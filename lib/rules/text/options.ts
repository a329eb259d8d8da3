/**
 * The long options that may stand at one place of a rule line, looked up as getopt_long does: an exact name wins,
 * else a beginning that only one option has. Cold.
 */

import type { Family } from '../ast.js';
import type { MatchExtension, OptionTraits, TargetExtension } from './grammar.js';

/** none: `-f`; needed: `-s X`. Words that may follow without being needed are the command's affair. */
export type ArgumentKind = 'none' | 'needed';

/** Long names of the options that every rule line knows, by letter. */
const BASE: readonly (readonly [name: string, letter: string, argument: ArgumentKind])[] = [
  ['append', 'A', 'needed'],
  ['delete', 'D', 'needed'],
  ['check', 'C', 'needed'],
  ['insert', 'I', 'needed'],
  ['replace', 'R', 'needed'],
  ['list', 'L', 'none'],
  ['list-rules', 'S', 'none'],
  ['flush', 'F', 'none'],
  ['zero', 'Z', 'none'],
  ['new-chain', 'N', 'needed'],
  ['delete-chain', 'X', 'none'],
  ['rename-chain', 'E', 'needed'],
  ['policy', 'P', 'needed'],
  ['source', 's', 'needed'],
  ['destination', 'd', 'needed'],
  ['src', 's', 'needed'],
  ['dst', 'd', 'needed'],
  ['protocol', 'p', 'needed'],
  ['in-interface', 'i', 'needed'],
  ['jump', 'j', 'needed'],
  ['table', 't', 'needed'],
  ['match', 'm', 'needed'],
  ['numeric', 'n', 'none'],
  ['out-interface', 'o', 'needed'],
  ['verbose', 'v', 'none'],
  ['wait', 'w', 'none'],
  ['exact', 'x', 'none'],
  ['fragments', 'f', 'none'],
  ['version', 'V', 'none'],
  ['help', 'h', 'none'],
  ['line-numbers', '0', 'none'],
  ['modprobe', 'M', 'needed'],
  ['set-counters', 'c', 'needed'],
  ['goto', 'g', 'needed'],
  ['ipv4', '4', 'none'],
  ['ipv6', '6', 'none'],
];

const LETTERS: ReadonlyMap<string, ArgumentKind> = new Map(
  BASE.map(([, letter, argument]) => [letter, argument]),
);
const BASE_OPTIONS = new Map(
  BASE.map(([name, letter, argument]) => [name, { owner: 'base', letter, argument } as const]),
);

/** What a letter takes; undefined if there is no such option. */
export function letterArgument(letter: string): ArgumentKind | undefined {
  return LETTERS.get(letter);
}

/** An extension of the rule being read, with the options given to it so far. */
export interface Loaded<E extends MatchExtension | TargetExtension = MatchExtension | TargetExtension> {
  readonly extension: E;
}

export type LongOption<L> =
  | { readonly owner: 'base'; readonly letter: string; readonly argument: ArgumentKind }
  | { readonly owner: L; readonly key: string; readonly argument: ArgumentKind };

interface OwnOption {
  readonly known: string;
  readonly key: string;
  readonly argument: ArgumentKind;
}

const ownOptions = new WeakMap<MatchExtension | TargetExtension, readonly OwnOption[]>();

/** The names of an extension's options, in the order in which they are declared. */
function optionsOf(extension: MatchExtension | TargetExtension): readonly OwnOption[] {
  let options = ownOptions.get(extension);
  if (options === undefined) {
    options = Object.entries(extension.options).flatMap(([key, { aka = [], read }]) =>
      [key, ...aka].map(
        (known) => ({ known, key, argument: read === undefined ? 'none' : 'needed' }) as const,
      ),
    );
    ownOptions.set(extension, options);
  }
  return options;
}

type OptionEntry = readonly [key: string, traits: OptionTraits];

const constrained = new WeakMap<MatchExtension | TargetExtension, readonly OptionEntry[]>();

/** The options of an extension that must be given, or not beside others, or not without them. */
export function constrainedOptions(extension: MatchExtension | TargetExtension): readonly OptionEntry[] {
  let options = constrained.get(extension);
  if (options === undefined) {
    options = Object.entries(extension.options).filter(
      ([, { presence, excludes, requires }]) => presence ?? excludes ?? requires,
    );
    constrained.set(extension, options);
  }
  return options;
}

/** undefined: none has the name, or several begin with it. `loaded`: the one loaded last comes first. */
export function findLongOption<L extends Loaded>(
  name: string,
  family: Family,
  loaded: readonly L[],
): LongOption<L> | undefined {
  const base = BASE_OPTIONS.get(name);
  if (base !== undefined && !(base.letter === 'f' && family === 6)) return base;
  for (const owner of loaded) {
    const own = optionsOf(owner.extension).find(({ known }) => known === name);
    if (own !== undefined) return { owner, key: own.key, argument: own.argument };
  }
  const beginnings: LongOption<L>[] = [];
  for (const [known, option] of BASE_OPTIONS) {
    if (known.startsWith(name) && !(option.letter === 'f' && family === 6)) beginnings.push(option);
  }
  for (const owner of loaded) {
    for (const { known, key, argument } of optionsOf(owner.extension)) {
      if (known.startsWith(name)) beginnings.push({ owner, key, argument });
    }
  }
  const [first, ...others] = beginnings;
  if (first === undefined) return undefined;
  const identity = (option: LongOption<L>) => ('letter' in option ? option.letter : option.key);
  const same = others.every((other) => other.owner === first.owner && identity(other) === identity(first));
  return same ? first : undefined;
}
