/**
 * Ports that are not NAT's to give: whoever has the addresses keeps them for itself.
 */

export interface PortReservations {
  /** How many there are; while it is 0, NAT asks nothing else. */
  readonly count: number;
  /** Grows whenever one is given back. */
  readonly released: number;
  /** Whether NAT must keep away from a port of the address in `words[at..at+3]`: 1 or 0. Allocates nothing. */
  isReserved(version: number, protocol: number, words: Int32Array, at: number, port: number): 0 | 1;
}

/** Every port is free. */
export const NO_RESERVATIONS: PortReservations = { count: 0, released: 0, isReserved: () => 0 };
