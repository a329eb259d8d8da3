/**
 * A packet of a local program before OUTPUT: routed, judged as sockets judge it, and its header filled in. Hot for whoever
 * sends much.
 */
import { DropReason } from '../counters.js';
import { AddressType } from '../host.js';
import type { Packet } from '../wire/packet.js';
import { put16, put32, sealIpv4 } from '../wire/segment.js';
import type { RouterCore } from './core.js';
import { EACCES, EINVAL, EMSGSIZE } from './errno.js';
import { longestBytes } from './offload/segmenter.js';
import { noteOffload } from './offload/unfinished.js';
import type { Passage } from './passage.js';
import type { Offload } from './port.js';
import { errnoOf } from './router-host.js';
import { findFrom } from './source-address.js';

/** What {@link prepareLocal} returns if the packet is ready for OUTPUT. */
export const READY = -1;

/** 127.0.0.1: where packets of our own to 0.0.0.0 go. */
const LOCALHOST = 0x7f000001;

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
