/**
 * Injected randomness. The engine draws from a `Random` and from nothing else, so that a seed, or a recording's
 * picks, decide every choice that Linux would leave to chance.
 */

/** A source of random integers. */
export interface Random {
  /** An unsigned 32-bit integer. */
  u32(): number;
  /**
   * One of the `size` integers from `first` on. Callers that look for a free value start here and go up,
   * wrapping inside the range.
   */
  pick(first: number, size: number): number;
  /** What {@link pick} would return if it came next; nothing is drawn. Left out where that is not known. */
  foretell?(first: number, size: number): number;
}

/** xoshiro128** (Blackman and Vigna, 2018), seeded through splitmix32: fast, small, not for secrets. */
export class SeededRandom implements Random {
  readonly #s = new Uint32Array(4);

  constructor(seed: number) {
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.#s[i] = z ^ (z >>> 15);
    }
  }

  u32(): number {
    return this.#next() >>> 0;
  }

  /** 32 bits as an int32, which is never boxed on its way. */
  #next(): number {
    const s = this.#s;
    const s1 = s[1] as number;
    const drawn = result(s1);
    s[2] = (s[2] as number) ^ (s[0] as number);
    s[3] = (s[3] as number) ^ s1;
    s[1] = s1 ^ (s[2] as number);
    s[0] = (s[0] as number) ^ (s[3] as number);
    s[2] = (s[2] as number) ^ (s1 << 9);
    const s3 = s[3] as number;
    s[3] = (s3 << 11) | (s3 >>> 21);
    return drawn;
  }

  pick(first: number, size: number): number {
    return first + (size <= 1 ? 0 : (this.#next() >>> 0) % size);
  }

  foretell(first: number, size: number): number {
    return first + (size <= 1 ? 0 : (result(this.#s[1] as number) >>> 0) % size);
  }
}

/** What xoshiro128** makes of the second word of its state. */
function result(s1: number): number {
  const product = Math.imul(s1, 5);
  return Math.imul((product << 7) | (product >>> 25), 9);
}

/** A generator seeded from the platform's cryptographic source: the default outside tests. */
export function unpredictableRandom(): Random {
  return new SeededRandom(unpredictableSeed());
}

/** 32 unpredictable bits, e.g. for a table's hash secret. */
export function unpredictableSeed(): number {
  return globalThis.crypto.getRandomValues(new Uint32Array(1))[0] as number;
}
