/**
 * The targets of a rule as typed objects; conventions as in `ast.ts`. Cold.
 */

import type { AddressRange, AddressWords, NumberRange } from './ast.js';

/** No target: the rule only counts, and the packet goes on to the next rule. */
export interface NoTarget {
  readonly kind: 'none';
}
export interface VerdictTarget {
  readonly kind: 'ACCEPT' | 'DROP' | 'RETURN';
}
/** `-j CHAIN` and `-g CHAIN`. */
export interface ChainTarget {
  readonly kind: 'jump' | 'goto';
  readonly chain: string;
}

export type RejectWith4 =
  | 'icmp-net-unreachable'
  | 'icmp-host-unreachable'
  | 'icmp-proto-unreachable'
  | 'icmp-port-unreachable'
  | 'icmp-net-prohibited'
  | 'icmp-host-prohibited'
  | 'icmp-admin-prohibited'
  | 'tcp-reset';
export type RejectWith6 =
  | 'icmp6-no-route'
  | 'icmp6-adm-prohibited'
  | 'icmp6-addr-unreachable'
  | 'icmp6-port-unreachable'
  | 'icmp6-policy-fail'
  | 'icmp6-reject-route'
  | 'tcp-reset';
export interface RejectTarget {
  readonly kind: 'REJECT';
  readonly with: RejectWith4 | RejectWith6;
}

/** `level` 0-7 as syslog's; `flags` bits of LogFlag. */
export interface LogTarget {
  readonly kind: 'LOG';
  readonly level: number;
  readonly prefix: string;
  readonly flags: number;
}
export interface NflogTarget {
  readonly kind: 'NFLOG';
  readonly group: number;
  readonly prefix: string;
  /** `--nflog-size` bounds what is copied, `--nflog-range` says so without effect; absent: everything. */
  readonly copyLength?: { readonly option: 'range' | 'size'; readonly bytes: number };
  readonly threshold: number;
}
export interface NfqueueTarget {
  readonly kind: 'NFQUEUE';
  /** One queue, or several between which flows are spread. */
  readonly queues: NumberRange;
  readonly bypass: boolean;
  readonly cpuFanout: boolean;
  /** Written as the old verdict `-j QUEUE`: queue 0. */
  readonly verdict?: 'QUEUE';
}

/** `basePort`: DNAT shifts ports: destination port - basePort + ports.low. */
export interface NatTarget {
  readonly kind: 'SNAT' | 'DNAT';
  readonly addresses?: AddressRange;
  readonly ports?: NumberRange;
  readonly basePort?: number;
  readonly random: boolean;
  readonly randomFully: boolean;
  readonly persistent: boolean;
}
export interface MasqueradeTarget {
  readonly kind: 'MASQUERADE';
  readonly ports?: NumberRange;
  readonly random: boolean;
  readonly randomFully: boolean;
}
export interface RedirectTarget {
  readonly kind: 'REDIRECT';
  readonly ports?: NumberRange;
  readonly random: boolean;
}
/** The bits of `mask` come from `words`, the others stay. */
export interface NetmapTarget {
  readonly kind: 'NETMAP';
  readonly words: AddressWords;
  readonly mask: AddressWords;
}

/** mark = (mark & ~mask) ^ value. */
export interface MarkTarget {
  readonly kind: 'MARK';
  readonly value: number;
  readonly mask: number;
}
/**
 * set: ctmark = (ctmark & ~mask) ^ value.
 * save: ctmark = (ctmark & ~ctMask) ^ (nfmark & nfMask). restore: the other way round.
 * `shift`: bits to the left (negative: to the right) that the new value is shifted before it is stored.
 */
export type ConnmarkTarget = { readonly kind: 'CONNMARK'; readonly shift: number } & (
  | { readonly action: 'set'; readonly value: number; readonly mask: number }
  | { readonly action: 'save' | 'restore'; readonly nfMask: number; readonly ctMask: number }
);
/** `events` and `expectEvents`: bits of CtEvent; absent: not asked. */
export interface CtTarget {
  readonly kind: 'CT';
  readonly notrack: boolean;
  readonly zone?: { readonly id: number | 'mark'; readonly direction: 'both' | 'original' | 'reply' };
  readonly helper?: string;
  readonly timeout?: string;
  readonly events?: number;
  readonly expectEvents?: number;
}
export interface PlainTarget {
  readonly kind: 'NOTRACK' | 'TRACE' | 'CHECKSUM';
}
/** Sets the two ECN bits of the IP header (`ip`), the TCP bits ECE and CWR. */
export interface EcnTarget {
  readonly kind: 'ECN';
  readonly ip?: number;
  readonly ece?: 0 | 1;
  readonly cwr?: 0 | 1;
}

export interface TtlTarget {
  readonly kind: 'TTL' | 'HL';
  readonly action: 'set' | 'inc' | 'dec';
  readonly value: number;
}
export interface TcpmssTarget {
  readonly kind: 'TCPMSS';
  readonly mss: number | 'clamp-to-pmtu';
}
/** TCP option kinds 2-255, ascending. */
export interface TcpoptstripTarget {
  readonly kind: 'TCPOPTSTRIP';
  readonly options: readonly number[];
}
/** 0-63. */
export interface DscpTarget {
  readonly kind: 'DSCP';
  readonly value: number;
}
/** tos = (tos & ~mask) ^ value. */
export interface TosTarget {
  readonly kind: 'TOS';
  readonly value: number;
  readonly mask: number;
}
/** Without effect here: there are no queueing classes. */
export interface ClassifyTarget {
  readonly kind: 'CLASSIFY';
  readonly major: number;
  readonly minor: number;
}
/** A set by name, and which field each of its dimensions takes. */
export interface SetReference {
  readonly name: string;
  readonly sides: readonly ('src' | 'dst')[];
}
export interface SetTarget {
  readonly kind: 'SET';
  readonly add?: SetReference;
  readonly remove?: SetReference;
  readonly map?: SetReference & {
    readonly mark: boolean;
    readonly priority: boolean;
    readonly queue: boolean;
  };
  /** `--exist`: an entry already there gets the new timeout. */
  readonly exist: boolean;
  /** Seconds; absent: the set's own. */
  readonly timeoutSeconds?: number;
}
export interface TeeTarget {
  readonly kind: 'TEE';
  readonly gateway: AddressWords;
  readonly outInterface?: string;
}
/** `port` 0: the packet's own; `address` zero: the first of the interface that it came in by. mark = (mark & ~mask) ^ value. */
export interface TproxyTarget {
  readonly kind: 'TPROXY';
  readonly port: number;
  readonly address: AddressWords;
  readonly value: number;
  readonly mask: number;
}
export interface AuditTarget {
  readonly kind: 'AUDIT';
  readonly type: 'accept' | 'drop' | 'reject';
}

export type TargetSpec =
  | NoTarget
  | VerdictTarget
  | ChainTarget
  | RejectTarget
  | LogTarget
  | NflogTarget
  | NfqueueTarget
  | NatTarget
  | MasqueradeTarget
  | RedirectTarget
  | NetmapTarget
  | MarkTarget
  | ConnmarkTarget
  | CtTarget
  | PlainTarget
  | EcnTarget
  | TtlTarget
  | TcpmssTarget
  | TcpoptstripTarget
  | DscpTarget
  | TosTarget
  | ClassifyTarget
  | SetTarget
  | TeeTarget
  | TproxyTarget
  | AuditTarget;
