/**
 * Options that do not exist are refused: a misspelt one would silently mean its default, which for a policy is to let
 * pass. Cold.
 */
import { ConfigurationError } from '../errors.js';

/** The names of an object's options: a record, so that the compiler sees when one is missing. */
export type Names<Options> = Readonly<Record<keyof Options, true>>;

/** Throws a ConfigurationError if `options` is no object, or has an option that `names` does not have. */
export function refuseUnknown(where: string, options: unknown, names: Readonly<Record<string, true>>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ConfigurationError('value', `${where}: not an object`, { word: String(options) });
  }
  const known = Object.keys(names);
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new ConfigurationError('unknown', `${where}: no such option`, {
      word: name,
      expected: known.join(', '),
    });
  }
}

/** Throws a ConfigurationError if `value` is given and is none of `words`. */
export function refuseOther(where: string, value: unknown, words: readonly string[]): void {
  if (value === undefined || words.includes(value as string)) return;
  throw new ConfigurationError('value', where, { word: String(value), expected: words.join(', ') });
}

/** Throws a ConfigurationError if `value` is given and is no list of texts. */
export function refuseNoTexts(where: string, value: unknown): void {
  if (value === undefined) return;
  if (Array.isArray(value) && value.every((text) => typeof text === 'string')) return;
  throw new ConfigurationError('value', `${where}: not a list of texts`, { word: String(value) });
}
