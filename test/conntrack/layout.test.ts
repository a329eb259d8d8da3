/** The words of `layout.ts` are those that the accessors of records read and write. */
import { describe, expect, it } from 'vitest';
import { Entries, type EntryId } from '../../lib/conntrack/entries.js';
import { Word } from '../../lib/conntrack/layout.js';

const KEY = Int32Array.from([11, 12, 13, 14, 21, 22, 23, 24, 31, 17]);

describe.each([4, 6] as const)('a record of IPv%s', (version) => {
  const entries = new Entries(version, 2);
  entries.take();
  const entry: EntryId = entries.take();
  const { words } = entries;

  it.each([0, 1] as const)('has the words of direction %s where the layout says', (direction) => {
    const tuple = entries.tuple(entry, direction);
    entries.setKey(entry, direction, KEY, 99);
    entries.setTdEnd(entry, direction, 101);
    entries.setTdMaxEnd(entry, direction, 102);
    entries.setTdMaxWin(entry, direction, 103);
    entries.setTdMaxAck(entry, direction, 104);
    entries.setTdScale(entry, direction, 7);
    entries.setTdFlags(entry, direction, 33);
    entries.setFlowPath(tuple, 105);
    entries.setCounters(entry, direction, 3 * 2 ** 32 + 106, 5 * 2 ** 32 + 107);
    const at = (word: number) => words[tuple + word];
    expect(at(Word.HASH)).toBe(99);
    if (version === 4) expect([at(Word.SOURCE), at(Word.DESTINATION)]).toEqual([11, 21]);
    else {
      const wide = entry + Word.WIDE + 8 * direction;
      expect(Array.from(words.subarray(wide, wide + 8))).toEqual([11, 12, 13, 14, 21, 22, 23, 24]);
    }
    expect([at(Word.PORTS), at(Word.KIND)]).toEqual([31, 17]);
    expect([at(Word.TD_END), at(Word.TD_MAXEND), at(Word.TD_MAXWIN), at(Word.TD_MAXACK)]).toEqual([
      101, 102, 103, 104,
    ]);
    expect((at(Word.FLAGS) as number) & 0xffff).toBe((33 << 8) | 7);
    expect([at(Word.FLOW_PATH), at(Word.PACKETS), at(Word.BYTES)]).toEqual([105, 106, 107]);
    expect(at(Word.COUNT_HIGH)).toBe((5 << 12) | 3);
  });

  it('has the shared words where the layout says', () => {
    entries.setStatus(entry, 8);
    entries.setExpires(entry, 201);
    for (let i = 1; i < 5; i++) entries.setProtocolWord(entry, i, 210 + i);
    entries.setState(entry, 3);
    entries.setMasqueradeInterface(entry, 202);
    entries.setExtension(entry, 203);
    entries.setPolicy(entry, 204);
    entries.setBorn(entry, 205);
    const at = (word: number) => words[entry + word];
    expect([at(Word.STATUS), at(Word.EXPIRES), at(Word.MASQUERADE)]).toEqual([8, 201, 202]);
    expect([at(Word.EXTENSION), at(Word.POLICY), at(Word.BORN)]).toEqual([203, 204, 205]);
    expect([0, 1, 2, 3, 4].map((i) => at(Word.PROTOCOL + i))).toEqual([3, 211, 212, 213, 214]);
    expect(at(Word.STREAM_AFTER)).toBe(211);
    entries.setZone(entry, 9, 2);
    expect((at(Word.ZONE) as number) & Word.CLOCK_BITS).toBe(0);
    entries.setClock(entry, 31);
    expect((at(Word.ZONE) as number) & Word.CLOCK_BITS).toBe(Word.CLOCK_BITS);
    expect((at(Word.ZONE) as number) & 0xffff).toBe(9);
  });
});
