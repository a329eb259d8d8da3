/**
 * What a helper is: a reader of one protocol's conversations that announces the connections they agree on, and, behind
 * NAT, corrects the addresses that they talk about. `ftp` and `tftp` are there from the start; `engine.helpers.register`
 * adds others.
 *
 * A helper looks at connections that it was attached to only: by a rule of the raw table (`-j CT --helper NAME`), or,
 * if it names `ports`, at every new connection to one of them.
 */
import type { CtInfo, Packet } from '../../wire/packet.js';
import type { Verdict } from '../../wire/verdict.js';
import type { Direction } from '../entries.js';

/**
 * A helper. `State` is what it keeps per connection.
 *
 * ```ts
 * engine.helpers.register({
 *   name: 'chat',
 *   protocol: 'tcp',
 *   onPacket(call) {
 *     const found = /^CALLME (\d+)/.exec(new TextDecoder().decode(call.payload));
 *     if (found === null) return Verdict.ACCEPT;
 *     const port = call.expect({ port: Number(found[1]) });
 *     if (port === undefined) return Verdict.DROP;
 *     return call.replace(7, found[1]!.length, new TextEncoder().encode(String(port)));
 *   },
 * });
 * ```
 */
export interface Helper<State = unknown> {
  /** What `CT --helper` and the helper match call it: 1 to 15 characters. */
  readonly name: string;
  /** Protocol of the connections that it reads, by name or number. */
  readonly protocol: 'tcp' | 'udp' | number;
  /** Default both. */
  readonly family?: 4 | 6;
  /** New connections to one of these ports get the helper without a rule. Default none, as on today's Linux. */
  readonly ports?: readonly number[];
  /** Connections that may be expected of one connection at a time; 0 for any number. Default 1. */
  readonly maxExpected?: number;
  /** How long a connection is expected, ms. Default 300,000. */
  readonly expectationTimeoutMs?: number;
  /** Makes the state of a connection when the helper is attached to it. */
  readonly begin?: () => State;
  /**
   * Called for each packet of the connection behind all other hooks, already translated by NAT. ACCEPT lets it go,
   * DROP drops it. `call` is borrowed: it is valid until the call returns.
   */
  onPacket(call: HelperCall<State>): Verdict;
}

/** One packet of a connection, as its helper sees it. Addresses are [4] int32 words in host order, IPv4 in word 0. */
export interface HelperCall<State = unknown> {
  /** The packet; its headers are as they leave, translated. */
  readonly packet: Packet;
  /** IP version. */
  readonly version: 4 | 6;
  readonly ctinfo: CtInfo;
  readonly direction: Direction;
  /** What `begin` made. */
  readonly state: State;
  /**
   * Bytes behind the TCP or UDP header; empty if there are none. Borrowed, not to be written: see `replace`. A packet
   * that came in fragments is one piece from the first reading on, and is cut anew on its way out.
   */
  readonly payload: Uint8Array;
  /** Where the payload begins in the packet's bytes; beyond its end if the header is cut off. */
  readonly payloadOffset: number;
  /** TCP: sequence number of the first payload byte as its sender counts; else 0. int32. */
  readonly sequence: number;
  /** Time in the tracker's int32 milliseconds. */
  readonly now: number;
  /** Whether NAT translates the connection at either end. */
  readonly isTranslated: boolean;
  /** Address and port of the packet's sender, as it knows itself. */
  readonly sender: Int32Array;
  readonly senderPort: number;
  /** The same as its peer knows it: another one behind NAT. */
  readonly shownSender: Int32Array;
  readonly shownSenderPort: number;
  /** The same two of the packet's receiver: as it knows itself, and as the sender knows it. */
  readonly receiver: Int32Array;
  readonly receiverPort: number;
  readonly shownReceiver: Int32Array;
  readonly shownReceiverPort: number;
  /**
   * Expects a connection between the two ends. Returns the port that the end which connects must be told: the one asked
   * for, or, behind NAT, another one if that is taken; undefined if it cannot be expected.
   */
  expect(expected: Expected): number | undefined;
  /**
   * Puts `bytes` in the place of `lengthBytes` bytes of the payload from `offset` on; lengths, checksums and, for TCP,
   * all later sequence numbers follow. Returns ACCEPT, or DROP if the packet would be too long; what was expected during
   * this call is taken back then.
   */
  replace(offset: number, lengthBytes: number, bytes: Uint8Array): Verdict;
}

/** A connection that a helper expects. */
export interface Expected {
  /** Which end is connected to. Default: the sender of the packet. */
  readonly to?: 'sender' | 'receiver';
  /** Port that the end listens on, as it knows it. */
  readonly port: number;
  /**
   * Port that the other end connects to. Default: the same, or, behind NAT, a free one if that is taken. A port given
   * here is kept: if it is taken nothing is expected.
   */
  readonly shownPort?: number;
  /** Port that the other end connects from. Default any. */
  readonly fromPort?: number;
  /** `anyone`: the connection may come from any address. Default: from the other end of this connection. */
  readonly from?: 'peer' | 'anyone';
  /** Protocol number. Default that of this connection. */
  readonly protocol?: number;
  /** Name of a helper for the expected connection. */
  readonly helper?: string;
  /** `often`: it may happen more than once until its time is over. Default `once`. */
  readonly occurs?: 'once' | 'often';
}
