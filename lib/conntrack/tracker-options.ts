/** What a tracker is made from. Cold. */
import type { TimeWaitOptions } from './time-wait.js';

/** Options of a `Tracker`; all have defaults. */
export interface TrackerOptions {
  /**
   * Most connections at a time, IPv4 and IPv6 together. Default 262,144, as Linux's nf_conntrack_max. At most 44,739,242,
   * of which 33,554,432 may be IPv6. Memory is taken as connections come: 208 bytes each, 272 for IPv6.
   */
  readonly maxConnections?: number;
  /**
   * Hash buckets per family as Linux counts them, rounded up to a power of two. Default: the power of two that is not
   * below maxConnections, at least 16,384. Fewer make lookups slower.
   */
  readonly buckets?: number;
  /** Hash secret (32 bits). Default: unpredictable. */
  readonly seed?: number;
  /**
   * What a full table does for a new connection: `linux` evicts unassured entries from eight buckets, `never`
   * drops the packet.
   */
  readonly earlyDrop?: 'linux' | 'never';
  /**
   * When a connection in TIME_WAIT gives its tuple to a new one, in tracking and in NAT. Left out: as in Linux, where a
   * SYN on the same tuple always begins a new one, and NAT compares sequence numbers when it finds no other port.
   */
  readonly timeWaitReuse?: TimeWaitOptions;
}
