/**
 * One scenario through the kernel and through conntide: recorded from the one, run and compared by the other. A
 * disagreement counts only if further recordings have it too, and is then shrunk: steps, patches, rules and settings
 * are left out as long as the two still disagree in the same way.
 */
import { ConfigurationError } from '../../lib/errors.js';
import { compareRun, type Difference } from '../../lib/scenario/compare.js';
import { runTrace } from '../../lib/scenario/run.js';
import type { Trace, TraceStep } from '../../lib/scenario/trace.js';
import { KernelRouter } from './kernel-router.js';
import { record } from './recorder.js';

/** A scenario and what came of it. */
export type Outcome =
  | { readonly kind: 'agreed' }
  /** The kernel does not take the rules, or a setting. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** conntide says that it does not support something of the rules. */
  | { readonly kind: 'unsupported'; readonly reason: string }
  | { readonly kind: 'differed'; readonly trace: Trace; readonly difference: Difference };

/** Runs a scenario once on either side, in a network namespace of its own. */
export function runBoth(scenario: Trace): Outcome {
  let router: KernelRouter;
  try {
    router = new KernelRouter(scenario);
  } catch (error) {
    return { kind: 'refused', reason: (error as Error).message };
  }
  let trace: Trace;
  try {
    trace = record(scenario, router, 'fast').trace;
  } finally {
    router.close();
  }
  return compare(trace);
}

function compare(trace: Trace): Outcome {
  try {
    const difference = compareRun(trace, runTrace(trace));
    return difference === null ? { kind: 'agreed' } : { kind: 'differed', trace, difference };
  } catch (error) {
    if (error instanceof ConfigurationError && error.code === 'unsupported') {
      return { kind: 'unsupported', reason: error.message };
    }
    const got = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: 'differed', trace, difference: { kind: 'error', step: null, expected: null, got } };
  }
}

/** What tells one disagreement from another while shrinking. */
function sameKind(a: Difference, b: Difference): boolean {
  if (a.kind !== b.kind) return false;
  const line = (value: unknown) => String(value).split('\n', 1)[0];
  return a.kind !== 'error' || line(a.got) === line(b.got);
}

/** The most runs that shrinking one disagreement may take. */
const MOST_RUNS = 200;
/** How often in a row a smaller one must differ to be taken. */
const SHOWS = 2;

/** A smaller scenario that still differs in the same way, recorded. */
export function shrink(
  scenario: Trace,
  found: Outcome & { kind: 'differed' },
): Outcome & { kind: 'differed' } {
  let best = found;
  let current = scenario;
  let runs = 0;
  const attempt = (candidate: Trace): boolean => {
    if (runs >= MOST_RUNS) return false;
    let outcome: Outcome = found;
    for (let i = 0; i < SHOWS; i++) {
      runs++;
      outcome = runBoth(candidate);
      if (outcome.kind !== 'differed' || !sameKind(outcome.difference, found.difference)) return false;
    }
    if (outcome.kind !== 'differed') return false;
    best = outcome;
    current = candidate;
    return true;
  };
  const last = found.difference.step;
  if (last !== null) attempt({ ...current, steps: current.steps.slice(0, last + 1) });
  for (let isSmaller = true; isSmaller && runs < MOST_RUNS; ) {
    isSmaller = false;
    for (let size = current.steps.length >> 1; size >= 1; size >>= 1) {
      for (let at = current.steps.length - size; at >= 0; at -= size) {
        if (attempt({ ...current, steps: withoutSteps(current.steps, at, size) })) isSmaller = true;
      }
    }
    for (const family of ['rules4', 'rules6'] as const) {
      for (const text of shorterRules(current[family] ?? '')) {
        if (attempt({ ...current, [family]: text })) {
          isSmaller = true;
          break;
        }
      }
    }
    for (const name of Object.keys(current.sysctls)) {
      const { [name]: _, ...sysctls } = current.sysctls;
      if (attempt({ ...current, sysctls })) isSmaller = true;
    }
    if (current.sockets.length > 0 && attempt({ ...current, sockets: [] })) isSmaller = true;
  }
  return best;
}

/** Steps without `count` of them; patches follow the renumbering, those from a step left out go with it. */
function withoutSteps(steps: readonly TraceStep[], at: number, count: number): TraceStep[] {
  const kept = steps.filter((_, k) => k < at || k >= at + count);
  return kept.map(({ patch, ...step }) => {
    const moved = patch
      ?.filter((one) => one.step < at || one.step >= at + count)
      .map((one) => (one.step < at ? one : { ...one, step: one.step - count }));
    return moved === undefined || moved.length === 0 ? step : { ...step, patch: moved };
  });
}

/** The ruleset without a table, and without a rule, in turn. */
function* shorterRules(text: string): Generator<string> {
  const tables = text.split(/(?<=COMMIT\n)/);
  if (tables.length > 1) {
    for (const one of tables) yield tables.filter((other) => other !== one).join('');
  }
  const lines = text.split('\n');
  for (let i = lines.length - 1; i >= 0; i--) {
    if (lines[i]?.startsWith('-A')) yield lines.filter((_, k) => k !== i).join('\n');
  }
}
