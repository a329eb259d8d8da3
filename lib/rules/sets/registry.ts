/**
 * The sets by name, as `ipset restore` makes them and `ipset save` prints them. Cold; rules keep handles.
 */
import { ConfigurationError } from '../../errors.js';
import type { RuleScope } from '../rows.js';
import { readSets } from './restore.js';
import { printSets } from './save.js';
import type { SetHandle } from './set.js';

export class SetRegistry {
  #handles = new Map<string, SetHandle>();

  /** Names of the sets that there are. */
  get names(): ReadonlySet<string> {
    return new Set(this.#handles.keys());
  }

  find(name: string): SetHandle | undefined {
    return this.#handles.get(name);
  }

  /**
   * Runs the lines of `ipset save` text (create, add, del, flush, destroy, swap, rename). Throws a ConfigurationError
   * that names the line, and nothing has changed then. `nowMs`: from when timeouts count, as packets count time.
   */
  restore(text: string, nowMs = 0, file?: string): void {
    const draft = readSets(text, this.#handles, nowMs, file);
    for (const [handle, set] of draft.sets) handle.set = set;
    for (const [name, handle] of draft.handles) handle.name = name;
    this.#handles = draft.handles;
  }

  /** All sets, lists last; what is left of timeouts is counted from `nowMs`. */
  save(nowMs = 0): string {
    return printSets([...this.#handles.values()], nowMs);
  }
}

/** The set that a rule names, from now on in use by it. */
export function useSet(name: string, scope: RuleScope): SetHandle {
  const handle = scope.environment.sets?.find(name);
  if (handle === undefined) {
    throw new ConfigurationError('unknown', 'no such set', {
      ...scope.rule.place,
      word: name,
      expected: 'the name of a set',
    });
  }
  handle.users++;
  scope.releases.push(() => {
    handle.users--;
  });
  return handle;
}
