/**
 * What rules of different tables, and of the rules before and after a replacement, have in common under a name: the
 * lists of recent, the tables of hashlimit. Cold.
 *
 * A state lives as long as a rule in force uses its name. New rules take it over before the old ones let it go, so it
 * survives a replacement, with the settings that it was made with, as in Linux.
 */

interface Shared {
  readonly state: unknown;
  users: number;
}

/** Whoever uses something has the way to let it go. */
export type Release = () => void;

export class SharedStates {
  readonly #states = new Map<string, Shared>();

  /** The state under a name, made if there is none; how to release it is added to `releases`. */
  use<S>(name: string, make: () => S, releases: Release[]): S {
    let shared = this.#states.get(name);
    if (shared === undefined) this.#states.set(name, (shared = { state: make(), users: 0 }));
    const used = shared;
    used.users++;
    releases.push(() => {
      if (--used.users === 0) this.#states.delete(name);
    });
    return used.state as S;
  }
}
