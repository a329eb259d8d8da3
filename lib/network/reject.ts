/**
 * What the REJECT target sends: ICMP errors, and TCP resets in the name of the packet's destination. Cold.
 *
 * The target has judged the packet itself (checksum, fragment, error) and closed the connection; what is left is
 * whether and where an answer can go.
 */

import { AddressType, REJECT_WITH_RESET } from '../host.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import type { Packet } from '../wire/packet.js';
import { makeIpv4, makeIpv6, putTcp, type TcpFields } from '../wire/segment.js';
import { TcpFlag, tcpAcknowledgement, tcpFlags, tcpHeaderBytes, tcpSequence } from '../wire/tcp.js';
import type { RouterCore } from './core.js';
import { leadsOn, sendError4, sendError6 } from './icmp-errors.js';
import type { Passage } from './passage.js';
import { isAny6, isMulticast6 } from './scope.js';

const TCP = 6;

const IPV4_DF = 0x4000;
const IPV4_HEADER_BYTES = 20;
const TCP_BYTES = 20;

/** Answers a refused packet. `icmp` is type << 8 | code, or REJECT_WITH_RESET. */
export function reject(core: RouterCore, passage: Passage, icmp: number): void {
  const packet = passage.packet;
  if (icmp === REJECT_WITH_RESET) {
    if (packet.version === 4) reset4(core, passage);
    else reset6(core, passage);
    return;
  }
  const sendError = packet.version === 4 ? sendError4 : sendError6;
  sendError(core, passage, icmp >>> 8, icmp & 0xff, 0);
}

/** Fields of the reset that answers a segment, or undefined if it gets none (RFC 9293 section 3.10.7.1). */
export function resetFor(packet: Packet): TcpFields | undefined {
  const flags = tcpFlags(packet);
  if ((flags & TcpFlag.RST) !== 0) return undefined;
  const ports = {
    sourcePort: packet.u16(packet.transport + 2),
    destinationPort: packet.u16(packet.transport),
  };
  if ((flags & TcpFlag.ACK) !== 0) {
    return { ...ports, sequence: tcpAcknowledgement(packet), acknowledgement: 0, flags: TcpFlag.RST };
  }
  const controls = ((flags & TcpFlag.SYN) === 0 ? 0 : 1) + ((flags & TcpFlag.FIN) === 0 ? 0 : 1);
  const length = packet.transportLengthBytes - tcpHeaderBytes(packet);
  return {
    ...ports,
    sequence: 0,
    acknowledgement: (tcpSequence(packet) + controls + length) | 0,
    flags: TcpFlag.RST | TcpFlag.ACK,
  };
}

function resetTo(packet: Packet): TcpFields | undefined {
  if (packet.protocol !== TCP || packet.transportLengthBytes < TCP_BYTES) return undefined;
  return resetFor(packet);
}

function reset4(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  if (passage.routeType === AddressType.BROADCAST || passage.routeType === AddressType.MULTICAST) return;
  const tcp = resetTo(packet);
  if (tcp === undefined || !leadsOn(core.routes.find(4, packet.addresses, 0, 0))) return;
  const bytes = makeIpv4(
    {
      tos: 0,
      id: 0,
      fragment: IPV4_DF,
      ttl: core.settings.ttl,
      protocol: TCP,
      source: packet.addresses[4]!,
      destination: packet.addresses[0]!,
    },
    new Uint8Array(0),
    TCP_BYTES,
  );
  putTcp(bytes, IPV4_HEADER_BYTES, tcp, swapped(packet));
  core.sendOwn(bytes, packet, 0);
}

function reset6(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  const addresses = packet.addresses;
  if (isAny6(addresses, 0) || isMulticast6(addresses, 0)) return;
  if (isAny6(addresses, 4) || isMulticast6(addresses, 4)) return;
  const tcp = resetTo(packet);
  if (tcp === undefined || !leadsOn(core.routes.find(6, addresses, 0, 0))) return;
  const turned = swapped(packet);
  const bytes = makeIpv6(
    { trafficClass: 0, next: TCP, hopLimit: core.settings.hopLimit, addresses: turned },
    TCP_BYTES,
  );
  putTcp(bytes, IPV6_HEADER_BYTES, tcp, turned);
  core.sendOwn(bytes, packet, 0);
}

/** [8] the packet's addresses, source and destination exchanged. */
export function swapped(packet: Packet): Int32Array {
  const turned = new Int32Array(8);
  turned.set(packet.addresses.subarray(4, 8), 0);
  turned.set(packet.addresses.subarray(0, 4), 4);
  return turned;
}
