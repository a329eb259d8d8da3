/**
 * What the parts of the router share: its tables, its settings, the time, and the way out for packets of its own.
 */
import type { DropReason } from '../counters.js';
import type { Engine } from '../engine.js';
import type { Host } from '../host.js';
import type { Packet } from '../wire/packet.js';
import type { Interfaces } from './interfaces.js';
import type { AnswerLimits } from './limits.js';
import type { Origin } from './link.js';
import type { PortRegistry } from './local/registry.js';
import type { OptionsHost } from './options.js';
import type { Passage, Passages } from './passage.js';
import type { Offload } from './port.js';
import type { Routes } from './routes.js';
import type { RouterSettings } from './settings.js';

/** Whoever keeps the neighbours of links with addresses, and takes their ICMPv6 messages (types 133 to 137). */
export interface NeighbourMessages {
  /** Whether a group in `words[at..at+3]` is one that the router is in on this interface: 1 or 0. */
  isMember(interfaceIndex: number, words: Int32Array, at: number): 0 | 1;
  /** Takes a message whose checksum is good; 0 if it is not for this one. */
  receive(passage: Passage): 0 | 1;
}

/** The router as its parts see it. */
export interface RouterCore {
  readonly engine: Engine;
  readonly host: Host;
  readonly interfaces: Interfaces;
  readonly routes: Routes;
  readonly passages: Passages;
  readonly optionsHost: OptionsHost;
  readonly settings: RouterSettings;
  readonly limits: AnswerLimits;
  /** Ports of the router's own addresses that are taken. */
  readonly ports: PortRegistry;
  readonly neighbourMessages: NeighbourMessages | undefined;
  /** Time of the packet under way, ms. */
  nowMs: number;
  /**
   * IP versions in which an ICMP packet of our own is on its way out, an `icmpBit` each: rules that refuse it get no
   * error across, as Linux has one ICMP socket a processor and does not wait for it.
   */
  icmpUnderWay: number;
  /** An id for an IPv4 packet of our own that may be fragmented. */
  nextId(): number;
  /**
   * Sends a packet of the router's own: OUTPUT, POSTROUTING, out. It belongs to the connection of `about`, the packet
   * that it answers with an error or a reset, as a related one; undefined for packets that stand alone. Packets with
   * `oif` > 0 leave by that interface whatever routes say.
   */
  sendOwn(bytes: Uint8Array, about: Packet | undefined, oif: number): void;
  /** Gives a packet to its link, past all hooks. */
  transmit(
    out: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    origin: Origin,
    offload: Offload | undefined,
  ): void;
  /** Counts a drop that is the router's own decision and lets the packet's connection go. */
  drop(passage: Passage, reason: DropReason): void;
  /**
   * Writes the source address for packets to `words[at..]` into `into[0..3]`; 0 if there is none. With `oif` > 0 they
   * leave by that interface.
   */
  sourceFor(version: number, words: Int32Array, at: number, into: Int32Array, oif?: number): 0 | 1;
}
