/**
 * The long options that may stand at one place of a rule line, looked up as getopt_long does: an exact name wins,
 * else a beginning that only one option has. Cold.
 */

import type { Family } from '../ast.js';
import type { MatchExtension, TargetExtension } from './grammar.js';

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

/** What a letter takes; undefined if there is no such option. */
export function letterArgument(letter: string): ArgumentKind | undefined {
  return BASE.find(([, known]) => known === letter)?.[2];
}

/** An extension of the rule being read, with the options given to it so far. */
export interface Loaded<E extends MatchExtension | TargetExtension = MatchExtension | TargetExtension> {
  readonly extension: E;
}

export type LongOption<L> =
  | { readonly owner: 'base'; readonly letter: string; readonly argument: ArgumentKind }
  | { readonly owner: L; readonly key: string; readonly argument: ArgumentKind };

/** undefined: none has the name, or several begin with it. `loaded`: the one loaded last comes first. */
export function findLongOption<L extends Loaded>(
  name: string,
  family: Family,
  loaded: readonly L[],
): LongOption<L> | undefined {
  const beginnings: LongOption<L>[] = [];
  for (const [known, letter, argument] of BASE) {
    if (!known.startsWith(name) || (letter === 'f' && family === 6)) continue;
    const option: LongOption<L> = { owner: 'base', letter, argument };
    if (known === name) return option;
    beginnings.push(option);
  }
  for (const owner of loaded) {
    for (const [key, { aka = [], read }] of Object.entries(owner.extension.options)) {
      const option: LongOption<L> = { owner, key, argument: read === undefined ? 'none' : 'needed' };
      for (const known of [key, ...aka]) {
        if (!known.startsWith(name)) continue;
        if (known === name) return option;
        beginnings.push(option);
      }
    }
  }
  const [first, ...others] = beginnings;
  if (first === undefined) return undefined;
  const identity = (option: LongOption<L>) => ('letter' in option ? option.letter : option.key);
  const same = others.every((other) => other.owner === first.owner && identity(other) === identity(first));
  return same ? first : undefined;
}
