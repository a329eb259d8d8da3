/**
 * One file, run and compared: the result that the command line and the tests print. Cold.
 */
import { ConfigurationError } from '../errors.js';
import { compareRun, type Difference, hasRecording } from './compare.js';
import { type Run, runTrace, StepError } from './run.js';
import type { Trace } from './trace.js';

export interface TraceResult {
  readonly name: string;
  readonly difference: Difference | null;
  /** Absent when the run did not come to its end. */
  readonly run?: Run;
}

/** Runs a trace and compares; what goes wrong is a difference of kind `error`. */
export function checkTrace(trace: Trace): TraceResult {
  let run: Run;
  try {
    run = runTrace(trace);
  } catch (error) {
    return { name: trace.name, difference: errorDifference(error) };
  }
  if (!hasRecording(trace)) {
    const difference: Difference = {
      kind: 'error',
      step: null,
      expected: 'recorded outputs',
      got: 'a scenario without any: there is nothing to compare',
    };
    return { name: trace.name, difference, run };
  }
  return { name: trace.name, difference: compareRun(trace, run), run };
}

/** An error as a difference. */
export function errorDifference(error: unknown): Difference {
  const step = error instanceof StepError ? error.step : null;
  const cause = error instanceof StepError ? error.cause : error;
  const got =
    cause instanceof Error && !(cause instanceof ConfigurationError) ? inside(cause) : messageOf(cause);
  return { kind: 'error', step, expected: null, got };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A fault of ours: its kind and place help whoever reports it. */
function inside(error: Error): string {
  const place = /\n\s+at (.*)/.exec(error.stack ?? '')?.[1];
  return `${error.name}: ${error.message}${place === undefined ? '' : ` (${place})`}`;
}
