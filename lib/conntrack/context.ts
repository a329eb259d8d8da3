/**
 * What the protocol modules may use while they judge a packet: the time, the timeouts, the settings, and the two
 * things that they do to an entry besides writing its own words: refresh it, and tell that it changed. Hot.
 *
 * Times are int32 milliseconds that wrap; compare them by subtraction only.
 */
import { LongSum } from '../wire/long-sum.js';
import { type Direction, type EntryId, Status } from './entries.js';
import type { ConntrackTable } from './table.js';
import type { TimeWait } from './time-wait.js';
import { Timeouts } from './timeouts.js';

/** What a protocol module says of a packet. */
export const Track = {
  /** Not a packet of this connection: it goes on as INVALID. */
  INVALID: -1,
  /** It must not go on (Linux's -NF_DROP). */
  DROP: 0,
  /** Tracked. */
  ACCEPT: 1,
  /** The entry was destroyed because the packet begins a new connection: look again. */
  REPEAT: 4,
} as const;
export type Track = (typeof Track)[keyof typeof Track];

/** Switches of connection tracking; `Settings` in `settings.ts` gives them names. 1 and 0 for yes and no. */
export interface TrackSettings {
  tcpLoose: number;
  tcpBeLiberal: number;
  tcpIgnoreInvalidRst: number;
  /** Retransmissions without an answer after which the timeout becomes max_retrans. */
  tcpMaxRetrans: number;
  /** Whether transport checksums are verified (in PREROUTING). */
  checksum: number;
  /** Whether packets and bytes are counted per entry. */
  accounting: number;
  /** Whether answers to keepalive probes count as use of their connection. */
  probesCount: number;
}

/** What changed about an entry. */
export const Change = { REPLY: 1, ASSURED: 2, STATE: 4, MARK: 8, LABEL: 16 } as const;

const STATE = Change.STATE;

/** Told of changes to confirmed entries; set only while somebody listens. */
export type ChangeObserver = (table: ConntrackTable, entry: EntryId, change: number) => void;

export class TrackContext {
  /** Time of the packet, int32 ms. */
  now = 0;
  /**
   * The same as it was told, ms with fractions; NaN before the first packet. Whoever wants it reads it here: handed from
   * call to call a number with fractions would be boxed each time.
   */
  nowMs = Number.NaN;
  /** Timeouts of connections without a policy of their own. */
  readonly defaultTimeouts = new Timeouts();
  /** Timeouts of the connection that is being judged; between packets the default ones. */
  timeouts = this.defaultTimeouts;
  readonly settings: TrackSettings = {
    tcpLoose: 1,
    tcpBeLiberal: 0,
    tcpIgnoreInvalidRst: 0,
    tcpMaxRetrans: 3,
    checksum: 1,
    accounting: 1,
    probesCount: 0,
  };
  /** Sums up long packets. */
  readonly longSum = new LongSum();
  onChange: ChangeObserver | undefined = undefined;
  /** When TIME_WAIT gives its tuple away; undefined: as in Linux. */
  timeWait: TimeWait | undefined = undefined;

  /**
   * Gives the entry `timeoutMs` from now (from confirmation on, if it is not confirmed yet) unless its timeout is
   * fixed, and counts the packet.
   */
  refresh(
    table: ConntrackTable,
    entry: EntryId,
    direction: Direction,
    timeoutMs: number,
    bytes: number,
  ): void {
    const entries = table.entries;
    const status = entries.status(entry);
    if ((status & Status.FIXED_TIMEOUT) === 0) {
      entries.setExpires(entry, (status & Status.CONFIRMED) === 0 ? timeoutMs : (this.now + timeoutMs) | 0);
    }
    if (this.settings.accounting === 1) entries.account(entry, direction, bytes);
  }

  /** Sets status bits; tells of the change if it is one. */
  mark(table: ConntrackTable, entry: EntryId, bits: number, change: number): void {
    const entries = table.entries;
    if ((entries.status(entry) & bits) === bits) return;
    entries.setStatus(entry, bits);
    this.changed(table, entry, change);
  }

  /** Tells that a confirmed entry changed, if somebody listens. */
  changed(table: ConntrackTable, entry: EntryId, change: number): void {
    if (change === STATE && table.onState !== undefined) table.onState(entry);
    if (this.onChange === undefined) return;
    if ((table.entries.status(entry) & Status.CONFIRMED) !== 0) this.onChange(table, entry, change);
  }
}
