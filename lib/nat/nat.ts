/**
 * NAT at the hooks: binds new connections, and translates the packets of bound ones. Hot.
 *
 * A connection is bound at each end once, by its first packet: the destination at PREROUTING or OUTPUT, the source at
 * POSTROUTING or INPUT. The nat table decides how; if none of its rules does, a null binding keeps the tuple. Every later
 * packet follows the binding without seeing the table, in both directions. Targets of rules call `setup`, `masquerade`,
 * `redirect` and `netmap` while the table is traversed.
 *
 * A packet of an established connection costs a test of its status, and the rewrite if it has one. The hooks are called
 * only while the family has a nat table: connections that began before it are never translated.
 */
import type { TrackContext } from '../conntrack/context.js';
import { Direction, type Entries, type EntryId, NIL, Status } from '../conntrack/entries.js';
import { type ConntrackTable, DestroyReason } from '../conntrack/table.js';
import { DropReason } from '../counters.js';
import type { Host } from '../host.js';
import type { Random } from '../random.js';
import { ChecksumState, CtInfo, type Packet } from '../wire/packet.js';
import { Hook, Verdict } from '../wire/verdict.js';
import { checkError, rewriteError } from './icmp-error.js';
import { Manip, type NatRange, ScratchRange } from './range.js';
import { NO_RESERVATIONS, type PortReservations } from './reservations.js';
import { rewrite, rewriteFlow4, TARGET_PORT, TARGET_WORDS } from './rewrite.js';
import { Binding, Bindings } from './setup.js';

const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const SRC = Manip.SRC;
const DST = Manip.DST;
const INPUT = Hook.INPUT;
const OUTPUT = Hook.OUTPUT;
const POSTROUTING = Hook.POSTROUTING;
const NEW = CtInfo.NEW;
const RELATED = CtInfo.RELATED;
const ESTABLISHED = CtInfo.ESTABLISHED;
const ESTABLISHED_REPLY = CtInfo.ESTABLISHED_REPLY;
const RELATED_REPLY = CtInfo.RELATED_REPLY;
const REPLY = Direction.REPLY;
const PARTIAL = ChecksumState.PARTIAL;
const CONFIRMED = Status.CONFIRMED;
const SRC_NAT = Status.SRC_NAT;
const SRC_NAT_DONE = Status.SRC_NAT_DONE;
const DST_NAT_DONE = Status.DST_NAT_DONE;

/** Index of the nat table in a ruleset. */
const NAT_TABLE = 2;

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;
const TCP_HEADER_BYTES = 20;
const SCTP_HEADER_BYTES = 12;

/** What NAT needs of the tracker. */
export interface NatTracker {
  readonly context: TrackContext;
  eachTable(made: (table: ConntrackTable) => void): void;
}

/** What NAT needs of the rules. */
export interface NatRules {
  /** [5] by hook: a bit per table (1 << index) that has a chain there. */
  readonly chains: Int32Array;
  /** Sends the packet through a table's chain of a hook. */
  traverse(table: number, hook: Hook, packet: Packet): Verdict;
}

/** Every tuple that a rule allows a new connection is taken; the packet that began it is dropped. */
export interface NatExhausted {
  readonly type: 'exhausted';
  readonly version: number;
  readonly protocol: number;
  /** Entry in its family's table; readable only during the call. */
  readonly entry: EntryId;
  readonly table: ConntrackTable;
  /** The range of the rule, or of the null binding; readable only during the call. */
  readonly range: NatRange;
}

export class Nat {
  /** Told when a new connection finds no free tuple; set only while somebody listens. */
  onExhausted: ((event: NatExhausted) => void) | undefined = undefined;
  /** Connections that found no free tuple. */
  exhaustedCount = 0;
  readonly #context: TrackContext;
  readonly #host: Host;
  #bindings4: Bindings | undefined;
  #bindings6: Bindings | undefined;
  readonly #target = new Int32Array(TARGET_WORDS);
  readonly #address = new Int32Array(4);
  readonly #range = new ScratchRange();
  #reservations = NO_RESERVATIONS;

  constructor(tracker: NatTracker, host: Host, random: Random) {
    this.#context = tracker.context;
    this.#host = host;
    tracker.eachTable((table) => {
      const bindings = new Bindings(table, random);
      bindings.unique.claims.reservations = this.#reservations;
      bindings.unique.claims.context = this.#context;
      if (table.version === 4) this.#bindings4 = bindings;
      else this.#bindings6 = bindings;
    });
  }

  /** Keeps connections from being moved to ports that are reserved. */
  keepFrom(reservations: PortReservations): void {
    this.#reservations = reservations;
    for (const bindings of [this.#bindings4, this.#bindings6]) {
      if (bindings !== undefined) bindings.unique.claims.reservations = reservations;
    }
  }

  /** Bindings of a family; its table exists. */
  bindings(version: number): Bindings {
    return (version === 4 ? this.#bindings4 : this.#bindings6) as Bindings;
  }

  /** Whether an end of the packet's connection is bound: 1 or 0. */
  isBound(packet: Packet, manip: Manip): 0 | 1 {
    const status = this.bindings(packet.version).table.entries.status(packet.entry as EntryId);
    return (status & (SRC_NAT_DONE << manip)) === 0 ? 0 : 1;
  }

  /**
   * One nat hook. `hook` is not FORWARD. Returns ACCEPT, with the packet translated;
   * DROP with its reason set; or another verdict of the nat table's.
   */
  hook(packet: Packet, hook: Hook, rules: NatRules): Verdict {
    const entry = packet.entry as EntryId;
    if (entry === NIL) return ACCEPT;
    const bindings = packet.version === 4 ? this.#bindings4 : this.#bindings6;
    const entries = (bindings as Bindings).table.entries;
    const ctinfo = packet.ctinfo;
    const manip = hook === POSTROUTING || hook === INPUT ? SRC : DST;
    if (ctinfo === NEW) return this.#begin(packet, entries, entry, hook, manip, rules);
    const reply = ctinfo >= ESTABLISHED_REPLY ? 1 : 0;
    let status = entries.status(entry);
    if (ctinfo !== ESTABLISHED && ctinfo !== ESTABLISHED_REPLY) {
      if ((ctinfo === RELATED || ctinfo === RELATED_REPLY) && isError(packet) === 1) {
        return this.#translateError(packet, entries, entry, manip, reply);
      }
      if ((status & (SRC_NAT_DONE << manip)) === 0) {
        const verdict = this.#bind(packet, hook, manip, rules);
        if (verdict !== ACCEPT) return verdict;
        status = entries.status(entry);
      } else if (hook === POSTROUTING && this.#hasMoved(packet, entries, entry, reply) === 1) {
        return this.#kill(packet, entry, reply);
      }
    } else if (hook === POSTROUTING && this.#hasMoved(packet, entries, entry, reply) === 1) {
      return this.#kill(packet, entry, reply);
    }
    // SRC_NAT for sources of original and destinations of reply packets, DST_NAT (the next bit) for the others.
    if ((status & (SRC_NAT << (manip ^ reply))) === 0) return ACCEPT;
    return this.#rewrite(packet, entries, entry, manip, reply);
  }

  /** `hook` for the packets of a connection that was not answered yet. */
  #begin(
    packet: Packet,
    entries: Entries,
    entry: EntryId,
    hook: Hook,
    manip: Manip,
    rules: NatRules,
  ): Verdict {
    if ((entries.status(entry) & (SRC_NAT_DONE << manip)) === 0) {
      const verdict = this.#bind(packet, hook, manip, rules);
      if (verdict !== ACCEPT) return verdict;
    } else if (hook === POSTROUTING && this.#hasMoved(packet, entries, entry, 0) === 1) {
      return this.#kill(packet, entry, 0);
    }
    if ((entries.status(entry) & (SRC_NAT << manip)) === 0) return ACCEPT;
    const protocol = packet.protocol;
    const isPlain =
      manip === SRC &&
      (protocol === UDP || protocol === TCP) &&
      packet.version === 4 &&
      packet.fragmentLengths === undefined &&
      packet.checksumState !== PARTIAL &&
      packet.end - packet.transport >= TCP_HEADER_BYTES;
    if (!isPlain) return this.#rewrite(packet, entries, entry, manip, 0);
    const to = entries.destinationWord(entry, REPLY, 0);
    const port = entries.ports(entries.tuple(entry, REPLY)) & 0xffff;
    rewriteFlow4(packet.bytes, packet.start, packet.transport, protocol, SRC, to, port);
    packet.addresses[0] = to;
    return ACCEPT;
  }

  /** What the binding makes of an end of a packet. */
  #rewrite(packet: Packet, entries: Entries, entry: EntryId, manip: Manip, reply: number): Verdict {
    this.#aim(entries, entry, manip, 1 - reply);
    const transport = packet.brokenChain === 1 || packet.fragmentOffset > 0 ? -1 : packet.transport;
    const protocol = entries.protocol(entry);
    if (rewrite(packet, packet.start, transport, packet.version, protocol, manip, this.#target) === 0) {
      packet.reason = DropReason.TRUNCATED;
      return DROP;
    }
    if (packet.fragmentLengths !== undefined) forgetBoundaries(packet, transport);
    this.#show(packet, manip);
    return ACCEPT;
  }

  // ---- what targets call ----

  /** Binds an end of the packet's connection to `range` (SNAT, DNAT). */
  setup(packet: Packet, range: NatRange, manip: Manip): Verdict {
    const bindings = this.bindings(packet.version);
    const entry = packet.entry as EntryId;
    const said = bindings.setup(entry, range, manip, this.#context.now);
    return this.#settle(packet, bindings, entry, range, said);
  }

  /**
   * The null binding of the destination of an IPv4 packet of UDP or TCP that begins a connection, while nobody in TIME_WAIT
   * gives tuples away. Returns 0, with nothing done, if a rule has bound it.
   */
  keepDestination4(packet: Packet): 0 | 1 {
    const entries = (this.#bindings4 as Bindings).table.entries;
    const entry = packet.entry as EntryId;
    if ((entries.status(entry) & DST_NAT_DONE) !== 0) return 0;
    entries.setStatus(entry, DST_NAT_DONE);
    return 1;
  }

  /** The null binding of an end. */
  setupNull(packet: Packet, manip: Manip): Verdict {
    const bindings = this.bindings(packet.version);
    const entry = packet.entry as EntryId;
    const said = bindings.setupNull(entry, manip, this.#context.now);
    return this.#settle(packet, bindings, entry, bindings.nullRange, said);
  }

  /**
   * MASQUERADE: the source becomes the address of the interface that the packet leaves by, with `range`'s ports and
   * flags. A locally sent packet without a source address keeps it. Drops if the interface has no address.
   */
  masquerade(packet: Packet, range: NatRange): Verdict {
    const bindings = this.bindings(packet.version);
    const entries = bindings.table.entries;
    const entry = packet.entry as EntryId;
    if (packet.version === 4 && entries.sourceWord(entry, 0, 0) === 0) return ACCEPT;
    const address = this.#address;
    const found = this.#host.masqueradeAddress(
      packet.version,
      packet.outInterface,
      packet.addresses,
      4,
      address,
    );
    if (found === 0) return this.#drop(packet, DropReason.NAT_ADDRESS_GONE);
    entries.setMasqueradeInterface(entry, packet.outInterface);
    if (range.flags === 0 && (entries.status(entry) & (CONFIRMED | SRC_NAT_DONE)) === 0) {
      const said = bindings.moveSource(entry, address, this.#context.now);
      if (said === Binding.DONE) return ACCEPT;
      this.#range.setAddress(address, range);
      return this.#settle(packet, bindings, entry, this.#range, said);
    }
    this.#range.setAddress(address, range);
    return this.setup(packet, this.#range, SRC);
  }

  /**
   * REDIRECT: the destination becomes the address of the interface that the packet came in by (loopback for locally
   * sent ones), with `range`'s ports and flags. Drops if the interface has no address.
   */
  redirect(packet: Packet, hook: Hook, range: NatRange): Verdict {
    const from = hook === OUTPUT ? 0 : packet.inInterface;
    if (this.#host.redirectAddress(packet.version, from, this.#address) === 0) {
      return this.#drop(packet, DropReason.NAT_ADDRESS_GONE);
    }
    this.#range.setAddress(this.#address, range);
    return this.setup(packet, this.#range, DST);
  }

  /** NETMAP: the network part of the address becomes that of `range` (its first and last address), the host part stays. */
  netmap(packet: Packet, hook: Hook, range: NatRange): Verdict {
    const manip = hook === POSTROUTING || hook === INPUT ? SRC : DST;
    const address = this.#address;
    for (let i = 0; i < 4; i++) {
      const hostBits = (range.minAddress[i] as number) ^ (range.maxAddress[i] as number);
      const word = packet.addresses[(manip << 2) + i] as number;
      address[i] = (word & hostBits) | ((range.minAddress[i] as number) & ~hostBits);
    }
    this.#range.setAddress(address, range);
    return this.setup(packet, this.#range, manip);
  }

  // ---- masquerading and interfaces ----

  /** An interface went down: ends the connections that were masqueraded behind it. Returns how many. */
  interfaceGone(index: number): number {
    return (
      this.#endMasqueraded(this.#bindings4, index, -1) + this.#endMasqueraded(this.#bindings6, index, -1)
    );
  }

  /**
   * An address (in `words[at..at+3]`) was taken from an interface: ends the connections that were masqueraded to it.
   * Returns how many.
   */
  addressGone(version: number, index: number, words: Int32Array, at: number): number {
    for (let i = 0; i < 4; i++) this.#address[i] = words[at + i] as number;
    return this.#endMasqueraded(version === 4 ? this.#bindings4 : this.#bindings6, index, 1);
  }

  /** Ends connections masqueraded behind an interface; with `address` >= 0 only those to the address in scratch. */
  #endMasqueraded(bindings: Bindings | undefined, index: number, address: number): number {
    if (bindings === undefined) return 0;
    const table = bindings.table;
    const entries = table.entries;
    let ended = 0;
    for (let slot = 0; slot < entries.slots.highWater; slot++) {
      const entry = entries.entryOfSlot(slot);
      if ((entries.status(entry) & Status.CONFIRMED) === 0) continue;
      if (entries.masqueradeInterface(entry) !== index) continue;
      if (address >= 0 && this.#isRepliedTo(entries, entry) === 0) continue;
      table.destroy(entry, DestroyReason.ADDRESS_GONE);
      ended++;
    }
    return ended;
  }

  /** Whether replies of the entry go to the address in scratch: 1 or 0. */
  #isRepliedTo(entries: Entries, entry: EntryId): 0 | 1 {
    for (let i = 0; i < 4; i++) if (entries.destinationWord(entry, 1, i) !== this.#address[i]) return 0;
    return 1;
  }

  /** Whether a masqueraded connection leaves by another interface than the one whose address it was given: 1 or 0. */
  #hasMoved(packet: Packet, entries: Entries, entry: EntryId, reply: number): 0 | 1 {
    const index = entries.masqueradeInterface(entry);
    return index !== 0 && index !== packet.outInterface && reply === 0 ? 1 : 0;
  }

  /** Ends the packet's connection, which counts the packet, and drops the packet. */
  #kill(packet: Packet, entry: EntryId, reply: number): Verdict {
    const table = this.bindings(packet.version).table;
    const entries = table.entries;
    if ((entries.status(entry) & Status.CONFIRMED) !== 0) {
      if (this.#context.settings.accounting === 1) {
        entries.account(entry, reply as 0 | 1, packet.lengthBytes);
      }
      packet.entry = NIL;
      table.destroy(entry, DestroyReason.ADDRESS_GONE);
    }
    return this.#drop(packet, DropReason.NAT_ADDRESS_GONE);
  }

  // ---- first packets and errors ----

  /** The nat table, then the null binding if no rule bound the end. */
  #bind(packet: Packet, hook: Hook, manip: Manip, rules: NatRules): Verdict {
    if (((rules.chains[hook] as number) & (1 << NAT_TABLE)) !== 0) {
      const verdict = rules.traverse(NAT_TABLE, hook, packet);
      if (verdict !== ACCEPT || this.isBound(packet, manip) === 1) return verdict;
    }
    return this.setupNull(packet, manip);
  }

  #translateError(packet: Packet, entries: Entries, entry: EntryId, manip: Manip, reply: number): Verdict {
    const status = entries.status(entry);
    if (checkError(packet, status) === 0) return this.#drop(packet, DropReason.NAT_ERROR_UNTRANSLATABLE);
    if ((status & (SRC_NAT << (manip ^ reply))) === 0) return ACCEPT;
    this.#aim(entries, entry, manip, 1 - reply);
    if (rewriteError(packet, entries.protocol(entry), manip, this.#target) === 0) {
      return this.#drop(packet, DropReason.NAT_ERROR_UNTRANSLATABLE);
    }
    this.#show(packet, manip);
    return ACCEPT;
  }

  #settle(packet: Packet, bindings: Bindings, entry: EntryId, range: NatRange, said: Binding): Verdict {
    if (said === Binding.DONE) return ACCEPT;
    if (said === Binding.REFUSED) return this.#drop(packet, DropReason.RULE_DROP);
    this.exhaustedCount++;
    packet.reason = DropReason.NAT_EXHAUSTED;
    if (this.onExhausted !== undefined) {
      const table = bindings.table;
      this.onExhausted({
        type: 'exhausted',
        version: table.version,
        protocol: table.entries.protocol(entry),
        entry,
        table,
        range,
      });
    }
    // Confirmation drops the packet, and keeps this reason; it would not find that a tuple is only reserved.
    return this.#reservations.count > 0 ? DROP : ACCEPT;
  }

  #drop(packet: Packet, reason: DropReason): Verdict {
    packet.reason = reason;
    return DROP;
  }

  // ---- the target of a rewrite ----

  /** Fills `#target` (of IPv4 the first address word only): what the `manip` end of a packet becomes whose answers have the tuple of direction `opposite`. */
  #aim(entries: Entries, entry: EntryId, manip: Manip, opposite: number): void {
    const target = this.#target;
    const direction = opposite as 0 | 1;
    const ports = entries.ports(entries.tuple(entry, direction));
    if (manip === SRC) {
      target[0] = entries.destinationWord(entry, direction, 0);
      if (entries.version === 6) {
        for (let i = 1; i < 4; i++) target[i] = entries.destinationWord(entry, direction, i);
      }
      const protocol = entries.protocol(entry);
      target[TARGET_PORT] = protocol === ICMP || protocol === ICMPV6 ? ports >>> 16 : ports & 0xffff;
    } else {
      target[0] = entries.sourceWord(entry, direction, 0);
      if (entries.version === 6) {
        for (let i = 1; i < 4; i++) target[i] = entries.sourceWord(entry, direction, i);
      }
      target[TARGET_PORT] = ports >>> 16;
    }
  }

  /** Brings the view's addresses in step with the rewritten header. */
  #show(packet: Packet, manip: Manip): void {
    const addresses = packet.addresses;
    const at = manip << 2;
    addresses[at] = this.#target[0] as number;
    if (packet.version === 6) for (let i = 1; i < 4; i++) addresses[at + i] = this.#target[i] as number;
  }
}

/** Whether the packet is an ICMP message of its family, as RELATED packets without an expectation are: 1 or 0. */
function isError(packet: Packet): 0 | 1 {
  return packet.protocol === (packet.version === 4 ? ICMP : ICMPV6) && packet.brokenChain === 0 ? 1 : 0;
}

/**
 * A transport header that is translated is pulled together first: a packet of our own whose first fragment had not all of
 * it does not leave along its old boundaries (`fragments/split.ts` knows this of packets that came in). Rare.
 */
function forgetBoundaries(packet: Packet, transport: number): void {
  const lengths = packet.fragmentLengths;
  if (lengths === undefined || transport < 0 || packet.inInterface > 0) return;
  const first = packet.end - lengths.reduce((sum, length) => sum + length, 0) + (lengths[0] as number);
  const { protocol } = packet;
  const headerBytes = protocol === TCP ? TCP_HEADER_BYTES : protocol === SCTP ? SCTP_HEADER_BYTES : 0;
  const end = transport + headerBytes;
  if (first < end && end <= packet.end) packet.fragmentLengths = undefined;
}
