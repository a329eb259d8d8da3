/**
 * Which forwards have a port: a number for each port that names a list of them. Cold to make, quick to ask.
 *
 * Ports with the same forwards share a list, so that a range costs as much as a port; one that a forward covers whole
 * grows where it is.
 */
import { type ActiveForward, protocolNumberOf } from './active.js';
import type { Ports } from './rule.js';

const PORTS = 65_536;
const NOBODY: readonly ActiveForward[] = [];

export class PortIndex {
  /** By family and protocol: [PORTS] number of a list, 0 for none. */
  readonly #slots = new Map<number, Int32Array>();
  readonly #lists: ActiveForward[][] = [[]];
  /** Ports that have each list. */
  readonly #uses: number[] = [0];

  constructor(forwards: readonly ActiveForward[]) {
    for (const forward of forwards) {
      const key = keyOf(forward.version, protocolNumberOf(forward.protocol));
      let slots = this.#slots.get(key);
      if (slots === undefined) {
        slots = new Int32Array(PORTS);
        this.#slots.set(key, slots);
      }
      for (const ports of forward.usable) this.#add(slots, forward, ports);
    }
  }

  /** The forwards that have a port, on whichever address or interface. */
  at(version: number, protocol: number, port: number): readonly ActiveForward[] {
    const list = this.#slots.get(keyOf(version, protocol))?.[port] ?? 0;
    return list === 0 ? NOBODY : (this.#lists[list] as ActiveForward[]);
  }

  #add(slots: Int32Array, forward: ActiveForward, { first, last }: Ports): void {
    const counts = new Map<number, number>();
    for (let port = first; port <= last; port++) {
      const list = slots[port] as number;
      counts.set(list, (counts.get(list) ?? 0) + 1);
    }
    const next = new Map<number, number>();
    for (const [list, count] of counts) {
      if (list > 0 && count === this.#uses[list]) {
        this.#lists[list]?.push(forward);
        continue;
      }
      next.set(list, this.#lists.length);
      this.#lists.push([...(this.#lists[list] as ActiveForward[]), forward]);
      this.#uses.push(count);
      if (list > 0) this.#uses[list] = (this.#uses[list] as number) - count;
    }
    if (next.size === 0) return;
    for (let port = first; port <= last; port++) slots[port] = next.get(slots[port]!) ?? slots[port]!;
  }
}

function keyOf(version: number, protocol: number): number {
  return version * 256 + protocol;
}
