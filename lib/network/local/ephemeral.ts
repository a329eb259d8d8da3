/**
 * Ports for endpoints that ask for none in particular: neither reserved nor held by a connection of NAT's. Cold.
 */
import { Direction, Status } from '../../conntrack/entries.js';
import type { Tracker } from '../../conntrack/tracker.js';
import { ConfigurationError } from '../../errors.js';
import type { Random } from '../../random.js';
import type { PortProtocol, PortRegistry } from './registry.js';
import type { BoundAddress } from './socket-address.js';

/** First and last port, those of Linux's net.ipv4.ip_local_port_range. */
const FIRST = 32_768;
const LAST = 60_999;

/** What a port is looked for. */
export interface PortSearch {
  readonly protocol: PortProtocol;
  /** The families and addresses that it must be free on. */
  readonly bound: readonly BoundAddress[];
  readonly owner: string;
}

/** A free port, drawn at random. Throws a ConfigurationError if there is none. */
export function findEphemeralPort(
  { protocol, bound, owner }: PortSearch,
  ports: PortRegistry,
  tracker: Tracker,
  random: Random,
  nowMs: number,
): number {
  const held = new Set<number>();
  for (const one of bound) addHeldPorts(held, tracker, protocol, one, nowMs);
  const size = LAST - FIRST + 1;
  const start = random.pick(FIRST, size) - FIRST;
  for (let i = 0; i < size; i++) {
    const port = FIRST + ((start + i) % size);
    if (held.has(port)) continue;
    const isTaken = bound.some(({ version, words }) =>
      ports.isTaken({ version, protocol, port, owner, ...(words === undefined ? {} : { address: words }) }),
    );
    if (!isTaken) return port;
  }
  throw new ConfigurationError('conflict', `${owner}: every port is taken`, {
    expected: `one of ${FIRST} to ${LAST}`,
  });
}

/** Ports that connections were given by source NAT: what comes to them is theirs. */
function addHeldPorts(
  held: Set<number>,
  tracker: Tracker,
  protocol: number,
  { version, words }: BoundAddress,
  nowMs: number,
): void {
  const now = tracker.timeOf(nowMs);
  for (const table of tracker.tables()) {
    if (table.version !== version) continue;
    const { entries } = table;
    for (let slot = 0; slot < entries.slots.highWater; slot++) {
      const entry = entries.entryOfSlot(slot);
      const status = entries.status(entry);
      if ((status & Status.CONFIRMED) === 0 || (status & Status.SRC_NAT) === 0) continue;
      if (entries.protocol(entry) !== protocol || entries.hasExpired(entry, now) === 1) continue;
      const isOurs =
        words?.every((word, i) => word === entries.destinationWord(entry, Direction.REPLY, i)) ?? true;
      if (isOurs) held.add(entries.ports(entries.tuple(entry, Direction.REPLY)) & 0xffff);
    }
  }
}
