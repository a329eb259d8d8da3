/**
 * A JSON text with comments, and where in it things stand: for errors that name line and column. Cold.
 */
import {
  findNodeAtLocation,
  getNodeValue,
  type JSONPath,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from 'jsonc-parser';
import { ConfigurationError, type ConfigurationErrorCode, type ErrorPlace } from '../errors.js';

export type { JSONPath, Node };

/** What a parser's complaint means. */
const SYNTAX: Readonly<Record<string, string>> = {
  InvalidSymbol: 'not a JSON value',
  InvalidNumberFormat: 'not a number',
  PropertyNameExpected: 'a key is missing',
  ValueExpected: 'a value is missing',
  ColonExpected: "':' is missing",
  CommaExpected: "',' is missing",
  CloseBraceExpected: "'}' is missing",
  CloseBracketExpected: "']' is missing",
  EndOfFileExpected: 'something stands behind the end',
  UnexpectedEndOfComment: 'this comment has no end',
  UnexpectedEndOfString: 'this string has no end',
  UnexpectedEndOfNumber: 'this number has no end',
  InvalidUnicode: 'not a Unicode escape',
  InvalidEscapeCharacter: 'not an escape',
  InvalidCharacter: 'control characters in strings must be escaped',
};

export class JsonDocument {
  readonly file: string;
  readonly root: Node;
  readonly #text: string;
  readonly #lineStarts: readonly number[];

  /** Throws a ConfigurationError unless `text` is JSON; comments and trailing commas are allowed. */
  constructor(text: string, file: string) {
    this.file = file;
    this.#text = text;
    this.#lineStarts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
    const errors: ParseError[] = [];
    const root = parseTree(text, errors, { allowTrailingComma: true, allowEmptyContent: true });
    const [first] = errors;
    if (first !== undefined) {
      const message = SYNTAX[printParseErrorCode(first.error)] ?? 'not JSON';
      throw this.#error('syntax', message, first.offset, first.length);
    }
    if (root === undefined) throw new ConfigurationError('syntax', 'there is nothing in it', { file });
    this.root = root;
  }

  /** All of it, as JSON.parse would give it. */
  value(): unknown {
    return getNodeValue(this.root);
  }

  /** A node by its path, else the nearest one around it. */
  find(path: JSONPath): Node {
    for (let depth = path.length; depth > 0; depth--) {
      const found = findNodeAtLocation(this.root, path.slice(0, depth));
      if (found !== undefined) return found;
    }
    return this.root;
  }

  /** An error about a node: its key's path, its text, its line and column. */
  errorAt(
    node: Node,
    code: ConfigurationErrorCode,
    message: string,
    expected?: string,
    options?: ErrorOptions,
  ): ConfigurationError {
    const name = keyOf(node);
    const whole = name === '' ? message : `${name}: ${message}`;
    // Of an object or a list only its beginning is of use.
    const length = node.type === 'object' || node.type === 'array' ? 0 : node.length;
    return this.#error(code, whole, node.offset, length, expected, options);
  }

  /**
   * What went wrong with the value at `path`, said of the very word in it that the error names. Errors that have a file
   * of their own (a ruleset's) stay as they are.
   */
  blame(error: unknown, path: JSONPath): ConfigurationError {
    if (!(error instanceof ConfigurationError)) throw error;
    if (error.place.file !== undefined && error.place.line !== undefined) return error;
    const { word, expected, file } = error.place;
    const within = this.find(path);
    const node = word === undefined ? within : (findWord(within, word) ?? within);
    const reason = file === undefined || word !== undefined ? reasonOf(error) : error.message;
    return this.errorAt(node, error.code, reason, expected, { cause: error });
  }

  #error(
    code: ConfigurationErrorCode,
    message: string,
    offset: number,
    length: number,
    expected?: string,
    options?: ErrorOptions,
  ): ConfigurationError {
    const line = this.#lineStarts.findLastIndex((start) => start <= offset);
    const word = this.#text
      .slice(offset, offset + length)
      .replace(/^"([^\n]*)"$/, '$1')
      .slice(0, LONGEST_WORD);
    const place: ErrorPlace = {
      file: this.file,
      line: line + 1,
      column: offset - (this.#lineStarts[line] as number) + 1,
      ...(word === '' ? {} : { word }),
      ...(expected === undefined ? {} : { expected }),
    };
    return new ConfigurationError(code, message, place, options);
  }
}

/** Characters of a word that errors show. */
const LONGEST_WORD = 80;

/** `interfaces[0].mtu` */
function keyOf(node: Node): string {
  const { parent } = node;
  if (parent === undefined) return '';
  if (parent.type === 'property') {
    const before = parent.parent === undefined ? '' : keyOf(parent.parent);
    const key = String(parent.children?.[0]?.value);
    return before === '' ? key : `${before}.${key}`;
  }
  return `${keyOf(parent)}[${parent.children?.indexOf(node) ?? 0}]`;
}

/** The node's own key, or the first value (or key) in it that is the word, else the first one that has it. */
function findWord(within: Node, word: string): Node | undefined {
  const key = within.parent?.type === 'property' ? within.parent.children?.[0] : undefined;
  if (key?.value === word) return key;
  const values = [...leaves(within)];
  return (
    values.find(({ value }) => String(value) === word) ??
    values.find(({ value }) => typeof value === 'string' && word !== '' && value.includes(word))
  );
}

function* leaves(node: Node): Generator<Node> {
  if (node.children === undefined) yield node;
  for (const child of node.children ?? []) yield* leaves(child);
}

/** An error's message without place and expectation, which are said anew. */
function reasonOf({ message, place }: ConfigurationError): string {
  const { word, expected, file } = place;
  let reason = message;
  const tail = expected === undefined ? '' : `; expected ${expected}`;
  if (tail !== '' && reason.endsWith(tail)) reason = reason.slice(0, -tail.length);
  const said = word === undefined ? '' : ` ('${word}')`;
  if (said !== '' && reason.endsWith(said)) reason = reason.slice(0, -said.length);
  if (file !== undefined && reason.startsWith(`${file}: `)) reason = reason.slice(file.length + 2);
  return reason;
}
