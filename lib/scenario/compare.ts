/**
 * Comparing what a run did with what a trace recorded: the first difference, or none. Cold.
 *
 * Order: for each step its packets (those that came out at once, then the late ones), its table, its hits; at the end
 * the final counters. Packets must agree byte for byte and by interface; entries in every field. Time is measured by
 * the recorder in whole seconds and with some lag, so a timeout may be off by one second where the exact remainder
 * lies within 30 ms of a whole second, and an entry that expires within 30 ms of a reading may be there or not. What
 * a step does not record (a scenario without outputs) is not compared.
 */
import type { Run } from './run.js';
import type { Reading } from './table.js';
import type { Trace, TraceEntry, TracePacket, TraceStep } from './trace.js';

export type DifferenceKind = 'packet' | 'table' | 'hits' | 'final' | 'error';

export interface Difference {
  readonly kind: DifferenceKind;
  /** Step, from 0; null if it concerns the whole file. */
  readonly step: number | null;
  readonly expected: unknown;
  readonly got: unknown;
}

/** How near to a whole second, or to a reading, measured time is uncertain. */
const TOLERANCE_MS = 30;

/** Whether the trace has anything recorded to compare with. */
export function hasRecording(trace: Trace): boolean {
  return trace.steps.some((step) => step.out !== undefined);
}

/** The first difference between the recording in `trace` and `run`. */
export function compareRun(trace: Trace, run: Run): Difference | null {
  const table = new ExpectedTable(trace.dumpMs);
  for (const [k, expected] of trace.steps.entries()) {
    if (expected.out === undefined) continue;
    const got = run.steps[k] as TraceStep;
    const difference =
      comparePackets(k, expected, got) ??
      table.compare(k, expected, run.readings[k] as ReadonlyMap<string, Reading>) ??
      compareHits(k, expected.hits ?? {}, got.hits ?? {});
    if (difference !== null) return difference;
  }
  return compareFinal(trace.final4, run.final4) ?? compareFinal(trace.final6, run.final6);
}

function comparePackets(step: number, expected: TraceStep, got: TraceStep): Difference | null {
  if (expected.write_error !== got.write_error) {
    return {
      kind: 'packet',
      step,
      expected: { write_error: expected.write_error ?? null },
      got: { write_error: got.write_error ?? null },
    };
  }
  return (
    compareSequence(step, expected.out ?? [], got.out ?? []) ??
    compareSequence(step, expected.late ?? [], got.late ?? [])
  );
}

function compareSequence(
  step: number,
  expected: readonly TracePacket[],
  got: readonly TracePacket[],
): Difference | null {
  for (let i = 0; i < Math.max(expected.length, got.length); i++) {
    const [a, b] = [expected[i], got[i]];
    if (a?.packet !== b?.packet || a?.if !== b?.if) {
      return { kind: 'packet', step, expected: a ?? null, got: b ?? null };
    }
  }
  return null;
}

function compareHits(
  step: number,
  expected: Readonly<Record<string, number>>,
  got: Readonly<Record<string, number>>,
): Difference | null {
  const names = new Set([...Object.keys(expected), ...Object.keys(got)]);
  for (const name of names) {
    if (expected[name] !== got[name]) return { kind: 'hits', step, expected, got };
  }
  return null;
}

function compareFinal(expected: string | undefined, got: string | undefined): Difference | null {
  if (expected === undefined || expected === got) return null;
  const [a, b] = [expected.split('\n'), (got ?? '').split('\n')];
  const line = a.findIndex((text, i) => text !== b[i]);
  const at = line < 0 ? a.length : line;
  return { kind: 'final', step: null, expected: a[at] ?? null, got: b[at] ?? null };
}

/** The recorded table, kept up from step to step. */
class ExpectedTable {
  readonly #dumpMs: number;
  /** Last told form of every entry, and between which moments it expires. */
  readonly #live = new Map<string, { entry: TraceEntry; lowMs: number; highMs: number }>();
  #before: ReadonlyMap<string, Reading> = new Map();

  constructor(dumpMs: number) {
    this.#dumpMs = dumpMs;
  }

  compare(step: number, expected: TraceStep, readings: ReadonlyMap<string, Reading>): Difference | null {
    const nowMs = expected.t + this.#dumpMs;
    const told = new Set<string>();
    for (const entry of expected.ct ?? []) {
      told.add(entry.id);
      const highMs = entry.timeout === null ? Number.POSITIVE_INFINITY : nowMs + entry.timeout * 1000;
      this.#live.set(entry.id, { entry, lowMs: highMs - 1000, highMs });
    }
    for (const id of expected.gone ?? []) this.#live.delete(id);
    for (const [id, { entry, lowMs, highMs }] of this.#live) {
      const reading = readings.get(id);
      if (reading === undefined) {
        const lastMs = this.#before.get(id)?.expiresMs;
        if (lastMs !== undefined && Math.abs(lastMs - nowMs) <= TOLERANCE_MS) continue;
        return this.#difference(step, told.has(id) ? entry : aged(entry, highMs, nowMs), null);
      }
      const expectedEntry = told.has(id) ? entry : aged(entry, highMs, nowMs);
      const isOnTime = told.has(id)
        ? timeoutAgrees(entry.timeout, reading, nowMs)
        : reading.expiresMs >= lowMs - TOLERANCE_MS && reading.expiresMs <= highMs + TOLERANCE_MS;
      if (!isOnTime || !sameButTimeout(entry, reading.entry)) {
        return this.#difference(step, expectedEntry, reading.entry);
      }
    }
    for (const [id, reading] of readings) {
      if (this.#live.has(id) || Math.abs(reading.expiresMs - nowMs) <= TOLERANCE_MS) continue;
      return this.#difference(step, null, reading.entry);
    }
    this.#before = readings;
    return null;
  }

  #difference(step: number, expected: TraceEntry | null, got: TraceEntry | null): Difference {
    return { kind: 'table', step, expected, got };
  }
}

function timeoutAgrees(expected: number | null, reading: Reading, nowMs: number): boolean {
  const got = reading.entry.timeout;
  if (expected === null || got === null || expected === got) return expected === got;
  const leftMs = reading.expiresMs - nowMs;
  const fromWhole = Math.abs(leftMs - Math.round(leftMs / 1000) * 1000);
  return Math.abs(expected - got) === 1 && fromWhole <= TOLERANCE_MS;
}

function aged(entry: TraceEntry, highMs: number, nowMs: number): TraceEntry {
  return entry.timeout === null ? entry : { ...entry, timeout: Math.ceil((highMs - nowMs) / 1000) };
}

function sameButTimeout(a: TraceEntry, b: TraceEntry): boolean {
  return canonical({ ...a, timeout: 0 }) === canonical({ ...b, timeout: 0 });
}

/** JSON with the members sorted: equal values give equal texts. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`;
}
