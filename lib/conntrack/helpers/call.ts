/**
 * The call of a helper: one reused object that shows it a packet and its connection, and does what it asks for.
 */
import { CtInfo, type Packet } from '../../wire/packet.js';
import { hasTcpHeader, tcpHeaderBytes, tcpSequence } from '../../wire/tcp.js';
import { Verdict } from '../../wire/verdict.js';
import { Direction, type EntryId, NIL, Status } from '../entries.js';
import { Announced, Expectation, expectationKey } from '../expectations.js';
import type { Extension } from '../extensions.js';
import { SequenceOffsets } from '../sequence-offsets.js';
import type { ConntrackTable } from '../table.js';
import type { Tracker } from '../tracker.js';
import { KEY_KIND, KEY_PORTS } from '../tuples.js';
import type { Expected, Helper, HelperCall } from './helper.js';
import type { Helpers } from './registry.js';

const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const TCP = 6;
const UDP = 17;
const UDP_HEADER_BYTES = 8;
const EMPTY = new Uint8Array(0);
const TRANSLATED = Status.SRC_NAT | Status.DST_NAT;

const DEFAULT_TIMEOUT_MS = 300_000;
/** Ports that are tried for a connection whose own port is taken. */
const ATTEMPTS = 128;
const MAX_PORT = 0xffff;

export class Call implements HelperCall {
  packet!: Packet;
  ctinfo: CtInfo = CtInfo.INVALID;
  direction: Direction = Direction.ORIGINAL;
  state: unknown = undefined;
  readonly sender = new Int32Array(4);
  readonly shownSender = new Int32Array(4);
  readonly receiver = new Int32Array(4);
  readonly shownReceiver = new Int32Array(4);
  senderPort = 0;
  shownSenderPort = 0;
  receiverPort = 0;
  shownReceiverPort = 0;
  sequence = 0;
  payloadOffset = 0;
  readonly #tracker: Tracker;
  readonly #helpers: Helpers;
  #table!: ConntrackTable;
  #entry = NIL as EntryId;
  #extension!: Extension;
  #helper!: Helper;
  #announced: Expectation[] = [];

  constructor(tracker: Tracker, helpers: Helpers) {
    this.#tracker = tracker;
    this.#helpers = helpers;
  }

  /** Shows the packet to its connection's helper. */
  run(
    packet: Packet,
    table: ConntrackTable,
    entry: EntryId,
    direction: Direction,
    extension: Extension,
    helper: Helper,
  ): Verdict {
    this.packet = packet;
    this.ctinfo = packet.ctinfo as CtInfo;
    this.direction = direction;
    this.state = extension.helperState;
    this.#table = table;
    this.#entry = entry;
    this.#extension = extension;
    this.#helper = helper;
    this.#announced = [];
    this.#readEnds();
    this.payloadOffset = payloadStart(packet);
    this.sequence = packet.protocol === TCP && this.payloadOffset <= packet.end ? tcpSequence(packet) : 0;
    return helper.onPacket(this);
  }

  #readEnds(): void {
    const { entries } = this.#table;
    const entry = this.#entry;
    const there = this.direction;
    const back = (1 - there) as Direction;
    for (let i = 0; i < 4; i++) {
      this.sender[i] = entries.sourceWord(entry, there, i);
      this.shownReceiver[i] = entries.destinationWord(entry, there, i);
      this.receiver[i] = entries.sourceWord(entry, back, i);
      this.shownSender[i] = entries.destinationWord(entry, back, i);
    }
    const sent = entries.ports(entries.tuple(entry, there));
    const answered = entries.ports(entries.tuple(entry, back));
    this.senderPort = sent >>> 16;
    this.shownReceiverPort = sent & 0xffff;
    this.receiverPort = answered >>> 16;
    this.shownSenderPort = answered & 0xffff;
  }

  get version(): 4 | 6 {
    return this.#table.version as 4 | 6;
  }

  get now(): number {
    return this.#tracker.context.now;
  }

  get isTranslated(): boolean {
    return (this.#table.entries.status(this.#entry) & TRANSLATED) !== 0;
  }

  get payload(): Uint8Array {
    const { bytes, end } = this.packet;
    this.packet.fragmentLengths = undefined;
    return this.payloadOffset < end ? bytes.subarray(this.payloadOffset, end) : EMPTY;
  }

  expect(expected: Expected): number | undefined {
    const { port, shownPort, fromPort = 0 } = expected;
    const isSender = (expected.to ?? 'sender') === 'sender';
    const { entries } = this.#table;
    const key = expectationKey();
    key.set(isSender ? this.receiver : this.sender, 0);
    key.set(isSender ? this.shownSender : this.shownReceiver, 4);
    const protocol = expected.protocol ?? entries.protocol(this.#entry);
    key[KEY_KIND] = protocol | (entries.zone(this.#entry) << 8);
    const wanted = shownPort ?? port;
    const isFixed = shownPort !== undefined || !this.isTranslated;
    let attemptsLeft = isFixed ? 0 : Math.min(MAX_PORT - wanted, ATTEMPTS);
    for (let picked = wanted; ; ) {
      key[KEY_PORTS] = (fromPort << 16) | picked;
      const expectation = this.#make(expected, key, protocol);
      if (this.isTranslated) {
        expectation.follows = 1;
        expectation.direction = isSender ? ((1 - this.direction) as Direction) : this.direction;
        expectation.ownPort = port;
      }
      const said = this.#announce(expectation);
      if (said === Announced.DONE) return picked;
      if (said !== Announced.CLASH || --attemptsLeft < 0) return undefined;
      picked = this.#helpers.translator?.pick(wanted, MAX_PORT - wanted) ?? wanted;
    }
  }

  #make(expected: Expected, key: Int32Array, protocol: number): Expectation {
    const { helper, fromPort = 0, from = 'peer', occurs = 'once' } = expected;
    return new Expectation(this.#table, this.#entry, key.slice(), {
      anySource: from === 'anyone' ? 1 : 0,
      anySourcePort: fromPort === 0 ? 1 : 0,
      isPermanent: occurs === 'often' ? 1 : 0,
      helper: helper === undefined ? undefined : this.#helpers.find(helper, this.#table.version, protocol),
    });
  }

  #announce(expectation: Expectation): Announced {
    const { maxExpected = 1, expectationTimeoutMs = DEFAULT_TIMEOUT_MS } = this.#helper;
    const said = this.#tracker.expectations.announce(
      expectation,
      maxExpected,
      expectationTimeoutMs,
      this.now,
    );
    if (said === Announced.DONE) this.#announced.push(expectation);
    return said;
  }

  replace(offset: number, lengthBytes: number, bytes: Uint8Array): Verdict {
    const { packet } = this;
    const from = this.payloadOffset + offset;
    const isInside = offset >= 0 && lengthBytes >= 0 && from + lengthBytes <= packet.end;
    if (!isInside || this.#helpers.translator?.replace(packet, from, from + lengthBytes, bytes) !== 1) {
      for (const expectation of this.#announced) this.#tracker.expectations.withdraw(expectation);
      this.#announced = [];
      return DROP;
    }
    this.payloadOffset = payloadStart(packet);
    const longer = bytes.length - lengthBytes;
    if (packet.protocol === TCP && longer !== 0) {
      this.#extension.offsets ??= new SequenceOffsets();
      this.#extension.offsets.change(this.direction, this.sequence, longer);
      this.#table.entries.setStatus(this.#entry, Status.SEQ_ADJUST);
    }
    return ACCEPT;
  }
}

/** Offset of what lies behind the transport header; beyond the end if that is cut off. */
function payloadStart(packet: Packet): number {
  const { protocol, transport, end } = packet;
  if (protocol === TCP) return hasTcpHeader(packet) === 1 ? transport + tcpHeaderBytes(packet) : end + 1;
  return transport + (protocol === UDP ? UDP_HEADER_BYTES : 0);
}
