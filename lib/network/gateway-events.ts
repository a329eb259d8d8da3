/**
 * What a gateway tells of itself: events for people and programs, never per packet. Parts of the gateway add theirs.
 */
import type { DnsAnswer } from './dns-forwarder.js';
import type { Denial, RefusedAnswer } from './policy/policy.js';

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

/** Something about an address that DHCP gives. */
export interface LeaseReport {
  /** `ended`: it was released, or its time was over; `exhausted`: there is no address left for this station. */
  readonly kind: 'bound' | 'renewed' | 'ended' | 'declined' | 'exhausted';
  readonly interface: string;
  readonly mac: string;
  /** The name that the station says it has, which is only its word; '' without. */
  readonly hostName: string;
  readonly address?: string;
}

/** Names and arguments of a gateway's events. */
export interface GatewayEvents {
  neighbour: (report: NeighbourReport) => void;
  lease: (report: LeaseReport) => void;
  /** A DNS answer is about to be passed on to the guest that asked. */
  dns: (answer: DnsAnswer) => void;
  /** The policy denied something: the same once a second, with its count. */
  denied: (denial: Denial) => void;
  /** A name of the policy was answered with an address that it may not have. */
  refused: (answer: RefusedAnswer) => void;
}
