/**
 * Settings of the router by the names of /proc/sys/net, and what they are at first: Linux's defaults, but forwarding
 * is on (it is a router). Cold; the fields are read per packet.
 */
import { ConfigurationError } from '../errors.js';

/** Numbers that the router reads. 1 and 0 for on and off. */
export interface RouterSettings {
  forwarding4: number;
  forwarding6: number;
  ttl: number;
  hopLimit: number;
  /** Least time between two errors of the masked types to one peer, ms; 0 for no limit. */
  icmpRateLimitMs: number;
  /** Bit per ICMP type that is limited. */
  icmpRateMask: number;
  icmp6RateLimitMs: number;
  /** Errors of both families in one second, and in one go. */
  icmpPerSecond: number;
  icmpBurst: number;
  echoIgnoreAll: number;
  echoIgnoreBroadcasts: number;
  echo6IgnoreAll: number;
  echo6IgnoreMulticast: number;
  /** Packets whose mark has these bits are for the router itself, whoever they are for; a mask of 0: none. */
  localMark: number;
  localMarkMask: number;
  /** Whether errors come from the address of the interface that the packet came in by. */
  errorsUseInboundAddress: number;
}

const MARK_MAX = 0xffffffff;

export function defaultSettings(): RouterSettings {
  return {
    forwarding4: 1,
    forwarding6: 1,
    ttl: 64,
    hopLimit: 64,
    icmpRateLimitMs: 1000,
    icmpRateMask: 6168,
    icmp6RateLimitMs: 1000,
    icmpPerSecond: 1000,
    icmpBurst: 50,
    echoIgnoreAll: 0,
    echoIgnoreBroadcasts: 1,
    echo6IgnoreAll: 0,
    echo6IgnoreMulticast: 0,
    localMark: 0,
    localMarkMask: 0,
    errorsUseInboundAddress: 0,
  };
}

/** Whether a mark makes packets the router's own: 1 or 0. */
export function isMarkedLocal({ localMark, localMarkMask }: RouterSettings, mark: number): 0 | 1 {
  return localMarkMask !== 0 && (mark & localMarkMask) === localMark ? 1 : 0;
}

/** `0x1`, `0x1/0x3`: value and mask of the mark of packets that are the router's own. Throws a ConfigurationError. */
export function setLocalMark(settings: RouterSettings, text: string): void {
  const parts = /^(0x[0-9a-f]{1,8}|\d{1,10})(?:\/(0x[0-9a-f]{1,8}|\d{1,10}))?$/i.exec(text);
  const value = Number(parts?.[1]);
  const mask = parts?.[2] === undefined ? MARK_MAX : Number(parts[2]);
  if (!(value <= MARK_MAX && mask <= MARK_MAX && mask > 0)) {
    throw new ConfigurationError('value', 'not a mark', {
      word: text,
      expected: 'value or value/mask, as 0x1/0x1',
    });
  }
  settings.localMarkMask = mask | 0;
  settings.localMark = value & mask;
}

/** Name, field, least, most. */
const NAMES: readonly (readonly [string, keyof RouterSettings, number, number])[] = [
  ['net.ipv4.ip_forward', 'forwarding4', 0, 1],
  ['net.ipv4.conf.all.forwarding', 'forwarding4', 0, 1],
  ['net.ipv6.conf.all.forwarding', 'forwarding6', 0, 1],
  ['net.ipv4.ip_default_ttl', 'ttl', 1, 255],
  ['net.ipv6.conf.all.hop_limit', 'hopLimit', 1, 255],
  ['net.ipv6.conf.default.hop_limit', 'hopLimit', 1, 255],
  ['net.ipv4.icmp_ratelimit', 'icmpRateLimitMs', 0, 0x7fffffff],
  ['net.ipv4.icmp_msgs_per_sec', 'icmpPerSecond', 0, 0x7fffffff],
  ['net.ipv4.icmp_msgs_burst', 'icmpBurst', 0, 0x7fffffff],
  ['net.ipv4.icmp_ratemask', 'icmpRateMask', 0, 0x7fffffff],
  ['net.ipv6.icmp.ratelimit', 'icmp6RateLimitMs', 0, 0x7fffffff],
  ['net.ipv4.icmp_echo_ignore_all', 'echoIgnoreAll', 0, 1],
  ['net.ipv4.icmp_echo_ignore_broadcasts', 'echoIgnoreBroadcasts', 0, 1],
  ['net.ipv6.icmp.echo_ignore_all', 'echo6IgnoreAll', 0, 1],
  ['net.ipv6.icmp.echo_ignore_multicast', 'echo6IgnoreMulticast', 0, 1],
  ['net.ipv4.icmp_errors_use_inbound_ifaddr', 'errorsUseInboundAddress', 0, 1],
];

/** Settings that are what they are here; only that value is taken. Interface names stand for themselves. */
const FIXED: readonly (readonly [RegExp, string])[] = [
  [/^net\.ipv4\.conf\.[^.]+\.rp_filter$/, '0'],
  [/^net\.ipv4\.conf\.[^.]+\.accept_source_route$/, '0'],
  [/^net\.ipv4\.conf\.[^.]+\.(send|accept|secure)_redirects$/, '0'],
  [/^net\.ipv4\.conf\.[^.]+\.log_martians$/, '0'],
  [/^net\.ipv6\.conf\.[^.]+\.(accept_ra|accept_redirects|accept_source_route|disable_ipv6)$/, '0'],
  [/^net\.ipv6\.auto_flowlabels$/, '0'],
  [/^net\.netfilter\.nf_conntrack_log_invalid$/, '0'],
  [/^net\.netfilter\.nf_conntrack_timestamp$/, '1'],
];

/** Sets `name` if it is a setting of the router; returns whether it is one. Throws for a bad value. */
export function setRouterSetting(settings: RouterSettings, name: string, value: string): boolean {
  const found = NAMES.find(([known]) => known === name);
  if (found !== undefined) {
    const [, field, least, most] = found;
    settings[field] = parseSetting(name, value, least, most);
    return true;
  }
  const fixed = FIXED.find(([pattern]) => pattern.test(name));
  if (fixed === undefined) return false;
  if (value.trim() !== fixed[1]) {
    throw new ConfigurationError('unsupported', `${name} cannot be changed here`, {
      word: value,
      expected: fixed[1],
    });
  }
  return true;
}

/** Value of a setting of the router by name, or undefined. */
export function getRouterSetting(settings: RouterSettings, name: string): number | undefined {
  const found = NAMES.find(([known]) => known === name);
  return found === undefined ? undefined : settings[found[1]];
}

/** An integer setting; throws a ConfigurationError. */
export function parseSetting(name: string, value: string, least: number, most: number): number {
  const number = /^\s*\d+\s*$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new ConfigurationError('value', `${name} out of range`, {
    word: value,
    expected: `an integer from ${least} to ${most}`,
  });
}
