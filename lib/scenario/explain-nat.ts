/**
 * What NAT did to a packet, in words. Cold.
 */
import { readTuple } from '../conntrack/connection.js';
import { type EntryId, NIL } from '../conntrack/entries.js';
import type { Tracker } from '../conntrack/tracker.js';
import { hasPorts } from '../conntrack/tuples.js';
import { DROP_REASON_NAMES } from '../counters.js';
import { formatAddress } from '../wire/address.js';
import { CtInfo, type Packet } from '../wire/packet.js';
import { Verdict } from '../wire/verdict.js';
import { formatTuple } from './explain-track.js';
import type { NatStep } from './explanation.js';

const ICMP = 1;
const ICMPV6 = 58;

/** Address, and port or ICMP id, of one end (0 source, 1 destination) of a packet. */
export function endOf(packet: Packet, manip: 0 | 1): string {
  const { version, transport, end, protocol } = packet;
  const address = formatAddress(packet.addresses, version, 4 * manip);
  const hasHeader = packet.fragmentOffset === 0 && packet.brokenChain === 0 && transport + 4 <= end;
  if (hasHeader && hasPorts(protocol) === 1) {
    const port = packet.u16(transport + 2 * manip);
    return version === 6 ? `[${address}]:${port}` : `${address}:${port}`;
  }
  const isEcho = (protocol === ICMP && isQuery4(packet)) || (protocol === ICMPV6 && isQuery6(packet));
  return hasHeader && isEcho && transport + 6 <= end ? `${address} id ${packet.u16(transport + 4)}` : address;
}

function isQuery4(packet: Packet): boolean {
  const type = packet.u8(packet.transport);
  return type === 0 || type === 8 || (type >= 13 && type <= 18);
}

function isQuery6(packet: Packet): boolean {
  return packet.u8(packet.transport) >> 1 === 64;
}

interface Translated {
  readonly packet: Packet;
  readonly manip: 0 | 1;
  /** Whether the connection's end was bound before the hook. */
  readonly wasBound: boolean;
  readonly before: string;
  readonly verdict: Verdict;
}

export function natWords({ packet, manip, wasBound, before, verdict }: Translated): NatStep | undefined {
  const end = manip === 0 ? 'source' : 'destination';
  const after = endOf(packet, manip);
  const step = { step: 'nat', end, before, after } as const;
  if (verdict === Verdict.DROP) {
    return { ...step, after: before, text: `dropped: ${DROP_REASON_NAMES[packet.reason]}` };
  }
  const change = before === after ? `${end} stays ${before}` : `${end} ${before} -> ${after}`;
  if (packet.ctinfo === CtInfo.RELATED || packet.ctinfo === CtInfo.RELATED_REPLY) {
    return { ...step, text: `${change}, as its connection is translated` };
  }
  if (!wasBound) {
    const how = before === after ? 'bound without change' : 'bound for the whole connection';
    return { ...step, text: `${change}, ${how}` };
  }
  return { ...step, text: `${change}, as the connection is bound; the nat table is not asked` };
}

/** What of a packet's connection targets change: its reply tuple, its mark; and its exemption from tracking. */
export function bindingWords(tracker: Tracker, packet: Packet): string[] {
  const zone =
    packet.template === 0 ? [] : [`zone and options for tracking are 0x${packet.template.toString(16)}`];
  if (packet.ctinfo === CtInfo.UNTRACKED) return ['it is not tracked'];
  if (packet.entry === NIL) return zone;
  const table = tracker.table(packet.version);
  const entry = packet.entry as EntryId;
  return [
    ...zone,
    `connection mark is 0x${(table.entries.mark(entry) >>> 0).toString(16)}`,
    `answers are expected as ${formatTuple(readTuple(table, entry, 1))}`,
  ];
}
