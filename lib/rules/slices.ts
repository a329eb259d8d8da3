/**
 * Long work in slices: a generator that yields where it may be interrupted, gone through at once or with pauses in which
 * packets are handled. Cold.
 */
import { type Clock, systemClock } from '../clock.js';

/** How work makes room for packets. */
export interface Pacing {
  /** Resolves when whatever waits has had its turn: `setImmediate` of `node:timers/promises`, a message to oneself. */
  readonly pause: () => Promise<unknown>;
  /** Work between two pauses, in milliseconds; it ends a slice later, which is another at most. Default a third. */
  readonly budgetMs?: number;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

const BUDGET_MS = 1 / 3;

/** Goes through all slices at once. */
export function finish<T>(slices: Generator<void, T>): T {
  for (;;) {
    const step = slices.next();
    if (step.done === true) return step.value;
  }
}

/** Goes through the slices with pauses. What a pause throws ends the work. */
export async function finishGradually<T>(slices: Generator<void, T>, pacing: Pacing): Promise<T> {
  const { pause, budgetMs = BUDGET_MS, clock = systemClock } = pacing;
  try {
    for (;;) {
      await pause();
      const untilMs = clock.nowMs() + budgetMs;
      do {
        const step = slices.next();
        if (step.done === true) return step.value;
      } while (clock.nowMs() < untilMs);
    }
  } finally {
    // Lets go of what was taken, if there is more to do.
    slices.return(undefined as never);
  }
}
