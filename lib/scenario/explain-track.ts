/**
 * What connection tracking decided about a packet, in words. Cold.
 */
import { type Connection, readConnection, type Tuple } from '../conntrack/connection.js';
import { type EntryId, NIL, Status } from '../conntrack/entries.js';
import type { Tracker } from '../conntrack/tracker.js';
import { KEY_WORDS, packKey } from '../conntrack/tuples.js';
import { DROP_REASON_NAMES } from '../counters.js';
import { stateOf } from '../rules/explain/connection.js';
import { CtInfo, type Packet } from '../wire/packet.js';
import { Verdict } from '../wire/verdict.js';
import type { ConntrackStep, WordsStep } from './explanation.js';

/** `10.0.0.2:5000 > 1.1.1.1:53`. */
export function formatTuple(tuple: Tuple): string {
  const { source, destination, sourcePort, destinationPort, id } = tuple;
  const end = (address: string, port: number | undefined) => {
    if (port === undefined) return address;
    return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  };
  return `${end(source, sourcePort)} > ${end(destination, destinationPort)}${id === undefined ? '' : ` id ${id}`}`;
}

/** Protocol and original tuple. */
function nameOf({ protocolName, original, zone }: Connection): string {
  return `${protocolName} ${formatTuple(original)}${zone === 0 ? '' : ` (zone ${zone})`}`;
}

/** The connection that has the packet's tuple (in zone 0), as it is now. */
export function findConnection(tracker: Tracker, packet: Packet): Connection | undefined {
  const key = new Int32Array(KEY_WORDS);
  const { addresses, protocol, transport, end } = packet;
  if (packet.brokenChain === 1 || packet.fragmentOffset > 0) return undefined;
  if (packKey(key, addresses, protocol, packet, transport, end, 0) === 0) return undefined;
  const table = tracker.table(packet.version);
  const tuple = table.find(key, tracker.context.now);
  return tuple === NIL ? undefined : readConnection(table, table.entries.entryOf(tuple), tracker.context.now);
}

interface Tracked {
  /** Its connection before it was tracked. */
  readonly known: Connection | undefined;
  readonly wasAttached: boolean;
  readonly verdict: Verdict;
}

export function trackWords(
  tracker: Tracker,
  packet: Packet,
  { known, wasAttached, verdict }: Tracked,
): ConntrackStep {
  const step = { step: 'conntrack', state: '', isNew: false } as const;
  if (verdict === Verdict.DROP) return { ...step, text: `dropped: ${DROP_REASON_NAMES[packet.reason]}` };
  const state = stateOf(packet);
  if (state === 'UNTRACKED') return { ...step, state, text: 'UNTRACKED: a rule exempted it' };
  if (packet.entry === NIL) return { ...step, state, text: `INVALID: ${invalidWords(packet, known)}` };
  const table = tracker.table(packet.version);
  const connection = readConnection(table, packet.entry as EntryId, tracker.context.now);
  const direction = packet.ctinfo >= CtInfo.ESTABLISHED_REPLY ? 'reply' : 'original';
  const isNew = !wasAttached && state === 'NEW' && (connection.status & Status.CONFIRMED) === 0;
  return {
    ...step,
    state,
    direction,
    isNew,
    connection: `${nameOf(connection)} | ${formatTuple(connection.reply)}`,
    text: `${state}: ${trackedWords(connection, state, direction, isNew, known)}`,
  };
}

function trackedWords(
  connection: Connection,
  state: string,
  direction: string,
  isNew: boolean,
  known: Connection | undefined,
): string {
  const name = nameOf(connection);
  if (isNew) {
    const again = known === undefined ? '' : ', the one before is over';
    return `begins ${name}${again}; answers are expected as ${formatTuple(connection.reply)}`;
  }
  if (state === 'RELATED') return `it is about ${name}`;
  const before = known?.id === connection.id ? known.state : undefined;
  const moved =
    connection.state === undefined
      ? ''
      : before === undefined || before === connection.state
        ? `, ${connection.state}`
        : `, ${before} -> ${connection.state}`;
  if (state === 'NEW') return `belongs to ${name}${moved}, which has had no answer yet`;
  return `belongs to ${name}${moved}, ${direction} direction`;
}

function invalidWords(packet: Packet, known: Connection | undefined): string {
  if (packet.fragmentOffset > 0) return 'a later fragment alone';
  if (packet.brokenChain === 1) return 'its headers cannot be walked';
  if (known !== undefined) {
    const state = known.state === undefined ? '' : ` in ${known.state}`;
    return `${nameOf(known)}${state} does not take it (flags, sequence numbers or checksum)`;
  }
  return 'it belongs to no connection and cannot begin one';
}

export function confirmWords(tracker: Tracker, packet: Packet, verdict: Verdict): WordsStep | undefined {
  if (verdict === Verdict.DROP) {
    const text = `dropped: a tuple of the new connection is taken (${DROP_REASON_NAMES[packet.reason]})`;
    return { step: 'confirm', text };
  }
  if (packet.entry === NIL) return undefined;
  const table = tracker.table(packet.version);
  const connection = readConnection(table, packet.entry as EntryId, tracker.context.now);
  if ((connection.status & Status.CONFIRMED) === 0) return undefined;
  const state = connection.state === undefined ? '' : ` ${connection.state}`;
  const seconds = Math.ceil(connection.remainingMs / 1000);
  const text = `${nameOf(connection)}${state} is in the table now, for ${seconds} s`;
  return { step: 'confirm', text };
}
