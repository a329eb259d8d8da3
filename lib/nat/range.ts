/**
 * What a NAT rule allows a tuple to become: a range of addresses, a range of ports, and how to choose.
 *
 * Addresses are int32 words in host order (IPv4 in word 0, zeros behind), ports and ICMP identifiers plain numbers.
 * A range is made once per rule and never changed while packets flow.
 */

/** Which end of the connection's first packet is changed. */
export const Manip = { SRC: 0, DST: 1 } as const;
export type Manip = (typeof Manip)[keyof typeof Manip];

/** Bits of {@link NatRange.flags}, NF_NAT_RANGE_* of Linux with the same values. */
export const NatRangeFlag = {
  /** The addresses count; without it the address stays. */
  MAP_IPS: 1,
  /** The ports count; without it a port changes only when it must, inside its class. */
  PROTO_SPECIFIED: 2,
  /** `--random` */
  PROTO_RANDOM: 4,
  /** `--persistent`: the destination does not take part in choosing the address. */
  PERSISTENT: 8,
  /** `--random-fully` */
  PROTO_RANDOM_FULLY: 16,
  /** The port is shifted by its distance from `basePort`. */
  PROTO_OFFSET: 32,
  /** The host part of the address is kept (NETMAP). */
  NETMAP: 64,
} as const;

export interface NatRange {
  /** {@link NatRangeFlag} bits. */
  readonly flags: number;
  /** [4] words. */
  readonly minAddress: Int32Array;
  /** [4] words, inclusive. */
  readonly maxAddress: Int32Array;
  readonly minPort: number;
  /** Inclusive. */
  readonly maxPort: number;
  /** With PROTO_OFFSET: the port that becomes `minPort`. */
  readonly basePort: number;
}

/** A range that the NAT room fills anew for each use: null bindings, MASQUERADE, REDIRECT, NETMAP. */
export class ScratchRange implements NatRange {
  flags = 0;
  readonly minAddress = new Int32Array(4);
  readonly maxAddress = new Int32Array(4);
  minPort = 0;
  maxPort = 0;
  basePort = 0;

  /** One address, and `from`'s ports and flags if there is one. */
  setAddress(words: Int32Array, from: NatRange | undefined): void {
    for (let i = 0; i < 4; i++) {
      this.minAddress[i] = words[i] as number;
      this.maxAddress[i] = words[i] as number;
    }
    this.flags = NatRangeFlag.MAP_IPS | (from === undefined ? 0 : from.flags);
    this.minPort = from === undefined ? 0 : from.minPort;
    this.maxPort = from === undefined ? 0 : from.maxPort;
    this.basePort = from === undefined ? 0 : from.basePort;
  }
}
