/**
 * Matches of what a packet is and where it comes from: length, ttl, hl, tos, dscp, ecn, mac, pkttype, addrtype,
 * iprange, rpfilter, socket, owner, comment. Cold.
 */

import {
  type AddressRangeCondition,
  AddressType,
  type AddrtypeMatch,
  type CommentMatch,
  type DscpMatch,
  type EcnMatch,
  type IprangeMatch,
  type LengthMatch,
  type MacMatch,
  type OwnerMatch,
  type PkttypeMatch,
  type RangeCondition,
  type RpfilterMatch,
  type SocketMatch,
  type TosMatch,
  type TtlMatch,
} from '../ast.js';
import { formatAddress, parseLooseAddress } from './address.js';
import { compact, flag, type GivenOption, Hook, match, type Reader, say, sayIf, takes } from './grammar.js';
import { hex, UINT32_MAX, wholeNumber } from './numbers.js';
import { DSCP_CLASSES, formatTos, tosMask } from './tos.js';
import {
  bitList,
  bitNames,
  formatRange,
  maskedCondition,
  number,
  oneOf,
  range,
  rangeCondition,
  string,
  valueCondition,
} from './values.js';
import { quoteString } from './words.js';

const NEGATABLE = { negation: 'allowed' } as const;
const NEGATABLE_REQUIRED = { negation: 'allowed', presence: 'required' } as const;

export const length = match({
  name: 'length',
  options: { length: takes(range(65535), NEGATABLE_REQUIRED) },
  build: (given): LengthMatch => ({ kind: 'length', ...rangeCondition(given.length)! }),
  print: (spec) => [say('length', formatRange(spec), spec.negated)],
});

export const ttl = match({
  name: 'ttl',
  family: 4,
  options: {
    'ttl-lt': takes(number(0, 255), { excludes: ['ttl-eq', 'ttl-gt'] }),
    'ttl-gt': takes(number(0, 255), { excludes: ['ttl-eq'] }),
    'ttl-eq': takes(number(0, 255), { negation: 'allowed', aka: ['ttl'] }),
  },
  anyOf: ['ttl-lt', 'ttl-gt', 'ttl-eq'],
  build: (given): TtlMatch => ({ kind: 'ttl', ...hops(given['ttl-lt'], given['ttl-gt'], given['ttl-eq']) }),
  print: (spec) => [sayHops('ttl', spec)],
});

export const hl = match({
  name: 'hl',
  family: 6,
  options: {
    'hl-lt': takes(number(0, 255), { excludes: ['hl-eq', 'hl-gt'] }),
    'hl-gt': takes(number(0, 255), { excludes: ['hl-eq'] }),
    'hl-eq': takes(number(0, 255), { negation: 'allowed', aka: ['hl'] }),
  },
  anyOf: ['hl-lt', 'hl-gt', 'hl-eq'],
  build: (given): TtlMatch => ({ kind: 'hl', ...hops(given['hl-lt'], given['hl-gt'], given['hl-eq']) }),
  print: (spec) => [sayHops('hl', spec)],
});

type GivenNumber = GivenOption<number> | undefined;

function hops(lt: GivenNumber, gt: GivenNumber, eq: GivenNumber): Omit<TtlMatch, 'kind'> {
  if (lt !== undefined) return { compare: 'lt', value: lt.value };
  if (gt !== undefined) return { compare: 'gt', value: gt.value };
  return { compare: eq!.negated ? 'ne' : 'eq', value: eq!.value };
}

function sayHops(prefix: string, { compare, value }: TtlMatch): string | undefined {
  return say(`${prefix}-${compare === 'ne' ? 'eq' : compare}`, value, compare === 'ne');
}

export const tos = match({
  name: 'tos',
  options: { tos: takes(tosMask(0x3f), NEGATABLE_REQUIRED) },
  build: (given): TosMatch => ({ kind: 'tos', ...maskedCondition(given.tos!) }),
  print: (spec) => [say('tos', formatTos(spec), spec.negated)],
});

export const dscp = match({
  name: 'dscp',
  options: {
    dscp: takes(number(0, 63), { negation: 'allowed', excludes: ['dscp-class'] }),
    'dscp-class': takes(oneOf(DSCP_CLASSES, 'any-case'), NEGATABLE),
  },
  anyOf: ['dscp', 'dscp-class'],
  build: (given): DscpMatch => ({ kind: 'dscp', ...valueCondition(given.dscp ?? given['dscp-class'])! }),
  print: (spec) => [say('dscp', hex(spec.value, 2), spec.negated)],
});

const presence = (given: GivenOption<true> | undefined) => given && (given.negated ? 'clear' : 'set');

export const ecn = match({
  name: 'ecn',
  options: {
    'ecn-tcp-cwr': flag(NEGATABLE),
    'ecn-tcp-ece': flag(NEGATABLE),
    'ecn-ip-ect': takes(number(0, 3), NEGATABLE),
  },
  anyOf: ['ecn-tcp-cwr', 'ecn-tcp-ece', 'ecn-ip-ect'],
  build: (given): EcnMatch =>
    compact<EcnMatch>({
      kind: 'ecn',
      tcpCwr: presence(given['ecn-tcp-cwr']),
      tcpEce: presence(given['ecn-tcp-ece']),
      ipEct: valueCondition(given['ecn-ip-ect']),
    }),
  print: ({ tcpCwr, tcpEce, ipEct }) => [
    tcpEce && say('ecn-tcp-ece', '', tcpEce === 'clear'),
    tcpCwr && say('ecn-tcp-cwr', '', tcpCwr === 'clear'),
    say('ecn-ip-ect', ipEct?.value, ipEct?.negated),
  ],
  check: ({ tcpCwr, tcpEce }, { rule }) =>
    (tcpCwr ?? tcpEce) && !(rule.protocol?.number === 6 && !rule.protocol.negated)
      ? 'ecn looks at TCP flags of rules with -p tcp only'
      : undefined,
});

const etherAddress: Reader<readonly number[]> = (text, { where }) => {
  if (!/^[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}$/.test(text)) {
    where.refuse('value', 'not a MAC address', 'six hex bytes between colons');
  }
  return text.split(':').map((byte) => Number.parseInt(byte, 16));
};

export const mac = match({
  name: 'mac',
  hooks: Hook.PREROUTING | Hook.INPUT | Hook.FORWARD,
  options: { 'mac-source': takes(etherAddress, NEGATABLE_REQUIRED) },
  build: (given): MacMatch => ({
    kind: 'mac',
    address: given['mac-source']!.value,
    negated: given['mac-source']!.negated,
  }),
  print: ({ address, negated }) => [
    say('mac-source', address.map((byte) => byte.toString(16).padStart(2, '0')).join(':'), negated),
  ],
});

const PACKET_TYPES = {
  unicast: 'unicast',
  broadcast: 'broadcast',
  multicast: 'multicast',
  otherhost: 'otherhost',
  host: 'unicast',
  bcast: 'broadcast',
  mcast: 'multicast',
} as const;

export const pkttype = match({
  name: 'pkttype',
  options: { 'pkt-type': takes(oneOf(PACKET_TYPES, 'any-case'), NEGATABLE_REQUIRED) },
  build: (given): PkttypeMatch => ({
    kind: 'pkttype',
    type: given['pkt-type']!.value,
    negated: given['pkt-type']!.negated,
  }),
  print: (spec) => [say('pkt-type', spec.type, spec.negated)],
});

/** What the IPv6 routing table does not know, and the kernel refuses. */
const NO_TYPES_6 =
  AddressType.BLACKHOLE | AddressType.PROHIBIT | AddressType.THROW | AddressType.NAT | AddressType.XRESOLVE;

export const addrtype = match({
  name: 'addrtype',
  options: {
    'src-type': takes(bitList(AddressType, 'any-case'), NEGATABLE),
    'dst-type': takes(bitList(AddressType, 'any-case'), NEGATABLE),
    'limit-iface-in': flag({ excludes: ['limit-iface-out'] }),
    'limit-iface-out': flag(),
  },
  anyOf: ['src-type', 'dst-type'],
  build: (given): AddrtypeMatch => {
    const bits = (option: GivenOption<number> | undefined) =>
      option && { bits: option.value, negated: option.negated };
    return compact<AddrtypeMatch>({
      kind: 'addrtype',
      source: bits(given['src-type']),
      destination: bits(given['dst-type']),
      limitInterface: given['limit-iface-in'] ? 'in' : given['limit-iface-out'] ? 'out' : undefined,
    });
  },
  print: ({ source, destination, limitInterface }) => [
    source && say('src-type', bitNames(AddressType, source.bits), source.negated),
    destination && say('dst-type', bitNames(AddressType, destination.bits), destination.negated),
    limitInterface && `--limit-iface-${limitInterface}`,
  ],
  check: ({ source, destination, limitInterface }, { family, hooks }) => {
    if (limitInterface === 'in' && (hooks & (Hook.OUTPUT | Hook.POSTROUTING)) !== 0) {
      return 'there is no input interface in OUTPUT and POSTROUTING';
    }
    if (limitInterface === 'out' && (hooks & (Hook.PREROUTING | Hook.INPUT)) !== 0) {
      return 'there is no output interface in PREROUTING and INPUT';
    }
    if (family === 4) return undefined;
    const types = (source?.bits ?? 0) | (destination?.bits ?? 0);
    if ((types & NO_TYPES_6) !== 0) return 'this address type does not exist in IPv6';
    return (types & AddressType.BROADCAST) !== 0 ? 'IPv6 has no broadcast' : undefined;
  },
});

const addressRange: Reader<Omit<AddressRangeCondition, 'negated'>> = (text, { family, where }) => {
  const dash = text.indexOf('-');
  const low = parseLooseAddress(dash < 0 ? text : text.slice(0, dash), family);
  const high = dash < 0 ? low : parseLooseAddress(text.slice(dash + 1), family);
  if (low === undefined || high === undefined) {
    return where.refuse('value', 'not an address range', `IPv${family} address or address-address`);
  }
  return { low, high };
};

export const iprange = match({
  name: 'iprange',
  options: { 'src-range': takes(addressRange, NEGATABLE), 'dst-range': takes(addressRange, NEGATABLE) },
  anyOf: ['src-range', 'dst-range'],
  build: (given): IprangeMatch => {
    const [source, destination] = [given['src-range'], given['dst-range']];
    return compact<IprangeMatch>({
      kind: 'iprange',
      source: source && { ...source.value, negated: source.negated },
      destination: destination && { ...destination.value, negated: destination.negated },
    });
  },
  print: ({ source, destination }, family) => {
    const format = ({ low, high }: AddressRangeCondition): string =>
      `${formatAddress(low, family)}-${formatAddress(high, family)}`;
    return [
      source && say('src-range', format(source), source.negated),
      destination && say('dst-range', format(destination), destination.negated),
    ];
  },
});

export const rpfilter = match({
  name: 'rpfilter',
  tables: ['raw', 'mangle'],
  hooks: Hook.PREROUTING,
  options: { loose: flag(), validmark: flag(), 'accept-local': flag(), invert: flag() },
  build: (given): RpfilterMatch => ({
    kind: 'rpfilter',
    loose: given.loose !== undefined,
    validMark: given.validmark !== undefined,
    acceptLocal: given['accept-local'] !== undefined,
    invert: given.invert !== undefined,
  }),
  print: (spec) => [
    sayIf('loose', spec.loose),
    sayIf('validmark', spec.validMark),
    sayIf('accept-local', spec.acceptLocal),
    sayIf('invert', spec.invert),
  ],
});

export const socket = match({
  name: 'socket',
  hooks: Hook.PREROUTING | Hook.INPUT,
  options: { transparent: flag(), nowildcard: flag(), 'restore-skmark': flag() },
  build: (given): SocketMatch => ({
    kind: 'socket',
    transparent: given.transparent !== undefined,
    noWildcard: given.nowildcard !== undefined,
    restoreMark: given['restore-skmark'] !== undefined,
  }),
  print: (spec) => [
    sayIf('transparent', spec.transparent),
    sayIf('nowildcard', spec.noWildcard),
    sayIf('restore-skmark', spec.restoreMark),
  ],
});

/** Numbers, and `root`: there is no user database here. */
const identity: Reader<Omit<RangeCondition, 'negated'>> = (text, { where }) => {
  if (text === 'root') return { low: 0, high: 0 };
  const ends = text.split(/[-:]/).map((part) => wholeNumber(part, 0, UINT32_MAX - 1));
  const [low, high = low] = ends;
  if (ends.length > 2 || low === undefined || high === undefined || low > high) {
    return where.refuse('value', 'not a user or group', 'number or number-number');
  }
  return { low, high };
};

export const owner = match({
  name: 'owner',
  hooks: Hook.OUTPUT | Hook.POSTROUTING,
  options: {
    'uid-owner': takes(identity, NEGATABLE),
    'gid-owner': takes(identity, NEGATABLE),
    'socket-exists': flag(NEGATABLE),
    'suppl-groups': flag({ requires: ['gid-owner'] }),
  },
  anyOf: ['uid-owner', 'gid-owner', 'socket-exists'],
  build: (given): OwnerMatch =>
    compact<OwnerMatch>({
      kind: 'owner',
      uid: rangeCondition(given['uid-owner']),
      gid: rangeCondition(given['gid-owner']),
      socketExists: given['socket-exists'] && (given['socket-exists'].negated ? 'no' : 'yes'),
      supplementaryGroups: given['suppl-groups'] !== undefined,
    }),
  print: ({ uid, gid, socketExists, supplementaryGroups }) => {
    const format = ({ low, high }: RangeCondition): string => (low === high ? String(low) : `${low}-${high}`);
    return [
      socketExists && say('socket-exists', '', socketExists === 'no'),
      uid && say('uid-owner', format(uid), uid.negated),
      gid && say('gid-owner', format(gid), gid.negated),
      sayIf('suppl-groups', supplementaryGroups),
    ];
  },
});

export const comment = match({
  name: 'comment',
  options: { comment: takes(string(0, 255, 'cut'), { presence: 'required' }) },
  build: (given): CommentMatch => ({ kind: 'comment', text: given.comment!.value }),
  print: (spec) => [say('comment', quoteString(spec.text))],
});
