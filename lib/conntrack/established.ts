/**
 * Packets of established connections without ceremony: whether a packet is the ordinary next one of its connection, and
 * if so what tracking writes of it. Hot; the one reader of records besides `entries.ts` that knows their words.
 *
 * Twins: `table.find`, `trackUdp` and `trackTcp`, which judge every packet; these here judge some, and to the same end.
 * Both `judge` functions look at everything before they write anything: 0 means that nothing was touched and that the
 * packet has to go the long way. They take only what no listener would hear of: no change of state or status.
 */
import { PLACES as ALL_PLACES, type Buckets } from '../memory/buckets.js';
import type { Glance } from '../wire/glance.js';
import type { TrackContext } from './context.js';
import { Direction, type Entries, type EntryId, Status, type TupleId } from './entries.js';
import { Word } from './layout.js';

const NEXT = Word.NEXT;
const SOURCE = Word.SOURCE;
const DESTINATION = Word.DESTINATION;
const PORTS = Word.PORTS;
const KIND = Word.KIND;
const TD_END = Word.TD_END;
const TD_MAXEND = Word.TD_MAXEND;
const TD_MAXWIN = Word.TD_MAXWIN;
const TD_MAXACK = Word.TD_MAXACK;
const FLAGS = Word.FLAGS;
const STATUS = Word.STATUS;
const EXPIRES = Word.EXPIRES;
const MEMORY = Word.PROTOCOL;
const STREAM_AFTER = Word.PROTOCOL + 1;
const LAST_SEQUENCE = Word.PROTOCOL + 1;
const LAST_ACKNOWLEDGEMENT = Word.PROTOCOL + 2;
const LAST_END = Word.PROTOCOL + 3;
const LAST_WINDOW = Word.PROTOCOL + 4;
const CLOCKS = Word.ZONE;
const EXTENSION = Word.EXTENSION;
const POLICY = Word.POLICY;
const WIDE = Word.WIDE;
const CLOCK_BITS = Word.CLOCK_BITS;
const PLACES = ALL_PLACES;
const REPLY_LINE = 16;
/** Words of an IPv6 record. */
const RECORD6 = 64;

/** Status of a connection whose packets are ordinary, and the bits that are looked at for it. */
const ORDINARY = Status.CONFIRMED | Status.SEEN_REPLY;
const ASKED =
  ORDINARY |
  Status.DYING |
  Status.FIXED_TIMEOUT |
  Status.TEMPLATE |
  Status.SEQ_ADJUST |
  Status.NAT_CLASH |
  Status.REVIEW;
const ASSURED = Status.ASSURED;
const CONFIRMED = Status.CONFIRMED;
const REPLY = Direction.REPLY;

const UDP_UNREPLIED = 0;
const UDP_STREAM = 1;
const TCP_ESTABLISHED = 3;
const TCP_MAX_RETRANS = 10;
const TCP_UNACKNOWLEDGED = 11;
const CLASS_ACK = 4;
const DATA_UNACKNOWLEDGED = 16;
const MAXACK_SET = 32;
/** Least room, in bytes, that an old acknowledgement is given. */
const MIN_ACK_WINDOW = 66_000;

/**
 * Tuple of an IPv4 key in zone 0, or NIL. `line` is where the bucket of `hash` is, and `first` its first word. Unlike
 * `table.find` it reaps nothing, and may return a tuple that has expired: `isOrdinary` tells.
 */
export function findTuple4(
  words: Int32Array,
  buckets: Buckets,
  line: number,
  first: number,
  hash: number,
  source: number,
  destination: number,
  ports: number,
  protocol: number,
): TupleId {
  const lines = buckets.lines;
  const tagged = buckets.tagged(hash);
  const idBits = buckets.idBits;
  const end = line + PLACES;
  let word = first;
  for (let at = line; word !== 0 && at < end; word = lines[at] as number) {
    at++;
    if ((word ^ tagged) >>> idBits !== 0) continue;
    const node = buckets.nodeOf(word);
    // As `hasKey4`, which is called where this is not.
    if (
      words[node + PORTS] === ports &&
      words[node + SOURCE] === source &&
      words[node + DESTINATION] === destination &&
      words[node + KIND] === protocol
    ) {
      return node as TupleId;
    }
  }
  let node = ~(lines[end] as number);
  while (node >= 0 && hasKey4(words, node, source, destination, ports, protocol) === 0) {
    node = words[node + NEXT] as number;
  }
  return node as TupleId;
}

/** Whether the key of an IPv4 tuple is that: 1 or 0. */
export function hasKey4(
  words: Int32Array,
  tuple: number,
  source: number,
  destination: number,
  ports: number,
  protocol: number,
): 0 | 1 {
  return words[tuple + PORTS] === ports &&
    words[tuple + SOURCE] === source &&
    words[tuple + DESTINATION] === destination &&
    words[tuple + KIND] === protocol
    ? 1
    : 0;
}

/** The same for IPv6; `addresses` are the eight words of source and destination. */
export function findTuple6(
  words: Int32Array,
  buckets: Buckets,
  line: number,
  first: number,
  hash: number,
  addresses: Int32Array,
  ports: number,
  protocol: number,
): TupleId {
  const lines = buckets.lines;
  const tagged = buckets.tagged(hash);
  const idBits = buckets.idBits;
  const end = line + PLACES;
  let word = first;
  for (let at = line; word !== 0 && at < end; word = lines[at] as number) {
    at++;
    if ((word ^ tagged) >>> idBits !== 0) continue;
    const node = buckets.nodeOf(word);
    if (hasKey6(words, node, addresses, ports, protocol) === 1) return node as TupleId;
  }
  let node = ~(lines[end] as number);
  while (node >= 0 && hasKey6(words, node, addresses, ports, protocol) === 0)
    node = words[node + NEXT] as number;
  return node as TupleId;
}

/** The same of an IPv6 tuple. Its addresses are asked for at once, whatever its direction is. */
export function hasKey6(
  words: Int32Array,
  tuple: number,
  addresses: Int32Array,
  ports: number,
  protocol: number,
): 0 | 1 {
  const place = tuple & (RECORD6 - 1);
  const wide = tuple - place + WIDE + (place >>> 1);
  return words[wide] === addresses[0] &&
    words[wide + 1] === addresses[1] &&
    words[wide + 2] === addresses[2] &&
    words[wide + 3] === addresses[3] &&
    words[wide + 4] === addresses[4] &&
    words[wide + 5] === addresses[5] &&
    words[wide + 6] === addresses[6] &&
    words[wide + 7] === addresses[7] &&
    words[tuple + PORTS] === ports &&
    words[tuple + KIND] === protocol
    ? 1
    : 0;
}

/** Whether a connection lives, is established, and has nothing that asks for the long way: 1 or 0. */
export function isOrdinary(words: Int32Array, entry: EntryId, now: number): 0 | 1 {
  return ((words[entry + STATUS] as number) & ASKED) === ORDINARY &&
    (((words[entry + EXPIRES] as number) - now) | 0) > 0 &&
    ((words[entry + CLOCKS] as number) & CLOCK_BITS) === 0 &&
    words[entry + EXTENSION] === 0 &&
    words[entry + POLICY] === 0
    ? 1
    : 0;
}

/**
 * Whether this, a reply, would make a connection established, so that the next ones of its direction may be ordinary: 1 or
 * 0.
 */
export function isAnswer(words: Int32Array, entry: EntryId, direction: Direction): 0 | 1 {
  return direction === REPLY && ((words[entry + STATUS] as number) & ASKED) === CONFIRMED ? 1 : 0;
}

/** What `trackUdp` would do with a sound datagram of an ordinary connection. `bytes` is the length of its IP packet. */
export function judgeUdp(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  bytes: number,
): 0 | 1 {
  const words = entries.words;
  const now = context.now;
  const isStream = ((now - (words[entry + STREAM_AFTER] as number)) | 0) > 0;
  if (isStream && ((words[entry + STATUS] as number) & ASSURED) === 0) return 0;
  const timeouts = context.defaultTimeouts.udp;
  entries.setExpires(entry, (now + (timeouts[isStream ? UDP_STREAM : UDP_UNREPLIED] as number)) | 0);
  if (context.settings.accounting === 1) entries.account(entry, direction, bytes);
  return 1;
}

/**
 * What `trackTcp` would do with a sound segment of an ordinary connection, of which `segment` is an ordinary one, too.
 * `bytes` is the length of its IP packet.
 */
export function judgeTcp(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  segment: Glance,
  bytes: number,
): 0 | 1 {
  const words = entries.words;
  const memory = words[entry + MEMORY] as number;
  if ((memory & 255) !== TCP_ESTABLISHED || ((words[entry + STATUS] as number) & ASSURED) === 0) return 0;
  if (context.timeWait !== undefined) return 0;
  const sender = entry + (direction << 4);
  const receiver = entry + REPLY_LINE - (direction << 4);
  const senderMaxWin = words[sender + TD_MAXWIN] as number;
  const receiverMaxWin = words[receiver + TD_MAXWIN] as number;
  if (senderMaxWin === 0 || receiverMaxWin === 0) return 0;

  const sequence = segment.sequence;
  const ack = segment.acknowledgement;
  const windowField = segment.window;
  const end = (sequence + segment.payloadBytes) | 0;
  const senderEnd = words[sender + TD_END] as number;
  const senderMaxEnd = words[sender + TD_MAXEND] as number;
  const receiverEnd = words[receiver + TD_END] as number;
  if (((sequence - (senderMaxEnd + 1)) | 0) >= 0) return 0;
  if (((ack - (receiverEnd + 1)) | 0) >= 0) return 0;
  if (((senderEnd - receiverMaxWin - 1 - end) | 0) >= 0) return 0;
  const oldestAck = receiverEnd - Math.max(senderMaxWin >>> 0, MIN_ACK_WINDOW) - 1;
  if (((oldestAck - ack) | 0) >= 0) return 0;

  // It is in the windows: what it tells of both sides.
  let senderFlags = words[sender + FLAGS] as number;
  const window = windowField << (senderFlags & 255);
  if (senderMaxWin >>> 0 < window >>> 0) words[sender + TD_MAXWIN] = window;
  senderFlags = learnSender(words, sender, senderFlags, senderEnd, end, ack);
  const behind = (senderMaxEnd - end) | 0;
  if (behind < 0) words[receiver + TD_MAXWIN] = (receiverMaxWin - behind) | 0;
  const allowed = (ack + window) | 0;
  if ((((words[receiver + TD_MAXEND] as number) - 1 - allowed) | 0) < 0) {
    words[receiver + TD_MAXEND] = window === 0 ? (allowed + 1) | 0 : allowed;
  }
  let receiverFlags = words[receiver + FLAGS] as number;
  if (ack === receiverEnd) {
    const acknowledged = receiverFlags & ~(DATA_UNACKNOWLEDGED << 8);
    if (acknowledged !== receiverFlags) words[receiver + FLAGS] = acknowledged;
    receiverFlags = acknowledged;
  }

  const again = remember(words, entry, memory, direction, sequence, ack, end, windowField);
  const timeouts = context.defaultTimeouts.tcp;
  const retransmitted = timeouts[TCP_MAX_RETRANS] as number;
  const unacknowledged = timeouts[TCP_UNACKNOWLEDGED] as number;
  let timeoutMs = timeouts[TCP_ESTABLISHED] as number;
  if (timeoutMs > retransmitted && again >= context.settings.tcpMaxRetrans) timeoutMs = retransmitted;
  else if (timeoutMs > unacknowledged && ((senderFlags | receiverFlags) & (DATA_UNACKNOWLEDGED << 8)) !== 0) {
    timeoutMs = unacknowledged;
  } else if (timeoutMs > retransmitted && windowField === 0) timeoutMs = retransmitted;
  entries.setExpires(entry, (context.now + timeoutMs) | 0);
  if (context.settings.accounting === 1) entries.account(entry, direction, bytes);
  return 1;
}

/** Takes end and acknowledgement into the sender's line; returns its flags afterwards. */
function learnSender(
  words: Int32Array,
  sender: number,
  flags: number,
  senderEnd: number,
  end: number,
  ack: number,
): number {
  let after = flags;
  if (((senderEnd - end) | 0) < 0) {
    words[sender + TD_END] = end;
    after |= DATA_UNACKNOWLEDGED << 8;
  }
  if ((after & (MAXACK_SET << 8)) === 0) {
    words[sender + TD_MAXACK] = ack;
    after |= MAXACK_SET << 8;
  } else if ((((words[sender + TD_MAXACK] as number) - ack) | 0) < 0) words[sender + TD_MAXACK] = ack;
  if (after !== flags) words[sender + FLAGS] = after;
  return after;
}

/** Remembers the segment as the last one; returns how often it has come again. */
function remember(
  words: Int32Array,
  entry: EntryId,
  memory: number,
  direction: Direction,
  sequence: number,
  ack: number,
  end: number,
  windowField: number,
): number {
  let again = 0;
  if (
    ((memory >>> 11) & 1) === direction &&
    words[entry + LAST_SEQUENCE] === sequence &&
    words[entry + LAST_ACKNOWLEDGEMENT] === ack &&
    words[entry + LAST_END] === end &&
    words[entry + LAST_WINDOW] === windowField
  ) {
    again = (((memory >>> 12) & 255) + 1) & 255;
  } else {
    words[entry + LAST_SEQUENCE] = sequence;
    words[entry + LAST_ACKNOWLEDGEMENT] = ack;
    words[entry + LAST_END] = end;
    words[entry + LAST_WINDOW] = windowField;
  }
  words[entry + MEMORY] = (memory & ~0xfff00) | (again << 12) | (CLASS_ACK << 8) | (direction << 11);
  return again;
}
