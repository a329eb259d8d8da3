/**
 * Why conditions on transport headers do not hold. Cold.
 */
import type { Packet } from '../../wire/packet.js';
import type { NumberRange, RangeCondition } from '../ast.js';
import { ICMP_TYPES, ICMP6_TYPES } from '../text/icmp-types.js';
import { bitNames, formatRange } from '../text/values.js';
import type { Asked, ReasonScope, Reasons } from './asked.js';
import { isNot } from './base.js';

const TCP_FLAGS = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 } as const;
const TCP_HEADER_BYTES = 20;
const SCTP_HEADER_BYTES = 12;
const OPTION_MSS = 2;
const LATER_FRAGMENT = 'it is a later fragment, without a transport header';

const DCCP_TYPES = 'REQUEST RESPONSE DATA ACK DATAACK CLOSEREQ CLOSE RESET SYNC SYNCACK'.split(' ');

function holds(condition: RangeCondition | undefined, value: number): boolean {
  return condition === undefined || (value >= condition.low && value <= condition.high) !== condition.negated;
}

interface Ports {
  readonly sourcePorts?: RangeCondition;
  readonly destinationPorts?: RangeCondition;
}

function portReason(
  { sourcePorts, destinationPorts }: Ports,
  { packet, context }: ReasonScope,
): string | undefined {
  if (context.fragmentOffset !== 0) return LATER_FRAGMENT;
  const source = packet.u16(context.transport);
  const destination = packet.u16(context.transport + 2);
  if (sourcePorts !== undefined && !holds(sourcePorts, source)) {
    return isNot('source port', source, formatRange(sourcePorts), sourcePorts.negated);
  }
  if (destinationPorts !== undefined && !holds(destinationPorts, destination)) {
    return isNot('destination port', destination, formatRange(destinationPorts), destinationPorts.negated);
  }
  return undefined;
}

function flagNames(bits: number): string {
  return bits === 0 ? 'NONE' : bitNames(TCP_FLAGS, bits);
}

/** Kinds of the TCP options, and the value of the MSS option if it has one. */
function tcpOptions(packet: Packet, at: number): { readonly kinds: number[]; readonly mss?: number } {
  const end = Math.min(packet.end, at + ((packet.u8(at + 12) >>> 4) << 2));
  const kinds: number[] = [];
  let mss: number | undefined;
  for (let i = at + TCP_HEADER_BYTES; i < end; ) {
    const kind = packet.u8(i);
    kinds.push(kind);
    if (kind === OPTION_MSS && end - i >= 4) mss = packet.u16(i + 2);
    i += kind < 2 || i + 1 >= end ? 1 : packet.u8(i + 1) || 1;
  }
  return mss === undefined ? { kinds } : { kinds, mss };
}

function icmpReason(_spec: unknown, { packet, context }: ReasonScope, asked: Asked): string | undefined {
  if (context.fragmentOffset !== 0) return LATER_FRAGMENT;
  const [type, code] = [packet.u8(context.transport), packet.u8(context.transport + 1)];
  const option = packet.version === 4 ? 'icmp-type' : 'icmpv6-type';
  const names = packet.version === 4 ? ICMP_TYPES : ICMP6_TYPES;
  const fits = [...names].filter(([name, codes]) => {
    return name !== 'any' && codes.type === type && code >= codes.codeLow && code <= codes.codeHigh;
  });
  // The name of the code, if it has one, says more than that of the type.
  fits.sort(([, a], [, b]) => a.codeHigh - a.codeLow - (b.codeHigh - b.codeLow));
  const name = fits[0]?.[0];
  return asked.isNot(option, 'type', `${type}/${code}${name === undefined ? '' : ` (${name})`}`);
}

function sctpChunks(packet: Packet, at: number): string {
  const types: number[] = [];
  for (let i = at + SCTP_HEADER_BYTES; i + 4 <= packet.end; ) {
    types.push(packet.u8(i));
    const length = packet.u16(i + 2);
    if (length === 0) break;
    i += (length + 3) & ~3;
  }
  return types.length === 0 ? 'none' : types.join(',');
}

export const TRANSPORT_REASONS: Reasons = {
  tcp: (spec, scope, asked) => {
    const ports = portReason(spec, scope);
    if (ports !== undefined) return ports;
    const { packet, context } = scope;
    const bits = packet.u8(context.transport + 13);
    const { flags } = spec;
    if (flags !== undefined && ((bits & flags.mask) === flags.value) === flags.negated) {
      const wanted = `${flagNames(flags.value)} of ${flagNames(flags.mask)}`;
      return isNot(
        bits === 0 || (bits & (bits - 1)) !== 0 ? 'TCP flags' : 'TCP flag',
        flagNames(bits),
        wanted,
        flags.negated,
      );
    }
    const kinds = tcpOptions(packet, context.transport).kinds.filter((kind) => kind > 1);
    const has = kinds.length === 0 ? 'it has no TCP options' : `it has the TCP options ${kinds.join(',')}`;
    return `${has}, wanted ${asked.isNegated('tcp-option') ? 'anything but ' : ''}${asked.value('tcp-option')}`;
  },
  udp: portReason,
  icmp: icmpReason,
  icmp6: icmpReason,
  multiport: ({ side, ranges, negated }, { packet, context }) => {
    if (context.fragmentOffset !== 0) return LATER_FRAGMENT;
    const source = packet.u16(context.transport);
    const destination = packet.u16(context.transport + 2);
    const wanted = ranges.map((range: NumberRange) => formatRange(range)).join(',');
    const one = ranges.length === 1 || negated ? wanted : `one of ${wanted}`;
    if (side === 'source') return isNot('source port', source, one, negated);
    if (side === 'destination') return isNot('destination port', destination, one, negated);
    return `ports are ${source} and ${destination}, wanted ${negated ? 'none' : 'one'} of ${wanted}`;
  },
  tcpmss: (_spec, { packet, context }, asked) => {
    const { mss } = tcpOptions(packet, context.transport);
    return mss === undefined ? 'it has no MSS option' : asked.isNot('mss', 'MSS', mss);
  },
  sctp: (spec, scope, asked) => {
    const { packet, context } = scope;
    return (
      portReason(spec, scope) ??
      asked.isNot('chunk-types', 'types of its chunks', sctpChunks(packet, context.transport))
    );
  },
  dccp: (spec, scope, asked) => {
    const ports = portReason(spec, scope);
    if (ports !== undefined) return ports;
    const type = (scope.packet.u8(scope.context.transport + 8) >>> 1) & 15;
    const { types } = spec;
    if (types !== undefined && ((types.bits >>> type) & 1) === (types.negated ? 1 : 0)) {
      return asked.isNot('dccp-types', 'DCCP type', DCCP_TYPES[type] ?? 'INVALID');
    }
    return undefined;
  },
};
