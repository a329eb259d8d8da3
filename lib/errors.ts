/**
 * Typed errors of configuration. Packets never throw: they get a verdict and a counted reason (`counters.ts`).
 * Whoever gives us a ruleset, an option or a file gets an error that says where, which word, and what was
 * expected instead; nothing of what was being configured has been applied when it is thrown.
 */

/** Where in a text a configuration error stands. */
export interface ErrorPlace {
  /** The file's name as the caller gave it. */
  readonly file?: string | undefined;
  /** Line number, from 1. */
  readonly line?: number | undefined;
  /** Column of the word's first character, from 1. */
  readonly column?: number | undefined;
  /** Offset in a binary file, in bytes from its beginning. */
  readonly offsetBytes?: number | undefined;
  /** The word that was refused, as written. */
  readonly word?: string | undefined;
  /** What would have been accepted in its place. */
  readonly expected?: string | undefined;
}

/** Machine-readable kind of a {@link ConfigurationError}. */
export type ConfigurationErrorCode =
  | 'syntax' // the text does not follow the grammar
  | 'unknown' // a name (match, target, chain, option, timeout) that does not exist here
  | 'value' // a value out of range or of the wrong form
  | 'conflict' // two settings that exclude each other
  | 'unsupported' // valid for Linux, refused here
  | 'io'; // a file that cannot be read or written

/** Thrown when a configuration is refused. The state before the call stays as it was. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  readonly code: ConfigurationErrorCode;
  readonly place: ErrorPlace;

  /** `message` is the plain reason; the place is put before it and what was expected behind. */
  constructor(code: ConfigurationErrorCode, message: string, place: ErrorPlace = {}, options?: ErrorOptions) {
    super(describe(message, place), options);
    this.code = code;
    this.place = place;
  }
}

function describe(message: string, place: ErrorPlace): string {
  const position = [place.file, place.line, place.column].filter((part) => part !== undefined).join(':');
  const offset = place.offsetBytes === undefined ? '' : ` at byte ${place.offsetBytes}`;
  const word = place.word === undefined ? '' : ` ('${place.word}')`;
  const expected = place.expected === undefined ? '' : `; expected ${place.expected}`;
  return `${position === '' ? '' : `${position}: `}${message}${offset}${word}${expected}`;
}
