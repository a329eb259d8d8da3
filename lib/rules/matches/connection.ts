/**
 * Conditions on the packet's connection: conntrack, state, connmark, connlabel, connbytes. Hot.
 *
 * A packet that has no connection is INVALID, or UNTRACKED if a rule said so. In the raw table, behind a CT target that
 * left a template, the template is what these conditions see, as in Linux: a NEW connection with nothing in it.
 */
import { Change } from '../../conntrack/context.js';
import type { Entries, EntryId } from '../../conntrack/entries.js';
import type { Tracker } from '../../conntrack/tracker.js';
import type { Packet } from '../../wire/packet.js';
import {
  type AddressCondition,
  type ConnbytesMatch,
  type ConnlabelMatch,
  type ConntrackMatch,
  CtState,
  type MarkMatch,
  type RangeCondition,
  type StateMatch,
  type ValueCondition,
} from '../ast.js';
import type { Match, RuleContext } from '../context.js';

const NIL = -1;
const RAW = 0;
const UNTRACKED = 7;
const FIRST_REPLY_INFO = 3;
const ORIGINAL = 0;
const REPLY = 1;
const LABEL_CHANGED = Change.LABEL;
const STATUS_CONFIRMED = 8;
const STATUS_DYING = 512;
const STATUS_SRC_NAT = 16;
const STATUS_DST_NAT = 32;

const STATE_INVALID = CtState.INVALID;
const STATE_NEW = CtState.NEW;
const STATE_UNTRACKED = CtState.UNTRACKED;
const STATE_SNAT = CtState.SNAT;
const STATE_DNAT = CtState.DNAT;

/** State bit of ctinfo modulo FIRST_REPLY_INFO: ESTABLISHED, RELATED, NEW. */
const STATE_BITS = Uint8Array.of(CtState.ESTABLISHED, CtState.RELATED, CtState.NEW);

/** Milliseconds of Linux's clock tick (HZ=250) that timeouts are counted in. */
const TICK_MASK = ~3;
const TICK_SHIFT = 2;
const TICKS_PER_SECOND = 250;

/** Whether a CT target's template stands in for the connection of a packet that is yet to be tracked. */
function hasTemplate(packet: Packet, context: RuleContext): boolean {
  return packet.template !== 0 && context.table === RAW && packet.entry === NIL;
}

/** Bit of {@link CtState} for the packet, without SNAT and DNAT. */
export function stateBit(packet: Packet, context: RuleContext): number {
  if (packet.ctinfo === UNTRACKED) return STATE_UNTRACKED;
  if (packet.entry === NIL) return hasTemplate(packet, context) ? STATE_NEW : STATE_INVALID;
  return STATE_BITS[packet.ctinfo % FIRST_REPLY_INFO] as number;
}

export class ConnectionStateMatch implements Match {
  readonly #bits: number;
  readonly #negated: 0 | 1;

  constructor(spec: StateMatch) {
    this.#bits = spec.bits;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    return (((this.#bits & stateBit(packet, context)) === 0 ? 0 : 1) ^ this.#negated) as 0 | 1;
  }
}

/** Only `--ctstate`, by far the most frequent form. */
export class CtstateMatch implements Match {
  readonly #tracker: Tracker;
  readonly #bits: number;
  readonly #negated: 0 | 1;

  constructor(spec: { readonly bits: number; readonly negated: boolean }, tracker: Tracker) {
    this.#tracker = tracker;
    this.#bits = spec.bits;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    let bit = stateBit(packet, context);
    if (packet.entry !== NIL) {
      const status = this.#tracker.table(packet.version).entries.status(packet.entry as EntryId);
      if ((status & STATUS_SRC_NAT) !== 0) bit |= STATE_SNAT;
      if ((status & STATUS_DST_NAT) !== 0) bit |= STATE_DNAT;
    }
    return (((this.#bits & bit) === 0 ? 0 : 1) ^ this.#negated) as 0 | 1;
  }
}

/** One end of one of the connection's tuples. */
class EndTest {
  readonly #direction: 0 | 1;
  readonly #source: boolean;
  readonly #words: Int32Array;
  readonly #mask: Int32Array;
  readonly #negated: 0 | 1;

  constructor(direction: 0 | 1, end: 'source' | 'destination', condition: AddressCondition) {
    this.#direction = direction;
    this.#source = end === 'source';
    this.#words = Int32Array.from(condition.words, (word, i) => word & (condition.mask[i] as number));
    this.#mask = Int32Array.from(condition.mask);
    this.#negated = condition.negated ? 1 : 0;
  }

  holds(entries: Entries, entry: EntryId): 0 | 1 {
    let same: 0 | 1 = 1;
    for (let i = 0; i < 4 && same === 1; i++) {
      const word = this.#source
        ? entries.sourceWord(entry, this.#direction, i)
        : entries.destinationWord(entry, this.#direction, i);
      if ((word & (this.#mask[i] as number)) !== this.#words[i]) same = 0;
    }
    return (same ^ this.#negated) as 0 | 1;
  }
}

/** The port of one end of one tuple; of ICMP the identifier (source) or type << 8 | code (destination). */
class PortTest {
  readonly #direction: 0 | 1;
  readonly #shift: number;
  readonly #low: number;
  readonly #high: number;
  readonly #negated: 0 | 1;

  constructor(direction: 0 | 1, end: 'source' | 'destination', condition: RangeCondition) {
    this.#direction = direction;
    this.#shift = end === 'source' ? 16 : 0;
    this.#low = condition.low;
    this.#high = condition.high;
    this.#negated = condition.negated ? 1 : 0;
  }

  holds(entries: Entries, entry: EntryId): 0 | 1 {
    const port = (entries.ports(entries.tuple(entry, this.#direction)) >>> this.#shift) & 0xffff;
    return ((port >= this.#low && port <= this.#high ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

export class ConntrackFieldsMatch implements Match {
  readonly #tracker: Tracker;
  readonly #state: CtstateMatch | undefined;
  /** Direction asked for, -1 for none. */
  readonly #direction: number;
  readonly #ends: readonly EndTest[];
  readonly #protocol: ValueCondition | undefined;
  readonly #ports: readonly PortTest[];
  readonly #status: number;
  /** -1: the status is not asked. */
  readonly #statusNegated: number;
  readonly #expire: RangeCondition | undefined;
  /** What the conditions but the state say of a template. */
  readonly #template: 0 | 1;

  constructor(spec: ConntrackMatch, tracker: Tracker) {
    this.#tracker = tracker;
    this.#state = spec.state === undefined ? undefined : new CtstateMatch(spec.state, tracker);
    this.#direction = spec.direction === undefined ? -1 : spec.direction === 'original' ? 0 : 1;
    const ends: EndTest[] = [];
    if (spec.originalSource) ends.push(new EndTest(ORIGINAL, 'source', spec.originalSource));
    if (spec.originalDestination) ends.push(new EndTest(ORIGINAL, 'destination', spec.originalDestination));
    if (spec.replySource) ends.push(new EndTest(REPLY, 'source', spec.replySource));
    if (spec.replyDestination) ends.push(new EndTest(REPLY, 'destination', spec.replyDestination));
    this.#ends = ends;
    this.#protocol = spec.protocol;
    const ports: PortTest[] = [];
    if (spec.originalSourcePorts) ports.push(new PortTest(ORIGINAL, 'source', spec.originalSourcePorts));
    if (spec.originalDestinationPorts)
      ports.push(new PortTest(ORIGINAL, 'destination', spec.originalDestinationPorts));
    if (spec.replySourcePorts) ports.push(new PortTest(REPLY, 'source', spec.replySourcePorts));
    if (spec.replyDestinationPorts)
      ports.push(new PortTest(REPLY, 'destination', spec.replyDestinationPorts));
    this.#ports = ports;
    this.#status = spec.status?.bits ?? 0;
    this.#statusNegated = spec.status === undefined ? -1 : spec.status.negated ? 1 : 0;
    this.#expire = spec.expireSeconds;
    this.#template = isOfTemplate(spec) ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (this.#state !== undefined && this.#state.matches(packet, context) === 0) return 0;
    if (packet.entry === NIL) {
      if (hasTemplate(packet, context)) return this.#template;
      // Without a connection a state that holds is enough, whatever else is asked; without a state nothing is.
      return this.#state === undefined ? 0 : 1;
    }
    const entry = packet.entry as EntryId;
    const entries = this.#tracker.table(packet.version).entries;
    if (this.#direction >= 0 && this.#direction !== (packet.ctinfo >= FIRST_REPLY_INFO ? 1 : 0)) return 0;
    for (let i = 0; i < this.#ends.length; i++) {
      if ((this.#ends[i] as EndTest).holds(entries, entry) === 0) return 0;
    }
    const protocol = this.#protocol;
    if (protocol !== undefined && (entries.protocol(entry) === protocol.value) === protocol.negated) return 0;
    for (let i = 0; i < this.#ports.length; i++) {
      if ((this.#ports[i] as PortTest).holds(entries, entry) === 0) return 0;
    }
    if (this.#statusNegated >= 0) {
      const some = (entries.status(entry) & this.#status) === 0 ? 0 : 1;
      if (some === this.#statusNegated) return 0;
    }
    return this.#expire === undefined ? 1 : this.#expires(this.#expire, entries, entry, context.now);
  }

  /** Whole seconds left; an entry not confirmed yet has none left, as it seems to Linux. */
  #expires(condition: RangeCondition, entries: Entries, entry: EntryId, now: number): 0 | 1 {
    let seconds = 0;
    if ((entries.status(entry) & STATUS_CONFIRMED) !== 0) {
      const ticks = ((entries.expires(entry) - (now & TICK_MASK)) | 0) >> TICK_SHIFT;
      seconds = ticks < 0 ? 0 : (ticks / TICKS_PER_SECOND) | 0;
    }
    return (seconds >= condition.low && seconds <= condition.high) === condition.negated ? 0 : 1;
  }
}

/** Whether the conditions but the state hold for a connection whose every field is zero, but that counts as CONFIRMED. */
function isOfTemplate(spec: ConntrackMatch): boolean {
  const zero = (condition: RangeCondition | undefined): boolean =>
    condition === undefined || (condition.low === 0) !== condition.negated;
  const unset = (condition: AddressCondition | undefined): boolean =>
    condition === undefined ||
    condition.words.every((word, i) => (word & (condition.mask[i] as number)) === 0) !== condition.negated;
  const { protocol, status } = spec;
  return (
    (spec.direction === undefined || spec.direction === 'original') &&
    [spec.originalSource, spec.originalDestination, spec.replySource, spec.replyDestination].every(unset) &&
    (protocol === undefined || protocol.negated) &&
    [spec.originalSourcePorts, spec.originalDestinationPorts].every(zero) &&
    [spec.replySourcePorts, spec.replyDestinationPorts, spec.expireSeconds].every(zero) &&
    (status === undefined || ((status.bits & STATUS_CONFIRMED) !== 0) !== status.negated)
  );
}

export class ConnmarkMatch implements Match {
  readonly #tracker: Tracker;
  readonly #value: number;
  readonly #mask: number;
  readonly #negated: 0 | 1;

  constructor(spec: MarkMatch, tracker: Tracker) {
    this.#tracker = tracker;
    this.#value = spec.value | 0;
    this.#mask = spec.mask | 0;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (packet.entry === NIL) {
      if (!hasTemplate(packet, context)) return 0;
      return ((this.#value === 0 ? 1 : 0) ^ this.#negated) as 0 | 1;
    }
    const mark = this.#tracker.table(packet.version).entries.mark(packet.entry as EntryId);
    return (((mark & this.#mask) === this.#value ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

const PACKETS = 0;
const BYTES = 1;
const AVERAGE = 2;

/** Counts of the connection, this packet included. */
export class ConnectionBytesMatch implements Match {
  readonly #tracker: Tracker;
  readonly #what: number;
  readonly #original: boolean;
  readonly #reply: boolean;
  readonly #low: number;
  readonly #high: number;
  readonly #negated: 0 | 1;

  constructor(spec: ConnbytesMatch, tracker: Tracker) {
    this.#tracker = tracker;
    this.#what = spec.what === 'packets' ? PACKETS : spec.what === 'bytes' ? BYTES : AVERAGE;
    this.#original = spec.direction !== 'reply';
    this.#reply = spec.direction !== 'original';
    this.#low = spec.low;
    this.#high = spec.high;
    // Linux notes the negation as an interval with its ends exchanged, and cannot tell one of a single number.
    this.#negated = spec.negated && spec.low !== spec.high ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    if (packet.entry === NIL) return 0;
    const entry = packet.entry as EntryId;
    const entries = this.#tracker.table(packet.version).entries;
    let packets = 0;
    let bytes = 0;
    if (this.#original) {
      packets += entries.packets(entry, ORIGINAL);
      bytes += entries.bytes(entry, ORIGINAL);
    }
    if (this.#reply) {
      packets += entries.packets(entry, REPLY);
      bytes += entries.bytes(entry, REPLY);
    }
    let count = packets;
    if (this.#what === BYTES) count = bytes;
    else if (this.#what === AVERAGE) count = packets === 0 ? 0 : Math.floor(bytes / packets);
    return ((count >= this.#low && count <= this.#high ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}

/** A label of the connection; with `--set` it is put on those that lack it. */
export class ConnectionLabelMatch implements Match {
  readonly #tracker: Tracker;
  readonly #label: number;
  readonly #set: boolean;
  readonly #negated: 0 | 1;

  constructor(spec: ConnlabelMatch, tracker: Tracker) {
    this.#tracker = tracker;
    this.#label = spec.label;
    this.#set = spec.set;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    return (this.#isLabelled(packet) ? 1 - this.#negated : this.#negated) as 0 | 1;
  }

  #isLabelled(packet: Packet): boolean {
    const entry = packet.entry as EntryId;
    if (entry === NIL) return false;
    const table = this.#tracker.table(packet.version);
    if (table.extensions.of(entry)?.hasLabel(this.#label) === true) return true;
    if (!this.#set || (table.entries.status(entry) & STATUS_DYING) !== 0) return false;
    table.extensions.extend(entry).addLabel(this.#label);
    this.#tracker.context.changed(table, entry, LABEL_CHANGED);
    return true;
  }
}
