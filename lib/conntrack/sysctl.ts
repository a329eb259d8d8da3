/**
 * Settings of conntrack by the names of /proc/sys/net/netfilter, readable and settable at run time. Cold.
 * Timeouts are in `timeouts.ts`; this adds the switches and limits.
 */
import { ConfigurationError } from '../errors.js';
import type { TrackSettings } from './context.js';
import { Timeouts } from './timeouts.js';
import type { Tracker } from './tracker.js';

/** Name, field, largest value. All are integers from 0 on. */
const SWITCHES: readonly (readonly [string, keyof TrackSettings, number])[] = [
  ['nf_conntrack_acct', 'accounting', 1],
  ['nf_conntrack_checksum', 'checksum', 1],
  ['nf_conntrack_tcp_be_liberal', 'tcpBeLiberal', 1],
  ['nf_conntrack_tcp_ignore_invalid_rst', 'tcpIgnoreInvalidRst', 1],
  ['nf_conntrack_tcp_loose', 'tcpLoose', 1],
  ['nf_conntrack_tcp_max_retrans', 'tcpMaxRetrans', 255],
];

/** Values that can be read only. */
const READ_ONLY: Readonly<Record<string, (tracker: Tracker) => number>> = {
  nf_conntrack_buckets: (tracker) => tracker.bucketCount,
  nf_conntrack_count: (tracker) => tracker.count,
};

/** Settings of one tracker by name. */
export class ConntrackSysctl {
  readonly #tracker: Tracker;

  constructor(tracker: Tracker) {
    this.#tracker = tracker;
  }

  /** Every name, sorted. */
  names(): string[] {
    return [
      ...Timeouts.names(),
      ...SWITCHES.map(([name]) => name),
      ...Object.keys(READ_ONLY),
      'nf_conntrack_max',
      'nf_conntrack_expect_max',
    ].sort();
  }

  /** Value of a setting (timeouts in seconds); undefined for a name that is none. */
  get(name: string): number | undefined {
    if (name === 'nf_conntrack_max') return this.#tracker.maxConnections;
    if (name === 'nf_conntrack_expect_max') return this.#tracker.expectations.maximum;
    const field = SWITCHES.find(([known]) => known === name)?.[1];
    if (field !== undefined) return this.#tracker.context.settings[field];
    const readOnly = Object.hasOwn(READ_ONLY, name) ? READ_ONLY[name] : undefined;
    return readOnly === undefined ? this.#tracker.context.defaultTimeouts.get(name) : readOnly(this.#tracker);
  }

  /** Sets a value; throws a ConfigurationError for a name that does not exist or a value out of range. */
  set(name: string, value: number): void {
    if (Object.hasOwn(READ_ONLY, name)) {
      throw new ConfigurationError('unsupported', 'can be read only', { word: name });
    }
    if (name === 'nf_conntrack_max') {
      this.#tracker.maxConnections = inRange(name, value, 1, this.#tracker.capacity);
      return;
    }
    if (name === 'nf_conntrack_expect_max') {
      this.#tracker.expectations.maximum = inRange(name, value, 1, 0x7fffffff);
      return;
    }
    const found = SWITCHES.find(([known]) => known === name);
    if (found === undefined) this.#tracker.context.defaultTimeouts.set(name, value);
    else this.#tracker.context.settings[found[1]] = inRange(name, value, 0, found[2]);
  }
}

function inRange(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new ConfigurationError('value', `${name} out of range`, {
    word: String(value),
    expected: `an integer from ${min} to ${max}`,
  });
}
