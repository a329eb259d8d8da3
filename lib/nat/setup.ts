/**
 * Binding: what NAT decides about a connection, once, while its first packet is on its way. Hot on new connections only.
 *
 * A bound end has its DONE bit; the reply tuple is altered so that answers are recognised, and SRC_NAT or DST_NAT says
 * that packets must be translated. A connection that is confirmed is never bound again.
 */
import { Direction, type EntryId, Status } from '../conntrack/entries.js';
import type { ConntrackTable } from '../conntrack/table.js';
import { equalKeys, invertKey, KEY_WORDS } from '../conntrack/tuples.js';
import type { Random } from '../random.js';
import { Manip, type NatRange, ScratchRange } from './range.js';
import { SourceIndex } from './sources.js';
import { UniqueTuples } from './unique.js';

const SRC = Manip.SRC;
const REPLY = Direction.REPLY;

/** What came of binding one end of a connection. */
export const Binding = {
  /** That end was bound before: a programming error of the ruleset, the packet is dropped. */
  REFUSED: 0,
  /** Bound, or confirmed before and therefore left alone. */
  DONE: 1,
  /** Bound, but to a tuple that another connection has: the packet will be dropped when it is confirmed. */
  EXHAUSTED: 2,
} as const;
export type Binding = (typeof Binding)[keyof typeof Binding];

const REFUSED = Binding.REFUSED;
const DONE = Binding.DONE;
const EXHAUSTED = Binding.EXHAUSTED;

/** Bindings of one family's table. */
export class Bindings {
  readonly table: ConntrackTable;
  readonly sources: SourceIndex;
  readonly unique: UniqueTuples;
  /** The range of the null binding made last. */
  readonly nullRange = new ScratchRange();
  readonly #current = new Int32Array(KEY_WORDS);
  readonly #chosen = new Int32Array(KEY_WORDS);
  readonly #address = new Int32Array(4);

  constructor(table: ConntrackTable, random: Random) {
    this.table = table;
    this.sources = new SourceIndex(table);
    this.unique = new UniqueTuples(table, this.sources, random);
    table.observe((_table, entry) => {
      if ((table.entries.status(entry) & Status.SRC_NAT_DONE) !== 0) this.sources.unlink(entry);
    });
  }

  /** Binds one end of an unconfirmed entry to `range`. `now` is the tracker's time. */
  setup(entry: EntryId, range: NatRange, manip: Manip, now: number): Binding {
    const table = this.table;
    const entries = table.entries;
    const status = entries.status(entry);
    if ((status & Status.CONFIRMED) !== 0) return DONE;
    const done = manip === SRC ? Status.SRC_NAT_DONE : Status.DST_NAT_DONE;
    if ((status & done) !== 0) return REFUSED;
    const current = this.#current;
    const chosen = this.#chosen;
    // `chosen` is free here: the reply key is copied into it only to be turned around.
    entries.getKey(entry, REPLY, chosen);
    invertKey(current, chosen);
    const isUnique = this.unique.choose(entry, current, range, manip, now, chosen);
    if (equalKeys(chosen, current) === 0) {
      invertKey(current, chosen);
      table.setKey(entry, REPLY, current);
      entries.setStatus(entry, manip === SRC ? Status.SRC_NAT : Status.DST_NAT);
    }
    entries.setStatus(entry, done);
    if (manip !== SRC) return DONE;
    this.sources.link(entry);
    return isUnique === 1 ? DONE : EXHAUSTED;
  }

  /**
   * The null binding: the end keeps its address as it is by now, and its port if no other connection has the tuple. So
   * no later rule can change the connection half way.
   */
  setupNull(entry: EntryId, manip: Manip, now: number): Binding {
    const entries = this.table.entries;
    const address = this.#address;
    for (let i = 0; i < 4; i++) {
      address[i] =
        manip === SRC ? entries.destinationWord(entry, REPLY, i) : entries.sourceWord(entry, REPLY, i);
    }
    this.nullRange.setAddress(address, undefined);
    return this.setup(entry, this.nullRange, manip, now);
  }

  /** Takes an entry that was bound elsewhere (a restored one) into the index of sources. */
  adopt(entry: EntryId): void {
    if ((this.table.entries.status(entry) & Status.SRC_NAT_DONE) !== 0) this.sources.link(entry);
  }
}
