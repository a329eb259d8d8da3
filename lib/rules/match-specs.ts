/**
 * The matches of a rule as typed objects; conventions as in `ast.ts`. Cold.
 */

import type {
  AddressCondition,
  AddressRangeCondition,
  AddressWords,
  BitsCondition,
  MaskedCondition,
  NumberRange,
  RangeCondition,
  ValueCondition,
} from './ast.js';

interface PortsMatch {
  readonly sourcePorts?: RangeCondition;
  readonly destinationPorts?: RangeCondition;
}
/** TCP flag bits are those of byte 13 of the header (FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32). */
export interface TcpMatch extends PortsMatch {
  readonly kind: 'tcp';
  readonly flags?: MaskedCondition;
  /** TCP option kind that must be present. */
  readonly option?: ValueCondition;
}
export interface UdpMatch extends PortsMatch {
  readonly kind: 'udp';
}
export interface SctpMatch extends PortsMatch {
  readonly kind: 'sctp';
  readonly chunks?: SctpChunksCondition;
}
/** Chunk types 0-255; `flags` of a chunk type: those in `mask` must equal `flags`. */
export interface SctpChunksCondition {
  readonly scope: 'any' | 'all' | 'only';
  readonly types: readonly { readonly type: number; readonly mask: number; readonly flags: number }[];
  readonly negated: boolean;
}
export interface DccpMatch extends PortsMatch {
  readonly kind: 'dccp';
  /** Bit per packet type 0-10. */
  readonly types?: BitsCondition;
  readonly option?: ValueCondition;
}
/** icmp: type 255 (then codes 0-255) is any packet. icmp6: 255 is a type like the others. */
export interface IcmpMatch {
  readonly kind: 'icmp' | 'icmp6';
  readonly type: number;
  readonly codeLow: number;
  readonly codeHigh: number;
  readonly negated: boolean;
}
export interface MultiportMatch {
  readonly kind: 'multiport';
  readonly side: 'source' | 'destination' | 'either';
  readonly ranges: readonly NumberRange[];
  readonly negated: boolean;
}
/** `written`: the address with its host bits, which Linux keeps and prints. */
export interface TupleAddressCondition extends AddressCondition {
  readonly written: AddressWords;
}
export interface ConntrackMatch {
  readonly kind: 'conntrack';
  /** Bits of {@link CtState}. */
  readonly state?: BitsCondition;
  /** Bits of {@link CtStatus}. */
  readonly status?: BitsCondition;
  readonly protocol?: ValueCondition;
  readonly originalSource?: TupleAddressCondition;
  readonly originalDestination?: TupleAddressCondition;
  readonly replySource?: TupleAddressCondition;
  readonly replyDestination?: TupleAddressCondition;
  readonly originalSourcePorts?: RangeCondition;
  readonly originalDestinationPorts?: RangeCondition;
  readonly replySourcePorts?: RangeCondition;
  readonly replyDestinationPorts?: RangeCondition;
  /** Remaining lifetime, whole seconds. */
  readonly expireSeconds?: RangeCondition;
  readonly direction?: 'original' | 'reply';
}
export interface StateMatch {
  readonly kind: 'state';
  /** Bits of {@link CtState}. */
  readonly bits: number;
  readonly negated: boolean;
}
export interface LengthMatch extends RangeCondition {
  readonly kind: 'length';
}
export interface MarkMatch extends MaskedCondition {
  readonly kind: 'mark' | 'connmark';
}
export interface AddrtypeMatch {
  readonly kind: 'addrtype';
  /** Bits of {@link AddressType}. */
  readonly source?: BitsCondition;
  readonly destination?: BitsCondition;
  readonly limitInterface?: 'in' | 'out';
}
export interface IprangeMatch {
  readonly kind: 'iprange';
  readonly source?: AddressRangeCondition;
  readonly destination?: AddressRangeCondition;
}
/** Token bucket: one packet per `average` ten-thousandths of a second, up to `burst` at once. */
export interface LimitMatch {
  readonly kind: 'limit';
  readonly average: number;
  readonly burst: number;
}
export type StatisticMatch = {
  readonly kind: 'statistic';
  readonly negated: boolean;
} & (
  | { readonly mode: 'random' /** Out of 2^31. */; readonly probability: number }
  | {
      readonly mode: 'nth' /** From 1. */;
      readonly every: number /** 0 to every - 1. */;
      readonly packet: number;
    }
);
/** Open above: `high` is Infinity. */
export interface ConnbytesMatch extends RangeCondition {
  readonly kind: 'connbytes';
  readonly what: 'packets' | 'bytes' | 'avgpkt';
  readonly direction: 'original' | 'reply' | 'both';
}
/** Connections per masked address: matches above the limit, or (`upto`) at most the limit. */
export interface ConnlimitMatch {
  readonly kind: 'connlimit';
  readonly compare: 'above' | 'upto';
  readonly limit: number;
  readonly mask: AddressWords;
  readonly side: 'source' | 'destination';
}
export interface CommentMatch {
  readonly kind: 'comment';
  readonly text: string;
}
export interface TtlMatch {
  readonly kind: 'ttl' | 'hl';
  readonly compare: 'eq' | 'ne' | 'lt' | 'gt';
  readonly value: number;
}
/** `soft`: the packet has at least these headers; else exactly these. Bits of {@link Ipv6Header}. */
export interface Ipv6headerMatch extends BitsCondition {
  readonly kind: 'ipv6header';
  readonly soft: boolean;
}
/** Six bytes. */
export interface MacMatch {
  readonly kind: 'mac';
  readonly address: readonly number[];
  readonly negated: boolean;
}
export interface DscpMatch extends ValueCondition {
  readonly kind: 'dscp';
}
export interface EcnMatch {
  readonly kind: 'ecn';
  readonly tcpCwr?: 'set' | 'clear';
  readonly tcpEce?: 'set' | 'clear';
  /** The two ECN bits of the IP header, 0-3. */
  readonly ipEct?: ValueCondition;
}
export interface FragMatch {
  readonly kind: 'frag';
  readonly id?: RangeCondition;
  readonly length?: ValueCondition;
  readonly reserved: boolean;
  readonly first: boolean;
  readonly more: boolean;
  readonly last: boolean;
}
export interface RtMatch {
  readonly kind: 'rt';
  readonly type?: ValueCondition;
  readonly segmentsLeft?: RangeCondition;
  readonly length?: ValueCondition;
  readonly reserved: boolean;
  readonly addresses: readonly AddressWords[];
  /** The header holds these addresses among others, in this order. */
  readonly notStrict: boolean;
}
/** Hop-by-hop and destination options. `length` null: any. */
export interface OptionsHeaderMatch {
  readonly kind: 'hbh' | 'dst';
  readonly length?: ValueCondition;
  readonly options: readonly { readonly type: number; readonly length: number | null }[];
}
/** `length` and `reserved`: IPv6 only. */
export interface AhMatch {
  readonly kind: 'ah';
  readonly spi?: RangeCondition;
  readonly length?: ValueCondition;
  readonly reserved: boolean;
}
export interface EspMatch {
  readonly kind: 'esp';
  readonly spi?: RangeCondition;
}
export interface TosMatch extends MaskedCondition {
  readonly kind: 'tos';
}
export interface PkttypeMatch {
  readonly kind: 'pkttype';
  /** `otherhost`: seen, but addressed to another machine. */
  readonly type: 'unicast' | 'broadcast' | 'multicast' | 'otherhost';
  readonly negated: boolean;
}
export interface QuotaMatch {
  readonly kind: 'quota';
  readonly bytes: number;
  readonly negated: boolean;
}
export interface TcpmssMatch extends RangeCondition {
  readonly kind: 'tcpmss';
}
export interface SocketMatch {
  readonly kind: 'socket';
  readonly transparent: boolean;
  readonly noWildcard: boolean;
  readonly restoreMark: boolean;
}
/** Counters of the set's entry that are compared. */
export interface SetCounterCondition {
  readonly compare: 'eq' | 'ne' | 'lt' | 'gt';
  readonly value: number;
}
export interface SetMatch {
  readonly kind: 'set';
  readonly name: string;
  /** One per dimension, at most 6. */
  readonly sides: readonly ('src' | 'dst')[];
  readonly negated: boolean;
  readonly returnNomatch: boolean;
  readonly updateCounters: boolean;
  readonly updateSubcounters: boolean;
  readonly packets?: SetCounterCondition;
  readonly bytes?: SetCounterCondition;
}
/** Searched from byte `from` up to byte `to` (65535: the end) of the packet from its IP header on. */
export interface StringMatch {
  readonly kind: 'string';
  readonly algorithm: 'bm' | 'kmp';
  readonly pattern: readonly number[];
  readonly from: number;
  readonly to: number;
  readonly ignoreCase: boolean;
  readonly negated: boolean;
}
export interface RecentMatch {
  readonly kind: 'recent';
  readonly action: 'set' | 'rcheck' | 'update' | 'remove';
  readonly negated: boolean;
  readonly name: string;
  readonly side: 'source' | 'destination';
  readonly mask: AddressWords;
  /** 0: not asked. */
  readonly seconds: number;
  readonly reap: boolean;
  /** 0: not asked. */
  readonly hitCount: number;
  readonly ttl: boolean;
}
export interface HashlimitMatch {
  readonly kind: 'hashlimit';
  readonly name: string;
  readonly compare: 'above' | 'upto';
  readonly unit: 'packets' | 'bytes';
  /** Packets: one per `average` millionths of a second. Bytes: bytes per second. */
  readonly average: number;
  readonly burst: number;
  readonly keys: readonly ('srcip' | 'srcport' | 'dstip' | 'dstport')[];
  readonly sourcePrefix: number;
  readonly destinationPrefix: number;
  readonly size: number;
  readonly max: number;
  readonly gcIntervalMs: number;
  readonly expireMs: number;
  readonly rateMatch: boolean;
  readonly rateIntervalSeconds: number;
}
export interface TimeMatch {
  readonly kind: 'time';
  /** Seconds since 1970; open ends 0 and 2^31 - 1. */
  readonly dateStart: number;
  readonly dateStop: number;
  /** Seconds of the day, 0 to 86399. */
  readonly dayStart: number;
  readonly dayStop: number;
  /** Bit n for day n of the month, 1 to 31. */
  readonly monthDays: number;
  /** Bit n for weekday n, Monday 1 to Sunday 7. */
  readonly weekDays: number;
  readonly zone: 'utc' | 'kernel';
  readonly contiguous: boolean;
}
export interface U32Match {
  readonly kind: 'u32';
  /** All must hold: the path gives a number, which lies in one of the ranges. */
  readonly tests: readonly U32Test[];
  readonly negated: boolean;
}
/** Starts at the first operand as offset (word read, big-endian), then the steps in order. */
export interface U32Test {
  readonly location: readonly {
    readonly operator: 'start' | '&' | '<<' | '>>' | '@';
    readonly operand: number;
  }[];
  readonly ranges: readonly NumberRange[];
}
export interface HelperMatch {
  readonly kind: 'helper';
  /** '' is any helper. */
  readonly name: string;
  readonly negated: boolean;
}
export interface ConnlabelMatch {
  readonly kind: 'connlabel';
  /** Number of the label, 0 to 127. */
  readonly label: number;
  /** The label is put on connections that do not have it, and the rule then matches. */
  readonly set: boolean;
  readonly negated: boolean;
}
export interface RpfilterMatch {
  readonly kind: 'rpfilter';
  readonly loose: boolean;
  readonly validMark: boolean;
  readonly acceptLocal: boolean;
  readonly invert: boolean;
}
/** Valid in OUTPUT and POSTROUTING only. */
export interface OwnerMatch {
  readonly kind: 'owner';
  readonly uid?: RangeCondition;
  readonly gid?: RangeCondition;
  readonly socketExists?: 'yes' | 'no';
  readonly supplementaryGroups: boolean;
}

export type MatchSpec =
  | TcpMatch
  | UdpMatch
  | SctpMatch
  | DccpMatch
  | IcmpMatch
  | MultiportMatch
  | ConntrackMatch
  | StateMatch
  | LengthMatch
  | MarkMatch
  | AddrtypeMatch
  | IprangeMatch
  | LimitMatch
  | StatisticMatch
  | ConnbytesMatch
  | ConnlimitMatch
  | CommentMatch
  | TtlMatch
  | Ipv6headerMatch
  | MacMatch
  | DscpMatch
  | EcnMatch
  | FragMatch
  | RtMatch
  | OptionsHeaderMatch
  | AhMatch
  | EspMatch
  | TosMatch
  | PkttypeMatch
  | QuotaMatch
  | TcpmssMatch
  | SocketMatch
  | SetMatch
  | StringMatch
  | RecentMatch
  | HashlimitMatch
  | TimeMatch
  | U32Match
  | HelperMatch
  | ConnlabelMatch
  | RpfilterMatch
  | OwnerMatch;
