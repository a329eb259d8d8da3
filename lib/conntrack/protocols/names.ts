/**
 * Names of protocols and of their states, as `conntrack -L` prints them. Cold.
 */
import { SctpState } from './sctp-states.js';
import { TcpState } from './tcp-states.js';

const PROTOCOLS: readonly (readonly [number, string])[] = [
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [47, 'gre'],
  [58, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
];

const TCP = 6;
const SCTP = 132;

/** Names of TCP's states by number. */
export const TCP_STATE_NAMES: readonly string[] = Object.keys(TcpState);
/** Names of SCTP's states by number. */
export const SCTP_STATE_NAMES: readonly string[] = Object.keys(SctpState);

/** Name of a protocol number; `unknown` for one that has no module of its own. */
export function protocolName(protocol: number): string {
  return PROTOCOLS.find(([number]) => number === protocol)?.[1] ?? 'unknown';
}

/** Number of a protocol name, undefined if it is none. */
export function protocolNumber(name: string): number | undefined {
  return PROTOCOLS.find(([, known]) => known === name)?.[0];
}

/** Name of an entry's state; undefined for protocols without states. */
export function stateName(protocol: number, state: number): string | undefined {
  if (protocol === TCP) return TCP_STATE_NAMES[state];
  return protocol === SCTP ? SCTP_STATE_NAMES[state] : undefined;
}
