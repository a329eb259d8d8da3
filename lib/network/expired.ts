/**
 * What the router says about datagrams of which fragments are missing. Cold.
 */
import { DropReason } from '../counters.js';
import type { ExpiredDatagram } from '../fragments/reassembler.js';
import { AddressType } from '../host.js';
import type { RouterCore } from './core.js';
import { Icmp, Icmp6, sendError4, sendError6 } from './icmp-errors.js';

/**
 * Tells a sender that its datagram stayed incomplete: always for IPv6, for IPv4 only if it was for the router
 * itself (RFC 792).
 */
export function reportExpired(core: RouterCore, expired: ExpiredDatagram, isLocal: boolean): void {
  const passage = core.passages.take(expired.inInterface > 0 ? 1 : 0);
  if (passage === undefined) return;
  const packet = passage.packet;
  if (expired.inInterface > 0 && packet.parse(expired.first) === DropReason.NONE) {
    packet.inInterface = expired.inInterface;
    passage.routeType = core.routes.find(packet.version, packet.addresses, 4, 0);
    if (packet.version === 6) {
      sendError6(core, passage, Icmp6.TIME_EXCEEDED, Icmp6.REASSEMBLY, 0);
    } else if (isLocal || passage.routeType === AddressType.LOCAL) {
      sendError4(core, passage, Icmp.TIME_EXCEEDED, Icmp.REASSEMBLY, 0);
    }
  }
  core.engine.drops.count(DropReason.FRAGMENT_TIMEOUT);
  core.passages.give();
}
