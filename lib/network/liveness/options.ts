/**
 * What a gateway is told about connections that are silent. Cold.
 */
import { ConfigurationError } from '../../errors.js';

/** What happens to a connection that nobody used. */
export type ExpiryPolicy =
  /** It is forgotten. */
  | 'silent'
  /** Its ends that are inside get a RST, if it is TCP. */
  | 'reset-inside'
  /** Both ends get a RST. */
  | 'reset-both';

/** Options of the inactivity clock. */
export interface InactivityOptions {
  /** Interval T, ms: a connection used last at t ends in (t + T, t + 2T]. Default 7,200,000. */
  readonly intervalMs?: number;
  /** Default `silent`. */
  readonly onExpiry?: ExpiryPolicy;
  /** Whether the answers to keepalive probes count as use. Default `ignored`. */
  readonly probeAnswers?: 'ignored' | 'counted';
}

/** Options of keepalive. */
export interface KeepaliveOptions {
  /** Interval K, ms: an end inside is asked after K to 2K of its silence. Default 30,000. */
  readonly intervalMs?: number;
}

/** What a gateway does about silent connections; left out: nothing, as Linux. */
export interface LivenessOptions {
  /** Ends connections that nobody uses. */
  readonly inactivity?: InactivityOptions;
  /** Asks the inside ends of TCP connections whether they are there. */
  readonly keepalive?: KeepaliveOptions;
  /** Names of the interfaces whose hosts are inside. Default: all that no default route goes over. */
  readonly inside?: readonly string[];
}

const DAY_MS = 86_400_000;

/** An interval that may be left out; throws a ConfigurationError. */
export function readInterval(what: string, intervalMs: number | undefined, otherwise: number): number {
  const value = intervalMs ?? otherwise;
  if (Number.isFinite(value) && value >= 1 && value <= 30 * DAY_MS) return value;
  throw new ConfigurationError('value', `interval of ${what} out of range`, {
    word: String(intervalMs),
    expected: '1 ms to 30 days',
  });
}

export function readPolicy(policy: ExpiryPolicy | undefined): ExpiryPolicy {
  const value = policy ?? 'silent';
  if (value === 'silent' || value === 'reset-inside' || value === 'reset-both') return value;
  throw new ConfigurationError('value', 'no policy for silent connections', {
    word: String(policy),
    expected: 'silent, reset-inside or reset-both',
  });
}
