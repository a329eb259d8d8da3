/**
 * A set by name, with the packet field that each of its dimensions takes: `--match-set NAME src,dst`. Cold.
 */

import type { SetReference } from '../ast.js';
import type { KnownNames, Reader } from './grammar.js';

const NAME_MAX = 31;
const DIMENSIONS_MAX = 6;

/** Two words: the name, and `src` and `dst` between commas. */
export const setReference: Reader<SetReference> = (name, reading) => {
  const { where } = reading;
  if (name === '' || name.length > NAME_MAX)
    where.refuse('value', 'not a set name', `1 to ${NAME_MAX} characters`);
  const text = reading.next('src and dst between commas');
  const sides = text.split(',').map((part) => {
    if (part !== 'src' && part !== 'dst')
      return where.refuse('value', `unknown side '${part}'`, 'src or dst');
    return part;
  });
  if (sides.length > DIMENSIONS_MAX)
    where.refuse('value', 'too many dimensions', `at most ${DIMENSIONS_MAX}`);
  return { name, sides };
};

export function formatSetReference({ name, sides }: SetReference): string {
  return `${name} ${sides.join(',')}`;
}

/** What to say of the first name that is no set, where sets are known. */
export function missingSet(names: readonly (string | undefined)[], { sets }: KnownNames): string | undefined {
  const missing = names.find((name) => name !== undefined && sets?.has(name) === false);
  return missing && `no set '${missing}'`;
}
