/**
 * SCTP chunk types by name, with the flag letters of those chunks that have flags (RFC 9260). Cold.
 */

import { SctpChunk } from '../../wire/sctp.js';
import type { SctpChunksCondition } from '../ast.js';
import type { Reader } from './grammar.js';

/** Ascending by type, which is the order of printing. */
const CHUNKS: Readonly<Record<string, number>> = SctpChunk;
/** Letters of the flag bits 7 to 0; `-` where there is none. */
const FLAG_LETTERS: ReadonlyMap<number, string> = new Map([
  [0, '----IUBE'],
  [6, '-------T'],
  [14, '-------T'],
  [64, '----IUBE'],
]);

type Chunks = SctpChunksCondition['types'];

/** Two words: the scope, and the chunk types (`DATA:BE,ABORT:t`, ALL, NONE; a small letter is a flag not set). */
export const chunkTypes: Reader<Omit<SctpChunksCondition, 'negated'>> = (text, reading) => {
  const scope = text.toLowerCase();
  if (scope !== 'any' && scope !== 'all' && scope !== 'only') {
    return reading.where.refuse('value', 'unknown chunk scope', 'any, all or only');
  }
  const list = reading.next('chunk types');
  const upper = list.toUpperCase();
  if (upper === 'NONE') return { scope, types: [] };
  if (upper === 'ALL')
    return { scope, types: Array.from({ length: 256 }, (_, type) => ({ type, mask: 0, flags: 0 })) };
  const types = new Map<number, Chunks[number]>();
  for (const item of list.split(',')) {
    const [name = '', letters = ''] = item.split(':');
    const type = CHUNKS[name.toUpperCase()];
    if (type === undefined) {
      return reading.where.refuse('value', `unknown SCTP chunk '${name}'`, Object.keys(CHUNKS).join(', '));
    }
    let mask = 0;
    let flags = 0;
    for (const letter of letters) {
      const position = FLAG_LETTERS.get(type)?.indexOf(letter.toUpperCase()) ?? -1;
      if (position < 0) return reading.where.refuse('value', `chunk ${name} has no flag '${letter}'`);
      const bit = 0x80 >> position;
      mask |= bit;
      if (letter === letter.toUpperCase()) flags |= bit;
    }
    types.set(type, { type, mask, flags });
  }
  return { scope, types: [...types.values()].sort((a, b) => a.type - b.type) };
};

export function formatChunks(types: Chunks): string {
  if (types.length === 0) return 'NONE';
  if (types.length === 256 && types.every(({ mask }) => mask === 0)) return 'ALL';
  const named = Object.entries(CHUNKS).map(([name, type]) => {
    const found = types.find((chunk) => chunk.type === type);
    return found === undefined ? undefined : name + formatFlags(found);
  });
  return named.filter((name) => name !== undefined).join(',');
}

function formatFlags({ type, mask, flags }: Chunks[number]): string {
  if (mask === 0) return '';
  const letters = [...(FLAG_LETTERS.get(type) ?? '')].map((letter, i) => {
    const bit = 0x80 >> i;
    if ((mask & bit) === 0) return '';
    return (flags & bit) === 0 ? letter.toLowerCase() : letter;
  });
  return `:${letters.join('')}`;
}
