/**
 * Splits a rule line into words as iptables-restore does: blanks separate, double quotes keep blanks, and inside
 * quotes a backslash takes the next character as it is. A closing quote ends the word (`"a"b` is two words), an
 * opening one does not (`a"b"` is one). Single quotes are ordinary characters. Cold.
 */

import type { Where } from './where.js';

export interface Word {
  readonly text: string;
  /** From 1. */
  readonly column: number;
}

/** Words of `line` from index `start` on. An unclosed quote is refused. */
export function splitWords(line: string, start: number, where: Where): Word[] {
  if (!line.includes('"', start)) return plainWords(line, start);
  const words: Word[] = [];
  let text = '';
  let begin = -1;
  let quote = -1;
  for (let i = start; i < line.length; i++) {
    const c = line[i]!;
    if (quote >= 0) {
      if (c === '\\' && i + 1 < line.length) text += line[++i];
      else if (c !== '"') text += c;
      else {
        words.push({ text, column: begin + 1 });
        text = '';
        begin = quote = -1;
      }
    } else if (c === '"') {
      quote = i;
      if (begin < 0) begin = i;
    } else if (c === ' ' || c === '\t') {
      if (begin >= 0) words.push({ text, column: begin + 1 });
      text = '';
      begin = -1;
    } else {
      if (begin < 0) begin = i;
      text += c;
    }
  }
  if (quote >= 0) where.at(quote + 1, line.slice(quote)).refuse('syntax', 'unclosed quote', 'a closing "');
  if (begin >= 0) words.push({ text, column: begin + 1 });
  return words;
}

const SPACE = 32;
const TAB = 9;

/** The same of a line without quotes. */
function plainWords(line: string, start: number): Word[] {
  const words: Word[] = [];
  let begin = -1;
  for (let i = start; i < line.length; i++) {
    const c = line.charCodeAt(i);
    if (c !== SPACE && c !== TAB) {
      if (begin < 0) begin = i;
    } else if (begin >= 0) {
      words.push({ text: line.slice(begin, i), column: begin + 1 });
      begin = -1;
    }
  }
  if (begin >= 0) words.push({ text: line.slice(begin), column: begin + 1 });
  return words;
}

const PLAIN = /^[-_0-9a-zA-Z]+$/;

/** A string as iptables-save prints it: bare if it is letters, digits, `-` and `_`; else quoted. */
export function quoteString(text: string): string {
  return PLAIN.test(text) ? text : quoteAlways(text, /["\\']/g);
}

/** In double quotes, with a backslash before each of `escaped`. */
export function quoteAlways(text: string, escaped: RegExp): string {
  return `"${text.replace(escaped, '\\$&')}"`;
}
