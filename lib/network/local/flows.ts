/**
 * What conntrack knows of local traffic: where a client wanted to go before NAT brought it here, and which flows may
 * be answered from an address that is not ours. Cold.
 *
 * A flow to a local endpoint has the endpoint's own address and port as the source of its reply tuple. Sending from
 * there to the reply tuple's destination is what NAT turns into an answer from the address that the client asked.
 */
import { Direction, type EntryId, NIL } from '../../conntrack/entries.js';
import type { Tracker } from '../../conntrack/tracker.js';
import { KEY_KIND, KEY_PORTS, KEY_WORDS } from '../../conntrack/tuples.js';
import { CtInfo, type Packet } from '../../wire/packet.js';
import type { SocketWords } from './socket-address.js';

const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;

const key = new Int32Array(KEY_WORDS);

/**
 * Writes the destination that a packet's flow began with to `into[0..3]` and returns its port: what SO_ORIGINAL_DST
 * gives. Packets without a connection, and replies, have the destination that they have.
 */
export function originalDestination(tracker: Tracker, packet: Packet, into: Int32Array): number {
  const entry = packet.entry as EntryId;
  if (entry === NIL || packet.ctinfo >= CtInfo.ESTABLISHED_REPLY || packet.ctinfo === CtInfo.INVALID) {
    for (let i = 0; i < 4; i++) into[i] = packet.addresses[4 + i] as number;
    return packet.u16(packet.transport + 2);
  }
  const entries = tracker.table(packet.version).entries;
  for (let i = 0; i < 4; i++) into[i] = entries.destinationWord(entry, ORIGINAL, i);
  return entries.ports(entries.tuple(entry, ORIGINAL)) & 0xffff;
}

/** Packs the key of packets from `from` to `to`. */
function pack(protocol: number, from: SocketWords, to: SocketWords): void {
  for (let i = 0; i < 4; i++) {
    key[i] = from.words[i]!;
    key[4 + i] = to.words[i]!;
  }
  key[KEY_PORTS] = (from.port << 16) | to.port;
  key[KEY_KIND] = protocol;
}

/** Whether packets from `from` to `to` answer a flow that was begun by the other side. */
export function isAnswer(
  tracker: Tracker,
  protocol: number,
  from: SocketWords,
  to: SocketWords,
  nowMs: number,
): boolean {
  pack(protocol, from, to);
  const table = tracker.table(to.version);
  const tuple = table.find(key, tracker.timeOf(nowMs));
  return tuple !== NIL && table.entries.directionOf(tuple) === REPLY;
}

/** Whether such a flow was meant for `virtual` when it began. */
export function wasMeantFor(
  tracker: Tracker,
  protocol: number,
  from: SocketWords,
  to: SocketWords,
  virtual: SocketWords,
  nowMs: number,
): boolean {
  pack(protocol, from, to);
  const { entries } = tracker.table(to.version);
  const tuple = tracker.table(to.version).find(key, tracker.timeOf(nowMs));
  if (tuple === NIL || entries.directionOf(tuple) !== REPLY) return false;
  const entry = entries.entryOf(tuple);
  const port = entries.ports(entries.tuple(entry, ORIGINAL)) & 0xffff;
  return (
    port === virtual.port &&
    virtual.words.every((word, i) => word === entries.destinationWord(entry, ORIGINAL, i))
  );
}

/** Both ends, as a local endpoint sees them, of the flow that `client` began to `virtual`; undefined if there is none. */
export function flowOf(
  tracker: Tracker,
  protocol: number,
  client: SocketWords,
  virtual: SocketWords,
  nowMs: number,
): { readonly local: SocketWords; readonly peer: SocketWords } | undefined {
  pack(protocol, client, virtual);
  const table = tracker.table(client.version);
  const tuple = table.find(key, tracker.timeOf(nowMs));
  if (tuple === NIL || table.entries.directionOf(tuple) === REPLY) return undefined;
  const entry = table.entries.entryOf(tuple);
  table.entries.getKey(entry, REPLY, key);
  const ports = key[KEY_PORTS]!;
  const { version } = client;
  return {
    local: { version, words: [key[0]!, key[1]!, key[2]!, key[3]!], port: ports >>> 16 },
    peer: { version, words: [key[4]!, key[5]!, key[6]!, key[7]!], port: ports & 0xffff },
  };
}
