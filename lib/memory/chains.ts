/**
 * Intrusive doubly linked lists in buckets: the nodes live in somebody else's words array, at two fixed offsets.
 * Hot.
 *
 * Heads are stored inverted, so that a fresh (all zero) array means "all empty" and an idle table touches no
 * pages. Invariants: chains are acyclic; `prev` of a node is the node whose `next` it is, NIL for the first;
 * a node is in at most one chain.
 */
const NIL = -1;

export class Chains {
  /** A power of two. */
  readonly bucketCount: number;
  readonly #mask: number;
  readonly #heads: Int32Array;
  readonly #words: Int32Array;
  readonly #nextAt: number;
  readonly #prevAt: number;
  /**
   * Where in the words the node behind the one linked last has its link to that one, which is not written yet; 0 if none
   * is to be. So that its memory, which is slow, can be asked for in time: the next call writes it.
   */
  untoldAt = 0;
  /** The node linked last. */
  #before = NIL;

  /** Nodes are offsets into `words`; `words[node + nextAt]` and `words[node + prevAt]` are theirs for the links; `prevAt` > 0. */
  constructor(words: Int32Array, bucketCount: number, nextAt: number, prevAt: number) {
    if (!Number.isInteger(bucketCount) || bucketCount < 1 || (bucketCount & (bucketCount - 1)) !== 0) {
      throw new RangeError(`bucket count ${bucketCount} is not a power of two`);
    }
    this.bucketCount = bucketCount;
    this.#mask = bucketCount - 1;
    this.#heads = new Int32Array(bucketCount);
    this.#words = words;
    this.#nextAt = nextAt;
    this.#prevAt = prevAt;
  }

  bucketOf(hash: number): number {
    return hash & this.#mask;
  }

  /** First node of a bucket's chain, or NIL (-1). */
  head(bucket: number): number {
    return ~(this.#heads[bucket] as number);
  }

  /** Next node of the chain, or NIL. */
  next(node: number): number {
    return this.#words[node + this.#nextAt] as number;
  }

  /** Previous node of the chain, or NIL. */
  prev(node: number): number {
    this.#tell();
    return this.#words[node + this.#prevAt] as number;
  }

  /** Puts a node in front of the bucket's chain. */
  link(bucket: number, node: number): void {
    this.#tell();
    const words = this.#words;
    const first = ~(this.#heads[bucket] as number);
    words[node + this.#nextAt] = first;
    words[node + this.#prevAt] = NIL;
    this.#heads[bucket] = ~node;
    if (first === NIL) return;
    this.untoldAt = first + this.#prevAt;
    this.#before = node;
  }

  /** Writes the link that is not written yet. */
  #tell(): void {
    if (this.untoldAt === 0) return;
    this.#words[this.untoldAt] = this.#before;
    this.untoldAt = 0;
  }

  /** Takes a linked node out of the bucket's chain. The bucket matters only if the node is the first. */
  unlink(bucket: number, node: number): void {
    this.#tell();
    const words = this.#words;
    const next = words[node + this.#nextAt] as number;
    const prev = words[node + this.#prevAt] as number;
    if (prev === NIL) this.#heads[bucket] = ~next;
    else words[prev + this.#nextAt] = next;
    if (next !== NIL) words[next + this.#prevAt] = prev;
  }

  /** Empties every chain; the nodes' links are left as they are. */
  reset(): void {
    this.#heads.fill(0);
    this.untoldAt = 0;
  }
}
