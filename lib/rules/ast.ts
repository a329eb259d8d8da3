/**
 * A ruleset as typed objects: what restoring iptables text gives, what saving takes, what compiling reads.
 *
 * Everything is numeric and canonical already: addresses are four int32 words in host order (IPv4 uses word 0),
 * marks are unsigned 32-bit numbers, flags are bit masks, ranges are inclusive on both ends. A condition that
 * says nothing (`-s 0.0.0.0/0`, `--sport 0:65535`) is absent, unless it is negated: then it never matches.
 *
 * `negated` is the `!` before the option and belongs to the single condition, not to the whole match.
 * Cold: objects only; nothing here is read per packet.
 */

import type { ErrorPlace } from '../errors.js';
import type { MatchSpec } from './match-specs.js';
import type { TargetSpec } from './target-specs.js';

export type * from './match-specs.js';
export type * from './target-specs.js';

export type Family = 4 | 6;
export type TableName = 'raw' | 'mangle' | 'nat' | 'filter' | 'security';
export type Policy = 'ACCEPT' | 'DROP';

/** Four int32 words in host order; IPv4 in word 0, the others 0. */
export type AddressWords = readonly [number, number, number, number];

export interface CounterSpec {
  readonly packets: number;
  readonly bytes: number;
}

/** Tables stand in the order in which they were first named; saving lists the newest first, as the kernel does. */
export interface Ruleset {
  readonly family: Family;
  readonly tables: readonly TableSpec[];
}

/** Built-in chains first, in hook order and always all of them; then the user's chains, sorted as saved. */
export interface TableSpec {
  readonly name: TableName;
  readonly chains: readonly ChainSpec[];
}

export interface ChainSpec {
  readonly name: string;
  /** Present exactly for built-in chains. */
  readonly policy?: Policy;
  /** Of the policy; zero for user chains. */
  readonly counters: CounterSpec;
  readonly rules: readonly RuleSpec[];
}

export interface RuleSpec {
  /** Where the rule stands in the text it came from; absent for rules made in code. */
  readonly place?: ErrorPlace;
  readonly counters?: CounterSpec;
  readonly source?: AddressCondition;
  readonly destination?: AddressCondition;
  readonly inInterface?: InterfaceCondition;
  readonly outInterface?: InterfaceCondition;
  /** IP protocol (IPv6: the first header that is no extension header); never 0. */
  readonly protocol?: ProtocolCondition;
  /** `-f` and `! -f`: IPv4 only; by the fragment offset, so a first fragment is not one. */
  readonly fragment?: 'fragment' | 'not-fragment';
  /** In the order of the rule's text, which is the order of evaluation. */
  readonly matches: readonly MatchSpec[];
  readonly target: TargetSpec;
}

/** (address & mask) == words. The mask need not be a prefix. */
export interface AddressCondition {
  readonly words: AddressWords;
  readonly mask: AddressWords;
  readonly negated: boolean;
}

/** `wildcard`: names that begin with `name` (`eth+` has `eth`; `+` alone has ''). */
export interface InterfaceCondition {
  readonly name: string;
  readonly wildcard: boolean;
  readonly negated: boolean;
}

export interface ProtocolCondition {
  readonly number: number;
  readonly negated: boolean;
}

/** Inclusive range of unsigned numbers. */
export interface NumberRange {
  readonly low: number;
  readonly high: number;
}
export interface RangeCondition extends NumberRange {
  readonly negated: boolean;
}
export interface ValueCondition {
  readonly value: number;
  readonly negated: boolean;
}
/** A set of bits of which one must hold. */
export interface BitsCondition {
  readonly bits: number;
  readonly negated: boolean;
}
/** (field & mask) == value. */
export interface MaskedCondition {
  readonly value: number;
  readonly mask: number;
  readonly negated: boolean;
}
/** Inclusive range of addresses, compared as unsigned words from word 0 on. */
export interface AddressRange {
  readonly low: AddressWords;
  readonly high: AddressWords;
}
export interface AddressRangeCondition extends AddressRange {
  readonly negated: boolean;
}

// ---- bits -------------------------------------------------------------------------------------------------

/** `--ctstate` and `--state`. */
export const CtState = {
  INVALID: 1,
  ESTABLISHED: 2,
  RELATED: 4,
  NEW: 8,
  UNTRACKED: 16,
  SNAT: 32,
  DNAT: 64,
} as const;

/** `--ctstatus`; the values are the kernel's IPS_ bits. `bits` 0 is NONE. */
export const CtStatus = { EXPECTED: 1, SEEN_REPLY: 2, ASSURED: 4, CONFIRMED: 8 } as const;

/** addrtype: 1 << RTN_* of the routing table's address types. */
export const AddressType = {
  UNSPEC: 1 << 0,
  UNICAST: 1 << 1,
  LOCAL: 1 << 2,
  BROADCAST: 1 << 3,
  ANYCAST: 1 << 4,
  MULTICAST: 1 << 5,
  BLACKHOLE: 1 << 6,
  UNREACHABLE: 1 << 7,
  PROHIBIT: 1 << 8,
  THROW: 1 << 9,
  NAT: 1 << 10,
  XRESOLVE: 1 << 11,
} as const;

/** ipv6header: one bit per kind of header. */
export const Ipv6Header = {
  HOP_BY_HOP: 1 << 7,
  DESTINATION: 1 << 6,
  ROUTING: 1 << 5,
  FRAGMENT: 1 << 4,
  AH: 1 << 3,
  ESP: 1 << 2,
  NONE: 1 << 1,
  PROTOCOL: 1 << 0,
} as const;

/** LOG's flags. */
export const LogFlag = { TCP_SEQUENCE: 1, TCP_OPTIONS: 2, IP_OPTIONS: 4, UID: 8, MAC_DECODE: 32 } as const;

/** CT's `--ctevents` and `--expevents`: 1 << IPCT_* and 1 << IPEXP_*. */
export const CtEvent = {
  NEW: 1 << 0,
  RELATED: 1 << 1,
  DESTROY: 1 << 2,
  REPLY: 1 << 3,
  ASSURED: 1 << 4,
  PROTOINFO: 1 << 5,
  HELPER: 1 << 6,
  MARK: 1 << 7,
  NATSEQINFO: 1 << 8,
  SECMARK: 1 << 9,
} as const;
