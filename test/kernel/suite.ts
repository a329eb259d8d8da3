/**
 * The random comparison as a test suite, one part of it per test file (a process each).
 *
 * Environment: CONNTIDE_KERNEL_SEQUENCES how many in all, CONNTIDE_KERNEL_SEED which, CONNTIDE_KERNEL_FIRST from which
 * index on, CONNTIDE_KERNEL_KIND only one kind, CONNTIDE_KERNEL_REPORT where disagreements go,
 * CONNTIDE_KERNEL_KEEP_GOING at how many disagreements to stop.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Outcome } from './agreement.js';
import { exceptionOf } from './exceptions.js';
import { generateScenario, KINDS, type Kind } from './generate/scenario.js';
import { missingNeeds } from './needs.js';
import { REPORT_DIRECTORY, report } from './report.js';

const PARTS = 2;
const SEQUENCES = Number(process.env.CONNTIDE_KERNEL_SEQUENCES ?? 400);
const SEED = Number(process.env.CONNTIDE_KERNEL_SEED ?? 1);
const FIRST = Number(process.env.CONNTIDE_KERNEL_FIRST ?? 0);
const ONLY = KINDS.find((kind) => kind === process.env.CONNTIDE_KERNEL_KIND);
const MOST_DISAGREEMENTS = Number(process.env.CONNTIDE_KERNEL_KEEP_GOING ?? 20);
/** How often a disagreement must show again: a kernel under load is late now and then, and a clock tick falls between. */
const REPEATS = 2;
const PROGRESS_MS = 10_000;

interface Tally {
  sequences: number;
  steps: number;
  refused: number;
  unsupported: number;
  /** Differences that exceptions.ts names, by name. */
  readonly excepted: Map<string, number>;
  /** Differed once, but not when run again. */
  fleeting: number;
  readonly disagreements: string[];
}

/** Declares the tests of part `part` (from 0). */
export function agreementSuite(part: number): void {
  const missing = missingNeeds();
  if (missing.length > 0 && part === 0) {
    console.warn(`SKIPPED: comparison with the running kernel; missing: ${missing.join(', ')}`);
  }
  test.skipIf(missing.length > 0)(
    `seeded random scenarios do in conntide what they do in the kernel, part ${part + 1} of ${PARTS}`,
    async () => {
      const { runBoth, shrink } = await import('./agreement.js');
      const tally: Tally = {
        sequences: 0,
        steps: 0,
        refused: 0,
        unsupported: 0,
        excepted: new Map(),
        fleeting: 0,
        disagreements: [],
      };
      const startMs = performance.now();
      let toldMs = startMs;
      mkdirSync(REPORT_DIRECTORY, { recursive: true });
      for (let index = FIRST + part; index < FIRST + SEQUENCES; index += PARTS) {
        // If nothing comes back, this tells where.
        writeFileSync(join(REPORT_DIRECTORY, `running-${part + 1}.txt`), `seed ${SEED} index ${index}\n`);
        runOne(index, tally, runBoth, shrink);
        if (performance.now() - toldMs > PROGRESS_MS) {
          toldMs = performance.now();
          tell(part, tally, startMs);
        }
        if (tally.disagreements.length >= MOST_DISAGREEMENTS) break;
      }
      tell(part, tally, startMs);
      const summary = join(REPORT_DIRECTORY, `summary-${SEED}-${part + 1}.txt`);
      writeFileSync(summary, `${line(part, tally, startMs)}\n\n${tally.disagreements.join('\n')}`);
      expect(tally.sequences).toBeGreaterThan(0);
      expect(tally.refused, 'rulesets that the kernel refuses').toBeLessThanOrEqual(tally.sequences / 20);
      expect(tally.disagreements.length, `disagreements, listed in ${summary}`).toBe(0);
    },
  );
}

type Differed = Outcome & { readonly kind: 'differed' };
type RunBoth = typeof import('./agreement.js').runBoth;
type Shrink = typeof import('./agreement.js').shrink;

function runOne(index: number, tally: Tally, runBoth: RunBoth, shrink: Shrink): void {
  const scenario = generateScenario(SEED, index, ONLY as Kind | undefined);
  const outcome = runBoth(scenario);
  tally.sequences++;
  tally.steps += scenario.steps.length;
  if (outcome.kind === 'agreed') return;
  if (outcome.kind === 'refused') {
    tally.refused++;
    console.warn(`${scenario.name}: ${outcome.reason}`);
    return;
  }
  if (outcome.kind === 'unsupported') {
    tally.unsupported++;
    console.warn(`${scenario.name}: ${outcome.reason}`);
    return;
  }
  const exception = exceptionOf(outcome.difference, outcome.trace);
  if (exception !== undefined) {
    tally.excepted.set(exception, (tally.excepted.get(exception) ?? 0) + 1);
    console.warn(`${scenario.name}: excepted: ${exception}`);
    return;
  }
  let again: Outcome = outcome;
  for (let i = 0; i < REPEATS; i++) {
    again = runBoth(scenario);
    if (again.kind !== 'differed') {
      tally.fleeting++;
      console.warn(`${scenario.name}: differed once, not again: ${JSON.stringify(outcome.difference)}`);
      return;
    }
  }
  const smallest = shrink(scenario, again as Differed);
  const text = report(smallest.trace, smallest.difference);
  tally.disagreements.push(text);
  console.warn(
    text
      .split('\n')
      .map((one) => one.slice(0, 400))
      .join('\n'),
  );
}

function tell(part: number, tally: Tally, startMs: number): void {
  console.log(line(part, tally, startMs));
}

function line(part: number, tally: Tally, startMs: number): string {
  const seconds = (performance.now() - startMs) / 1000;
  const excepted = [...tally.excepted].map(([name, count]) => `${count} ${name}`);
  return (
    `kernel part ${part + 1} seed ${SEED}: ${tally.sequences} sequences, ${tally.steps} steps, ` +
    `${tally.disagreements.length} disagreements, ${tally.fleeting} fleeting, ${tally.refused} refused, ` +
    `${tally.unsupported} unsupported, excepted: ${excepted.join(', ') || 'none'}, ` +
    `${(tally.sequences / seconds).toFixed(1)} a second`
  );
}
