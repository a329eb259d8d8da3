/**
 * How long an idle connection is kept: every timeout of Linux under its `nf_conntrack_*` name, readable and
 * settable at run time; a change counts from the next packet of a flow on. Defaults are Linux 6.18's.
 *
 * Hot readers index the arrays by the protocol's own states (`timeouts.tcp[state]`, milliseconds); the names are for
 * configuration, in seconds as in /proc/sys/net/netfilter.
 */
import { ConfigurationError } from '../errors.js';

/** Longest timeout that can be set: int32 milliseconds, about 24 days. */
const MAX_SECONDS = 2_147_483;

/** Name (without `nf_conntrack_`), default in seconds, array, index. Order is the order of listings. */
const NAMES: readonly (readonly [string, number, TimeoutArray, number])[] = [
  ['generic_timeout', 600, 'generic', 0],
  ['gre_timeout', 30, 'gre', 0],
  ['gre_timeout_stream', 180, 'gre', 1],
  ['icmp_timeout', 30, 'icmp', 0],
  ['icmpv6_timeout', 30, 'icmpv6', 0],
  ['sctp_timeout_closed', 10, 'sctp', 1],
  ['sctp_timeout_cookie_wait', 3, 'sctp', 2],
  ['sctp_timeout_cookie_echoed', 3, 'sctp', 3],
  ['sctp_timeout_established', 210, 'sctp', 4],
  ['sctp_timeout_shutdown_sent', 3, 'sctp', 5],
  ['sctp_timeout_shutdown_recd', 3, 'sctp', 6],
  ['sctp_timeout_shutdown_ack_sent', 3, 'sctp', 7],
  ['sctp_timeout_heartbeat_sent', 30, 'sctp', 8],
  ['tcp_timeout_syn_sent', 120, 'tcp', 1],
  ['tcp_timeout_syn_recv', 60, 'tcp', 2],
  ['tcp_timeout_established', 432_000, 'tcp', 3],
  ['tcp_timeout_fin_wait', 120, 'tcp', 4],
  ['tcp_timeout_close_wait', 60, 'tcp', 5],
  ['tcp_timeout_last_ack', 30, 'tcp', 6],
  ['tcp_timeout_time_wait', 120, 'tcp', 7],
  ['tcp_timeout_close', 10, 'tcp', 8],
  ['tcp_timeout_max_retrans', 300, 'tcp', 10],
  ['tcp_timeout_unacknowledged', 300, 'tcp', 11],
  ['udp_timeout', 30, 'udp', 0],
  ['udp_timeout_stream', 120, 'udp', 1],
];

/** State of a simultaneous open; as in Linux its timeout has no name and cannot be set. */
const TCP_SYN_SENT2 = 9;
const TCP_SYN_SENT2_MS = 120_000;

type TimeoutArray = 'generic' | 'gre' | 'icmp' | 'icmpv6' | 'sctp' | 'tcp' | 'udp';

export class Timeouts {
  /** [1] any other protocol, ms. */
  readonly generic = new Int32Array(1);
  /** [2] unreplied, stream, ms. */
  readonly gre = new Int32Array(2);
  /** [1] ms. */
  readonly icmp = new Int32Array(1);
  /** [1] ms. */
  readonly icmpv6 = new Int32Array(1);
  /** [9] by state of `protocols/sctp.ts`, ms. */
  readonly sctp = new Int32Array(9);
  /** [12] by state of `protocols/tcp.ts`; 10 is max_retrans, 11 unacknowledged; ms. */
  readonly tcp = new Int32Array(12);
  /** [2] unreplied or short, stream; UDP-Lite too; ms. */
  readonly udp = new Int32Array(2);

  /** Linux's defaults. */
  constructor() {
    for (const [, seconds, array, index] of NAMES) this[array][index] = seconds * 1000;
    this.tcp[TCP_SYN_SENT2] = TCP_SYN_SENT2_MS;
  }

  /** Takes over every value of `other`. */
  copyFrom(other: Timeouts): void {
    for (const [, , array, index] of NAMES) this[array][index] = other[array][index] as number;
    this.tcp[TCP_SYN_SENT2] = other.tcp[TCP_SYN_SENT2] as number;
  }

  /** Every name, with the prefix `nf_conntrack_`. */
  static names(): string[] {
    return NAMES.map(([name]) => `nf_conntrack_${name}`);
  }

  /** Seconds of a timeout; undefined for a name that is none. */
  get(name: string): number | undefined {
    const found = lookUp(name);
    return found === undefined ? undefined : (this[found[2]][found[3]] as number) / 1000;
  }

  /** Sets a timeout in seconds (may have a fraction). Throws a ConfigurationError for a bad name or value. */
  set(name: string, seconds: number): void {
    const found = lookUp(name);
    if (found === undefined) {
      throw new ConfigurationError('unknown', 'no such timeout', {
        word: name,
        expected: 'a nf_conntrack_* name',
      });
    }
    if (!(seconds >= 0 && seconds <= MAX_SECONDS)) {
      throw new ConfigurationError('value', `${name} out of range`, {
        word: String(seconds),
        expected: `0 to ${MAX_SECONDS} seconds`,
      });
    }
    const [, , array, index] = found;
    this[array][index] = Math.round(seconds * 1000);
  }
}

function lookUp(name: string): (typeof NAMES)[number] | undefined {
  const bare = name.startsWith('nf_conntrack_') ? name.slice('nf_conntrack_'.length) : undefined;
  return NAMES.find(([known]) => known === bare);
}
