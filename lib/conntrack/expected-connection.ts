/**
 * An expectation as an object for people and programs: a copy at one moment. Cold.
 */
import { formatAddress } from '../wire/address.js';
import { type Connection, readConnection } from './connection.js';
import type { Expectation } from './expectations.js';
import { protocolName } from './protocols/names.js';
import { KEY_KIND, KEY_PORTS } from './tuples.js';

/** A connection that a helper expects. */
export interface ExpectedConnection {
  readonly family: 4 | 6;
  /** Protocol number. */
  readonly protocol: number;
  /** As of a connection: a name, or `unknown`. */
  readonly protocolName: string;
  /** What is left of its time, ms. */
  readonly remainingMs: number;
  /** Where its first packet comes from; undefined: any address, any port. */
  readonly source: string | undefined;
  readonly sourcePort: number | undefined;
  /** Where that packet goes, before any translation. */
  readonly destination: string;
  readonly destinationPort: number;
  readonly zone: number;
  /** The connection on which it was announced. */
  readonly master: Connection;
  /** Helper that the expected connection will have. */
  readonly helper: string | undefined;
}

/** Copies an expectation that is pending, or just ended; `now` is the tracker's int32 time. */
export function readExpectation(expectation: Expectation, now: number): ExpectedConnection {
  const { table, key, anySource, anySourcePort } = expectation;
  const kind = key[KEY_KIND] as number;
  const ports = key[KEY_PORTS] as number;
  return {
    family: table.version as 4 | 6,
    protocol: kind & 255,
    protocolName: protocolName(kind & 255),
    remainingMs: Math.max(0, (expectation.expires - now) | 0),
    source: anySource === 1 ? undefined : formatAddress(key, table.version),
    sourcePort: anySourcePort === 1 ? undefined : ports >>> 16,
    destination: formatAddress(key, table.version, 4),
    destinationPort: ports & 0xffff,
    zone: kind >>> 8,
    master: readConnection(table, expectation.master, now),
    helper: expectation.helper?.name,
  };
}
