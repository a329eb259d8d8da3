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
import { readCommand } from './text/command.js';
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
  const { family, file, known = {} } = options;
  const tables = new Map<TableName, TableSpec>();
  let open: { readonly name: TableName; readonly draft: TableDraft } | undefined;
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  for (let index = 0; index < lines.length; index++) {
    if (index % SLICE === SLICE - 1) yield;
    const line = lines[index]!;
    const where = new Where(file, index + 1, 1, line);
    if (line === '' || line.startsWith('#')) continue;
    if (open === undefined) {
      if (!line.startsWith('*')) where.refuse('syntax', 'outside of a table', '*TABLE');
      const name = readTableName(where);
      open = { name, draft: new TableDraft(name, family, tables.get(name)) };
    } else if (line === 'COMMIT') {
      tables.set(open.name, yield* open.draft.finish(known));
      open = undefined;
    } else if (line.startsWith(':')) {
      declareChain(open.draft, where);
    } else {
      readRule(open.name, open.draft, family, where);
    }
  }
  if (open !== undefined) {
    new Where(file, lines.length + 1, 1, '').refuse('syntax', 'the text ends inside a table', 'COMMIT');
  }
  return { family, tables: [...tables.values()] };
}

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

function declareChain(draft: TableDraft, where: Where): void {
  const words = [...where.word.slice(1).matchAll(/[^ \t]+/g)].map((word) =>
    where.at(word.index + 2, word[0]),
  );
  const [name, policy, counters] = words;
  if (name === undefined) where.refuse('syntax', 'no chain', ':CHAIN POLICY [packets:bytes]');
  if (policy === undefined) name.refuse('syntax', 'no policy behind the chain', 'ACCEPT, DROP or -');
  draft.declare(name, policy, counters && readCounters(counters.word, counters));
}

function readRule(table: TableName, draft: TableDraft, family: Family, where: Where): void {
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
  const context = {
    family,
    table,
    where: first === undefined ? where : where.at(first.column, first.text),
    counters,
    findChain: (name: string) => draft.findChain(name),
  };
  const command = readCommand(words, context);
  if (command !== undefined) draft.run(command);
}

function readCounters(text: string, where: Where): CounterSpec {
  const match = /^\[(\d+):(\d+)\]$/.exec(text);
  if (match === null) return where.at(where.column, text).refuse('syntax', 'not counters', '[packets:bytes]');
  return { packets: Number(match[1]), bytes: Number(match[2]) };
}
