/**
 * Text in the format of iptables-restore to a typed ruleset. The whole text is read and checked before anything is
 * given back: the result is complete, or a {@link ConfigurationError} names the line, the column and the word. Cold.
 *
 * Accepted is what iptables-legacy-restore and the kernel accept (without `--noflush`); what a text leaves unsaid
 * (policies, chains) is as in a table that was never touched. Where it differs: host and user names are not
 * resolved, an unclosed quote is refused, and a last line without a line end is a line.
 */

import type { CounterSpec, Family, Ruleset, TableName, TableSpec } from './ast.js';
import { finish } from './slices.js';
import { type Command, type LineContext, readCommand } from './text/command.js';
import type { KnownNames } from './text/grammar.js';
import { BUILTIN_CHAINS, TableDraft } from './text/table-draft.js';
import { Where } from './text/where.js';
import { splitWords } from './text/words.js';

export type { KnownNames } from './text/grammar.js';

/** Lines read between two interruptions. */
const SLICE = 16;

export interface RestoreOptions {
  readonly family: Family;
  /** Named in errors. */
  readonly file?: string;
  /** Sets, helpers and timeout policies that exist; rules that name others are refused. */
  readonly known?: KnownNames;
}

export function restoreRuleset(text: string, options: RestoreOptions): Ruleset {
  return finish(readRuleset(text, options));
}

/** The same in slices: yields where it may be interrupted. */
export function* readRuleset(text: string, options: RestoreOptions): Generator<void, Ruleset> {
  const { family } = options;
  const open = (name: TableName, before: TableSpec | undefined) => new TableDraft(name, family, before);
  return { family, tables: yield* readTables(text, options, open) };
}

/** What the lines of a table become. */
export interface TableReader<T> {
  findChain(name: string): 'builtin' | 'user' | undefined;
  /** `:CHAIN POLICY [packets:bytes]`. */
  declare(name: Where, policy: Where, counters: CounterSpec | undefined): void;
  run(command: Command): void;
  /** COMMIT. Yields where it may be interrupted. */
  finish(known: KnownNames): Generator<void, T>;
}

/** Opens a table; `before` is what it became earlier in the text. */
export type TableOpening<T> = (name: TableName, before: T | undefined) => TableReader<T>;

/** The tables of a text in the order in which they were first named. Yields where it may be interrupted. */
export function* readTables<T>(
  text: string,
  options: RestoreOptions,
  opening: TableOpening<T>,
): Generator<void, readonly T[]> {
  const { family, file, known = {} } = options;
  const tables = new Map<TableName, T>();
  let open:
    | { readonly name: TableName; readonly reader: TableReader<T>; readonly context: TableContext }
    | undefined;
  let number = 0;
  for (let at = 0; at < text.length; ) {
    const behind = text.indexOf('\n', at);
    const line = text.slice(at, behind < 0 ? text.length : behind);
    at += line.length + 1;
    if (++number % SLICE === 0) yield;
    if (line === '' || line.startsWith('#')) continue;
    const where = new Where(file, number, 1, line);
    if (open === undefined) {
      if (!line.startsWith('*')) where.refuse('syntax', 'outside of a table', '*TABLE');
      const name = readTableName(where);
      const reader = opening(name, tables.get(name));
      const findChain = (chain: string) => reader.findChain(chain);
      open = { name, reader, context: { family, table: name, findChain } };
    } else if (line === 'COMMIT') {
      tables.set(open.name, yield* open.reader.finish(known));
      open = undefined;
    } else if (line.startsWith(':')) {
      declareChain(open.reader, where);
    } else {
      const command = readRule(open.context, where);
      if (command !== undefined) open.reader.run(command);
    }
  }
  if (open !== undefined) {
    new Where(file, number + 1, 1, '').refuse('syntax', 'the text ends inside a table', 'COMMIT');
  }
  return [...tables.values()];
}

type TableContext = Pick<LineContext, 'family' | 'table' | 'findChain'>;

function readTableName(where: Where): TableName {
  const word = /^\*[ \t]*([^ \t]*)/.exec(where.word)![1]!;
  const known = (Object.keys(BUILTIN_CHAINS) as TableName[]).find((name) => name === word);
  return (
    known ??
    where
      .at(where.word.indexOf(word, 1) + 1, word)
      .refuse('unknown', 'no such table', Object.keys(BUILTIN_CHAINS).join(', '))
  );
}

function declareChain(reader: Pick<TableReader<unknown>, 'declare'>, where: Where): void {
  const words = [...where.word.slice(1).matchAll(/[^ \t]+/g)].map((word) =>
    where.at(word.index + 2, word[0]),
  );
  const [name, policy, counters] = words;
  if (name === undefined) where.refuse('syntax', 'no chain', ':CHAIN POLICY [packets:bytes]');
  if (policy === undefined) name.refuse('syntax', 'no policy behind the chain', 'ACCEPT, DROP or -');
  reader.declare(name, policy, counters && readCounters(counters.word, counters));
}

/** undefined: the line is for the other family. */
function readRule(table: TableContext, where: Where): Command | undefined {
  const line = where.word;
  let start = 0;
  let counters: CounterSpec | undefined;
  if (line.startsWith('[')) {
    start = line.indexOf(']') + 1;
    if (start === 0) where.refuse('syntax', 'counters without an end', '[packets:bytes]');
    counters = readCounters(line.slice(0, start), where);
  }
  const words = splitWords(line, start, where);
  const first = words[0];
  return readCommand(words, {
    family: table.family,
    table: table.table,
    where: first === undefined ? where : where.at(first.column, first.text),
    counters,
    findChain: table.findChain,
  });
}

function readCounters(text: string, where: Where): CounterSpec {
  const match = /^\[(\d+):(\d+)\]$/.exec(text);
  if (match === null) return where.at(where.column, text).refuse('syntax', 'not counters', '[packets:bytes]');
  return { packets: Number(match[1]), bytes: Number(match[2]) };
}
