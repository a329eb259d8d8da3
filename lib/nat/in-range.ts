/**
 * Whether a key lies in a range already. Hot on new connections only.
 */
import { KEY_KIND } from '../conntrack/tuples.js';
import { PortKind, portKind, portOf } from './ports.js';
import { Manip, type NatRange, NatRangeFlag } from './range.js';

/** Whether source address and source port of `key` lie in `range`, as far as it cares: 1 or 0. */
export function isInRange(key: Int32Array, range: NatRange, version: number): 0 | 1 {
  if ((range.flags & NatRangeFlag.MAP_IPS) !== 0) {
    const words = version === 4 ? 1 : 4;
    if (compareWords(key, range.minAddress, words) < 0) return 0;
    if (compareWords(key, range.maxAddress, words) > 0) return 0;
  }
  if ((range.flags & NatRangeFlag.PROTO_SPECIFIED) === 0) return 1;
  return isPortInRange(key, range, Manip.SRC);
}

/** Whether the port that `manip` changes lies in the range's ports: 1 or 0; 1 for a protocol without. */
export function isPortInRange(key: Int32Array, range: NatRange, manip: Manip): 0 | 1 {
  if (portKind((key[KEY_KIND] as number) & 255) === PortKind.NONE) return 1;
  const port = portOf(key, manip);
  return port >= range.minPort && port <= range.maxPort ? 1 : 0;
}

/** Order of two addresses of `words` words, unsigned: negative, 0 or positive. */
function compareWords(a: Int32Array, b: Int32Array, words: number): number {
  for (let i = 0; i < words; i++) {
    if (a[i] !== b[i]) return ((a[i] as number) >>> 0) - ((b[i] as number) >>> 0);
  }
  return 0;
}
