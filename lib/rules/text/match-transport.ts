/**
 * Matches of transport headers: tcp, udp, sctp, dccp, icmp, icmp6, multiport, tcpmss, ah, esp. Cold.
 */

import type {
  AhMatch,
  DccpMatch,
  EspMatch,
  IcmpMatch,
  MultiportMatch,
  NumberRange,
  RangeCondition,
  SctpMatch,
  TcpMatch,
  TcpmssMatch,
  UdpMatch,
} from '../ast.js';
import {
  compact,
  flag,
  type GivenOption,
  type MatchExtension,
  match,
  type Reader,
  say,
  sayIf,
  takes,
} from './grammar.js';
import { ICMP_TYPES, ICMP6_TYPES, icmpType } from './icmp-types.js';
import { UINT32_MAX } from './numbers.js';
import { chunkTypes, formatChunks } from './sctp-chunks.js';
import {
  bitList,
  bitNames,
  closedRange,
  formatRange,
  isOpen,
  number,
  orderedRange,
  port,
  ports,
  range,
  rangeCondition,
  valueCondition,
} from './values.js';

const TCP = 6;
const UDP = 17;
const ESP = 50;
const AH = 51;
const ICMP6 = 58;
const DCCP = 33;
const SCTP = 132;
const UDPLITE = 136;

const PORT_OPTIONS = {
  'source-port': takes(ports, { negation: 'allowed', aka: ['sport'] }),
  'destination-port': takes(ports, { negation: 'allowed', aka: ['dport'] }),
};

const TCP_FLAGS = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
const TCP_FLAG_WORDS = { ...TCP_FLAGS, ALL: 63, NONE: 0 };
const SYN_MASK = TCP_FLAGS.FIN | TCP_FLAGS.SYN | TCP_FLAGS.RST | TCP_FLAGS.ACK;

const tcpFlagSet: Reader<number> = (text, reading) =>
  bitList(TCP_FLAG_WORDS, 'any-case')(text.replace(/,{2,}/g, ',').replace(/^,|,$/g, ''), reading);

/** Two words: the flags looked at, and those of them that must be set. */
const tcpFlags: Reader<{ readonly mask: number; readonly value: number }> = (text, reading) => ({
  mask: tcpFlagSet(text, reading),
  value: tcpFlagSet(reading.next('the flags that must be set'), reading),
});

function formatTcpFlags(bits: number): string {
  return bits === 0 ? 'NONE' : bitNames(TCP_FLAGS, bits);
}

function sayPorts(name: string, condition: RangeCondition | undefined): string | undefined {
  if (condition === undefined || isOpen(condition, 65535)) return undefined;
  return say(name, formatRange(condition), condition.negated);
}

export const tcp = match({
  name: 'tcp',
  protocols: [TCP],
  options: {
    ...PORT_OPTIONS,
    syn: flag({ negation: 'allowed', excludes: ['tcp-flags'] }),
    'tcp-flags': takes(tcpFlags, { negation: 'allowed' }),
    'tcp-option': takes(number(1, 255), { negation: 'allowed' }),
  },
  build: (given): TcpMatch => {
    const syn = given.syn && { mask: SYN_MASK, value: TCP_FLAGS.SYN, negated: given.syn.negated };
    const asked = given['tcp-flags'] && { ...given['tcp-flags'].value, negated: given['tcp-flags'].negated };
    const flags = syn ?? asked;
    const says = flags !== undefined && (flags.mask !== 0 || flags.value !== 0 || flags.negated);
    return compact<TcpMatch>({
      kind: 'tcp',
      sourcePorts: closedRange(given['source-port'], 65535),
      destinationPorts: closedRange(given['destination-port'], 65535),
      option: valueCondition(given['tcp-option']),
      flags: says ? flags : undefined,
    });
  },
  print: ({ sourcePorts, destinationPorts, option, flags }) => [
    sayPorts('sport', sourcePorts),
    sayPorts('dport', destinationPorts),
    say('tcp-option', option?.value, option?.negated),
    flags && say('tcp-flags', `${formatTcpFlags(flags.mask)} ${formatTcpFlags(flags.value)}`, flags.negated),
  ],
});

export const udp = match({
  name: 'udp',
  protocols: [UDP],
  options: PORT_OPTIONS,
  build: (given): UdpMatch =>
    compact<UdpMatch>({
      kind: 'udp',
      sourcePorts: closedRange(given['source-port'], 65535),
      destinationPorts: closedRange(given['destination-port'], 65535),
    }),
  print: (spec) => [sayPorts('sport', spec.sourcePorts), sayPorts('dport', spec.destinationPorts)],
});

export const sctp = match({
  name: 'sctp',
  protocols: [SCTP],
  options: { ...PORT_OPTIONS, 'chunk-types': takes(chunkTypes, { negation: 'allowed' }) },
  build: (given): SctpMatch =>
    compact<SctpMatch>({
      kind: 'sctp',
      sourcePorts: rangeCondition(given['source-port']),
      destinationPorts: rangeCondition(given['destination-port']),
      chunks: given['chunk-types'] && {
        ...given['chunk-types'].value,
        negated: given['chunk-types'].negated,
      },
    }),
  print: ({ sourcePorts, destinationPorts, chunks }) => [
    sourcePorts && say('sport', formatRange(sourcePorts), sourcePorts.negated),
    destinationPorts && say('dport', formatRange(destinationPorts), destinationPorts.negated),
    chunks && say('chunk-types', `${chunks.scope} ${formatChunks(chunks.types)}`, chunks.negated),
  ],
});

const DCCP_TYPE_NAMES = 'REQUEST RESPONSE DATA ACK DATAACK CLOSEREQ CLOSE RESET SYNC SYNCACK INVALID';
const DCCP_TYPES = Object.fromEntries(DCCP_TYPE_NAMES.split(' ').map((name, i) => [name, 1 << i]));

export const dccp = match({
  name: 'dccp',
  protocols: [DCCP],
  options: {
    ...PORT_OPTIONS,
    'dccp-types': takes(bitList(DCCP_TYPES, 'any-case'), { negation: 'allowed' }),
    'dccp-option': takes(number(1, 255), { negation: 'allowed' }),
  },
  build: (given): DccpMatch => {
    const types = given['dccp-types'];
    return compact<DccpMatch>({
      kind: 'dccp',
      sourcePorts: rangeCondition(given['source-port']),
      destinationPorts: rangeCondition(given['destination-port']),
      types: types && { bits: types.value, negated: types.negated },
      option: valueCondition(given['dccp-option']),
    });
  },
  print: ({ sourcePorts, destinationPorts, types, option }) => [
    sourcePorts && say('sport', formatRange(sourcePorts), sourcePorts.negated),
    destinationPorts && say('dport', formatRange(destinationPorts), destinationPorts.negated),
    types && say('dccp-types', bitNames(DCCP_TYPES, types.bits), types.negated),
    say('dccp-option', option?.value, option?.negated),
  ],
});

function formatIcmp({ kind, type, codeLow, codeHigh }: IcmpMatch): string {
  if (kind === 'icmp' && type === 255) return 'any';
  return codeLow === 0 && codeHigh === 255 ? String(type) : `${type}/${codeLow}`;
}

export const icmp = match({
  name: 'icmp',
  family: 4,
  protocols: [1],
  options: { 'icmp-type': takes(icmpType(ICMP_TYPES), { negation: 'allowed', presence: 'required' }) },
  build: (given): IcmpMatch => {
    const condition = icmpCondition(given['icmp-type']!);
    // Type 255 is any packet, whatever the code.
    return { kind: 'icmp', ...condition, ...(condition.type === 255 && { codeLow: 0, codeHigh: 255 }) };
  },
  print: (spec) => [say('icmp-type', formatIcmp(spec), spec.negated)],
});

export const icmp6 = match({
  name: 'icmp6',
  family: 6,
  protocols: [ICMP6],
  options: { 'icmpv6-type': takes(icmpType(ICMP6_TYPES), { negation: 'allowed', presence: 'required' }) },
  build: (given): IcmpMatch => ({ kind: 'icmp6', ...icmpCondition(given['icmpv6-type']!) }),
  print: (spec) => [say('icmpv6-type', formatIcmp(spec), spec.negated)],
});

function icmpCondition({ value, negated }: GivenOption<Omit<IcmpMatch, 'kind' | 'negated'>>) {
  return { type: value.type, codeLow: value.codeLow, codeHigh: value.codeHigh, negated };
}

const MULTIPORT_PROTOCOLS = [TCP, UDP, UDPLITE, SCTP, DCCP];
/** A range counts as two. */
const MULTIPORT_MAX = 15;

const portList: Reader<readonly NumberRange[]> = (text, reading) => {
  const { protocol, where } = reading;
  if (protocol === undefined || protocol.negated || !MULTIPORT_PROTOCOLS.includes(protocol.number)) {
    where.refuse(
      'conflict',
      'multiport needs a protocol with ports before it',
      '-p tcp, udp, udplite, sctp or dccp',
    );
  }
  let slots = 0;
  return text.split(',').map((part) => {
    const colon = part.indexOf(':');
    slots += colon < 0 ? 1 : 2;
    if (slots > MULTIPORT_MAX) where.refuse('value', 'too many ports', 'at most 15, a range counting as two');
    const low = port(colon < 0 ? part : part.slice(0, colon), reading);
    const high = colon < 0 ? low : port(part.slice(colon + 1), reading);
    if (colon >= 0 && low >= high) where.refuse('value', 'port range is empty or reversed', 'low:high');
    return { low, high };
  });
};

export const multiport = match({
  name: 'multiport',
  protocols: MULTIPORT_PROTOCOLS,
  options: {
    'source-ports': takes(portList, {
      negation: 'allowed',
      aka: ['sports'],
      excludes: ['destination-ports', 'ports'],
    }),
    'destination-ports': takes(portList, { negation: 'allowed', aka: ['dports'], excludes: ['ports'] }),
    ports: takes(portList, { negation: 'allowed' }),
  },
  anyOf: ['source-ports', 'destination-ports', 'ports'],
  build: (given): MultiportMatch => {
    const { value, negated } = (given['source-ports'] ?? given['destination-ports'] ?? given.ports)!;
    const side = given['source-ports'] ? 'source' : given['destination-ports'] ? 'destination' : 'either';
    return { kind: 'multiport', side, ranges: value, negated };
  },
  print: ({ side, ranges, negated }) => [
    say(
      { source: 'sports', destination: 'dports', either: 'ports' }[side],
      ranges.map(formatRange).join(','),
      negated,
    ),
  ],
});

export const tcpmss = match({
  name: 'tcpmss',
  protocols: [TCP],
  options: { mss: takes(orderedRange(65535), { negation: 'allowed', presence: 'required' }) },
  build: (given): TcpmssMatch => ({ kind: 'tcpmss', ...rangeCondition(given.mss)! }),
  print: (spec) => [say('mss', formatRange(spec), spec.negated)],
});

function saySpi(name: string, spi: RangeCondition | undefined): string | undefined {
  return spi && !isOpen(spi, UINT32_MAX) ? say(name, formatRange(spi), spi.negated) : undefined;
}

const SPI = takes(range(UINT32_MAX), { negation: 'allowed' });

function buildAh(given: {
  readonly ahspi?: GivenOption<NumberRange>;
  readonly ahlen?: GivenOption<number>;
  readonly ahres?: GivenOption<true>;
}): AhMatch {
  return compact<AhMatch>({
    kind: 'ah',
    spi: closedRange(given.ahspi, UINT32_MAX),
    length: valueCondition(given.ahlen),
    reserved: given.ahres !== undefined,
  });
}

/** IPv4: AH is the protocol. */
export const ah4: MatchExtension = match({
  name: 'ah',
  family: 4,
  protocols: [AH],
  options: { ahspi: SPI },
  build: buildAh,
  print: (spec) => [saySpi('ahspi', spec.spi)],
});

/** IPv6: AH is an extension header of any packet. */
export const ah6: MatchExtension = match({
  name: 'ah',
  family: 6,
  options: { ahspi: SPI, ahlen: takes(number(0, UINT32_MAX), { negation: 'allowed' }), ahres: flag() },
  build: buildAh,
  print: ({ spi, length, reserved }) => [
    saySpi('ahspi', spi),
    say('ahlen', length?.value, length?.negated),
    sayIf('ahres', reserved),
  ],
});

export const esp = match({
  name: 'esp',
  protocols: [ESP],
  options: { espspi: SPI },
  build: (given): EspMatch => compact<EspMatch>({ kind: 'esp', spi: closedRange(given.espspi, UINT32_MAX) }),
  print: (spec) => [saySpi('espspi', spec.spi)],
});
