import { readdirSync, readFileSync } from 'node:fs';
import { readTraceFile, type TraceText } from '../../lib/node/trace-files.js';
import type { Run } from '../../lib/scenario/run.js';
import type { Reading } from '../../lib/scenario/table.js';
import { readTrace, type Trace, type TraceStep } from '../../lib/scenario/trace.js';

/** Recordings of Linux; each file has one trace per line. */
const TRACE_FOLDER = new URL('../traces/', import.meta.url).pathname;
/** More of them, recorded for what the first do not have. */
const OWN_TRACE_FOLDER = new URL('../traces-own/', import.meta.url).pathname;

const ENDING = '.jsonl.gz';

/** Traces that do not pass yet: name to reason. */
export const EXCEPTIONS: Record<string, string> = JSON.parse(
  readFileSync(new URL('exceptions.json', import.meta.url), 'utf8'),
);

/** The file of each group of recordings. */
const FILES: ReadonlyMap<string, string> = new Map(
  [TRACE_FOLDER, OWN_TRACE_FOLDER].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(ENDING))
      .map((name): [string, string] => [name.replace(ENDING, ''), folder + name]),
  ),
);

/** Names of the groups of recordings. */
export const GROUPS: readonly string[] = [...FILES.keys()];

/** The traces of a group as they are written, one line each. */
export function readLines(group: string): readonly TraceText[] {
  return readTraceFile(FILES.get(group) as string);
}

/** The traces of a group. */
export function readGroup(group: string): Trace[] {
  return readLines(group).map(({ text, place }) => readTrace(text, place));
}

/** One trace by name. */
export function readNamed(name: string): Trace {
  const found = readGroup(name.split('_')[0] as string).find((trace) => trace.name === name);
  if (found === undefined) throw new Error(`no trace ${name}`);
  return found;
}

/** A run that did exactly what the trace recorded. */
export function recordedRun(trace: Trace): Run {
  const readings: Map<string, Reading>[] = [];
  let live = new Map<string, Reading>();
  for (const step of trace.steps) {
    live = new Map(live);
    for (const entry of step.ct ?? []) {
      const expiresMs = step.t + trace.dumpMs + (entry.timeout as number) * 1000 - 6;
      live.set(entry.id, { entry, expiresMs });
    }
    for (const id of step.gone ?? []) live.delete(id);
    readings.push(live);
  }
  return {
    steps: trace.steps,
    readings,
    ...(trace.final4 === undefined ? {} : { final4: trace.final4 }),
    ...(trace.final6 === undefined ? {} : { final6: trace.final6 }),
  };
}

/** The run with one step changed. */
export function withStep(run: Run, k: number, change: Partial<TraceStep>): Run {
  return { ...run, steps: run.steps.map((step, i) => (i === k ? { ...step, ...change } : step)) };
}
