/**
 * Reports of what the policy denied, few enough to be read: the same denial is told once in a while with how often it
 * happened, and no more than so many are told in a second. Cold.
 */

/** Something that the policy denied. */
export interface Denial {
  /** `out`: from a guest; `in`: to a guest. */
  readonly direction: 'out' | 'in';
  /** The interface by which it came in. */
  readonly interface: string;
  /** As an entry of the policy would say it: `tcp`, `esp`, or a number. */
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  /** Destination port, for protocols with ports; of `in` at the guest. */
  readonly port?: number;
  /** The name by which guests last found the destination. */
  readonly domain?: string;
  /** What decided: `denyOut 0.0.0.0/0`, `protect 169.254.169.254/32`, `not in allowOut`, `limits newPerSecond 5`. */
  readonly rule: string;
  /** How often since it was last told. */
  readonly count: number;
  readonly nowMs: number;
}

export interface DenialLimits {
  /** The same denial is told once in this time, ms. */
  readonly repeatMs: number;
  /** Denials told in a second, all together. */
  readonly perSecond: number;
}

export const DEFAULT_DENIAL_LIMITS: DenialLimits = { repeatMs: 1000, perSecond: 100 };

/** Different denials that are remembered. */
const REMEMBERED = 1024;

interface Told {
  atMs: number;
  untold: number;
}

export class Denials {
  /** Denials that were not told. */
  suppressed = 0;
  /** All denials. */
  total = 0;
  limits = DEFAULT_DENIAL_LIMITS;
  readonly #told = new Map<string, Told>();
  #tokens = 0;
  #refilledMs = Number.NEGATIVE_INFINITY;

  /** The denial with its count if it is to be told now. */
  admit(denial: Omit<Denial, 'count'>): Denial | undefined {
    const { direction, protocol, source, destination, port, rule, nowMs } = denial;
    this.total++;
    const key = [direction, denial.interface, protocol, source, destination, port, rule].join(' ');
    const before = this.#told.get(key);
    if (before !== undefined && nowMs - before.atMs < this.limits.repeatMs) {
      before.untold++;
      this.suppressed++;
      return undefined;
    }
    const { perSecond } = this.limits;
    const refill = ((nowMs - this.#refilledMs) * perSecond) / 1000;
    this.#tokens = Math.min(perSecond, this.#tokens + refill);
    this.#refilledMs = nowMs;
    if (!(this.#tokens >= 1)) {
      this.suppressed++;
      return undefined;
    }
    this.#tokens--;
    this.#told.delete(key);
    this.#told.set(key, { atMs: nowMs, untold: 0 });
    if (this.#told.size > REMEMBERED) this.#told.delete(this.#told.keys().next().value as string);
    return { ...denial, count: 1 + (before?.untold ?? 0) };
  }
}
