/**
 * The router's own IPv4 stack, no larger than it must be: echo and timestamp replies, errors for closed ports and
 * unknown protocols, resets for closed TCP ports. Cold.
 *
 * It takes what INPUT let through. Sockets only silence the answers: nothing is delivered anywhere.
 */
import { DropReason } from '../counters.js';
import { AddressType } from '../host.js';
import { hasIcmpHeader, icmpType } from '../wire/icmp.js';
import { IPV4_DF } from '../wire/ipv4.js';
import { ChecksumState, CtInfo, type Packet } from '../wire/packet.js';
import { makeIpv4, put32, putTcp, sealTransport } from '../wire/segment.js';
import { hasTcpHeader } from '../wire/tcp.js';
import { verifyChecksum, verifyPartialChecksum } from '../wire/transport.js';
import type { RouterCore } from './core.js';
import { Icmp, leadsOn, sendError4 } from './icmp-errors.js';
import type { PortRequest } from './local/registry.js';
import { echoOptions } from './options.js';
import type { Passage } from './passage.js';
import { resetFor, swapped } from './reject.js';

const NIL = -1;
const ICMP = 1;
const IGMP = 2;
const TCP = 6;
const UDP = 17;
const PIM = 103;
const UDPLITE = 136;
/** Raw sockets that programs send through take what comes in for this protocol. */
const RAW = 255;

const ECHO_REPLY = 0;
const ECHO = 8;
const TIMESTAMP = 13;
const TIMESTAMP_REPLY = 14;
const ADDRESS_MASK = 17;
const ADDRESS_MASK_REPLY = 18;

const HEADER_BYTES = 20;
const ICMP_BYTES = 8;
const TIMES_BYTES = 12;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
/** TOS without the congestion bits. */
const DSCP_MASK = 0xfc;
const DAY_MS = 86_400_000;

const words = new Int32Array(4);

/** Takes a packet that is for the router. */
export function deliver4(core: RouterCore, passage: Passage): void {
  switch (passage.packet.protocol) {
    case ICMP:
      deliverIcmp(core, passage);
      break;
    case TCP:
      deliverTcp(core, passage);
      break;
    case UDP:
    case UDPLITE:
      deliverUdp(core, passage);
      break;
    case IGMP:
    case PIM:
    case RAW:
      core.drop(passage, DropReason.NO_LOCAL_LISTENER);
      break;
    default:
      sendError4(core, passage, Icmp.UNREACHABLE, Icmp.PROTOCOL, 0);
      core.drop(passage, DropReason.NO_LOCAL_LISTENER);
  }
}

function isGroup(passage: Passage): boolean {
  return passage.routeType === AddressType.BROADCAST || passage.routeType === AddressType.MULTICAST;
}

function deliverIcmp(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  if (verifyChecksum(packet, 0) === 0 || hasIcmpHeader(packet) === 0) return;
  const type = icmpType(packet);
  if (isGroup(passage)) {
    const isIgnored = core.settings.echoIgnoreBroadcasts === 1 && (type === ECHO || type === TIMESTAMP);
    const isAsked =
      type === ECHO || type === TIMESTAMP || type === ADDRESS_MASK || type === ADDRESS_MASK_REPLY;
    if (isIgnored || !isAsked) return;
  }
  const at = packet.transport;
  if (type === ECHO) {
    if (core.settings.echoIgnoreAll === 1) return;
    const message = packet.bytes.slice(at, packet.end);
    message[0] = ECHO_REPLY;
    reply(core, passage, message);
  } else if (type === TIMESTAMP) {
    if (packet.end - at < ICMP_BYTES + 4) return;
    const message = new Uint8Array(ICMP_BYTES + TIMES_BYTES);
    message.set(packet.bytes.subarray(at, at + ICMP_BYTES + 4));
    message[0] = TIMESTAMP_REPLY;
    message[1] = 0;
    const time = core.optionsHost.timeOfDayMs() % DAY_MS;
    put32(message, ICMP_BYTES + 4, time);
    put32(message, ICMP_BYTES + 8, time);
    reply(core, passage, message);
  }
}

/** Sends `message` (ICMP, its checksum yet to be written) back to the packet's sender. */
function reply(core: RouterCore, passage: Passage, message: Uint8Array): void {
  const packet = passage.packet;
  let source = packet.addresses[4]!;
  if (isGroup(passage) || source === 0) {
    if (core.sourceFor(4, packet.addresses, 0, words) === 0) return;
    source = words[0]!;
  }
  const options = echoOptions(passage, source, core.optionsHost);
  if (options === undefined || !leadsOn(core.routes.find(4, packet.addresses, 0, 0))) return;
  const bytes = makeIpv4(
    {
      tos: packet.u8(packet.start + 1),
      id: core.nextId(),
      fragment: 0,
      ttl: core.settings.ttl,
      protocol: ICMP,
      source,
      destination: packet.addresses[0]!,
    },
    options,
    message.length,
  );
  const at = HEADER_BYTES + options.length;
  bytes.set(message, at);
  sealTransport(bytes, at, at + 2, 0);
  core.sendOwn(bytes, undefined, 0);
}

function deliverUdp(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  const available = packet.transportLengthBytes;
  if (available < UDP_BYTES) return;
  const length = packet.u16(packet.transport + 4);
  if (length > available) return;
  if (packet.protocol === UDP) {
    if (length < UDP_BYTES) return;
    if (length < available) {
      // What lies behind is cut off, and what was verified with it says nothing.
      packet.end = packet.transport + length;
      packet.checksumState = ChecksumState.NONE;
    }
    if (packet.u16(packet.transport + 6) !== 0 && verifyChecksum(packet, UDP) === 0) return;
  } else {
    const coverage = length === 0 ? available : length;
    if (coverage < UDP_BYTES || packet.u16(packet.transport + 6) === 0) return;
    if (verifyPartialChecksum(packet, UDPLITE, coverage) === 0) return;
  }
  if (!handOver(core, packet) && !isGroup(passage)) {
    leaveConnection(packet);
    sendError4(core, passage, Icmp.UNREACHABLE, Icmp.PORT, 0);
    core.drop(passage, DropReason.NO_LOCAL_LISTENER);
  }
}

/**
 * As on Linux, whoever takes UDP lets a packet's connection go before it looks at the port: the error about a closed one
 * is tracked by what it quotes, in the zone that packets of our own are in.
 */
export function leaveConnection(packet: Packet): void {
  packet.entry = NIL;
  packet.ctinfo = CtInfo.INVALID;
}

/** Whoever TPROXY gave the packet to, took its flow, or has its port. */
function receiverOf(core: RouterCore, packet: Packet): PortRequest | undefined {
  if (packet.socket > 0) return core.ports.byId(packet.socket)?.request;
  const { version, protocol, addresses } = packet;
  const at = packet.transport;
  const port = packet.u16(at + 2);
  if (protocol === TCP) {
    const flow = core.ports.flows.find(version, addresses, packet.u16(at), port);
    if (flow !== undefined) return flow.reservation.request;
  }
  return core.ports.find(version, protocol, addresses, 4, port, packet.inInterface)?.request;
}

/** Gives a UDP packet to whoever has its port; false if nobody has. */
export function handOver(core: RouterCore, packet: Packet): boolean {
  if (packet.protocol !== UDP) return false;
  const found = receiverOf(core, packet);
  found?.receive?.(packet);
  return found !== undefined;
}

/** Gives a segment to whoever takes those of its port; false if nobody does. */
export function handOverSegment(core: RouterCore, packet: Packet): boolean {
  const receive = receiverOf(core, packet)?.receive;
  receive?.(packet);
  return receive !== undefined;
}

function deliverTcp(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  if (passage.routeType !== AddressType.LOCAL || hasTcpHeader(packet) === 0) return;
  if (verifyChecksum(packet, TCP) === 0 || handOverSegment(core, packet)) return;
  const tcp = resetFor(packet);
  const turned = swapped(packet);
  if (turned[0] === 0) core.sourceFor(4, packet.addresses, 0, turned);
  const options = echoOptions(passage, turned[0]!, core.optionsHost);
  if (tcp !== undefined && options !== undefined && leadsOn(core.routes.find(4, packet.addresses, 0, 0))) {
    const bytes = makeIpv4(
      {
        tos: packet.u8(packet.start + 1) & DSCP_MASK,
        id: 0,
        fragment: IPV4_DF,
        ttl: core.settings.ttl,
        protocol: TCP,
        source: turned[0]!,
        destination: turned[4]!,
      },
      options,
      TCP_BYTES,
    );
    putTcp(bytes, HEADER_BYTES + options.length, tcp, turned);
    core.sendOwn(bytes, undefined, 0);
  }
  core.drop(passage, DropReason.NO_LOCAL_LISTENER);
}
