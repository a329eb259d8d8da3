/**
 * A result for people: what went in, what was expected, what came, and where they differ. Cold.
 */

import { describeByteDifferences } from './bytes-diff.js';
import type { TraceResult } from './check.js';
import type { Difference } from './compare.js';
import { parseHex } from './hex.js';
import { formatPacket } from './notation.js';
import type { Trace, TraceEntry, TracePacket, TraceStep, TraceTuple } from './trace.js';

/** The lines of a failed result, indented under a heading of their own. */
export function formatFailure(trace: Trace, result: TraceResult): string[] {
  const { difference, run } = result;
  if (difference === null) return [];
  const { step } = difference;
  const place = step === null ? '' : ` at step ${step}`;
  const lines = [`FAIL ${result.name}: ${difference.kind}${place}`];
  if (trace.description !== '') lines.push(row('about', trace.description));
  if (step !== null) {
    const input = trace.steps[step] as TraceStep;
    if (input.note !== undefined) lines.push(row('note', input.note));
    lines.push(row(`+${(input.t / 1000).toFixed(3)}`, describeInput(run?.steps[step] ?? input)));
  }
  lines.push(...describe(difference));
  const hits = step === null ? undefined : run?.steps[step]?.hits;
  if (hits !== undefined && difference.kind !== 'hits') lines.push(row('rules', formatHits(hits)));
  return lines;
}

function row(label: string, text: string): string {
  return `  ${label.padEnd(9)} ${text}`;
}

function describeInput(step: TraceStep): string {
  if (step.in === undefined) return 'time goes by';
  return `${step.in} < ${formatPacket(parseHex(step.packet ?? ''))}`;
}

function describe({ kind, expected, got }: Difference): string[] {
  switch (kind) {
    case 'packet':
      return packetLines(expected as PacketSide, got as PacketSide);
    case 'table':
      return entryLines(expected as TraceEntry | null, got as TraceEntry | null);
    case 'hits':
      return hitLines(expected as Hits, got as Hits);
    case 'final':
      return [row('expected', String(expected ?? 'the end')), row('got', String(got ?? 'the end'))];
    default:
      return [...(expected === null ? [] : [row('expected', String(expected))]), row('got', String(got))];
  }
}

type Hits = Readonly<Record<string, number>>;
type PacketSide = TracePacket | { readonly write_error: number | null } | null;

function packetLines(expected: PacketSide, got: PacketSide): string[] {
  const lines = [row('expected', side(expected)), row('got', side(got))];
  if (expected === null || got === null || !('packet' in expected) || !('packet' in got)) return lines;
  const differences = describeByteDifferences(parseHex(expected.packet), parseHex(got.packet));
  return [...lines, ...differences.map((text) => row('', text))];
}

function side(packet: PacketSide): string {
  if (packet === null) return 'no packet';
  if ('packet' in packet) return `${packet.if} > ${formatPacket(parseHex(packet.packet))}`;
  return packet.write_error === null
    ? 'the packet is accepted'
    : `the packet is refused (errno ${packet.write_error})`;
}

function entryLines(expected: TraceEntry | null, got: TraceEntry | null): string[] {
  const lines = [
    row('expected', expected === null ? 'no entry' : formatEntry(expected)),
    row('got', got === null ? 'no entry' : formatEntry(got)),
  ];
  if (expected === null || got === null) return lines;
  const [a, b] = [expected as unknown as Record<string, unknown>, got as unknown as Record<string, unknown>];
  for (const field of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [before, after] = [show(a[field]), show(b[field])];
    if (before !== after) lines.push(row('', `${field}: expected ${before}, got ${after}`));
  }
  return lines;
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}

/** An entry in one line: `c1 tcp ESTABLISHED 432000 10.0.0.2:40000>1.1.1.1:80 | 1.1.1.1:80>... ASSURED mark=0`. */
export function formatEntry(entry: TraceEntry): string {
  const words = [
    entry.id,
    entry.l4,
    ...(entry.state === undefined ? [] : [entry.state]),
    String(entry.timeout),
  ];
  words.push(formatTuple(entry.orig), '|', formatTuple(entry.reply), ...entry.flags, `mark=${entry.mark}`);
  if (entry.zone !== undefined) words.push(`zone=${entry.zone}`);
  return words.join(' ');
}

function formatTuple(tuple: TraceTuple): string {
  const { src, dst } = tuple;
  if (tuple.sport !== undefined) return `${host(src)}:${tuple.sport}>${host(dst)}:${tuple.dport}`;
  if (tuple.type !== undefined) return `${src}>${dst} type ${tuple.type} code ${tuple.code} id ${tuple.id}`;
  return `${src}>${dst}`;
}

function host(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function hitLines(expected: Hits, got: Hits): string[] {
  const lines: string[] = [];
  for (const name of new Set([...Object.keys(expected), ...Object.keys(got)])) {
    const [a, b] = [expected[name] ?? 0, got[name] ?? 0];
    if (a !== b) lines.push(row('', `${name}: expected ${times(a)}, got ${times(b)}`));
  }
  return [row('expected', formatHits(expected)), row('got', formatHits(got)), ...lines];
}

function times(count: number): string {
  return count === 1 ? 'one packet' : count === 0 ? 'none' : `${count} packets`;
}

function formatHits(hits: Hits): string {
  const words = Object.entries(hits).map(([name, count]) => (count === 1 ? name : `${name} x${count}`));
  return words.length === 0 ? 'none' : words.join(' ');
}
