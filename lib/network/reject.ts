/**
 * What the REJECT target sends: ICMP errors, and TCP resets in the name of the packet's destination. Cold.
 *
 * A packet whose checksum is wrong gets no answer: its addresses may be wrong too.
 */

import { Change } from '../conntrack/context.js';
import { type EntryId, NIL, Status } from '../conntrack/entries.js';
import { TcpState } from '../conntrack/protocols/tcp-states.js';
import { AddressType, REJECT_WITH_RESET } from '../host.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import type { Packet } from '../wire/packet.js';
import { makeIpv4, makeIpv6, putTcp, type TcpFields } from '../wire/segment.js';
import { TcpFlag, tcpAcknowledgement, tcpFlags, tcpHeaderBytes, tcpSequence } from '../wire/tcp.js';
import { verifyChecksum } from '../wire/transport.js';
import type { RouterCore } from './core.js';
import { Icmp6, leadsOn, sendError4, sendError6 } from './icmp-errors.js';
import type { Passage } from './passage.js';
import { isAny6, isMulticast6 } from './scope.js';

const TCP = 6;
const UDP = 17;
const DCCP = 33;
const GRE = 47;
const ESP = 50;
const AUTHENTICATION = 51;
const SCTP = 132;
const UDPLITE = 136;

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
  if (packet.version === 4) {
    if (packet.fragmentOffset > 0 || !checksumHolds(packet)) return;
    sendError4(core, passage, icmp >>> 8, icmp & 0xff, 0);
    return;
  }
  if (packet.brokenChain === 1 || packet.fragmentOffset > 0 || packet.transport >= packet.end) return;
  if (checksumHolds(packet)) sendError6(core, passage, icmp >>> 8 || Icmp6.UNREACHABLE, icmp & 0xff, 0);
}

/**
 * Whether the packet's checksum can be believed. Protocols with a check of another kind pass; of those that are
 * unknown, the sum over everything must come out as the Internet checksum would, as Linux has it.
 */
function checksumHolds(packet: Packet): boolean {
  switch (packet.protocol) {
    case UDP:
      if (packet.transport + 8 <= packet.end && packet.u16(packet.transport + 6) === 0) return true;
      break;
    case GRE:
      if (packet.transport + 4 <= packet.end && packet.u8(packet.transport) >>> 7 === 0) return true;
      break;
    case ESP:
    case AUTHENTICATION:
    case SCTP:
    case UDPLITE:
    case DCCP:
      return true;
  }
  const hasPseudoHeader = packet.version === 6 || packet.protocol === TCP || packet.protocol === UDP;
  return verifyChecksum(packet, hasPseudoHeader ? packet.protocol : 0) === 1;
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
  if (packet.protocol !== TCP || packet.fragmentOffset > 0) return undefined;
  if (packet.transportLengthBytes < TCP_BYTES) return undefined;
  const tcp = resetFor(packet);
  return tcp !== undefined && verifyChecksum(packet, TCP) === 1 ? tcp : undefined;
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
  closeConnection(core, packet);
  core.sendOwn(bytes, packet, 0);
}

function reset6(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  const addresses = packet.addresses;
  if (isAny6(addresses, 0) || isMulticast6(addresses, 0)) return;
  if (isAny6(addresses, 4) || isMulticast6(addresses, 4)) return;
  const tcp = packet.brokenChain === 1 ? undefined : resetTo(packet);
  if (tcp === undefined || !leadsOn(core.routes.find(6, addresses, 0, 0))) return;
  const turned = swapped(packet);
  const bytes = makeIpv6(
    { trafficClass: 0, next: TCP, hopLimit: core.settings.hopLimit, addresses: turned },
    TCP_BYTES,
  );
  putTcp(bytes, IPV6_HEADER_BYTES, tcp, turned);
  closeConnection(core, packet);
  core.sendOwn(bytes, packet, 0);
}

/** [8] the packet's addresses, source and destination exchanged. */
export function swapped(packet: Packet): Int32Array {
  const turned = new Int32Array(8);
  turned.set(packet.addresses.subarray(4, 8), 0);
  turned.set(packet.addresses.subarray(0, 4), 4);
  return turned;
}

/** A connection that is reset here is closed at once: the reset itself never passes its tracker. */
function closeConnection(core: RouterCore, packet: Packet): void {
  const entry = packet.entry as EntryId;
  if (packet.entry === NIL) return;
  const { context } = core.engine.tracker;
  const table = core.engine.tracker.table(packet.version);
  const entries = table.entries;
  if (entries.protocol(entry) !== TCP || (entries.status(entry) & Status.CONFIRMED) === 0) return;
  const before = entries.state(entry);
  if (before === TcpState.CLOSE) return;
  entries.setState(entry, TcpState.CLOSE);
  if ((entries.status(entry) & Status.FIXED_TIMEOUT) !== 0) return;
  entries.setExpires(entry, (context.now + context.timeouts.tcp[TcpState.CLOSE]!) | 0);
  context.changed(table, entry, Change.STATE);
}
