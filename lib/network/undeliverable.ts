/**
 * Packets that were on their way out when it showed that nobody takes them: the sender hears that the host cannot be
 * reached (RFC 1812 section 4.3.3.1, RFC 4861 section 7.2.2). Cold.
 *
 * The error quotes the packet as it left, behind NAT; conntrack finds its connection by the quote, and NAT takes the
 * error back to whoever sent the packet.
 */
import { DropReason } from '../counters.js';
import { AddressType } from '../host.js';
import type { RouterCore } from './core.js';
import { Icmp, Icmp6, sendError4, sendError6 } from './icmp-errors.js';

/** ICMPv6 destination unreachable, address unreachable. */
const ADDRESS_UNREACHABLE = 3;

/** Tells the sender of a forwarded packet. `bytes` is the packet, whole. */
export function reportUndeliverable(core: RouterCore, bytes: Uint8Array): void {
  const passage = core.passages.take(1);
  if (passage === undefined) return;
  const packet = passage.packet;
  if (packet.parse(bytes) === DropReason.NONE) {
    passage.routeType = AddressType.UNICAST;
    core.routes.find(packet.version, packet.addresses, 0, 0);
    packet.inInterface = core.routes.interface;
    if (packet.version === 4) sendError4(core, passage, Icmp.UNREACHABLE, Icmp.HOST, 0);
    else sendError6(core, passage, Icmp6.UNREACHABLE, ADDRESS_UNREACHABLE, 0);
  }
  core.passages.give();
}
