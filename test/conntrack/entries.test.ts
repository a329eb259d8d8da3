import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Direction, Entries, type EntryId, NIL, Status } from '../../lib/conntrack/entries.js';
import { KEY_WORDS } from '../../lib/conntrack/tuples.js';

interface Field {
  readonly name: string;
  readonly values: fc.Arbitrary<number>;
  get(entries: Entries, entry: EntryId): number;
  set(entries: Entries, entry: EntryId, value: number): void;
}

const int32 = fc.integer();

/** Every field of a record that can be set by name, with the values that it can hold. */
const FIELDS: Field[] = [
  { name: 'expires', values: int32, get: (s, e) => s.expires(e), set: (s, e, v) => s.setExpires(e, v) },
  { name: 'mark', values: int32, get: (s, e) => s.mark(e), set: (s, e, v) => s.setMark(e, v) },
  { name: 'state', values: fc.nat(255), get: (s, e) => s.state(e), set: (s, e, v) => s.setState(e, v) },
  { name: 'born', values: int32, get: (s, e) => s.born(e), set: (s, e, v) => s.setBorn(e, v) },
  {
    name: 'zone',
    values: fc.nat(0xffff),
    get: (s, e) => s.zone(e),
    set: (s, e, v) => s.setZone(e, v, s.zoneDirection(e)),
  },
  {
    name: 'zone direction',
    values: fc.nat(2),
    get: (s, e) => s.zoneDirection(e),
    set: (s, e, v) => s.setZone(e, s.zone(e), v),
  },
  {
    name: 'masquerade interface',
    values: int32,
    get: (s, e) => s.masqueradeInterface(e),
    set: (s, e, v) => s.setMasqueradeInterface(e, v),
  },
  { name: 'extension', values: int32, get: (s, e) => s.extension(e), set: (s, e, v) => s.setExtension(e, v) },
  { name: 'policy', values: int32, get: (s, e) => s.policy(e), set: (s, e, v) => s.setPolicy(e, v) },
  ...[1, 2, 3, 4].map((i) => ({
    name: `protocol word ${i}`,
    values: int32,
    get: (s: Entries, e: EntryId) => s.protocolWord(e, i),
    set: (s: Entries, e: EntryId, v: number) => s.setProtocolWord(e, i, v),
  })),
  ...[Direction.ORIGINAL, Direction.REPLY].flatMap((d): Field[] => [
    { name: `end ${d}`, values: int32, get: (s, e) => s.tdEnd(e, d), set: (s, e, v) => s.setTdEnd(e, d, v) },
    {
      name: `maxend ${d}`,
      values: int32,
      get: (s, e) => s.tdMaxEnd(e, d),
      set: (s, e, v) => s.setTdMaxEnd(e, d, v),
    },
    {
      name: `maxwin ${d}`,
      values: int32,
      get: (s, e) => s.tdMaxWin(e, d),
      set: (s, e, v) => s.setTdMaxWin(e, d, v),
    },
    {
      name: `maxack ${d}`,
      values: int32,
      get: (s, e) => s.tdMaxAck(e, d),
      set: (s, e, v) => s.setTdMaxAck(e, d, v),
    },
    {
      name: `scale ${d}`,
      values: fc.nat(14),
      get: (s, e) => s.tdScale(e, d),
      set: (s, e, v) => s.setTdScale(e, d, v),
    },
    {
      name: `flags ${d}`,
      values: fc.nat(255),
      get: (s, e) => s.tdFlags(e, d),
      set: (s, e, v) => s.setTdFlags(e, d, v),
    },
  ]),
];

describe.each([4, 6])('IPv%i records', (version) => {
  test('a field set changes that field, of that entry, and nothing else', () => {
    const step = fc
      .tuple(fc.nat(2), fc.constantFrom(...FIELDS.keys()))
      .chain(([slot, field]) => fc.tuple(fc.constant(slot), fc.constant(field), FIELDS[field]!.values));
    const keys = fc.array(
      fc.tuple(
        fc.nat(2),
        fc.constantFrom(0, 1),
        fc.array(int32, { minLength: 8, maxLength: 8 }),
        int32,
        int32,
        int32,
      ),
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(step, keys), { maxLength: 60 }), (steps) => {
        const entries = new Entries(version, 3);
        const ids = [entries.take(), entries.take(), entries.take()];
        const twin = ids.map(() => FIELDS.map(() => 0));
        const twinKeys = ids.map(() => [new Array<number>(11).fill(0), new Array<number>(11).fill(0)]);
        for (const one of steps) {
          if (typeof one[0] === 'number') {
            const [slot, field, value] = one as [number, number, number];
            FIELDS[field]!.set(entries, ids[slot]!, value);
            twin[slot]![field] = value;
          } else {
            for (const [slot, direction, addresses, ports, kind, hash] of one as [
              number,
              Direction,
              number[],
              number,
              number,
              number,
            ][]) {
              if (version === 4) for (const unused of [1, 2, 3, 5, 6, 7]) addresses[unused] = 0;
              entries.setKey(ids[slot]!, direction, Int32Array.from([...addresses, ports, kind]), hash);
              twinKeys[slot]![direction] = [...addresses, ports, kind, hash];
            }
          }
          for (const [slot, id] of ids.entries()) {
            expect(FIELDS.map((field) => field.get(entries, id))).toEqual(twin[slot]);
            for (const direction of [Direction.ORIGINAL, Direction.REPLY]) {
              const key = new Int32Array(KEY_WORDS);
              const tuple = entries.tuple(id, direction);
              entries.getKey(id, direction, key);
              expect([...key, entries.hash(tuple)]).toEqual(twinKeys[slot]![direction]);
              expect([entries.ports(tuple), entries.kind(tuple)]).toEqual([key[8], key[9]]);
              expect([0, 1, 2, 3].map((i) => entries.sourceWord(id, direction, i))).toEqual([
                ...key.slice(0, 4),
              ]);
              expect([0, 1, 2, 3].map((i) => entries.destinationWord(id, direction, i))).toEqual([
                ...key.slice(4, 8),
              ]);
              expect(entries.entryOf(tuple)).toBe(id);
              expect(entries.directionOf(tuple)).toBe(direction);
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test('a tuple matches its own key and no key that differs in one bit of any word in use', () => {
    const entries = new Entries(version, 1);
    const id = entries.take();
    const key = Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    if (version === 4) for (const unused of [1, 2, 3, 5, 6, 7]) key[unused] = 0;
    for (const direction of [Direction.ORIGINAL, Direction.REPLY]) {
      entries.setKey(id, direction, key, 77);
      const tuple = entries.tuple(id, direction);
      expect(entries.matchesKey(tuple, key)).toBe(1);
      for (const word of version === 4 ? [0, 4, 8, 9] : key.keys()) {
        for (const bit of [0, 15, 16, 31]) {
          const other = key.slice();
          other[word]! ^= 1 << bit;
          expect(entries.matchesKey(tuple, other)).toBe(0);
        }
      }
    }
  });

  test('counters go past 32 bits, packets and bytes of both directions apart', () => {
    const entries = new Entries(version, 1);
    const id = entries.take();
    entries.account(id, Direction.REPLY, 0xffff_ffff);
    entries.account(id, Direction.REPLY, 1);
    entries.account(id, Direction.REPLY, 65_535);
    expect(entries.bytes(id, Direction.REPLY)).toBe(0x1_0000_0000 + 65_535);
    expect(entries.packets(id, Direction.REPLY)).toBe(3);
    expect([entries.packets(id, Direction.ORIGINAL), entries.bytes(id, Direction.ORIGINAL)]).toEqual([0, 0]);
    // 2^32 packets cannot be sent here: the low word (12 of the line) is set to its last value.
    entries.words[entries.tuple(id, Direction.REPLY) + 12] = -1;
    entries.account(id, Direction.REPLY, 5);
    expect(entries.packets(id, Direction.REPLY)).toBe(0x1_0000_0000);
    expect(entries.bytes(id, Direction.REPLY)).toBe(0x1_0000_0000 + 65_540);
  });

  test('counters that are set read back, up to their limits, and count on', () => {
    const entries = new Entries(version, 1);
    const id = entries.take();
    const count = (bits: number) => fc.oneof(fc.nat(10), fc.integer({ min: 0, max: 2 ** bits - 1 }));
    fc.assert(
      fc.property(count(44), count(52), fc.constantFrom(0, 1), (packets, bytes, direction) => {
        entries.setCounters(id, direction, packets, bytes);
        expect([entries.packets(id, direction), entries.bytes(id, direction)]).toEqual([packets, bytes]);
      }),
    );
    entries.setCounters(id, Direction.ORIGINAL, 0xffff_ffff, 0xffff_ffff);
    entries.account(id, Direction.ORIGINAL, 40);
    expect(entries.packets(id, Direction.ORIGINAL)).toBe(0x1_0000_0000);
    expect(entries.bytes(id, Direction.ORIGINAL)).toBe(0x1_0000_0000 + 39);
  });

  test('expiry wraps with the clock and comes at the millisecond, not before', () => {
    const entries = new Entries(version, 1);
    const id = entries.take();
    for (const now of [0, 0x7fffffff, 0x7ffffff0, -0x80000000, -1]) {
      entries.setExpires(id, (now + 30_000) | 0);
      expect(entries.hasExpired(id, (now + 29_999) | 0)).toBe(0);
      expect(entries.hasExpired(id, (now + 30_000) | 0)).toBe(1);
      expect(entries.hasExpired(id, (now + 86_400_000) | 0)).toBe(1);
    }
  });

  test('status bits are set and cleared one by one', () => {
    const entries = new Entries(version, 1);
    const id = entries.take();
    entries.setStatus(id, Status.CONFIRMED | Status.SRC_NAT);
    entries.setStatus(id, Status.ASSURED);
    entries.clearStatus(id, Status.SRC_NAT);
    expect(entries.status(id)).toBe(Status.CONFIRMED | Status.ASSURED);
  });

  test('slots and entries are two names of one record', () => {
    const entries = new Entries(version, 5);
    for (let slot = 0; slot < 5; slot++) {
      const id = entries.take();
      expect(entries.slotOf(id)).toBe(slot);
      expect(entries.entryOfSlot(slot)).toBe(id);
    }
    expect(entries.take()).toBe(NIL);
  });
});
