/**
 * The port of a packet as sets see it: protocol << 16 | port. Of ICMP the port is type << 8 | code. Hot.
 */
import type { Packet } from '../../wire/packet.js';

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;
const UDPLITE = 136;

/** Header that must be there for the port to be read, in bytes (as Linux asks for it). */
function headerBytes(protocol: number): number {
  return protocol === TCP ? 20 : protocol === SCTP ? 12 : 8;
}

/** -1 if the packet has no port that can be read; other protocols have port 0. `isSource`: 1 or 0. */
export function protocolPort(packet: Packet, isSource: number): number {
  const protocol = packet.protocol;
  if (packet.version === 6 && (packet.brokenChain === 1 || packet.fragmentOffset > 0)) return -1;
  const isIcmp = protocol === ICMP || protocol === ICMPV6;
  if (!isIcmp && protocol !== TCP && protocol !== UDP && protocol !== SCTP && protocol !== UDPLITE) {
    return protocol << 16;
  }
  if (packet.fragmentOffset > 0) return -1;
  const at = packet.transport;
  if (at + (isIcmp ? 4 : headerBytes(protocol)) > packet.end) return -1;
  return (protocol << 16) | (isIcmp ? packet.u16(at) : packet.u16(isSource === 1 ? at : at + 2));
}

/** The port of TCP or UDP alone; -1 for other packets. */
export function barePort(packet: Packet, isSource: number): number {
  if (packet.protocol !== TCP && packet.protocol !== UDP) return -1;
  const port = protocolPort(packet, isSource);
  return port < 0 ? -1 : port & 0xffff;
}
