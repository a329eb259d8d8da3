/**
 * What is measured: a subject makes itself ready for a number of flows and gives the function that is timed.
 */

/** One measurable case. */
export interface Prepared {
  /** Operations that one call of `run` does: results are divided by it. */
  readonly operations: number;
  /** Does the work. Its result goes into a sink, so that no work can be optimised away. */
  run(): number;
}

export interface Subject {
  readonly name: string;
  /** What one operation is. */
  readonly operation: string;
  prepare(flows: number): Prepared | Promise<Prepared>;
}

/** Operations per call: enough that the call and the clock weigh nothing. */
export const BATCH = 1024;

/** Seed of everything random in the measurements. */
export const SEED = 0x5eed;
