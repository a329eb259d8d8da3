/**
 * A packet of a local program, or of the router's own, before OUTPUT: routed, judged as sockets judge it, and its header
 * filled in. Hot for whoever sends much.
 */
import { DropReason } from '../counters.js';
import { AddressType } from '../host.js';
import { IPV4_HEADER_BYTES } from '../wire/ipv4.js';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.js';
import { ChecksumState, CtInfo, type Packet } from '../wire/packet.js';
import { put16, put32, sealIpv4 } from '../wire/segment.js';
import type { RouterCore } from './core.js';
import { EACCES, EINVAL, EMSGSIZE } from './errno.js';
import { leadsOn } from './icmp-errors.js';
import { longestBytes } from './offload/segmenter.js';
import { noteOffload } from './offload/unfinished.js';
import type { Passage } from './passage.js';
import type { Offload } from './port.js';
import { errnoOf } from './router-host.js';
import { findFrom } from './source-address.js';

/** What {@link prepareLocal} returns if the packet is ready for OUTPUT. */
export const READY = -1;

const NIL = -1;

/** 127.0.0.1: where packets of our own to 0.0.0.0 go. */
const LOCALHOST = 0x7f000001;

/** IP version of what a program sends, 0 if its header does not fit its bytes. */
export function versionOf(bytes: Uint8Array): number {
  const first = bytes[0] ?? 0;
  const version = first >>> 4;
  if (version === 6) return bytes.length < IPV6_HEADER_BYTES ? 0 : 6;
  return version !== 4 || bytes.length < IPV4_HEADER_BYTES || (first & 15) << 2 > bytes.length ? 0 : 4;
}

/**
 * Routes the packet in `bytes` and shows it in the passage, whose `oif` is the interface that its sender is bound to.
 * Returns READY, or what the sender is told: an error number, or 0 for a packet that is none.
 */
export function prepareLocal(
  core: RouterCore,
  passage: Passage,
  bytes: Uint8Array,
  version: number,
  offload: Offload | undefined,
): number {
  const packet = passage.packet;
  const { routes, interfaces } = core;
  packet.bytes = bytes;
  for (let i = 0; i < 4; i++) {
    packet.addresses[i] = version === 6 ? packet.i32(8 + 4 * i) : i === 0 ? packet.i32(12) : 0;
    packet.addresses[4 + i] = version === 6 ? packet.i32(24 + 4 * i) : i === 0 ? packet.i32(16) : 0;
  }
  if (version === 4 && packet.addresses[4] === 0) packet.addresses[4] = LOCALHOST;
  const type = findFrom(routes, version, packet.addresses, 4, passage.oif);
  const unreachable = errnoOf(type);
  if (unreachable !== 0) return unreachable;
  if (type === AddressType.BROADCAST || (version === 4 && packet.addresses[4] === -1)) return EACCES;
  const out = routes.interface;
  const mtu = interfaces.mtu(out);
  if (offload === undefined && bytes.length > mtu) return EMSGSIZE;
  const { loopback, loopbacks } = interfaces;
  if (interfaces.isStranded(version, packet.addresses, out)) return EINVAL;
  if (passage.oif > 0 && out !== loopback && loopbacks.covers(version, packet.addresses, 4)) return EINVAL;
  if (version === 4) fillHeader(core, packet, passage.oif);
  if (packet.parse(bytes) !== DropReason.NONE) {
    core.engine.drops.count(packet.reason);
    return 0;
  }
  if (offload !== undefined) {
    if (noteOffload(packet, offload) !== DropReason.NONE) return EINVAL;
    if (longestBytes(packet) > mtu) return EMSGSIZE;
  }
  packet.outInterface = out;
  packet.fromSocket = 1;
  passage.routeType = type;
  return READY;
}

/** What the kernel fills into the header of a raw socket's packet. */
function fillHeader(core: RouterCore, packet: Packet, oif: number): void {
  const { bytes } = packet;
  if (packet.i32(12) === 0 && core.sourceFor(4, packet.addresses, 4, packet.addresses, oif) === 1) {
    put32(bytes, 12, packet.addresses[0]!);
  }
  put16(bytes, 2, bytes.length);
  if (packet.u16(4) === 0) put16(bytes, 4, core.nextId());
  sealIpv4(bytes, 0, ((bytes[0] as number) & 15) << 2);
}

/** Routes a packet of the router's own, see `RouterCore.sendOwn`, and lets it belong to what `about` belongs to. */
export function addressOwn(core: RouterCore, passage: Passage, about: Packet | undefined, oif: number): void {
  const packet = passage.packet;
  const type = core.routes.find(packet.version, packet.addresses, 4, oif);
  packet.outInterface = leadsOn(type) ? core.routes.interface : oif;
  passage.routeType = type;
  packet.checksumState = ChecksumState.UNNECESSARY;
  if (about === undefined) return;
  if (about.entry !== NIL) {
    packet.entry = about.entry;
    packet.ctinfo = about.ctinfo >= CtInfo.ESTABLISHED_REPLY ? CtInfo.RELATED : CtInfo.RELATED_REPLY;
  }
  if (about.ctinfo === CtInfo.UNTRACKED) packet.aboutUntracked = 1;
}
