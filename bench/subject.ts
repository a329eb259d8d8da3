/**
 * What is measured: a subject makes itself ready at a size and gives the function that is timed. `measure.ts` runs one
 * in a process of its own, `run.ts` all of them.
 */

/** Timed by the `benchmark` package: one call of `run` does `operations` operations. */
export interface Timed {
  readonly operations: number;
  /** Does the work. Its result goes into a sink, so that no work can be optimised away. */
  run(): number;
}

/** Takes its own time: between packets it makes the next ones, which must not count. */
export interface Sampled {
  /** One sample, in the subject's unit. */
  sample(): number | Promise<number>;
  /** What else it found out, once the samples are taken. */
  figures?(): Readonly<Record<string, number>>;
  /** Samples that are left out, until the compilers are done. Default 20. */
  readonly warmUp?: number;
  /** Most samples. Default 200. */
  readonly most?: number;
}

export type Prepared = Timed | Sampled;

/** What the samples are: ns and ms of time, bytes of memory. */
export type Unit = 'ns' | 'ms' | 'bytes';

/** How much is measured: all, little, or just enough to see that it works. */
export type Effort = 'full' | 'quick' | 'smoke';

/** What the size of a case counts. */
export type Axis = 'flows' | 'rules' | 'ports' | 'elements';

export interface Subject {
  readonly name: string;
  /** What one operation is. */
  readonly operation: string;
  /** Default `ns`. */
  readonly unit?: Unit;
  /** Default `flows`. */
  readonly axis?: Axis;
  /** Sizes of a full run; default 1 Ki, 100 Ki, 1 Mi. */
  readonly sizes?: readonly number[];
  /** Those of a quick one; default the first. */
  readonly quickSizes?: readonly number[];
  /** That of a smoke run; default 1 Ki. */
  readonly smokeSize?: number;
  /** Subjects of a group take turns, round by round, and can be compared. */
  readonly group?: string;
  /** Processes per size. Default 1. */
  rounds?(size: number): number;
  /** Why it cannot be measured here, or undefined. */
  missing?(size: number): string | undefined;
  /** Another program that prints `{"samples": [...]}`: its words. Instead of `prepare`. */
  command?(size: number, effort: Effort): readonly string[];
  prepare?(size: number): Prepared | Promise<Prepared>;
}

/** Sizes in flows of most subjects. */
export const SIZES: readonly number[] = [1024, 102_400, 1_048_576];

/** Operations per call: enough that the call and the clock weigh nothing. */
export const BATCH = 1024;

/** Seed of everything random in the measurements. */
export const SEED = 0x5eed;
