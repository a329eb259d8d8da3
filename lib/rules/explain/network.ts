/**
 * Why conditions on the network header, and on what came with the packet, do not hold. Cold.
 */
import type { Packet } from '../../wire/packet.js';
import { type AddressRangeCondition, AddressType, type Family } from '../ast.js';
import { findHeader6, isExtension } from '../headers6.js';
import { formatAddress } from '../text/address.js';
import { hex } from '../text/numbers.js';
import type { Asked, ReasonScope, Reasons } from './asked.js';

const PACKET_TYPES = ['unicast', 'broadcast', 'multicast', 'otherhost', 'outgoing'];
const TYPE_NAMES = Object.keys(AddressType);

/** Header types of extension headers that matches look for. */
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;

function trafficClass(packet: Packet): number {
  return packet.version === 4 ? packet.u8(packet.start + 1) : (packet.u16(packet.start) >>> 4) & 255;
}

function hops(packet: Packet): number {
  return packet.u8(packet.start + (packet.version === 4 ? 8 : 7));
}

const COMPARISONS = { eq: '', ne: 'anything but ', lt: 'less than ', gt: 'more than ' } as const;

function addressAt(packet: Packet, at: number): string {
  return formatAddress(packet.addresses, packet.version, at);
}

function rangeReason(
  side: 'source' | 'destination',
  condition: AddressRangeCondition | undefined,
  { packet }: ReasonScope,
  asked: Asked,
): string | undefined {
  if (condition === undefined) return undefined;
  const at = side === 'source' ? 0 : 4;
  const compare = (bound: readonly number[]): number => {
    for (let i = 0; i < 4; i++) {
      const difference = ((packet.addresses[at + i] as number) >>> 0) - ((bound[i] as number) >>> 0);
      if (difference !== 0) return difference;
    }
    return 0;
  };
  const inside = compare(condition.low) >= 0 && compare(condition.high) <= 0;
  if (inside !== condition.negated) return undefined;
  const range = asked.value(side === 'source' ? 'src-range' : 'dst-range');
  return `${side} ${addressAt(packet, at)} is ${inside ? '' : 'not '}in ${range}`;
}

function addressTypeReason(
  side: 'source' | 'destination',
  bits: number | undefined,
  limit: number,
  { packet, host }: ReasonScope,
  asked: Asked,
): string | undefined {
  if (bits === undefined) return undefined;
  const at = side === 'source' ? 0 : 4;
  const option = side === 'source' ? 'src-type' : 'dst-type';
  const type = host.addressType(packet.version as Family, packet.addresses, at, limit);
  const has = (bits & (1 << type)) !== 0;
  // IPv6 asks by the address's form too: what is told then is the type.
  if (packet.version === 4 && has !== asked.isNegated(option)) return undefined;
  const name = TYPE_NAMES[type] ?? String(type);
  return asked.isNot(option, `type of the ${side} ${addressAt(packet, at)}`, name);
}

/** `-m hbh`, `dst`, `rt`, `frag`, `ah` of IPv6: whether there is such a header at all. */
function missingHeader(type: number, name: string) {
  return (_spec: unknown, { packet }: ReasonScope): string | undefined =>
    packet.version === 6 && findHeader6(packet, type) < 0 ? `it has no ${name} header` : undefined;
}

function headerNames(packet: Packet): string {
  const names: [number, string][] = [
    [HOP_BY_HOP, 'hop-by-hop'],
    [DESTINATION, 'dst'],
    [ROUTING, 'route'],
    [FRAGMENT, 'frag'],
    [AUTHENTICATION, 'auth'],
  ];
  const found = names.filter(([type]) => findHeader6(packet, type) >= 0).map(([, name]) => name);
  if (isExtension(packet.protocol) === 0 && packet.fragmentOffset === 0) found.push('prot');
  return found.join(',') || 'none';
}

export const NETWORK_REASONS: Reasons = {
  length: (_spec, { packet }, asked) => asked.isNot('length', 'length', packet.lengthBytes),
  ttl: ({ compare, value }, { packet }) => `TTL is ${hops(packet)}, wanted ${COMPARISONS[compare]}${value}`,
  hl: ({ compare, value }, { packet }) =>
    `hop limit is ${hops(packet)}, wanted ${COMPARISONS[compare]}${value}`,
  dscp: (_spec, { packet }, asked) => asked.isNot('dscp', 'DSCP', hex(trafficClass(packet) >>> 2, 2)),
  tos: (_spec, { packet }, asked) => asked.isNot('tos', 'TOS', hex(trafficClass(packet), 2)),
  ecn: ({ ipEct }, { packet }, asked) => {
    const ect = trafficClass(packet) & 3;
    if (ipEct !== undefined && (ect === ipEct.value) === ipEct.negated) {
      return asked.isNot('ecn-ip-ect', 'ECN of the IP header', ect);
    }
    return `the TCP header's ECN bits are not as asked: ${asked.text}`;
  },
  mark: (_spec, { packet }, asked) => asked.isNot('mark', 'mark', hex(packet.mark >>> 0)),
  pkttype: (_spec, { packet }, asked) =>
    asked.isNot('pkt-type', 'packet type', PACKET_TYPES[packet.packetType] ?? packet.packetType),
  mac: (_spec, { packet }, asked) => {
    if (packet.hasMac === 0) return 'it has no MAC address';
    const digits = (word: number, count: number) => (word >>> 0).toString(16).padStart(count, '0');
    const mac = `${digits(packet.macHigh, 8)}${digits(packet.macLow, 4)}`.replace(/..(?!$)/g, '$&:');
    return asked.isNot('mac-source', 'source MAC', mac);
  },
  iprange: ({ source, destination }, scope, asked) =>
    rangeReason('source', source, scope, asked) ?? rangeReason('destination', destination, scope, asked),
  addrtype: ({ source, destination, limitInterface }, scope, asked) => {
    const { packet } = scope;
    const limit =
      limitInterface === undefined ? 0 : limitInterface === 'in' ? packet.inInterface : packet.outInterface;
    return (
      addressTypeReason('source', source?.bits, limit, scope, asked) ??
      addressTypeReason('destination', destination?.bits, limit, scope, asked)
    );
  },
  ipv6header: (_spec, { packet }, asked) =>
    `its headers are ${headerNames(packet)}, wanted ${asked.isNegated('header') ? 'anything but ' : ''}${asked.value('header')}`,
  frag: missingHeader(FRAGMENT, 'fragment'),
  rt: missingHeader(ROUTING, 'routing'),
  hbh: missingHeader(HOP_BY_HOP, 'hop-by-hop options'),
  dst: missingHeader(DESTINATION, 'destination options'),
  ah: (spec, scope, asked) => {
    const missing = missingHeader(AUTHENTICATION, 'authentication')(spec, scope);
    if (missing !== undefined || scope.packet.version === 6 || scope.context.fragmentOffset !== 0)
      return missing;
    const spi = scope.packet.i32(scope.context.transport + 4) >>> 0;
    return asked.isNot('ahspi', 'SPI', spi);
  },
  esp: (_spec, { packet, context }, asked) =>
    context.fragmentOffset === 0
      ? asked.isNot('espspi', 'SPI', packet.i32(context.transport) >>> 0)
      : undefined,
};
