/**
 * Rules and files with what iptables-legacy-restore 1.8.9 on Linux 6.18 made of them: `../corpus.json` (single rules
 * and whole files) and `recorded.jsonl` (single rules, many of them odd).
 */

import { readFileSync } from 'node:fs';
import { ConfigurationError } from '../../../lib/errors.js';
import type { Family } from '../../../lib/rules/ast.js';
import { restoreRuleset } from '../../../lib/rules/restore.js';
import { saveRuleset } from '../../../lib/rules/save.js';

export interface CorpusEntry {
  readonly family: Family;
  readonly table: string;
  readonly rule?: string;
  readonly what?: string;
  readonly file?: string;
  /** What iptables-save printed of it; null where the text was refused. */
  readonly saved: readonly string[] | null;
}

const here = (name: string): URL => new URL(name, import.meta.url);

export const corpus = JSON.parse(readFileSync(here('../corpus.json'), 'utf8')) as readonly CorpusEntry[];
export const recorded = readFileSync(here('recorded.jsonl'), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as CorpusEntry);

/** Of each entry that is taken otherwise here: the rule or file, and why. */
export const exceptions = JSON.parse(readFileSync(here('exceptions.json'), 'utf8')) as Record<string, string>;

/** What there was on the machine of the recordings. */
const KNOWN = {
  sets: new Set<string>(),
  timeouts: new Set<string>(),
  helpers: new Map([
    ['ftp', [6]],
    ['tftp', [17]],
  ]),
};

export function textOf({ table, rule, file }: CorpusEntry): string {
  return file ?? `*${table}\n:UC - [0:0]\n${rule}\nCOMMIT\n`;
}

/** What is printed of an entry, as the recordings keep it; null if it is refused. */
export function outcome(entry: CorpusEntry): readonly string[] | null {
  try {
    const ruleset = restoreRuleset(textOf(entry), { family: entry.family, known: KNOWN });
    const table = ruleset.tables.filter(({ name }) => name === entry.table);
    const lines = saveRuleset({ ...ruleset, tables: table }, { counters: 'without' }).split('\n');
    return lines.filter((line) => line.startsWith('-') || (entry.file !== undefined && / - \[/.test(line)));
  } catch (error) {
    if (error instanceof ConfigurationError) return null;
    throw error;
  }
}
