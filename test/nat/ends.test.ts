/**
 * Many translated connections that expire at once: the index of sources is asked for ahead, block by block
 * (`SourceIndex.touchEnds`). Against a table that asks for nothing ahead: the same index afterwards.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Direction, type EntryId, Status } from '../../lib/conntrack/entries.js';
import { ConntrackTable } from '../../lib/conntrack/table.js';
import { Bindings } from '../../lib/nat/setup.js';
import { SeededRandom } from '../../lib/random.js';
import { key } from '../conntrack/model.js';

/** Enough that a sweep asks ahead. */
const COUNT = 8600;
const NOW = 1000;
const UDP = 17;

/** Connections of `sources` sources; the port of one in `moved` was changed, the source of one in eleven never bound. */
function made(version: number, sources: number, moved: number, isOver: (i: number) => boolean) {
  const table = new ConntrackTable(version, COUNT, 4096, 1);
  const bindings = new Bindings(table, new SeededRandom(1));
  const { entries } = table;
  for (let i = 0; i < COUNT; i++) {
    const entry = table.take();
    const client = i % sources;
    const port = 1024 + (client % 60_000);
    const to = i % moved === 0 ? (i % 60_000) + 1 : port;
    table.setKey(entry, Direction.ORIGINAL, key(version, client, i, port, 53, UDP));
    table.setKey(entry, Direction.REPLY, key(version, i, 1, 53, to, UDP));
    entries.setExpires(entry, isOver(i) ? NOW - 1 : NOW + 90_000);
    table.link(entry);
    if (i % 11 === 0) continue;
    entries.setStatus(entry, Status.SRC_NAT_DONE);
    bindings.sources.link(entry);
  }
  return { table, bindings };
}

describe.each([4, 6])('translated connections of IPv%i that expire', (version) => {
  it('leave the index of sources as they would one by one', { timeout: 60_000 }, () => {
    let ended = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(1, 50, 3000, COUNT),
        fc.constantFrom(1, 2, COUNT + 1),
        fc.integer({ min: 1, max: 8 }),
        fc.nat(),
        (sources, moved, share, seed) => {
          const isOver = (i: number) => Math.imul(i + seed, 0x9e3779b1) >>> 29 < share;
          const ahead = made(version, sources, moved, isOver);
          const twin = made(version, sources, moved, isOver);
          expect(ahead.table.foresight).toBeDefined();
          twin.table.foresight = undefined;
          const hashes = [...twin.bindings.sources.nodes()].map((node) => twin.bindings.sources.hashOf(node));
          const said = new Int32Array(3);
          for (const { table } of [ahead, twin]) table.sweep(0, COUNT, NOW, 1e9, said);
          ended += said[1] as number;
          const left = [...twin.bindings.sources.nodes()];
          expect([...ahead.bindings.sources.nodes()]).toEqual(left);
          expect(left.every((node) => twin.table.entries.hasExpired(node as EntryId, NOW) === 0)).toBe(true);
          for (const hash of hashes) {
            expect(ahead.bindings.sources.mayHaveMoved(hash)).toBe(twin.bindings.sources.mayHaveMoved(hash));
          }
        },
      ),
      { numRuns: 8 },
    );
    expect(ended).toBeGreaterThan(COUNT);
  });
});
