/**
 * What ICMP and ICMPv6 packets are before any flow is looked up: broken, exempt from tracking, an error about a
 * connection, or a query. Hot.
 *
 * An error belongs to the connection whose packet it quotes, in the direction opposite to the quoted packet, and
 * only if it is addressed to that packet's sender (as conntrack sees it: behind NAT, the translated one). An error
 * that fits no connection is INVALID, never a flow of its own. Errors refresh nothing and are not counted.
 */

import { hasIcmpHeader, ICMP_HEADER_BYTES, icmpType, isIcmpError, isIcmpv6Error } from '../../wire/icmp.js';
import { CtInfo, type Packet } from '../../wire/packet.js';
import { Quoted } from '../../wire/quoted.js';
import { verifyChecksum } from '../../wire/transport.js';
import { Track, type TrackContext } from '../context.js';
import { Direction, NIL, type TupleId } from '../entries.js';
import type { ConntrackTable } from '../table.js';
import { invertKey, KEY_KIND, KEY_WORDS, packKey } from '../tuples.js';

const PREROUTING = 0;
const ICMPV6 = 58;
const INVALID = Track.INVALID;
const ACCEPT = Track.ACCEPT;
const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;

/** Highest ICMP type that is not "a mystery": address mask reply. */
const MAX_ICMP_TYPE = 18;

const quoted = new Quoted();
const answerKey = new Int32Array(KEY_WORDS);

/**
 * Judges a packet of protocol 1 over IPv4 or 58 over IPv6. Returns INVALID (broken, of an unknown type, or an error
 * about nothing that is known) or ACCEPT; then `packet.ctinfo` tells what it is: RELATED or RELATED_REPLY with
 * `packet.entry` set for an error, UNTRACKED for neighbour and multicast listener discovery, or INVALID as before for
 * a query that is now to be tracked. `key` (KEY_WORDS) is scratch.
 */
export function trackIcmpError(
  context: TrackContext,
  table: ConntrackTable,
  packet: Packet,
  hook: number,
  key: Int32Array,
): Track {
  if (hasIcmpHeader(packet) === 0) return INVALID;
  const isIpv6 = packet.version === 6;
  if (
    hook === PREROUTING &&
    context.settings.checksum === 1 &&
    verifyChecksum(packet, isIpv6 ? ICMPV6 : 0) === 0
  ) {
    return INVALID;
  }
  const type = icmpType(packet);
  if (isIpv6) {
    if (isExempt(type)) {
      packet.ctinfo = CtInfo.UNTRACKED;
      return ACCEPT;
    }
    if (isIcmpv6Error(type) === 0) return ACCEPT;
  } else {
    if (type > MAX_ICMP_TYPE) return INVALID;
    if (isIcmpError(type) === 0) return ACCEPT;
  }
  return relate(context, table, packet, key);
}

/**
 * Multicast listener discovery 1 and 2, router and neighbour discovery but for redirects, multicast router
 * advertisement and solicitation (RFC 2710, 3810, 4861, 4286).
 */
function isExempt(type: number): boolean {
  return (type >= 130 && type <= 136) || type === 143 || type === 151 || type === 152;
}

/** Finds the connection whose packet is quoted. */
function relate(context: TrackContext, table: ConntrackTable, packet: Packet, key: Int32Array): Track {
  const template = packet.template;
  if (quoted.parse(packet, packet.transport + ICMP_HEADER_BYTES) === 0) return INVALID;
  if (packKey(key, quoted.addresses, quoted.protocol, packet, quoted.transport, quoted.end, 0) === 0)
    return INVALID;
  if (invertKey(answerKey, key) === 0) return INVALID;
  let tuple = findInZone(table, template, ORIGINAL, context.now);
  if (tuple === NIL && template !== 0) tuple = findInZone(table, template, REPLY, context.now);
  if (tuple === NIL) return INVALID;
  const entries = table.entries;
  const entry = entries.entryOf(tuple);
  const direction = entries.directionOf(tuple);
  for (let i = 0; i < 4; i++) {
    if (entries.destinationWord(entry, direction, i) !== packet.addresses[4 + i]) return INVALID;
  }
  packet.entry = entry;
  packet.ctinfo = direction === REPLY ? CtInfo.RELATED_REPLY : CtInfo.RELATED;
  return ACCEPT;
}

/** Tuple of `answerKey` that is of the given direction in the template's zone, of any direction without one. */
function findInZone(table: ConntrackTable, template: number, direction: Direction, now: number): TupleId {
  if (template === 0) return table.find(answerKey, now);
  const only = (template >>> 17) & 3;
  const zone = only === 0 || only === direction + 1 ? template & 0xffff : 0;
  answerKey[KEY_KIND] = quoted.protocol | (zone << 8);
  const tuple = table.find(answerKey, now);
  return tuple !== NIL && table.entries.directionOf(tuple) === direction ? tuple : (NIL as TupleId);
}
