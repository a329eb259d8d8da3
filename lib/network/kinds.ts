/**
 * Kinds of packets that the router treats in a way of their own. Hot.
 */
import { DropReason } from '../counters.js';
import { AddressType } from '../host.js';
import type { Packet } from '../wire/packet.js';
import type { Passage } from './passage.js';
import { ALL_HOSTS, isAllNodes6 } from './scope.js';

const ICMPV6 = 58;

/** Whether a packet is for everybody on its link, this host included. */
export function isToAll(passage: Passage): boolean {
  const { version, addresses } = passage.packet;
  if (version === 4) return passage.routeType === AddressType.BROADCAST || addresses[4] === ALL_HOSTS;
  return isAllNodes6(addresses, 4);
}

/** Neighbour discovery does not hear itself: types 133 to 137. */
export function isNeighbourMessage({ version, protocol, bytes, transport, end }: Packet): boolean {
  if (version !== 6 || protocol !== ICMPV6 || transport >= end) return false;
  const type = bytes[transport] as number;
  return type >= 133 && type <= 137;
}

/** IPv4 fragments are taken in before it shows that they are no good: their sender hears of no error. */
export function isLostFragment4(packet: Packet): boolean {
  const { version, reason } = packet;
  return version === 4 && reason >= DropReason.FRAGMENT_OVERLAP && reason <= DropReason.FRAGMENT_TIMEOUT;
}
