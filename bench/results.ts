/** What a run found, as it is kept in bench/results. */
import type { Axis, Effort, Unit } from './subject.js';

/** One subject at one size. */
export interface Result {
  readonly name: string;
  readonly operation: string;
  readonly unit: Unit;
  readonly axis: Axis;
  readonly size: number;
  /** Processes, and samples of all of them. */
  readonly rounds: number;
  readonly samples: number;
  readonly median: number;
  readonly min: number;
  /** Half the distance between the quartiles, as a share of the median. */
  readonly spread: number;
  readonly figures?: Readonly<Record<string, number>>;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly os: string;
  /** Load average of the last minute, before and after. */
  readonly load: readonly [before: number, after: number];
}

export interface Results {
  readonly machine: Machine;
  readonly date: string;
  readonly node: string;
  readonly v8: string;
  readonly conntide: string;
  readonly compiler: string;
  /** `quick` runs take few samples: their figures are rough. */
  readonly effort: Effort;
  readonly minutes: number;
  readonly results: readonly Result[];
  /** What could not be measured, and why. */
  readonly skipped: readonly string[];
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;
}

/** Median, minimum and spread of samples. */
export function summarize(samples: readonly number[]): Pick<Result, 'samples' | 'median' | 'min' | 'spread'> {
  const sorted = [...samples].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const between = quantile(sorted, 0.75) - quantile(sorted, 0.25);
  return {
    samples: sorted.length,
    median: rounded(median),
    min: rounded(sorted[0] as number),
    spread: rounded(median === 0 ? 0 : between / 2 / Math.abs(median)),
  };
}

/** Median of each figure that several processes found. */
export function mergeFigures(
  all: readonly (Readonly<Record<string, number>> | undefined)[],
): Readonly<Record<string, number>> | undefined {
  const known = all.filter((figures) => figures !== undefined);
  if (known.length === 0) return undefined;
  const names = Object.keys(known[0] as object);
  return Object.fromEntries(
    names.map((name) => [name, summarize(known.map((figures) => figures[name] as number)).median]),
  );
}

/** Four digits: more are noise, and make the files hard to compare. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

/** As JSON, a line for each result. */
export function printResults({ results, skipped, ...run }: Results): string {
  const head = JSON.stringify({ ...run, skipped }, null, 2).slice(0, -2);
  return `${head},\n  "results": [\n${results.map((one) => `    ${JSON.stringify(one)}`).join(',\n')}\n  ]\n}\n`;
}
