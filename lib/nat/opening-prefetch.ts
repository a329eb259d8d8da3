/**
 * Brings what NAT will ask about a connection that begins into the processor's caches. Hot on new connections only.
 *
 * To bind a connection is to wait for memory several times: whether its source has a mapping, the list of sources that it
 * enters, the bucket of the tuple that answers will have. These places are known by hashes of the first packet, but for the
 * address that MASQUERADE gives, which is nearly always the one that the last connection got; and where ports are picked,
 * the first one tried is foretold. So all are asked for before anything is done, and the processor waits for them at once.
 * Nothing is decided or written here: a wrong guess costs time only.
 */
import { CACHED_CONNECTIONS } from '../conntrack/capacity.js';
import type { ConntrackTable, Foresight } from '../conntrack/table.js';
import type { Random } from '../random.js';
import { classMinimum, classSize } from './ports.js';
import type { SourceIndex } from './sources.js';

/** From an entry to its reply's line and the shared one. */
const LINE = 16;
const SHARED = 32;
/** Ports that nearly all that are picked are of. */
const HIGH_PORTS = classMinimum(0xffff);
const HIGH_SIZE = classSize(0xffff);

export class OpeningPrefetch implements Foresight {
  least = CACHED_CONNECTIONS;
  /** The IPv4 address that the last connection's source became. */
  address = 0;
  /** Whether the last connection's port was picked: 1 or 0. */
  isPicked = 0;
  readonly #table: ConntrackTable;
  readonly #sources: SourceIndex;
  readonly #random: Random;
  /** What was read goes here, so that no compiler thinks it useless. */
  sink = 0;

  constructor(table: ConntrackTable, sources: SourceIndex, random: Random) {
    this.#table = table;
    this.#sources = sources;
    this.#random = random;
  }

  /** An IPv4 connection of UDP or TCP with this original tuple, in zone 0, is about to begin. */
  touch(source: number, destination: number, ports: number, kind: number): void {
    const table = this.#table;
    if (table.live < this.least) return;
    const { buckets, entries } = table;
    const { words } = entries;
    const { lines } = buckets;
    const sources = this.#sources;
    const port = ports >>> 16;
    const own = sources.hash4(source, port, kind);
    const answer = table.linkedHash4(destination, this.address, (ports << 16) | port, kind);
    const picked = this.isPicked === 1 && port >= HIGH_PORTS ? this.#foretold() : port;
    const other = table.linkedHash4(destination, this.address, (ports << 16) | picked, kind);
    const answerLine = buckets.lineOf(answer);
    const otherLine = buckets.lineOf(other);
    const { untoldAt } = sources;
    const free = entries.slots.next;
    const entry = free < 0 ? 0 : free * entries.stride;
    // From here on all that is slow, and nothing else: the processor looks no further ahead than some hundred steps.
    this.sink =
      ((words[untoldAt] as number) ^
        (lines[otherLine] as number) ^
        (lines[answerLine] as number) ^
        (words[entry] as number) ^
        (words[entry + LINE] as number) ^
        (words[entry + SHARED] as number) ^
        sources.touch(own)) &
      1;
  }

  /** The port that will be tried first, if one is picked; 0 if nobody knows. */
  #foretold(): number {
    const random = this.#random;
    return random.foretell === undefined ? 0 : random.foretell(HIGH_PORTS, HIGH_SIZE);
  }

  touchEnds(slots: Int32Array, count: number): void {
    this.#sources.touchEnds(slots, count);
  }
}
