/**
 * Differences that are accidents of how Linux is made, each with its reason. They are counted, not reported. The list
 * in docs/linux-agreement.md has the same names.
 */
import type { Difference } from '../../lib/scenario/compare.js';
import { locate, quoteOffset } from '../../lib/scenario/fields.js';
import { parseHex } from '../../lib/scenario/hex.js';
import type { TracePacket } from '../../lib/scenario/trace.js';

const TCP = 6;
const RST = 4;

/** The name of the exception that a difference falls under, or undefined. */
export function exceptionOf({ kind, expected, got }: Difference): string | undefined {
  if (kind !== 'packet') return undefined;
  const [a, b] = [expected as Partial<TracePacket> | null, got as Partial<TracePacket> | null];
  if (a?.packet === undefined || b?.packet === undefined || a.if !== b.if) return undefined;
  return quotesOwnReset(parseHex(a.packet), parseHex(b.packet)) ? 'unfinished-checksum' : undefined;
}

/**
 * unfinished-checksum: Linux leaves the TCP checksum of an IPv4 reset that REJECT makes to the network device. An error
 * about that reset (a rule in OUTPUT refuses it) quotes it before it is computed.
 */
function quotesOwnReset(a: Uint8Array, b: Uint8Array): boolean {
  const quote = quoteOffset(a);
  if (quote === undefined || a.length !== b.length || a[0] !== 0x45) return false;
  const inside = locate(a.subarray(quote));
  if (inside?.protocol !== TCP || inside.isLater) return false;
  const tcp = quote + inside.transport;
  if (tcp + 20 > a.length || ((a[tcp + 13] as number) & RST) === 0) return false;
  const isSum = (i: number) => (i >= 22 && i < 24) || (i >= tcp + 16 && i < tcp + 18);
  return a.every((byte, i) => isSum(i) || byte === b[i]);
}
