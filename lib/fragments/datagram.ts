/**
 * A datagram that waits for its fragments.
 *
 * Fragments lie in runs: a run is what came in order, one behind the other. A fragment that lies within a run is a
 * repeat; one that cuts across what is there is an overlap. (Linux keeps the same runs, so that what counts as a
 * repeat and what as an overlap is the same.)
 */

/** What became of a fragment. */
export const Insertion = {
  TAKEN: 0,
  /** Its bytes are there already. */
  REPEAT: 1,
  /** It overlaps others in part. */
  OVERLAP: 2,
  /** It contradicts the length, or is empty. */
  CORRUPT: 3,
} as const;
export type Insertion = (typeof Insertion)[keyof typeof Insertion];

interface Run {
  from: number;
  to: number;
  readonly parts: Uint8Array[];
}

export class Datagram {
  readonly version: number;
  readonly expiresMs: number;
  /** Header of the first fragment, up to its payload or fragment header. */
  header: Uint8Array = new Uint8Array(0);
  /** IPv6: header type that the first fragment's header names. */
  next = 0;
  /** The first fragment as it came. */
  first: Uint8Array | undefined;
  /** Interface of the fragment that came last. */
  inInterface = 0;
  /** Largest fragment, bytes of IP packet; and the largest with DF. */
  maxBytes = 0;
  maxDfBytes = 0;
  /** Bit per value of the congestion field that was seen. */
  ecn = 0;
  heldBytes = 0;
  /** Number of its last fragment among those of its source. */
  sourceNumber = 0;
  /** Payload bytes: the end of the last fragment, or of what is there so far. */
  endBytes = 0;
  #hasLast = false;
  #bytes = 0;
  #runs: Run[] = [];

  constructor(version: number, expiresMs: number) {
    this.version = version;
    this.expiresMs = expiresMs;
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0;
  }

  get isWhole(): boolean {
    return this.#hasLast && this.first !== undefined && this.#bytes === this.endBytes;
  }

  /** Takes the payload of a fragment at offset `from`. */
  insert(part: Uint8Array, from: number, moreFragments: number): Insertion {
    const to = from + part.length;
    if (moreFragments === 0) {
      if (to < this.endBytes || (this.#hasLast && to !== this.endBytes)) return Insertion.CORRUPT;
    } else if (to > this.endBytes && this.#hasLast) return Insertion.CORRUPT;
    if (moreFragments === 0) this.#hasLast = true;
    this.endBytes = Math.max(this.endBytes, to);
    if (part.length === 0) return Insertion.CORRUPT;
    const placed = this.#place(part, from, to);
    if (placed === Insertion.TAKEN) this.#bytes += part.length;
    return placed;
  }

  #place(part: Uint8Array, from: number, to: number): Insertion {
    const runs = this.#runs;
    const last = runs[runs.length - 1];
    if (last === undefined || last.to < to) {
      if (last !== undefined && from < last.to) return Insertion.OVERLAP;
      if (last !== undefined && from === last.to) {
        last.parts.push(part);
        last.to = to;
      } else runs.push({ from, to, parts: [part] });
      return Insertion.TAKEN;
    }
    let i = runs.length - 1;
    for (; i >= 0; i--) {
      const run = runs[i] as Run;
      if (from >= run.to) break;
      if (to <= run.from) continue;
      return from >= run.from && to <= run.to ? Insertion.REPEAT : Insertion.OVERLAP;
    }
    runs.splice(i + 1, 0, { from, to, parts: [part] });
    return Insertion.TAKEN;
  }

  /** Writes the payload into `bytes` from `at` on. */
  copy(bytes: Uint8Array, at: number): void {
    for (const run of this.#runs) {
      let offset = at + run.from;
      for (const part of run.parts) {
        bytes.set(part, offset);
        offset += part.length;
      }
    }
  }

  /** Payload bytes of each fragment, in order. */
  lengths(): Int32Array {
    return Int32Array.from(this.#runs.flatMap((run) => run.parts.map((part) => part.length)));
  }

  /** Drops the fragments; the time that is left stays. */
  restart(): void {
    this.#runs = [];
    this.#hasLast = false;
    this.#bytes = 0;
    this.endBytes = 0;
    this.first = undefined;
    this.maxBytes = 0;
    this.maxDfBytes = 0;
    this.ecn = 0;
    this.heldBytes = 0;
  }
}
