/**
 * Where two packets differ, by the names of the fields. Cold.
 */
import { locate, quoteOffset } from './fields.js';
import { formatHex } from './hex.js';

type Layout = readonly (readonly [from: number, name: string])[];

const IPV4: Layout = [
  [0, 'version and header length'],
  [1, 'TOS'],
  [2, 'total length'],
  [4, 'id'],
  [6, 'flags and fragment offset'],
  [8, 'TTL'],
  [9, 'protocol'],
  [10, 'header checksum'],
  [12, 'source address'],
  [16, 'destination address'],
  [20, 'IP options'],
];
const IPV6: Layout = [
  [0, 'version, traffic class, flow label'],
  [4, 'payload length'],
  [6, 'next header'],
  [7, 'hop limit'],
  [8, 'source address'],
  [24, 'destination address'],
  [40, 'extension headers'],
];
const PORTS: Layout = [
  [0, 'source port'],
  [2, 'destination port'],
];
const ICMP: Layout = [
  [0, 'type'],
  [1, 'code'],
  [2, 'checksum'],
  [4, 'bytes 4-7'],
  [8, 'payload'],
];
const TRANSPORTS: ReadonlyMap<number, Layout> = new Map([
  [1, ICMP],
  [58, ICMP],
  [
    6,
    [
      ...PORTS,
      [4, 'sequence number'],
      [8, 'acknowledgement number'],
      [12, 'header length'],
      [13, 'flags'],
      [14, 'window'],
      [16, 'checksum'],
      [18, 'urgent pointer'],
      [20, 'options and payload'],
    ],
  ],
  [17, [...PORTS, [4, 'length'], [6, 'checksum'], [8, 'payload']]],
  [136, [...PORTS, [4, 'checksum coverage'], [6, 'checksum'], [8, 'payload']]],
  [132, [...PORTS, [4, 'verification tag'], [8, 'checksum'], [12, 'chunks']]],
]);
/** Differences shown; more are only counted. */
const MOST_SHOWN = 8;

/** One line per field in which the packets differ, or that one of them lacks. */
export function describeByteDifferences(expected: Uint8Array, got: Uint8Array): string[] {
  const lines: string[] = [];
  const fields = new Map<string, { from: number; to: number }>();
  const common = Math.min(expected.length, got.length);
  for (let i = 0; i < common; i++) {
    if (expected[i] === got[i]) continue;
    const name = fieldAt(expected, i);
    fields.set(name, { from: fields.get(name)?.from ?? i, to: i + 1 });
  }
  for (const [name, { from, to }] of [...fields].slice(0, MOST_SHOWN)) {
    const place = to - from === 1 ? `byte ${from}` : `bytes ${from}-${to - 1}`;
    lines.push(`${name} (${place}): expected ${cut(expected, from, to)}, got ${cut(got, from, to)}`);
  }
  if (fields.size > MOST_SHOWN) lines.push(`and ${fields.size - MOST_SHOWN} more fields`);
  if (expected.length !== got.length) lines.push(`length: expected ${expected.length}, got ${got.length}`);
  return lines;
}

function cut(bytes: Uint8Array, from: number, to: number): string {
  const hex = formatHex(bytes.subarray(from, Math.min(to, from + 16)));
  return to - from > 16 ? `${hex}...` : hex;
}

/** Name of the field that the byte at `offset` belongs to. */
function fieldAt(bytes: Uint8Array, offset: number): string {
  const quote = quoteOffset(bytes);
  if (quote !== undefined && offset >= quote)
    return `quoted ${fieldAt(bytes.subarray(quote), offset - quote)}`;
  const at = locate(bytes);
  if (at === undefined) return 'bytes';
  if (offset < at.transport) return nameIn(at.version === 4 ? IPV4 : IPV6, offset);
  const layout = at.isLater ? undefined : TRANSPORTS.get(at.protocol);
  return layout === undefined ? 'payload' : nameIn(layout, offset - at.transport);
}

function nameIn(layout: Layout, offset: number): string {
  return layout.findLast(([from]) => from <= offset)?.[1] ?? 'bytes';
}
