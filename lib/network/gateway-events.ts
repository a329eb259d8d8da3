/**
 * What a gateway tells of itself: events for people and programs, never per packet. Parts of the gateway add theirs.
 */

/** Something about who has which address on an Ethernet interface. */
export interface NeighbourReport {
  /**
   * `claimed`: another station says that it has the address, which is being verified; `refused`: it does not get it;
   * `moved`: it has it now, as the old one did not answer; `unreachable`: nobody answered; `usurped`: a station used an
   * address of the gateway itself.
   */
  readonly kind: 'claimed' | 'refused' | 'moved' | 'unreachable' | 'usurped';
  readonly interface: string;
  readonly address: string;
  /** Ethernet address that had or has it; the gateway's own for `usurped`. */
  readonly station?: string;
  /** Ethernet address of the one who claims it. */
  readonly claimant?: string;
}

/** Names and arguments of a gateway's events. */
export interface GatewayEvents {
  neighbour: (report: NeighbourReport) => void;
}
