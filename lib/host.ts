/**
 * What the rules, NAT and conntrack ask of the network around them, and nothing more: names and addresses of
 * interfaces, the kind of an address, and a way to send the packets that targets make (REJECT, TEE).
 * `network/` implements it for a router; a user who only calls `engine.run` may use {@link StaticHost}.
 *
 * Interface indices are small positive integers; 0 means "no interface". Addresses are int32 words in host order,
 * four per address, IPv4 in the first word and zeros behind.
 */

/** Kind of an address as routing sees it: RTN_* of Linux, same numbers (the addrtype match). */
export const AddressType = {
  UNSPEC: 0,
  UNICAST: 1,
  LOCAL: 2,
  BROADCAST: 3,
  ANYCAST: 4,
  MULTICAST: 5,
  BLACKHOLE: 6,
  UNREACHABLE: 7,
  PROHIBIT: 8,
} as const;
export type AddressType = (typeof AddressType)[keyof typeof AddressType];

/** Reply that a REJECT target asks for: an ICMP type and code (of the packet's family), or a TCP reset. */
export const REJECT_WITH_RESET = -1;

export interface Host {
  /** Name of an interface, '' for 0 or an index that does not exist. */
  interfaceName(index: number): string;
  /** MTU of an interface in bytes; 65535 when unknown. */
  mtu(index: number): number;
  /**
   * Address that MASQUERADE gives to packets leaving by `outInterface` for the destination in
   * `destination[at..at+3]`. Writes 4 words to `into[0..3]`; returns 1, or 0 if the interface has none.
   */
  masqueradeAddress(
    version: number,
    outInterface: number,
    destination: Int32Array,
    at: number,
    into: Int32Array,
  ): 0 | 1;
  /**
   * Address that REDIRECT gives to packets that came in by `inInterface` (0: locally sent, loopback is meant).
   * Writes 4 words to `into[0..3]`; returns 1, or 0 if the interface has none.
   */
  redirectAddress(version: number, inInterface: number, into: Int32Array): 0 | 1;
  /** Kind of the address in `words[at..at+3]`; with `limitInterface` > 0 only as seen on that interface. */
  addressType(version: number, words: Int32Array, at: number, limitInterface: number): AddressType;
  /**
   * Routes a locally sent packet again after OUTPUT changed its mark, TOS or destination, and sets its outgoing
   * interface: 0 if there is no way, and then the packet is dropped. A host without routes may do nothing.
   */
  reroute(packet: ReroutedPacket): void;
  /**
   * The way to the address in `words[at..at+3]`, for the rpfilter match: the interface that packets with `mark` to it
   * leave by, 0 without a route; for an address of the host itself its interface negated. `inInterface` is where the
   * packet with that source came in. Left out: a host with one way for everything.
   */
  reversePath?(version: number, words: Int32Array, at: number, inInterface: number, mark: number): number;
  /**
   * Which local socket would get a packet ({@link LocalSocket} bits), for the socket match. `addresses` has source and
   * destination words. Left out: a host without sockets.
   */
  localSocket?(
    version: number,
    protocol: number,
    addresses: Int32Array,
    sourcePort: number,
    destinationPort: number,
    inInterface: number,
  ): number;
  /** The same of a socket by its number ({@link transparentSocket}); 0 if it is closed. */
  assignedSocket?(socket: number): number;
  /**
   * The socket that TPROXY gives a packet to: that of the flow from `addresses[0..3]` and `sourcePort` to `addresses[4..7]`
   * and `destinationPort`, else the one that a packet to `to[0..3]` and `port` would come to. Its number, from 1; 0 if
   * there is none or it is not transparent. Left out: a host without transparent sockets.
   */
  transparentSocket?(
    version: number,
    protocol: number,
    addresses: Int32Array,
    sourcePort: number,
    destinationPort: number,
    inInterface: number,
    to: Int32Array,
    port: number,
  ): number;
  /** Sends an answer to a packet that REJECT refuses at `hook`. `icmp` is type << 8 | code, or {@link REJECT_WITH_RESET}. */
  reject(packet: RejectedPacket, hook: number, icmp: number): void;
}

/** What {@link Host.localSocket} says, as bits; 0: no socket would get the packet. */
export const LocalSocket = {
  FOUND: 1,
  /** It is bound to any address. */
  WILDCARD: 2,
  /** It may have addresses that are not the host's. */
  TRANSPARENT: 4,
} as const;

/** The part of a packet view that {@link Host.reject} reads; `wire/packet` has it. */
export interface RejectedPacket {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly version: number;
}

/** The part of a packet view that {@link Host.reroute} reads and writes. */
export interface ReroutedPacket {
  readonly version: number;
  readonly addresses: Int32Array;
  readonly mark: number;
  outInterface: number;
}

/** A host with fixed interfaces and addresses, that sends nothing. */
export class StaticHost implements Host {
  readonly #interfaces: readonly StaticInterface[];

  /** `interfaces[0]` gets index 1, and so on. */
  constructor(interfaces: readonly StaticInterface[]) {
    this.#interfaces = interfaces;
  }

  interfaceName(index: number): string {
    return this.#interfaces[index - 1]?.name ?? '';
  }

  mtu(index: number): number {
    return this.#interfaces[index - 1]?.mtu ?? 65535;
  }

  masqueradeAddress(
    version: number,
    outInterface: number,
    _destination: Int32Array,
    _at: number,
    into: Int32Array,
  ): 0 | 1 {
    return this.redirectAddress(version, outInterface, into);
  }

  redirectAddress(version: number, inInterface: number, into: Int32Array): 0 | 1 {
    const found = this.#interfaces[inInterface - 1];
    const words = version === 4 ? found?.address4 : found?.address6;
    if (words === undefined) return 0;
    for (let i = 0; i < 4; i++) into[i] = words[i] ?? 0;
    return 1;
  }

  addressType(version: number, words: Int32Array, at: number, limitInterface: number): AddressType {
    for (let index = 1; index <= this.#interfaces.length; index++) {
      if (limitInterface > 0 && index !== limitInterface) continue;
      const found = this.#interfaces[index - 1] as StaticInterface;
      const own = version === 4 ? found.address4 : found.address6;
      if (own !== undefined && [0, 1, 2, 3].every((i) => (own[i] ?? 0) === words[at + i])) {
        return AddressType.LOCAL;
      }
    }
    const first = (words[at] as number) >>> 24;
    if (version === 4) {
      if (words[at] === -1) return AddressType.BROADCAST;
      if (first >= 224 && first < 240) return AddressType.MULTICAST;
    } else if (first === 0xff) {
      return AddressType.MULTICAST;
    }
    return AddressType.UNICAST;
  }

  reroute(): void {}

  reject(): void {}
}

/** One interface of a {@link StaticHost}. */
export interface StaticInterface {
  readonly name: string;
  /** Bytes; 65535 when left out. */
  readonly mtu?: number;
  /** [1] word. */
  readonly address4?: readonly number[];
  /** [4] words. */
  readonly address6?: readonly number[];
}
