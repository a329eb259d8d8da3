/**
 * The tuples of established connections, found without ceremony, and what an ordinary connection is. Hot.
 *
 * Twin: `table.find`.
 */
import { PLACES as ALL_PLACES, type Buckets } from '../memory/buckets.js';
import { Direction, type EntryId, Status, type TupleId } from './entries.js';
import { Word } from './layout.js';

const NEXT = Word.NEXT;
const SOURCE = Word.SOURCE;
const DESTINATION = Word.DESTINATION;
const PORTS = Word.PORTS;
const KIND = Word.KIND;
const STATUS = Word.STATUS;
const WIDE = Word.WIDE;
const PLACES = ALL_PLACES;
/** Words of an IPv6 record. */
const RECORD6 = 64;

/** Status of a connection whose packets are ordinary, of the bits that are looked at for it, {@link ASKED}. */
export const ORDINARY = Status.CONFIRMED | Status.SEEN_REPLY;
export const ASKED =
  ORDINARY |
  Status.DYING |
  Status.FIXED_TIMEOUT |
  Status.TEMPLATE |
  Status.SEQ_ADJUST |
  Status.NAT_CLASH |
  Status.REVIEW;
const CONFIRMED = Status.CONFIRMED;
const REPLY = Direction.REPLY;

/**
 * Tuple of an IPv4 key in zone 0, or NIL. `line` is where the bucket of `hash` is, and `first` its first word. Unlike
 * `table.find` it reaps nothing, and may return a tuple that has expired: its entry tells.
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
  return findBehind4(words, ~(lines[end] as number), source, destination, ports, protocol);
}

/** The same among the tuples for which a line has no place, from `node` on, which may be NIL. */
function findBehind4(
  words: Int32Array,
  node: number,
  source: number,
  destination: number,
  ports: number,
  protocol: number,
): TupleId {
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

/** The same for IPv6, by the words of source and destination. */
export function findTuple6(
  words: Int32Array,
  buckets: Buckets,
  line: number,
  first: number,
  hash: number,
  source1: number,
  source2: number,
  source3: number,
  source4: number,
  destination1: number,
  destination2: number,
  destination3: number,
  destination4: number,
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
    if (
      hasKey6(
        words,
        node,
        source1,
        source2,
        source3,
        source4,
        destination1,
        destination2,
        destination3,
        destination4,
        ports,
        protocol,
      ) === 1
    )
      return node as TupleId;
  }
  let node = ~(lines[end] as number);
  while (node >= 0) {
    if (
      hasKey6(
        words,
        node,
        source1,
        source2,
        source3,
        source4,
        destination1,
        destination2,
        destination3,
        destination4,
        ports,
        protocol,
      ) === 1
    )
      break;
    node = words[node + NEXT] as number;
  }
  return node as TupleId;
}

/** The same of an IPv6 tuple. Its addresses are asked for at once, whatever its direction is. */
export function hasKey6(
  words: Int32Array,
  tuple: number,
  source1: number,
  source2: number,
  source3: number,
  source4: number,
  destination1: number,
  destination2: number,
  destination3: number,
  destination4: number,
  ports: number,
  protocol: number,
): 0 | 1 {
  const place = tuple & (RECORD6 - 1);
  const wide = tuple - place + WIDE + (place >>> 1);
  return words[wide] === source1 &&
    words[wide + 1] === source2 &&
    words[wide + 2] === source3 &&
    words[wide + 3] === source4 &&
    words[wide + 4] === destination1 &&
    words[wide + 5] === destination2 &&
    words[wide + 6] === destination3 &&
    words[wide + 7] === destination4 &&
    words[tuple + PORTS] === ports &&
    words[tuple + KIND] === protocol
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
