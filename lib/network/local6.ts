/**
 * The router's own IPv6 stack, no larger than it must be: extension headers of packets that are for it, echo replies,
 * neighbour advertisements for its addresses, errors for closed ports and unknown headers, TCP resets. Cold.
 */
import { DropReason } from '../counters.js';
import { isTruncatedFirst, type Reassembler } from '../fragments/reassembler.js';
import { AddressType } from '../host.js';
import { sumPseudoHeader } from '../wire/checksum.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import { ChecksumState } from '../wire/packet.js';
import { makeIpv6, putTcp, sealTransport } from '../wire/segment.js';
import { hasTcpHeader } from '../wire/tcp.js';
import { verifyChecksum, verifyPartialChecksum } from '../wire/transport.js';
import { Verdict } from '../wire/verdict.js';
import type { RouterCore } from './core.js';
import { Icmp6, leadsOn, sendError6 } from './icmp-errors.js';
import { handOver, handOverSegment, leaveConnection } from './local4.js';
import { OptionsFault, optionsFault, readOptions6 } from './options6.js';
import type { Passage } from './passage.js';
import { resetFor, swapped } from './reject.js';
import { isAny6, isLinkLocal6, isMulticast6 } from './scope.js';

const TCP = 6;
const UDP = 17;
const ROUTING = 43;
const FRAGMENT = 44;
const ICMPV6 = 58;
const NO_NEXT = 59;
const RPL_ROUTE = 3;
const SEGMENT_ROUTE = 4;
const DESTINATION = 60;
const PIM = 103;
const UDPLITE = 136;
/** Raw sockets that programs send through take what comes in for this protocol. */
const RAW = 255;

const ECHO = 128;
const ECHO_REPLY = 129;
const ROUTER_SOLICITATION = 133;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const REDIRECT = 137;
/** Flags of a neighbour advertisement (RFC 4861 section 4.4). */
const SOLICITED = 0x40;
const OVERRIDE = 0x20;
/** Hop limit that proves a neighbour message to be from the link. */
const LINK_HOP_LIMIT = 255;
const SOLICITATION_BYTES = 24;

/** Offset of the payload length in the IPv6 header. */
const PAYLOAD_LENGTH_FIELD = 4;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const DSCP_MASK = 0xfc;

const words = new Int32Array(8);

/** Takes a packet that is for the router; fragments wait in `fragments`. */
export function deliver6(core: RouterCore, passage: Passage, fragments: Reassembler): void {
  const packet = passage.packet;
  let nextField = packet.start + 6;
  let at = packet.start + IPV6_HEADER_BYTES;
  let next = packet.u8(nextField);
  if (next === 0 && at + 2 <= packet.end) {
    // Hop-by-hop options were read at the door.
    nextField = at;
    next = packet.u8(at);
    at += (packet.u8(at + 1) + 1) << 3;
  }
  // As on Linux, headers in front of the fragment header are looked for behind where it was, once conntrack took it out
  // after the packet came in: of our own packets it did before.
  const lengths = packet.fragmentLengths;
  if (lengths !== undefined && packet.inInterface !== core.interfaces.loopback)
    at = packet.end - lengths.reduce((sum, length) => sum + length, 0);
  while (next === ROUTING || next === DESTINATION || next === FRAGMENT) {
    if (at + 8 > packet.end) return;
    if (next === FRAGMENT) {
      const fragment = packet.bytes;
      if (fragments.add(packet, core.nowMs) !== Verdict.ACCEPT) return;
      if (packet.bytes === fragment) {
        refuseFragment(core, passage);
        return;
      }
      // The whole packet has no fragment header: its next header stands where the walk is now.
      nextField = nextFieldBefore(passage, at);
      next = packet.u8(nextField);
      continue;
    }
    const length = (packet.u8(at + 1) + 1) << 3;
    if (at + length > packet.end) return;
    if (next === DESTINATION && !acceptsOptions(core, passage, at, length)) return;
    if (next === ROUTING && !acceptsRouting(core, passage, at)) return;
    nextField = at;
    next = packet.u8(at);
    at += length;
  }
  switch (next) {
    case ICMPV6:
      deliverIcmp(core, passage);
      break;
    case TCP:
      deliverTcp(core, passage);
      break;
    case UDP:
    case UDPLITE:
      deliverUdp(core, passage);
      break;
    case NO_NEXT:
    case PIM:
    case RAW:
      break;
    default:
      sendError6(core, passage, Icmp6.PARAMETER_PROBLEM, Icmp6.NEXT_HEADER, nextField - packet.start);
      core.drop(passage, DropReason.NO_LOCAL_LISTENER);
  }
}

/** A fragment that no packet can be made of (RFC 8200 section 4.5): too short for its headers, or of an odd length. */
function refuseFragment(core: RouterCore, passage: Passage): void {
  const isShort = isTruncatedFirst(passage.packet);
  const code = isShort ? Icmp6.INCOMPLETE_HEADER : Icmp6.HEADER_FIELD;
  sendError6(core, passage, Icmp6.PARAMETER_PROBLEM, code, isShort ? 0 : PAYLOAD_LENGTH_FIELD);
  core.drop(passage, DropReason.FRAGMENT_BAD);
}

/** Offset of the next-header field that names the header at `at`. */
function nextFieldBefore(passage: Passage, at: number): number {
  const packet = passage.packet;
  let field = packet.start + 6;
  let header = packet.start + IPV6_HEADER_BYTES;
  while (header < at) {
    field = header;
    header += (packet.u8(header + 1) + 1) << 3;
  }
  return field;
}

/** Destination options: answers and refuses those that ask for it. */
function acceptsOptions(core: RouterCore, passage: Passage, at: number, length: number): boolean {
  const found = readOptions6(passage.packet, at, length, 'destination');
  if (found === OptionsFault.NONE) return true;
  if (found !== OptionsFault.DISCARD) {
    sendError6(core, passage, Icmp6.PARAMETER_PROBLEM, optionsFault.code, optionsFault.pointer);
  }
  return false;
}

/**
 * Routing headers are passed over when no segment is left (RFC 8200 section 4.4); no type is followed. Source routes of
 * RPL (RFC 6554) and segment routing (RFC 8754) are for routers that have them switched on; others drop them unheard.
 */
function acceptsRouting(core: RouterCore, passage: Passage, at: number): boolean {
  const packet = passage.packet;
  if (isMulticast6(packet.addresses, 4)) return false;
  const type = packet.u8(at + 2);
  if (type === RPL_ROUTE || type === SEGMENT_ROUTE) return false;
  if (packet.u8(at + 3) === 0) return true;
  const pointer = at + 2 - packet.start;
  sendError6(core, passage, Icmp6.PARAMETER_PROBLEM, Icmp6.HEADER_FIELD, pointer);
  return false;
}

function deliverIcmp(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  const at = packet.transport;
  if (packet.end - at < 8 || verifyChecksum(packet, ICMPV6) === 0) return;
  const type = packet.u8(at);
  if (type >= ROUTER_SOLICITATION && type <= REDIRECT && core.neighbourMessages?.receive(passage) === 1)
    return;
  if (type === ECHO) answerEcho(core, passage);
  else if (type === SOLICITATION) answerSolicitation(core, passage);
}

function answerEcho(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  const isGroup = isMulticast6(packet.addresses, 4);
  if (core.settings.echo6IgnoreAll === 1 || (isGroup && core.settings.echo6IgnoreMulticast === 1)) return;
  // Answers to a group, and to addresses of the link, stay on their interface.
  const oif = isGroup || isLinkLocal6(packet.addresses, 0) ? packet.inInterface : 0;
  if (!leadsOn(core.routes.find(6, packet.addresses, 0, oif))) return;
  words.set(packet.addresses.subarray(4, 8), 0);
  if (isGroup) {
    const source = core.interfaces.select6(packet.inInterface, packet.addresses, 0);
    if (source === undefined) return;
    words.set(source, 0);
  }
  words.set(packet.addresses.subarray(0, 4), 4);
  const message = packet.bytes.slice(packet.transport, packet.end);
  message[0] = ECHO_REPLY;
  send(core, message, ICMPV6, trafficClass(passage), core.settings.hopLimit, oif);
}

/** A solicitation for one of our addresses is answered even on links without addresses (RFC 4861 section 7.2.4). */
function answerSolicitation(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  const at = packet.transport;
  if (packet.u8(packet.start + 7) !== LINK_HOP_LIMIT || packet.u8(at + 1) !== 0) return;
  if (packet.end - at < SOLICITATION_BYTES || !hasGoodOptions(passage, at + SOLICITATION_BYTES)) return;
  for (let i = 0; i < 4; i++) words[i] = packet.i32(at + 8 + 4 * i);
  const { interfaces } = core;
  const isOurs = interfaces
    .addresses(packet.inInterface)
    .some((address) => address.version === 6 && address.words.every((word, i) => word === words[i]));
  if (!isOurs) return;
  const isAnonymous = isAny6(packet.addresses, 0);
  if (isAnonymous && packet.addresses[6] !== 1) return;
  if (isAnonymous) words.set([0xff020000 | 0, 0, 0, 1], 4);
  else words.set(packet.addresses.subarray(0, 4), 4);
  const message = packet.bytes.slice(at, at + SOLICITATION_BYTES);
  message.fill(0, 2, 8);
  message[0] = ADVERTISEMENT;
  message[4] = (isAnonymous ? 0 : SOLICITED) | (isMulticast6(packet.addresses, 4) ? OVERRIDE : 0);
  send(core, message, ICMPV6, 0, LINK_HOP_LIMIT, packet.inInterface);
}

/** Whether the options of a neighbour message have lengths that add up (RFC 4861 section 4.6). */
function hasGoodOptions(passage: Passage, from: number): boolean {
  const packet = passage.packet;
  let at = from;
  while (at < packet.end) {
    const length = at + 2 > packet.end ? 0 : packet.u8(at + 1) << 3;
    if (length === 0 || at + length > packet.end) return false;
    at += length;
  }
  return true;
}

function trafficClass(passage: Passage): number {
  const { packet } = passage;
  return (packet.u16(packet.start) >>> 4) & 0xff;
}

/** Sends an ICMPv6 message from and to the addresses in `words`. */
function send(
  core: RouterCore,
  message: Uint8Array,
  next: number,
  tclass: number,
  hopLimit: number,
  oif: number,
): void {
  const bytes = makeIpv6({ trafficClass: tclass, next, hopLimit, addresses: words }, message.length);
  bytes.set(message, IPV6_HEADER_BYTES);
  const sum = sumPseudoHeader(words, next, message.length);
  sealTransport(bytes, IPV6_HEADER_BYTES, IPV6_HEADER_BYTES + 2, sum);
  core.sendOwn(bytes, undefined, oif);
}

function deliverUdp(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  const available = packet.transportLengthBytes;
  if (available < UDP_BYTES) return;
  const field = packet.u16(packet.transport + 4);
  const length = field === 0 ? available : field;
  if (length < UDP_BYTES || length > available || packet.u16(packet.transport + 6) === 0) return;
  if (packet.protocol === UDP) {
    if (length < available) {
      packet.end = packet.transport + length;
      packet.checksumState = ChecksumState.NONE;
    }
    if (verifyChecksum(packet, UDP) === 0) return;
  } else if (verifyPartialChecksum(packet, UDPLITE, length) === 0) return;
  if (!handOver(core, packet) && !isMulticast6(packet.addresses, 4)) {
    leaveConnection(packet);
    sendError6(core, passage, Icmp6.UNREACHABLE, Icmp6.PORT, 0);
    core.drop(passage, DropReason.NO_LOCAL_LISTENER);
  }
}

function deliverTcp(core: RouterCore, passage: Passage): void {
  const packet = passage.packet;
  if (passage.routeType !== AddressType.LOCAL || hasTcpHeader(packet) === 0) return;
  if (verifyChecksum(packet, TCP) === 0 || handOverSegment(core, packet)) return;
  const tcp = resetFor(packet);
  const oif = isLinkLocal6(packet.addresses, 0) ? packet.inInterface : 0;
  if (tcp !== undefined && leadsOn(core.routes.find(6, packet.addresses, 0, oif))) {
    const turned = swapped(packet);
    const bytes = makeIpv6(
      {
        trafficClass: trafficClass(passage) & DSCP_MASK,
        next: TCP,
        hopLimit: core.settings.hopLimit,
        addresses: turned,
      },
      TCP_BYTES,
    );
    putTcp(bytes, IPV6_HEADER_BYTES, tcp, turned);
    core.sendOwn(bytes, undefined, oif);
  }
  core.drop(passage, DropReason.NO_LOCAL_LISTENER);
}
