/**
 * Finding and reading scenario files: `.json` with one scenario, `.jsonl` and `.jsonl.gz` with one on each line.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { fileError } from './files.js';

/** The text of one scenario and where it is from. */
export interface TraceText {
  /** File, and line if the file has several. */
  readonly place: string;
  /** What to call it if its text cannot be read: the file's name without ending. */
  readonly name: string;
  readonly text: string;
}

const ENDING = /\.(json|jsonl|jsonl\.gz)$/;

/** The scenario files of a path: the file itself, or those in the folder and below it, sorted. */
export function findTraceFiles(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
    const files = names.filter((name) => ENDING.test(name)).sort();
    return files.map((name) => join(path, name)).filter((file) => statSync(file).isFile());
  } catch (error) {
    throw fileError(error, path);
  }
}

/** The scenarios in a file. Throws a ConfigurationError if the file cannot be read or unpacked. */
export function readTraceFile(file: string): TraceText[] {
  let text: string;
  try {
    const bytes = readFileSync(file);
    text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (error) {
    throw fileError(error, file);
  }
  const name = basename(file).replace(ENDING, '');
  if (!/\.jsonl(\.gz)?$/.test(file)) return [{ place: file, name, text }];
  return text.split('\n').flatMap((line, i) => {
    return line.trim() === '' ? [] : [{ place: `${file}:${i + 1}`, name: `${name}:${i + 1}`, text: line }];
  });
}
