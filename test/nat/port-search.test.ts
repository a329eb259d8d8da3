/**
 * The search for a port, against the plain loop that it stands for: every connection is looked at for every port. Same
 * ports, same draws, same evictions, whatever begins, ends, expires or is reserved meanwhile.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Change } from '../../lib/conntrack/context.js';
import { Direction, type EntryId, Status } from '../../lib/conntrack/entries.js';
import { DestroyReason } from '../../lib/conntrack/table.js';
import { Manip, NatRangeFlag } from '../../lib/nat/range.js';
import type { PortReservations } from '../../lib/nat/reservations.js';
import { type Random, SeededRandom } from '../../lib/random.js';
import type { Packet } from '../../lib/wire/packet.js';
import { Verdict } from '../../lib/wire/verdict.js';
import { build, Gateway, keyText, range, TIMEOUT_MS } from './gateway.js';

const { SRC, DST } = Manip;
const { PROTO_RANDOM, PROTO_RANDOM_FULLY, PROTO_OFFSET } = NatRangeFlag;
const SYN_SENT = 1;
const ESTABLISHED = 3;
const TIME_WAIT = 7;
const NEW_END = 1000;
const ALL = 65_536;

/** Draws that can be read ahead. */
class Tape implements Random {
  at = 0;
  readonly #random: SeededRandom;
  readonly #drawn: number[] = [];

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  read(i: number): number {
    while (this.#drawn.length <= i) this.#drawn.push(this.#random.u32());
    return this.#drawn[i]!;
  }

  u32(): number {
    return this.read(this.at++);
  }

  pick(first: number, size: number): number {
    return first + (this.u32() % size);
  }
}

class Reserved implements PortReservations {
  readonly ports = new Set<number>();
  released = 0;

  get count(): number {
    return this.ports.size;
  }

  isReserved(_version: number, _protocol: number, _words: Int32Array, _at: number, port: number): 0 | 1 {
    return this.ports.has(port) ? 1 : 0;
  }
}

interface Owner {
  readonly entry: EntryId;
  readonly isEvictable: boolean;
}

class World {
  readonly tape: Tape;
  readonly gateway: Gateway;
  readonly reserved = new Reserved();
  readonly #key = new Int32Array(10);
  /** Texts of the tuples of entries, by generation. */
  readonly #texts = new Map<number, readonly [original: string, reply: string]>();

  constructor(
    readonly version: 4 | 6,
    seed: number,
    capacity = 1024,
  ) {
    this.tape = new Tape(seed);
    this.gateway = new Gateway(this.tape, capacity);
    this.gateway.nat.keepFrom(this.reserved);
  }

  get table() {
    return this.gateway.tables[this.version];
  }

  get now(): number {
    return this.gateway.context.now;
  }

  set now(now: number) {
    this.gateway.context.now = now;
  }

  /** Entries that are there, in the order of their records. */
  entries(): EntryId[] {
    const { entries } = this.table;
    const all = Array.from({ length: entries.slots.highWater }, (_, slot) => entries.entryOfSlot(slot));
    return all.filter(
      (entry) =>
        (entries.status(entry) & (Status.CONFIRMED | Status.DYING)) === Status.CONFIRMED &&
        entries.hasExpired(entry, this.now) === 0,
    );
  }

  /** Who has a tuple, by its text and protocol. */
  owners(): Map<string, Owner> {
    const { entries } = this.table;
    const owners = new Map<string, Owner>();
    for (const entry of this.entries()) {
      for (const direction of [Direction.ORIGINAL, Direction.REPLY]) {
        const isEvictable =
          direction === Direction.REPLY &&
          entries.state(entry) >= TIME_WAIT &&
          (entries.status(entry) & Status.SRC_NAT) !== 0 &&
          entries.tdEnd(entry, Direction.ORIGINAL) < NEW_END;
        owners.set(this.#textsOf(entry)[direction], { entry, isEvictable });
      }
    }
    return owners;
  }

  #textsOf(entry: EntryId): readonly [string, string] {
    const { entries } = this.table;
    const known = this.#texts.get(entries.generation(entry));
    if (known !== undefined) return known;
    const text = (direction: Direction) => {
      entries.getKey(entry, direction, this.#key);
      return `${this.#key[9]} ${keyText(this.#key, this.version)}`;
    };
    const texts = [text(Direction.ORIGINAL), text(Direction.REPLY)] as const;
    this.#texts.set(entries.generation(entry), texts);
    return texts;
  }
}

interface Case {
  readonly ports: readonly [first: number, last: number];
  readonly flags: number;
  readonly manip: Manip;
}

/** What Linux's loop finds, and the whole range after it: the port, and how many numbers are drawn. */
function expectPort(
  world: World,
  { ports: [first, last], flags, manip }: Case,
  protocol: number,
  ownPort: number,
  tuple: (port: number) => string,
): { port: number | undefined; draws: number } {
  const owners = world.owners();
  const size = last - first + 1;
  let draws = 0;
  const draw = () => world.tape.read(world.tape.at + draws++) % size;
  /** Only a port of ours can be reserved. */
  const isReserved = (port: number) => manip === SRC && world.reserved.ports.has(port);
  const isFree = (port: number) => !isReserved(port) && !owners.has(tuple(port));
  const isEvictable = (port: number) =>
    protocol === 6 && !isReserved(port) && owners.get(tuple(port))?.isEvictable === true;
  const isRandom = (flags & (PROTO_RANDOM | PROTO_RANDOM_FULLY)) !== 0;
  if (!isRandom && (flags & PROTO_OFFSET) === 0 && ownPort >= first && ownPort <= last && isFree(ownPort)) {
    return { port: ownPort, draws };
  }
  let at = (flags & PROTO_OFFSET) !== 0 ? ownPort % size : isRandom || manip === SRC ? draw() : 0;
  for (let attempts = Math.min(128, size); ; attempts >>= 1, at = draw()) {
    for (let i = 0; i < attempts; i++, at++) {
      const port = first + (at % size);
      if (isFree(port) || (attempts - i <= 32 && isEvictable(port))) return { port, draws };
    }
    if (attempts === size) return { port: undefined, draws };
    if (attempts < 16) break;
  }
  const order = Array.from({ length: size }, (_, i) => first + ((at + i) % size));
  return { port: order.find(isFree) ?? order.find(isEvictable), draws };
}

const CASES: readonly Case[] = [
  { ports: [4000, 4199], flags: 0, manip: SRC },
  { ports: [4000, 4199], flags: PROTO_RANDOM, manip: SRC },
  { ports: [4100, 4420], flags: PROTO_RANDOM_FULLY, manip: SRC },
  { ports: [65_300, 65_535], flags: PROTO_RANDOM, manip: SRC },
  { ports: [7000, 7150], flags: PROTO_RANDOM, manip: DST },
  { ports: [7000, 7150], flags: PROTO_OFFSET, manip: DST },
];

const begin = {
  case: fc.integer({ min: 0, max: CASES.length - 1 }),
  protocol: fc.constantFrom(6, 17, 0),
  server: fc.constantFrom(7, 8),
};
const command = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant('begin' as const), ...begin }), weight: 20 },
  { arbitrary: fc.record({ kind: fc.constant('fill' as const), ...begin }), weight: 10 },
  { arbitrary: fc.record({ kind: fc.constant('inbound' as const), ...begin, which: fc.nat() }), weight: 4 },
  { arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat() }), weight: 20 },
  { arbitrary: fc.record({ kind: fc.constant('shorten' as const), which: fc.nat() }), weight: 6 },
  { arbitrary: fc.record({ kind: fc.constant('refresh' as const), which: fc.nat() }), weight: 6 },
  { arbitrary: fc.record({ kind: fc.constant('finish' as const), which: fc.nat() }), weight: 8 },
  { arbitrary: fc.record({ kind: fc.constant('reserve' as const), which: fc.nat() }), weight: 2 },
  {
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 9000 }) }),
    weight: 4,
  },
  { arbitrary: fc.constant({ kind: 'rest' as const }), weight: 1 },
);

const COUNT = { begin: 1, fill: 120 };

/** A new connection, its client never seen before, and what it must become. */
function beginAndCompare(
  world: World,
  wanted: Case,
  protocolOr0: number,
  server: number,
  client: number,
): void {
  const isPinging = protocolOr0 === 0;
  const isV6 = world.version === 6;
  const protocol = isPinging ? (isV6 ? 58 : 1) : protocolOr0;
  const { manip } = wanted;
  const own = 3990 + (client % 40);
  const from = isV6 ? `fd00:a:1:1:1:1:1:${client.toString(16)}` : `10.1.${client >>> 8}.${client & 255}`;
  const serverText = isV6 ? `2001:db8:2:2:2:2:2:${server}` : `198.51.100.${server}`;
  const to = isV6 ? '2001:db8:1:1:1:1:1:1' : manip === SRC ? '203.0.113.9' : '10.9.9.9';
  // Destinations: one client port talks to many servers, whose answers shall all come from one address.
  const ends = manip === SRC ? [from, serverText] : [isV6 ? 'fd00:a:1:1:1:1:1:2' : '10.0.0.2', from];
  const [source, destination] = ends as [string, string];
  const ports: [number, number] = isPinging
    ? [isV6 ? 128 : 8, own]
    : manip === SRC
      ? [own, 53]
      : [5000 + server, own];
  const packet = world.gateway.track(build({ source, destination, protocol, ports }));
  const { table } = world;
  const entry = packet.entry as EntryId;
  if (protocol === 6) {
    table.entries.setState(entry, SYN_SENT);
    table.entries.setTdEnd(entry, Direction.ORIGINAL, NEW_END);
  }
  const [first, last] = wanted.ports;
  const base = range(`:${first}-${last}`, wanted.flags);
  const addresses = range(isV6 ? '' : to);
  const words = new Int32Array(4);
  for (const [i, group] of (isV6 ? to.split(':') : []).entries()) {
    words[i >> 1]! |= Number.parseInt(group, 16) << (i % 2 === 0 ? 16 : 0);
  }
  const given = {
    ...base,
    flags: base.flags | NatRangeFlag.MAP_IPS,
    minAddress: isV6 ? words : addresses.minAddress,
    maxAddress: isV6 ? words : addresses.maxAddress,
  };
  const key = new Int32Array(10);
  table.entries.getKey(entry, Direction.REPLY, key);
  key.set(given.minAddress, manip === SRC ? 4 : 0);
  const rest = key[8]!;
  const isHigh = isPinging || manip === DST;
  const tuple = (port: number) => {
    key[8] = isHigh ? (rest & 0xffff) | (port << 16) : (rest & ~0xffff) | port;
    return `${key[9]} ${keyText(key, world.version)}`;
  };
  const expected = expectPort(world, wanted, protocol, own, tuple);
  const exhausted = world.gateway.nat.exhaustedCount;
  const drawn = world.tape.at;
  const said = world.gateway.nat.setup(packet, given, manip);
  const text = `${packet.protocol} ${world.gateway.replyText(packet)}`;
  expect(world.tape.at - drawn).toBe(expected.draws);
  if (expected.port === undefined) {
    expect(manip === DST || world.gateway.nat.exhaustedCount === exhausted + 1).toBe(true);
    table.discard(entry);
    return;
  }
  expect(said).toBe(Verdict.ACCEPT);
  expect(text).toBe(tuple(expected.port));
  expect(world.gateway.nat.exhaustedCount).toBe(exhausted);
  expect(world.gateway.confirm(packet)).toBe(true);
}

/** A connection from a server to one of NAT's ports: its original tuple is in the way. */
function beginInbound(world: World, { ports }: Case, server: number, which: number): void {
  if (world.version === 6) return;
  const [first, last] = ports;
  const port = first + (which % (last - first + 1));
  const bytes = build({
    source: `198.51.100.${server}`,
    destination: '203.0.113.9',
    protocol: 17,
    ports: [53, port],
  });
  const packet = world.gateway.track(bytes);
  if (world.gateway.nat.setupNull(packet, SRC) !== Verdict.ACCEPT || !world.gateway.confirm(packet)) return;
}

describe('the search for a port', () => {
  it.each([4, 6] as const)(
    'takes what a look at every connection would (IPv%i)',
    (version) => {
      fc.assert(
        fc.property(fc.array(command, { minLength: 20, maxLength: 80 }), fc.integer(), (commands, seed) => {
          const world = new World(version, seed);
          const { entries } = world.table;
          let client = 3;
          for (const step of commands) {
            const live = 'which' in step ? world.entries() : [];
            const some = 'which' in step ? live[step.which % Math.max(1, live.length)] : undefined;
            switch (step.kind) {
              case 'begin':
              case 'fill':
                for (let i = 0; i < COUNT[step.kind] && world.table.live < 1000; i++) {
                  beginAndCompare(world, CASES[step.case]!, step.protocol, step.server, client++);
                }
                break;
              case 'inbound':
                if (world.table.live < 1000) beginInbound(world, CASES[step.case]!, step.server, step.which);
                break;
              case 'end':
                if (some !== undefined) world.table.destroy(some, DestroyReason.DELETED);
                break;
              case 'shorten':
                if (some !== undefined) entries.setExpires(some, (world.now + (step.which % 3000) + 1) | 0);
                break;
              case 'refresh':
                if (some !== undefined) entries.setExpires(some, (world.now + TIMEOUT_MS) | 0);
                break;
              case 'finish':
                if (some === undefined) break;
                entries.setState(some, step.which % 3 === 0 ? ESTABLISHED : TIME_WAIT);
                entries.setTdEnd(some, Direction.ORIGINAL, step.which % 2 === 0 ? NEW_END - 1 : NEW_END);
                world.gateway.context.changed(world.table, some, Change.STATE);
                break;
              case 'reserve': {
                const port = 4000 + (step.which % 300);
                if (!world.reserved.ports.delete(port)) world.reserved.ports.add(port);
                else world.reserved.released++;
                break;
              }
              case 'wait':
                world.now += step.ms;
                break;
              default:
                world.now += 61_000;
            }
          }
        }),
        { numRuns: 25 },
      );
    },
    120_000,
  );

  /** A world whose 300 ports towards a server are all taken, by TCP connections that live for half a minute. */
  function fullWorld(): World {
    const world = new World(4, 3);
    for (let client = 2; client < 302; client++) {
      const packet = begun(world, client);
      expect(world.gateway.nat.setup(packet, range('203.0.113.9:4000-4299', PROTO_RANDOM), SRC)).toBe(1);
      expect(world.gateway.confirm(packet)).toBe(true);
      world.table.entries.setState(packet.entry as EntryId, ESTABLISHED);
    }
    return world;
  }

  function begun(world: World, client: number): Packet {
    const source = `10.1.${client >>> 8}.${client & 255}`;
    const packet = world.gateway.track(
      build({ source, destination: '198.51.100.7', protocol: 6, ports: [2000, 80] }),
    );
    world.table.entries.setState(packet.entry as EntryId, SYN_SENT);
    world.table.entries.setTdEnd(packet.entry as EntryId, Direction.ORIGINAL, NEW_END);
    return packet;
  }

  /** The port that one more connection is given; `taken` if there is none. */
  function oneMore(world: World, client: number): string {
    const packet = begun(world, client);
    world.gateway.nat.setup(packet, range('203.0.113.9:4000-4299', PROTO_RANDOM), SRC);
    const port = world.gateway.replyText(packet).split(':').at(-1) as string;
    return world.gateway.confirm(packet) ? port : 'taken';
  }

  function portOf(world: World, entry: EntryId): string {
    return String(world.table.entries.ports(world.table.entries.tuple(entry, Direction.REPLY)) & 0xffff);
  }

  it('finds a port at once that comes free because its time is shortened and over, unseen', () => {
    const world = fullWorld();
    expect(oneMore(world, 400)).toBe('taken');
    const short = world.entries()[123]!;
    const port = portOf(world, short);
    world.table.entries.setExpires(short, world.now + 5);
    world.now += 4;
    expect(oneMore(world, 401)).toBe('taken');
    world.now += 1;
    expect(oneMore(world, 402)).toBe(port);
    expect(oneMore(world, 403)).toBe('taken');
  });

  it('finds every port again when all are over, unseen', () => {
    const world = fullWorld();
    world.now += TIMEOUT_MS;
    const ports = new Set(Array.from({ length: 300 }, (_, i) => oneMore(world, 400 + i)));
    expect(ports.size).toBe(300);
    expect(ports.has('taken')).toBe(false);
  });

  it('finds the port of a connection that has finished at once', () => {
    const world = fullWorld();
    expect(oneMore(world, 400)).toBe('taken');
    const old = world.entries()[77]!;
    const port = portOf(world, old);
    world.table.entries.setTdEnd(old, Direction.ORIGINAL, NEW_END - 1);
    world.table.entries.setState(old, TIME_WAIT);
    world.gateway.context.changed(world.table, old, Change.STATE);
    expect(oneMore(world, 401)).toBe(port);
    expect(oneMore(world, 402)).toBe('taken');
  });

  it('lets its maps go when few ports are taken, and when nobody searches them for a minute', () => {
    const world = fullWorld();
    const { maps } = world.gateway.nat.bindings(4).unique.search;
    expect(maps.held).toBe(1);
    for (const entry of world.entries().slice(10)) world.table.destroy(entry, DestroyReason.DELETED);
    expect(maps.held).toBe(0);
    expect(world.table.onLink).toBe(undefined);
    const other = fullWorld();
    const others = other.gateway.nat.bindings(4).unique.search.maps;
    for (const entry of other.entries()) other.table.entries.setExpires(entry, other.now + 1_000_000);
    other.now += 61_000;
    for (let client = 0; client < 1024; client++) {
      const packet = other.gateway.track(
        build({ source: '10.0.0.2', destination: '198.51.100.9', protocol: 17, ports: [1024 + client, 53] }),
      );
      other.gateway.confirm(packet);
      other.table.destroy(packet.entry as EntryId, DestroyReason.DELETED);
    }
    expect(others.held).toBe(0);
  });

  it('finds the last of 64,512 ports at once, again and again', () => {
    const world = new World(4, 1, ALL);
    const { gateway, table } = world;
    const udp = (source: string, port: number) =>
      build({ source, destination: '198.51.100.7', protocol: 17, ports: [port, 53] });
    const first = gateway.track(udp('10.0.0.2', 1024));
    gateway.nat.setup(first, range('203.0.113.1'), SRC);
    gateway.confirm(first);
    const owners = [first.entry as EntryId];
    for (let port = 1025; port < ALL; port++) {
      const packet = gateway.track(udp('10.0.0.2', port));
      gateway.nat.setup(packet, range('203.0.113.1'), SRC);
      gateway.confirm(packet);
      owners.push(packet.entry as EntryId);
    }
    const random = new SeededRandom(5);
    const to = range('203.0.113.1');
    let spent = 0;
    for (let i = 0; i < 500; i++) {
      const which = random.pick(0, owners.length);
      table.destroy(owners[which]!, DestroyReason.DELETED);
      const packet = gateway.track(udp('10.9.0.1', 2000 + i));
      const started = performance.now();
      gateway.nat.setup(packet, to, SRC);
      if (i >= 100) spent += performance.now() - started;
      expect(gateway.replyText(packet)).toBe(`198.51.100.7:53 > 203.0.113.1:${1024 + which}`);
      gateway.confirm(packet);
      owners[which] = packet.entry as EntryId;
    }
    // 20 microseconds where nothing else runs; a look at every port takes milliseconds.
    expect(spent / 400).toBeLessThan(0.5);
  }, 60_000);
});
