import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConntrackTable, DestroyReason } from '../../lib/conntrack/table.js';
import { key, Twin } from './model.js';

interface Real {
  readonly twin: Twin;
}
type Model = Record<string, never>;

/** A step of a table's life; invariants are checked behind each. */
abstract class Step implements fc.Command<Model, Real> {
  check(): boolean {
    return true;
  }
  run(_: Model, { twin }: Real): void {
    this.act(twin);
    twin.check();
  }
  abstract act(twin: Twin): void;
  abstract toString(): string;
}

type KeyNumbers = readonly [number, number, number, number, number];

class Take extends Step {
  constructor(
    readonly original: KeyNumbers,
    readonly reply: KeyNumbers,
  ) {
    super();
  }
  act(twin: Twin): void {
    twin.take(key(twin.table.version, ...this.original), key(twin.table.version, ...this.reply));
  }
  override toString(): string {
    return `take ${this.original} | ${this.reply}`;
  }
}

class Find extends Step {
  constructor(readonly wanted: KeyNumbers) {
    super();
  }
  act(twin: Twin): void {
    twin.findBoth(key(twin.table.version, ...this.wanted));
  }
  override toString(): string {
    return `find ${this.wanted}`;
  }
}

class Change extends Step {
  constructor(
    readonly what: 'confirm' | 'refresh' | 'destroy' | 'discard',
    readonly which: number,
    readonly timeoutMs: number,
  ) {
    super();
  }
  act(twin: Twin): void {
    const wantsConfirmed = this.what === 'refresh' || this.what === 'destroy';
    const candidates = twin.entries.filter((entry) => entry.confirmed === wantsConfirmed);
    const entry = candidates[this.which % candidates.length];
    if (entry === undefined) return;
    if (this.what === 'confirm') twin.confirm(entry, this.timeoutMs);
    else if (this.what === 'refresh') twin.refresh(entry, this.timeoutMs);
    else twin.leave(entry, this.what === 'destroy' ? DestroyReason.DELETED : DestroyReason.DISCARDED);
  }
  override toString(): string {
    return `${this.what} #${this.which} ${this.timeoutMs} ms`;
  }
}

class Advance extends Step {
  constructor(readonly ms: number) {
    super();
  }
  act(twin: Twin): void {
    twin.now = (twin.now + this.ms) | 0;
  }
  override toString(): string {
    return `+${this.ms} ms`;
  }
}

/** A sweep over all records: what has expired goes, and nothing else. */
class Sweep extends Step {
  act(twin: Twin): void {
    const { table } = twin;
    const { capacity } = table.entries.slots;
    const confirmed = twin.entries.filter((entry) => entry.confirmed);
    const expired = confirmed.filter((entry) => twin.hasExpired(entry));
    const said = new Int32Array(3);
    expect(table.sweep(0, capacity, twin.now, 1_000_000, said)).toBe(capacity);
    expect([said[0], said[1]]).toEqual([confirmed.length, expired.length]);
    expect(twin.entries.filter((entry) => expired.includes(entry))).toEqual([]);
  }
  override toString(): string {
    return 'sweep';
  }
}

/** The hash changes, or entries are moved because it has: nothing that can be seen from outside. */
class Rekey extends Step {
  constructor(readonly work: number) {
    super();
  }
  act({ table }: Twin): void {
    if (this.work === 0) table.beginRekey();
    else if (table.isRekeying === 1) table.rekey(this.work);
  }
  override toString(): string {
    return this.work === 0 ? 'new hash' : `move ${this.work}`;
  }
}

const numbers: fc.Arbitrary<KeyNumbers> = fc.tuple(
  fc.nat(2),
  fc.nat(2),
  fc.nat(1),
  fc.nat(1),
  fc.constantFrom(6, 17, 6 | (7 << 8)),
);
const timeout = fc.constantFrom(1, 10, 50, 1000, 2_147_483_000);
const index = fc.nat(7);
const commands = fc.commands(
  [
    fc.tuple(numbers, numbers).map(([original, reply]) => new Take(original, reply)),
    // Without NAT the reply is the inverse: with source = destination the two are one key.
    numbers.map(([s, d, sp, dp, kind]) => new Take([s, d, sp, dp, kind], [d, s, dp, sp, kind])),
    fc.tuple(index, timeout).map(([which, ms]) => new Change('confirm', which, ms)),
    fc.tuple(index, timeout).map(([which, ms]) => new Change('confirm', which, ms)),
    fc.tuple(index, timeout).map(([which, ms]) => new Change('refresh', which, ms)),
    index.map((which) => new Change('destroy', which, 0)),
    index.map((which) => new Change('discard', which, 0)),
    numbers.map((wanted) => new Find(wanted)),
    numbers.map((wanted) => new Find(wanted)),
    fc.constantFrom(1, 9, 49, 1000).map((ms) => new Advance(ms)),
    fc.constant(new Sweep()),
    fc.constantFrom(0, 1, 3, 600).map((work) => new Rekey(work)),
  ],
  { maxCommands: 120, size: 'max' },
);

describe.each([4, 6])('the IPv%i table against its slow twin', (version) => {
  // Short chains, and chains where both tuples of nearly every entry meet; time that wraps on the way.
  test.each([1, 2, 8])('agrees with it in %i buckets, all invariants held after each step', (buckets) => {
    fc.assert(
      fc.property(
        commands,
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom(0, 0x7fffffff - 20, -30),
        fc.integer(),
        (steps, capacity, start, seed) => {
          const setup = () => ({
            model: {},
            real: {
              twin: new Twin(new ConntrackTable(version, capacity, buckets, seed, () => seed + 1), start),
            },
          });
          fc.modelRun(setup, steps);
        },
      ),
      { numRuns: 60 },
    );
  });
});
