/**
 * Differences that are accidents of how Linux is made, each with its reason. They are counted, not reported. The list
 * in docs/linux-agreement.md has the same names.
 */
import type { Difference } from '../../lib/scenario/compare.js';
import { locate, quoteOffset } from '../../lib/scenario/fields.js';
import { parseHex } from '../../lib/scenario/hex.js';
import type { Trace, TracePacket } from '../../lib/scenario/trace.js';

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const TIMESTAMP_REPLY = 14;
const UNREACHABLE6 = 1;
const PORT6 = 4;
const IPV6_HEADER = 40;
const ICMP_HEADER = 8;
/** Where an ICMPv6 error quotes. */
const QUOTE6 = 48;
/** Datagrams that Linux sums once more when they arrive, at the most; longer ones only if no sum is known. */
const MOST_SUMMED_ANEW = 76;
const RST = 4;

/** The name of the exception that a difference in `trace` falls under, or undefined. */
export function exceptionOf({ kind, expected, got }: Difference, trace: Trace): string | undefined {
  if (kind !== 'packet') return undefined;
  const [a, b] = [expected as Partial<TracePacket> | null, got as Partial<TracePacket> | null];
  if (a === null && b?.packet !== undefined) {
    return isRefusedAfterMangling(parseHex(b.packet), trace.rules6 ?? '')
      ? 'mangled-after-verification'
      : undefined;
  }
  if (a?.packet === undefined || b?.packet === undefined || a.if !== b.if) return undefined;
  const [expectedBytes, gotBytes] = [parseHex(a.packet), parseHex(b.packet)];
  if (quotesOwnReset(expectedBytes, gotBytes)) return 'unfinished-checksum';
  return tellsTime(expectedBytes, gotBytes) ? 'time-of-day' : undefined;
}

/**
 * unfinished-checksum: Linux leaves the TCP checksum of resets to the network device: of those that REJECT makes for IPv4,
 * and of those that closed ports send for IPv6. An error about such a reset (a rule in OUTPUT refuses it) quotes it
 * before it is computed.
 */
function quotesOwnReset(a: Uint8Array, b: Uint8Array): boolean {
  const quote = quoteOffset(a);
  if (quote === undefined || a.length !== b.length) return false;
  const inside = locate(a.subarray(quote));
  if (inside?.protocol !== TCP || inside.isLater) return false;
  const tcp = quote + inside.transport;
  if (tcp + 20 > a.length || ((a[tcp + 13] as number) & RST) === 0) return false;
  const error = quote - ICMP_HEADER;
  const isSum = (i: number) => (i >= error + 2 && i < error + 4) || (i >= tcp + 16 && i < tcp + 18);
  return a.every((byte, i) => isSum(i) || byte === b[i]);
}

/**
 * mangled-after-verification: conntrack keeps the sum over a whole IPv6 packet that it verified. A mangle rule that then
 * changes the header (TOS, DSCP, HL) does not correct it, and UDP believes it for datagrams of more than 76 bytes: those
 * to the router are dropped as broken. IPv4 headers sum to zero, before and after.
 */
function isRefusedAfterMangling(made: Uint8Array, rules: string): boolean {
  if ((made[0] as number) >> 4 !== 6 || made[6] !== ICMPV6 || made.length < QUOTE6 + 48) return false;
  const isPortError = made[IPV6_HEADER] === UNREACHABLE6 && made[IPV6_HEADER + 1] === PORT6;
  const quoted = locate(made.subarray(QUOTE6));
  if (!isPortError || quoted?.protocol !== UDP) return false;
  const at = QUOTE6 + quoted.transport + 4;
  const udpBytes = ((made[at] as number) << 8) | (made[at + 1] as number);
  return udpBytes > MOST_SUMMED_ANEW && /^-A (PREROUTING|INPUT) .*-j (TOS|DSCP|HL) /m.test(rules);
}

/** time-of-day: the router's answers to ICMP timestamp requests have its clock in them. */
function tellsTime(a: Uint8Array, b: Uint8Array): boolean {
  const header = ((a[0] as number) & 15) * 4;
  if (
    (a[0] as number) >> 4 !== 4 ||
    a[9] !== ICMP ||
    a[header] !== TIMESTAMP_REPLY ||
    a.length !== b.length
  ) {
    return false;
  }
  const isTime = (i: number) => (i >= header + 2 && i < header + 4) || (i >= header + 12 && i < header + 20);
  return a.every((byte, i) => isTime(i) || byte === b[i]);
}
