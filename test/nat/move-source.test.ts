/**
 * `Bindings.moveSource`, which nearly every translated connection meets, against `UniqueTuples.choose`, which decides of
 * any range: the same tuples for the same connections, and the same numbers drawn.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EntryId } from '../../lib/conntrack/entries.js';
import { DestroyReason } from '../../lib/conntrack/table.js';
import { Manip, type NatRange, NatRangeFlag } from '../../lib/nat/range.js';
import type { PortReservations } from '../../lib/nat/reservations.js';
import { SeededRandom } from '../../lib/random.js';
import type { Packet } from '../../lib/wire/packet.js';
import { build, Gateway, range, WAN, words } from './gateway.js';

/** A flag that `choose` asks nothing about, and `setup` hands to `choose`. */
const BY_CHOICE = NatRangeFlag.NETMAP;
/** First the address of WAN, see `gateway.ts`; last that of a client. */
const ADDRESSES = {
  4: ['203.0.113.1', '203.0.113.2', '10.0.0.2'],
  6: ['2001:db8:1::1', '2001:db8:1::2', 'fd00::2'],
} as const;
const PROTOCOLS = [17, 17, 17, 6, 6, 1, 47, 50, 132];

const RESERVED: PortReservations = {
  count: 1,
  released: 0,
  isReserved: (_version, protocol, _words, _at, port) => (protocol === 17 && port % 3 === 0 ? 1 : 0),
};

const begin = fc.record({
  kind: fc.constant('begin' as const),
  version: fc.constantFrom(4 as const, 4 as const, 6 as const),
  client: fc.integer({ min: 2, max: 6 }),
  port: fc.constantFrom(1, 2, 511, 512, 1023, 1024, 5000, 5001, 65_535),
  server: fc.integer({ min: 1, max: 3 }),
  protocol: fc.constantFrom(...PROTOCOLS),
  to: fc.nat(2),
});
const end = fc.record({ kind: fc.constant('end' as const), which: fc.nat() });
const wait = fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 15_000 }) });
const command = fc.oneof(
  { arbitrary: begin, weight: 40 },
  { arbitrary: end, weight: 4 },
  { arbitrary: wait, weight: 1 },
);
type Begin = typeof begin extends fc.Arbitrary<infer T> ? T : never;

class Side {
  readonly gateway: Gateway;
  readonly #bind: (packet: Packet, address: string) => number;
  readonly live: (readonly [version: 4 | 6, entry: EntryId, generation: number])[] = [];

  constructor(
    seed: number,
    reserves: boolean,
    bind: (gateway: Gateway, packet: Packet, to: string) => number,
  ) {
    this.gateway = new Gateway(new SeededRandom(seed));
    if (reserves) this.gateway.nat.keepFrom(RESERVED);
    this.#bind = (packet, to) => bind(this.gateway, packet, to);
  }

  /** What came of a new connection, undefined if there is one. */
  begin({ version, client, port, server, protocol, to }: Begin): unknown {
    const { gateway } = this;
    const isIcmp = protocol === 1;
    const packet = gateway.track(
      build({
        source: version === 4 ? `10.0.0.${client}` : `fd00::${client}`,
        destination: version === 4 ? `198.51.100.${server}` : `2001:db8:2::${server}`,
        protocol: isIcmp && version === 6 ? 58 : protocol,
        ports: isIcmp ? [version === 4 ? 8 : 128, port] : [port, 53],
      }),
    );
    const table = gateway.tables[version];
    const entry = packet.entry as EntryId;
    if (table.entries.deadlines.isWatched(table.entries.slotOf(entry)) === 1) return undefined;
    packet.outInterface = WAN;
    const verdict = this.#bind(packet, ADDRESSES[version][to] as string);
    const text = gateway.replyText(packet);
    const { exhaustedCount } = gateway.nat;
    const status = table.entries.status(entry);
    const isConfirmed = gateway.confirm(packet);
    if (isConfirmed) this.live.push([version, entry, table.entries.generation(entry)]);
    return { verdict, text, status, exhaustedCount, isConfirmed };
  }

  end(which: number): void {
    const [version, entry, generation] = this.live[which % Math.max(1, this.live.length)] ?? [4, 0, -1];
    const table = this.gateway.tables[version];
    if (table.entries.generation(entry as EntryId) !== generation) return;
    if (table.entries.deadlines.isWatched(table.entries.slotOf(entry as EntryId)) === 0) return;
    table.destroy(entry as EntryId, DestroyReason.DELETED);
  }

  /** The index of sources, by the tuples in it. */
  sources(): unknown {
    return ([4, 6] as const).map((version) => [...this.gateway.nat.bindings(version).sources.nodes()]);
  }
}

function compare(
  one: (gateway: Gateway, packet: Packet, to: string) => number,
  tos: readonly number[],
): void {
  fc.assert(
    fc.property(
      fc.array(command, { minLength: 50, maxLength: 300 }),
      fc.integer(),
      fc.boolean(),
      (commands, seed, reserves) => {
        const sides = [
          new Side(seed, reserves, one),
          new Side(seed, reserves, (gateway, packet, to) =>
            gateway.nat.setup(packet, only(to, BY_CHOICE), Manip.SRC),
          ),
        ] as const;
        for (const command of commands) {
          if (command.kind === 'wait') for (const side of sides) side.gateway.context.now += command.ms;
          else if (command.kind === 'end') for (const side of sides) side.end(command.which);
          else {
            const drawn = { ...command, to: tos[command.to % tos.length] as number };
            expect(sides[0].begin(drawn)).toEqual(sides[1].begin(drawn));
          }
          expect(sides[0].sources()).toEqual(sides[1].sources());
        }
      },
    ),
    { numRuns: 60 },
  );
}

function only(address: string, flags = 0): NatRange {
  const one = words(address);
  return { ...range('', flags | NatRangeFlag.MAP_IPS), minAddress: one, maxAddress: one };
}

describe('the source of a new connection', () => {
  it('becomes the one address of a range as any range decides it', { timeout: 60_000 }, () => {
    compare((gateway, packet, to) => gateway.nat.setup(packet, only(to), Manip.SRC), [0, 1, 2]);
  });

  it('becomes the address of its interface in the same way', { timeout: 60_000 }, () => {
    compare((gateway, packet) => gateway.nat.masquerade(packet, range('')), [0]);
  });
});
