/**
 * Where in the text a word stands, and the refusal that names it. Cold.
 */

import { ConfigurationError, type ConfigurationErrorCode, type ErrorPlace } from '../../errors.js';

export class Where {
  readonly file: string | undefined;
  readonly line: number;
  readonly column: number;
  readonly word: string;

  constructor(file: string | undefined, line: number, column: number, word: string) {
    this.file = file;
    this.line = line;
    this.column = column;
    this.word = word;
  }

  get place(): ErrorPlace {
    const { file, line, column, word } = this;
    return file === undefined ? { line, column, word } : { file, line, column, word };
  }

  /** Another word of the same line. */
  at(column: number, word: string): Where {
    return new Where(this.file, this.line, column, word);
  }

  refuse(code: ConfigurationErrorCode, message: string, expected?: string): never {
    throw new ConfigurationError(
      code,
      message,
      expected === undefined ? this.place : { ...this.place, expected },
    );
  }
}
