/**
 * Which rule made a connection: the index of its forward and that index's generation, kept beside the records. Cold.
 *
 * [capacity] per family: index + 1 (0: no forward made it), generation of the index, generation of the record. The last
 * tells a record that was taken again, whose words here are then somebody else's.
 */
import type { EntryId } from '../../conntrack/entries.js';
import type { ConntrackTable } from '../../conntrack/table.js';

interface Memory {
  readonly index: Int32Array;
  readonly generation: Int32Array;
  readonly record: Int32Array;
}

/** What a flow remembers. */
export interface RememberedRule {
  readonly index: number;
  readonly generation: number;
}

export class FlowRules {
  readonly #memories = new Map<number, Memory>();

  remember(table: ConntrackTable, entry: EntryId, { index, generation }: RememberedRule): void {
    const memory = this.#memory(table);
    const slot = table.entries.slotOf(entry);
    memory.index[slot] = index + 1;
    memory.generation[slot] = generation;
    memory.record[slot] = table.entries.generation(entry);
  }

  /** Undefined if no forward made the connection. */
  recall(table: ConntrackTable, entry: EntryId): RememberedRule | undefined {
    const memory = this.#memories.get(table.version);
    if (memory === undefined) return undefined;
    const slot = table.entries.slotOf(entry);
    const index = memory.index[slot] as number;
    if (index === 0 || memory.record[slot] !== table.entries.generation(entry)) return undefined;
    return { index: index - 1, generation: memory.generation[slot] as number };
  }

  #memory(table: ConntrackTable): Memory {
    let memory = this.#memories.get(table.version);
    if (memory === undefined) {
      const capacity = table.entries.words.length / table.entries.stride;
      memory = {
        index: new Int32Array(capacity),
        generation: new Int32Array(capacity),
        record: new Int32Array(capacity),
      };
      this.#memories.set(table.version, memory);
    }
    return memory;
  }
}
