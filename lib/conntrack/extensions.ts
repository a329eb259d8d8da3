/**
 * What few connections have and the records therefore do not hold: a helper, a master, expectations, shifted sequence
 * numbers, labels. A side table of objects; `entries.extension` is the index, 0 for none.
 *
 * Life: made when first asked for, given back with the entry's record. A connection that was expected keeps its
 * master's extension alive after the master is gone, since rules may still ask whose helper expected it.
 */
import type { Entries, EntryId } from './entries.js';
import type { Expectation } from './expectations.js';
import type { Helper } from './helpers/helper.js';
import type { SequenceOffsets } from './sequence-offsets.js';

export class Extension {
  helper: Helper | undefined = undefined;
  /** What the helper keeps of this connection. */
  helperState: unknown = undefined;
  /** Extension of the connection whose helper expected this one. */
  master: Extension | undefined = undefined;
  /** Connections that are expected because of this one, oldest first. */
  readonly expectations: Expectation[] = [];
  offsets: SequenceOffsets | undefined = undefined;
  /** [4] words, a bit for each of 128 labels; undefined while there is none. */
  labels: Int32Array | undefined = undefined;

  /** Whether the connection has a label (0-127). */
  hasLabel(label: number): boolean {
    return this.labels !== undefined && ((this.labels[label >>> 5] as number) & (1 << (label & 31))) !== 0;
  }

  /** The labels that the connection has, ascending. */
  labelNumbers(): number[] {
    return this.labels === undefined
      ? []
      : Array.from({ length: 128 }, (_, i) => i).filter((i) => this.hasLabel(i));
  }

  /** Puts a label on the connection. */
  addLabel(label: number): void {
    this.labels ??= new Int32Array(4);
    this.labels[label >>> 5] = (this.labels[label >>> 5] as number) | (1 << (label & 31));
  }
}

export class Extensions {
  readonly #entries: Entries;
  /** Index 0 stays empty. */
  readonly #extensions: (Extension | undefined)[] = [undefined];
  readonly #free: number[] = [];

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  /** Extension of an entry, undefined if it has none. */
  of(entry: EntryId): Extension | undefined {
    return this.#extensions[this.#entries.extension(entry)];
  }

  /** Extension of an entry, made if it has none. */
  extend(entry: EntryId): Extension {
    const found = this.of(entry);
    if (found !== undefined) return found;
    const id = this.#free.pop() ?? this.#extensions.length;
    const made = new Extension();
    this.#extensions[id] = made;
    this.#entries.setExtension(entry, id);
    return made;
  }

  /** The entry is over. */
  release(entry: EntryId): void {
    const id = this.#entries.extension(entry);
    if (id === 0) return;
    this.#extensions[id] = undefined;
    this.#free.push(id);
    this.#entries.setExtension(entry, 0);
  }
}
