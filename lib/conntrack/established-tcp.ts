/**
 * Segments of established connections without ceremony: whether a segment is the ordinary next one of its connection, and
 * if so what tracking writes of it. Hot.
 *
 * Twin: `trackTcp`, which judges every segment; this judges some, and to the same end. It looks at everything before it
 * writes anything, and takes only what no listener would hear of: no change of state or status.
 */
import type { TrackContext } from './context.js';
import { type Direction, type Entries, type EntryId, Status } from './entries.js';
import { Word } from './layout.js';

const TD_END = Word.TD_END;
const TD_MAXEND = Word.TD_MAXEND;
const TD_MAXWIN = Word.TD_MAXWIN;
const TD_MAXACK = Word.TD_MAXACK;
const FLAGS = Word.FLAGS;
const STATUS = Word.STATUS;
const MEMORY = Word.PROTOCOL;
const LAST_SEQUENCE = Word.PROTOCOL + 1;
const LAST_ACKNOWLEDGEMENT = Word.PROTOCOL + 2;
const LAST_END = Word.PROTOCOL + 3;
const LAST_WINDOW = Word.PROTOCOL + 4;
const REPLY_LINE = 16;
const ASSURED = Status.ASSURED;

const TCP_ESTABLISHED = 3;
const TCP_MAX_RETRANS = 10;
const TCP_UNACKNOWLEDGED = 11;
const CLASS_ACK = 4;
const DATA_UNACKNOWLEDGED = 16;
const MAXACK_SET = 32;
/** Least room, in bytes, that an old acknowledgement is given. */
const MIN_ACK_WINDOW = 66_000;

/**
 * What `trackTcp` would do with a sound segment of an ordinary connection, which is an ordinary one, too: of class ACK (no
 * SYN, FIN or RST), with no options but timestamps. `end` is the sequence number behind its payload, `windowField` the window
 * as it stands in the header, `bytes` the length of its IP packet.
 */
export function judgeTcp(
  context: TrackContext,
  entries: Entries,
  entry: EntryId,
  direction: Direction,
  sequence: number,
  ack: number,
  windowField: number,
  end: number,
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
  // Without a branch: whether it has come again is hard to foresee where flows are mixed.
  const differs =
    (((memory >>> 11) & 1) ^ direction) |
    ((words[entry + LAST_SEQUENCE] as number) ^ sequence) |
    ((words[entry + LAST_ACKNOWLEDGEMENT] as number) ^ ack) |
    ((words[entry + LAST_END] as number) ^ end) |
    ((words[entry + LAST_WINDOW] as number) ^ windowField);
  const again = (((memory >>> 12) & 255) + 1) & 255 & ~((differs | (0 - differs)) >> 31);
  words[entry + LAST_SEQUENCE] = sequence;
  words[entry + LAST_ACKNOWLEDGEMENT] = ack;
  words[entry + LAST_END] = end;
  words[entry + LAST_WINDOW] = windowField;
  words[entry + MEMORY] = (memory & ~0xfff00) | (again << 12) | (CLASS_ACK << 8) | (direction << 11);
  return again;
}
