/**
 * What rules need of the rooms around them, and who listens to them. Cold.
 */
import type { Tracker } from '../conntrack/tracker.js';
import type { Host } from '../host.js';
import type { Nat } from '../nat/nat.js';
import type { Random } from '../random.js';
import type { Packet } from '../wire/packet.js';
import type { Verdict } from '../wire/verdict.js';
import type { Family, TableName } from './ast.js';
import type { SetRegistry } from './sets/registry.js';
import type { SharedStates } from './shared.js';

export interface RuleEnvironment {
  readonly tracker: Tracker;
  readonly nat: Nat;
  readonly host: Host;
  readonly random: Random;
  readonly observers: RulesObservers;
  /** What rules have in common by name; the families' rules should have one. Default: one of their own. */
  readonly shared?: SharedStates;
  /** The sets that rules name. Default: none. */
  readonly sets?: SetRegistry;
  /** Whether long chains are indexed (`classify/`); `none` makes packets meet every rule. Default `auto`. */
  readonly ruleIndex?: 'auto' | 'none' | undefined;
  /** Wall-clock time, ms since 1970, of a packet's `nowMs`, for the time match. Default: the machine's clock. */
  readonly wallTimeMs?: ((nowMs: number) => number) | undefined;
}

/** Where a rule stands; `number` from 1, 'policy' for a chain's policy, 'return' for the end of a user's chain. */
export interface RulePlace {
  readonly table: TableName;
  readonly chain: string;
  readonly number: number | 'policy' | 'return';
}

/** Listeners; may be set and taken away at any time. Nothing is made for a listener that is not there. */
export interface RulesObservers {
  /** LOG and NFLOG. */
  onLog?: ((record: LogRecord) => void) | undefined;
  /** Every rule, policy and end of a chain that a packet is counted at. */
  onRule?: ((place: RulePlace, packet: Packet, hook: number) => void) | undefined;
  /** The same for packets that met TRACE. */
  onTrace?: ((place: RulePlace, packet: Packet, hook: number) => void) | undefined;
  /** A DNAT rule has bound the connection that the packet begins: it is in `packet.entry`, not confirmed yet. */
  onBind?: ((place: RulePlace, packet: Packet) => void) | undefined;
  /** NFQUEUE: decides at once. Without a listener the packet is dropped, or passes with `--queue-bypass`. */
  onQueue?: ((queue: number, packet: Packet, hook: number) => Verdict) | undefined;
  /** TEE: a copy of the packet, owned by the listener, meant for a neighbour with the address `gateway`. */
  onTee?: ((copy: Uint8Array, gateway: Int32Array, family: Family) => void) | undefined;
}

/** A packet that LOG or NFLOG tells of. */
export interface LogRecord {
  readonly kind: 'LOG' | 'NFLOG';
  readonly family: Family;
  readonly place: RulePlace;
  readonly hook: number;
  /** Names, '' for none. */
  readonly inInterface: string;
  readonly outInterface: string;
  readonly prefix: string;
  /** LOG: syslog level 0-7. */
  readonly level?: number;
  /** LOG: bits of `LogFlag`. */
  readonly flags?: number;
  /** NFLOG's group. */
  readonly group?: number;
  readonly mark: number;
  /** A copy of the packet, cut to what NFLOG asks for. */
  readonly bytes: Uint8Array;
}
