/**
 * The part of a key that NAT may change besides addresses: ports, ICMP identifiers, GRE call ids. Hot.
 *
 * A key's ports word is `source << 16 | destination`; of ICMP it is `identifier << 16 | type << 8 | code`, and the
 * identifier is the same for both ends.
 */
import { KEY_KIND, KEY_PORTS } from '../conntrack/tuples.js';
import { Manip } from './range.js';

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const GRE = 47;
const ICMPV6 = 58;
const SCTP = 132;
const UDPLITE = 136;
const SRC = Manip.SRC;

/** How a protocol's ports may be chosen. */
export const PortKind = {
  /** There is nothing to choose. */
  NONE: 0,
  PORTS: 1,
  IDENTIFIER: 2,
  /** A range's ports are compared with the call id, but only a PPTP helper may change it. */
  CALL_ID: 3,
} as const;

/** {@link PortKind} of a protocol number. */
export function portKind(protocol: number): number {
  switch (protocol) {
    case TCP:
    case UDP:
    case UDPLITE:
    case SCTP:
      return PortKind.PORTS;
    case ICMP:
    case ICMPV6:
      return PortKind.IDENTIFIER;
    case GRE:
      return PortKind.CALL_ID;
    default:
      return PortKind.NONE;
  }
}

/** Whether the manipulated part lies in the ports word's high half: 1 or 0. */
function isHigh(key: Int32Array, manip: Manip): 0 | 1 {
  const protocol = (key[KEY_KIND] as number) & 255;
  return manip === SRC || protocol === ICMP || protocol === ICMPV6 ? 1 : 0;
}

/** The port or identifier of `key` that `manip` changes. */
export function portOf(key: Int32Array, manip: Manip): number {
  const ports = key[KEY_PORTS] as number;
  return isHigh(key, manip) === 1 ? ports >>> 16 : ports & 0xffff;
}

/** Sets it. */
export function setPort(key: Int32Array, manip: Manip, port: number): void {
  const ports = key[KEY_PORTS] as number;
  key[KEY_PORTS] = isHigh(key, manip) === 1 ? (ports & 0xffff) | (port << 16) : (ports & ~0xffff) | port;
}

/** First port of the class that a source port stays in when no range is given: credentials, reserved, or the rest. */
export function classMinimum(port: number): number {
  return port < 512 ? 1 : port < 1024 ? 600 : 1024;
}

/** Ports in that class. */
export function classSize(port: number): number {
  return port < 512 ? 511 : port < 1024 ? 424 : 64_512;
}
