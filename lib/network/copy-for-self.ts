/** The copy of a packet of our own that reaches ourselves, too, as it is for everybody or for the group of all hosts. */
import { AddressType } from '../host.js';
import { ChecksumState } from '../wire/packet.js';
import { isNeighbourMessage, isToAll } from './kinds.js';
import type { Passage, Passages } from './passage.js';

const PARTIAL = ChecksumState.PARTIAL;

/** A passage with a copy that is about to leave; undefined if the packet is not for ourselves, or too many are under way. */
export function copyForSelf(passages: Passages, passage: Passage): Passage | undefined {
  const packet = passage.packet;
  if (!isToAll(passage) || isNeighbourMessage(packet)) return undefined;
  const copy = passages.take(0);
  if (copy === undefined) return undefined;
  const twin = copy.packet;
  twin.parse(packet.copyBytes());
  twin.entry = packet.entry;
  twin.ctinfo = packet.ctinfo;
  twin.mark = packet.mark;
  twin.checksumState = packet.checksumState === PARTIAL ? PARTIAL : ChecksumState.UNNECESSARY;
  twin.gsoSizeBytes = packet.gsoSizeBytes;
  twin.outInterface = packet.outInterface;
  copy.routeType = packet.version === 4 ? AddressType.BROADCAST : AddressType.MULTICAST;
  return copy;
}
