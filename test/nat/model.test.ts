/** Random connections through random ranges, against a Map of the tuples in use that is searched from end to end. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EntryId, Status } from '../../lib/conntrack/entries.js';
import { DestroyReason } from '../../lib/conntrack/table.js';
import { Manip, NatRangeFlag } from '../../lib/nat/range.js';
import { SeededRandom } from '../../lib/random.js';
import { Verdict } from '../../lib/wire/verdict.js';
import { build, Gateway, range, TIMEOUT_MS } from './gateway.js';

const RANGES = [
  { ports: [4000, 4003], of: range('203.0.113.9:4000-4003') },
  { ports: [4000, 4003], of: range('203.0.113.9:4000-4003', NatRangeFlag.PROTO_RANDOM) },
  { ports: [4002, 4300], of: range('203.0.113.9:4002-4300', NatRangeFlag.PROTO_RANDOM_FULLY) },
  { ports: [1, 511], of: range('203.0.113.9') },
  { ports: [600, 1023], of: range('203.0.113.9') },
] as const;

const begin = fc.record({
  kind: fc.constant('begin' as const),
  client: fc.integer({ min: 2, max: 60 }),
  port: fc.integer({ min: 0, max: 5 }),
  server: fc.constantFrom('198.51.100.7', '198.51.100.8'),
  protocol: fc.constantFrom(6, 17),
  range: fc.integer({ min: 0, max: RANGES.length - 1 }),
});
const end = fc.record({ kind: fc.constant('end' as const), which: fc.nat() });
const wait = fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 15_000 }) });
const command = fc.oneof(
  { arbitrary: begin, weight: 40 },
  { arbitrary: end, weight: 6 },
  { arbitrary: wait, weight: 1 },
);

/** A source port whose class is the range's, or any for a range of ports. */
function sourcePort(command: { port: number; range: number }): number {
  const { ports, of } = RANGES[command.range]!;
  if ((of.flags & NatRangeFlag.PROTO_SPECIFIED) !== 0) return 3998 + command.port;
  return ports[0] === 1 ? 100 + command.port : 512 + command.port;
}

describe('under random load', () => {
  it('reply tuples are unique, a connection is refused only if every port of its range is in use', () => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 100, maxLength: 400 }), fc.integer(), (commands, seed) => {
        const gateway = new Gateway(new SeededRandom(seed));
        const table = gateway.tables[4];
        /** Reply tuple and protocol to entry and its end in time. */
        const twin = new Map<string, { entry: EntryId; until: number; original: string }>();
        const hashes = new Set<number>();
        for (const command of commands) {
          if (command.kind === 'wait') {
            gateway.context.now += command.ms;
            for (const [text, { until }] of twin) if (until <= gateway.context.now) twin.delete(text);
          } else if (command.kind === 'end') {
            const text = [...twin.keys()][command.which % Math.max(1, twin.size)];
            if (text === undefined) continue;
            table.destroy(twin.get(text)!.entry, DestroyReason.DELETED);
            twin.delete(text);
          } else {
            const { ports, of } = RANGES[command.range]!;
            const { protocol, server } = command;
            const port = sourcePort(command);
            const original = `${protocol} ${server} ${command.client}:${port}`;
            if ([...twin.values()].some((other) => other.original === original)) continue;
            const packet = gateway.track(
              build({ source: `10.0.0.${command.client}`, destination: server, protocol, ports: [port, 53] }),
            );
            expect(gateway.nat.setup(packet, of, Manip.SRC)).toBe(Verdict.ACCEPT);
            const text = `${protocol} ${gateway.replyText(packet)}`;
            const entry = packet.entry as EntryId;
            const isFree = (candidate: number) =>
              !twin.has(`${protocol} ${server}:53 > 203.0.113.9:${candidate}`);
            if (gateway.confirm(packet)) {
              expect(twin.has(text)).toBe(false);
              const chosen = Number(text.split(':').at(-1));
              expect(chosen === port || (chosen >= ports[0] && chosen <= ports[1])).toBe(true);
              twin.set(text, { entry, until: gateway.context.now + TIMEOUT_MS, original });
            } else {
              expect(isFree(port)).toBe((of.flags & NatRangeFlag.PROTO_SPECIFIED) !== 0 && port < ports[0]);
              for (let candidate: number = ports[0]; candidate <= ports[1]; candidate++) {
                if (isFree(candidate)) expect.fail(`${text} refused, ${candidate} is free`);
              }
            }
          }
          // Everything in the twin is in the index of sources, once; what is more there has expired unseen.
          const { sources } = gateway.nat.bindings(4);
          const nodes = new Set(sources.nodes());
          expect(nodes.size).toBe(table.live);
          expect([...twin.values()].every(({ entry }) => nodes.has(entry))).toBe(true);
          expect([...nodes].every((node) => (table.entries.status(node) & Status.SRC_NAT_DONE) !== 0)).toBe(
            true,
          );
          for (const node of nodes) {
            const [before, after] = ([0, 1] as const).map((direction) =>
              table.entries.ports(table.entries.tuple(node, direction)),
            ) as [number, number];
            hashes.add(sources.hashOf(node));
            if (before >>> 16 !== (after & 0xffff))
              expect(sources.mayHaveMoved(sources.hashOf(node))).toBe(1);
          }
        }
        // All leave: what was counted of moved ones is taken back.
        const { sources } = gateway.nat.bindings(4);
        for (const node of [...sources.nodes()]) table.destroy(node, DestroyReason.FLUSHED);
        for (const hash of hashes) expect(sources.mayHaveMoved(hash)).toBe(0);
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});
