/**
 * Brings what NAT will ask about a connection that begins into the processor's caches. Hot on new connections only.
 *
 * To bind a connection is to wait for memory several times: whether its source has a mapping, the list of sources that it
 * enters, the bucket of the tuple that answers will have. These places are known by hashes of the first packet, but for the
 * address that MASQUERADE gives; and that is nearly always the one that the last connection got. So all are asked for before
 * anything is done, and the processor waits for them at once. Nothing is decided or written here: a wrong guess costs time
 * only.
 */
import type { ConntrackTable, Foresight } from '../conntrack/table.js';
import type { SourceIndex } from './sources.js';

/** Connections whose records fit the caches anyway. */
const SMALL = 8192;

export class OpeningPrefetch implements Foresight {
  least = SMALL;
  /** The IPv4 address that the last connection's source became. */
  address = 0;
  readonly #table: ConntrackTable;
  readonly #sources: SourceIndex;
  /** What was read goes here, so that no compiler thinks it useless. */
  sink = 0;

  constructor(table: ConntrackTable, sources: SourceIndex) {
    this.#table = table;
    this.#sources = sources;
  }

  /** An IPv4 connection of UDP or TCP with this original tuple, in zone 0, is about to begin. */
  touch(source: number, destination: number, ports: number, kind: number): void {
    const table = this.#table;
    if (table.live < this.least) return;
    const { buckets } = table;
    const own = this.#sources.hash4(source, ports >>> 16, kind);
    const answer = table.linkedHash4(destination, this.address, (ports << 16) | (ports >>> 16), kind);
    this.sink = this.#sources.touch(own) ^ (buckets.lines[buckets.lineOf(answer)] as number);
  }
}
