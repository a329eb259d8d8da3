/**
 * The tracker: gives every packet its connection and ctinfo, and every new connection its place in the table. Hot.
 *
 * A packet's way: `track` (PREROUTING, OUTPUT) finds the entry of its tuple or takes a new, unconfirmed one, and lets
 * the protocol's module judge it; `confirm` (end of INPUT, POSTROUTING) links a new entry into the table; `discard`
 * gives an entry back whose first packet never got that far. A packet that fits nothing is INVALID: it passes with no
 * entry, and rules decide.
 *
 * Invariants: an unconfirmed entry is owned by exactly one packet; `live` of both tables together never exceeds
 * `maxConnections`. Time is read from `begin` alone. What it does not do: NAT, rules, defragmentation.
 */
import { DropCounters, DropReason } from '../counters.js';
import { unpredictableSeed } from '../random.js';
import { CtInfo, type Packet } from '../wire/packet.js';
import { Verdict } from '../wire/verdict.js';
import { checkCapacity, defaultBuckets, maxCapacity } from './capacity.js';
import { TrackContext } from './context.js';
import { Direction, type Entries, type EntryId, NIL, Status, type TupleId } from './entries.js';
import { Expectations } from './expectations.js';
import { Helpers } from './helpers/registry.js';
import { noteActivity } from './inactivity.js';
import { trackGeneric } from './protocols/generic.js';
import { trackGre } from './protocols/gre.js';
import { trackIcmp, trackIcmpv6 } from './protocols/icmp.js';
import { trackIcmpError } from './protocols/icmp-error.js';
import { trackSctp } from './protocols/sctp.js';
import { trackTcp } from './protocols/tcp.js';
import { trackUdp, trackUdpLite } from './protocols/udp.js';
import { ConntrackTable, DestroyReason } from './table.js';
import { Templates } from './templates.js';
import { TimeWait } from './time-wait.js';
import { TimeoutPolicies } from './timeout-policies.js';
import type { TrackerOptions } from './tracker-options.js';
import { HASH_LATER, invertKey, KEY_KIND, KEY_WORDS, packKey } from './tuples.js';

/** Zone bits of {@link Packet.template}. */
const TEMPLATE_PRESENT = 1 << 16;

const INVALID = CtInfo.INVALID;
const ESTABLISHED = CtInfo.ESTABLISHED;
const RELATED = CtInfo.RELATED;
const NEW = CtInfo.NEW;
const ESTABLISHED_REPLY = CtInfo.ESTABLISHED_REPLY;
const UNTRACKED = CtInfo.UNTRACKED;
const ORIGINAL = Direction.ORIGINAL;
const REPLY = Direction.REPLY;
const REVIEW = Status.REVIEW;
const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;

/** Answers of the protocol modules; see `context.ts`. */
const TRACK_DROP = 0;
const TRACK_ACCEPT = 1;
const TRACK_REPEAT = 4;

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const GRE = 47;
const ICMPV6 = 58;
const SCTP = 132;
const UDPLITE = 136;

/** Buckets that early drop looks at, from the new tuple's bucket on (Linux's NF_CT_EVICTION_RANGE). */
const EVICTION_BUCKETS = 8;

export type { TrackerOptions } from './tracker-options.js';

/** Counts since the tracker was made, in the words of `conntrack -S`. */
export interface TrackerStatistics {
  /** Entries linked into the table. */
  insert: number;
  /** Confirmations refused because the reply tuple was taken. */
  insertFailed: number;
  /** Packets that are INVALID. */
  invalid: number;
  /** Packets dropped by the tracker. */
  drop: number;
  /** Entries evicted from a full table. */
  earlyDrop: number;
}

/** Judges connections that were marked with the status REVIEW because what let them be has changed. */
export interface FlowReviewer {
  /**
   * Called with the next packet of such a connection, mark taken away. Returns 1 if it may go on, or 0: it is then
   * over (RULE_CHANGED); a packet of the original direction begins a new one, a reply is dropped.
   */
  review(packet: Packet, table: ConntrackTable, entry: EntryId): 0 | 1;
}

export class Tracker {
  readonly context = new TrackContext();
  readonly drops = new DropCounters();
  /** Connections that helpers have announced. */
  readonly expectations = new Expectations();
  readonly helpers = new Helpers(this);
  /** What the CT target asks for, by the number in `Packet.template`. */
  readonly templates = new Templates();
  /** Timeout policies that rules may name. */
  readonly timeoutPolicies = new TimeoutPolicies(this.context.defaultTimeouts);
  readonly statistics: TrackerStatistics = { insert: 0, insertFailed: 0, invalid: 0, drop: 0, earlyDrop: 0 };
  /** Records that the store can hold per family; `maxConnections` may be lowered below it at run time. */
  readonly capacity: number;
  readonly bucketCount: number;
  /** Most connections at a time, both families (nf_conntrack_max). At most `capacity`. */
  maxConnections: number;
  /** Told when an entry was linked; set only while somebody listens. */
  onConfirm: ((table: ConntrackTable, entry: EntryId) => void) | undefined = undefined;
  /** Judges connections with the status REVIEW; without one they go on. */
  reviewer: FlowReviewer | undefined = undefined;
  /** 1 while a full table may evict unassured entries. */
  readonly #earlyDrop: number;
  readonly #seed: number;
  #table4: ConntrackTable | undefined;
  #table6: ConntrackTable | undefined;
  #epochMs = Number.NaN;
  readonly #key = new Int32Array(KEY_WORDS);
  readonly #reply = new Int32Array(KEY_WORDS);

  constructor(options: TrackerOptions = {}) {
    this.capacity = options.maxConnections ?? 262_144;
    checkCapacity(4, this.capacity);
    this.maxConnections = this.capacity;
    this.bucketCount = options.buckets ?? defaultBuckets(this.capacity);
    this.#seed = (options.seed ?? unpredictableSeed()) | 0;
    this.#earlyDrop = options.earlyDrop === 'never' ? 0 : 1;
    if (options.timeWaitReuse !== undefined) this.context.timeWait = new TimeWait(options.timeWaitReuse);
  }

  // ---- time ----

  /** Sets the time of what follows. `nowMs` is of any origin and does not go back; fractions are cut off. */
  begin(nowMs: number): void {
    this.context.nowMs = nowMs;
    this.context.now = this.timeOf(nowMs);
  }

  /** The tracker's int32 time for `nowMs`; it wraps after 49 days, which comparisons by difference survive. */
  timeOf(nowMs: number): number {
    if (Number.isNaN(this.#epochMs)) this.#epochMs = Math.floor(nowMs);
    return Math.floor(nowMs - this.#epochMs) | 0;
  }

  // ---- tables ----

  /** The table of a family, made when first asked for. */
  table(version: number): ConntrackTable {
    if (version === 4) return (this.#table4 ??= this.#makeTable(4));
    return (this.#table6 ??= this.#makeTable(6));
  }

  /** Tables made so far. */
  *tables(): Iterable<ConntrackTable> {
    if (this.#table4 !== undefined) yield this.#table4;
    if (this.#table6 !== undefined) yield this.#table6;
  }

  readonly #made: ((table: ConntrackTable) => void)[] = [];

  /** Calls `made` for each family's table: at once for those that exist, later for the others. */
  eachTable(made: (table: ConntrackTable) => void): void {
    for (const table of this.tables()) made(table);
    this.#made.push(made);
  }

  #makeTable(version: number): ConntrackTable {
    const capacity = Math.min(this.capacity, maxCapacity(version));
    const table = new ConntrackTable(version, capacity, this.bucketCount, this.#seed ^ version);
    this.expectations.watch(table);
    for (const made of this.#made) made(table);
    return table;
  }

  /** Records in use in both families, unconfirmed ones included (nf_conntrack_count). */
  get count(): number {
    return (this.#table4?.live ?? 0) + (this.#table6?.live ?? 0);
  }

  /** Whether a new connection may begin without a look at helpers and expectations, and without making room: 1 or 0. */
  mayOpen(): 0 | 1 {
    const isAsked = this.expectations.count > 0 || this.helpers.automatic === 1;
    return isAsked || this.count >= this.maxConnections ? 0 : 1;
  }

  // ---- packets ----

  /**
   * Attaches `entry` and `ctinfo` to the packet. Returns ACCEPT (INVALID packets too), or DROP with the packet's
   * reason set.
   */
  track(packet: Packet, hook: number): Verdict {
    if (packet.ctinfo === UNTRACKED || packet.entry !== NIL) return ACCEPT;
    if (packet.fragmentOffset > 0 || packet.brokenChain === 1) return this.#invalid(packet);
    const table = this.table(packet.version);
    const protocol = packet.protocol;
    if ((protocol === ICMP && packet.version === 4) || (protocol === ICMPV6 && packet.version === 6)) {
      const said = trackIcmpError(this.context, table, packet, hook, this.#key);
      if (said === TRACK_DROP) return this.#drop(packet, DropReason.CT_INVALID_DROPPED);
      if (said < 0) return this.#invalid(packet);
      if (packet.ctinfo !== INVALID) return ACCEPT;
    }
    for (;;) {
      const entry = this.#resolve(packet, table);
      if (entry === NIL) {
        if (packet.reason !== DropReason.NONE) return this.#drop(packet, packet.reason);
        return this.#invalid(packet);
      }
      if ((table.entries.status(entry) & REVIEW) !== 0 && this.#review(packet, table, entry) === 0) {
        const isReply = packet.ctinfo >= ESTABLISHED_REPLY;
        table.destroy(entry, DestroyReason.RULE_CHANGED);
        packet.entry = NIL;
        packet.ctinfo = INVALID;
        if (isReply) return this.#drop(packet, DropReason.RULE_CHANGED);
        continue;
      }
      const policy = table.entries.policy(entry);
      const said =
        policy === 0
          ? this.#judge(packet, table, entry, hook)
          : this.#judgeByPolicy(policy, packet, table, entry, hook);
      if (said === TRACK_ACCEPT) {
        if (packet.ctinfo === ESTABLISHED_REPLY) this.context.mark(table, entry, Status.SEEN_REPLY, 1);
        if (table.entries.clock(entry) !== 0) {
          const direction = packet.ctinfo >= ESTABLISHED_REPLY ? REPLY : ORIGINAL;
          noteActivity(this.context, table.entries, entry, direction, packet);
        }
        return ACCEPT;
      }
      packet.entry = NIL;
      packet.ctinfo = INVALID;
      if (said === TRACK_REPEAT) continue;
      if ((table.entries.status(entry) & (Status.CONFIRMED | Status.DYING)) === 0) table.discard(entry);
      if (said === TRACK_DROP) return this.#drop(packet, DropReason.CT_INVALID_DROPPED);
      return this.#invalid(packet);
    }
  }

  /** Whether a connection whose rules have changed may go on: 1 or 0. */
  #review(packet: Packet, table: ConntrackTable, entry: EntryId): 0 | 1 {
    table.entries.clearStatus(entry, REVIEW);
    return this.reviewer === undefined ? 1 : this.reviewer.review(packet, table, entry);
  }

  /** Finds or makes the packet's entry and sets `entry` and `ctinfo`. NIL: INVALID, or a reason to drop is set. */
  #resolve(packet: Packet, table: ConntrackTable): EntryId {
    const key = this.#key;
    const template = packet.template;
    const zone = template === 0 ? 0 : zoneOf(template, ORIGINAL);
    if (packKey(key, packet.addresses, packet.protocol, packet, packet.transport, packet.end, zone) === 0) {
      return NIL as EntryId;
    }
    const entries = table.entries;
    const now = this.context.now;
    const hash = table.hashKey(key);
    let tuple = table.findHashed(key, hash, now);
    if (template !== 0) {
      tuple = this.#inZone(entries, tuple, template);
      const replyZone = zoneOf(template, REPLY);
      if (tuple === NIL && replyZone !== zone) {
        key[KEY_KIND] = packet.protocol | (replyZone << 8);
        tuple = this.#inZone(entries, table.find(key, now), template);
        key[KEY_KIND] = packet.protocol | (zone << 8);
      }
    }
    if (tuple === NIL) return this.#begin(packet, table, hash);
    const entry = entries.entryOf(tuple);
    packet.entry = entry;
    if (entries.directionOf(tuple) === REPLY) packet.ctinfo = ESTABLISHED_REPLY;
    else packet.ctinfo = this.#originalInfo(entries.status(entry));
    return entry;
  }

  #originalInfo(status: number): number {
    if ((status & Status.SEEN_REPLY) !== 0) return ESTABLISHED;
    return (status & Status.EXPECTED) !== 0 ? RELATED : NEW;
  }

  /** The tuple if its entry's zone is the template's in that direction, else NIL. */
  #inZone(entries: Entries, tuple: TupleId, template: number): TupleId {
    if (tuple === NIL) return tuple;
    const direction = entries.directionOf(tuple);
    const zone = zoneOf(template, direction);
    return entries.kind(tuple) >>> 8 === zone ? tuple : (NIL as TupleId);
  }

  /** A new entry for the key in scratch. */
  #begin(packet: Packet, table: ConntrackTable, hash: number): EntryId {
    const reply = this.#reply;
    if (invertKey(reply, this.#key) === 0) return NIL as EntryId;
    const template = packet.template;
    if (template !== 0) reply[KEY_KIND] = packet.protocol | (zoneOf(template, REPLY) << 8);
    if (this.count >= this.maxConnections && this.#makeRoom(table, hash) === 0) {
      packet.reason = DropReason.TABLE_FULL;
      return NIL as EntryId;
    }
    const entry = table.take();
    if (entry === NIL) {
      packet.reason = DropReason.TABLE_FULL;
      return entry;
    }
    const entries = table.entries;
    entries.setKey(entry, ORIGINAL, this.#key, hash);
    // With a template the key may be there, in another zone.
    if (template === 0) entries.setAbsentAt(entries.tuple(entry, ORIGINAL), table.links);
    // NAT may change it yet: whoever needs its hash computes it.
    entries.setKey(entry, REPLY, reply, HASH_LATER);
    entries.setBorn(entry, this.context.now);
    if (template !== 0) {
      if ((template & TEMPLATE_PRESENT) !== 0)
        entries.setZone(entry, template & 0xffff, (template >>> 17) & 3);
      entries.setPolicy(entry, template >>> 24);
    }
    packet.entry = entry;
    packet.ctinfo = NEW;
    if (this.expectations.count > 0 && this.#fulfil(packet, table, entry) === 1) return entry;
    if (template >>> 24 !== 0) this.#attach(table, entry, template >>> 24);
    else if (this.helpers.automatic === 1) this.helpers.attachByPort(table, entry, this.#key);
    return entry;
  }

  /** Whether the entry of the key in scratch was expected: 1 or 0. It then knows its master, and is RELATED. */
  #fulfil(packet: Packet, table: ConntrackTable, entry: EntryId): 0 | 1 {
    const zone = packet.template & 0xffff;
    const expectation = this.expectations.find(table.version, this.#key, zone, this.context.now);
    if (expectation === undefined) return 0;
    packet.ctinfo = RELATED;
    this.helpers.fulfil(table, entry, expectation);
    return 1;
  }

  /** The helper that the CT target named. */
  #attach(table: ConntrackTable, entry: EntryId, options: number): void {
    const helper = this.templates.of(options)?.helper;
    if (helper === undefined) return;
    table.entries.setStatus(entry, Status.HELPER);
    this.helpers.attach(table, entry, helper);
  }

  /** Judges a packet of a connection that has options of the CT target, by its own timeouts if these are among them. */
  #judgeByPolicy(
    policy: number,
    packet: Packet,
    table: ConntrackTable,
    entry: EntryId,
    hook: number,
  ): number {
    const { context } = this;
    context.timeouts = this.templates.of(policy)?.timeouts ?? context.defaultTimeouts;
    const said = this.#judge(packet, table, entry, hook);
    context.timeouts = context.defaultTimeouts;
    return said;
  }

  #judge(packet: Packet, table: ConntrackTable, entry: EntryId, hook: number): number {
    const direction = packet.ctinfo >= ESTABLISHED_REPLY ? REPLY : ORIGINAL;
    switch (packet.protocol) {
      case TCP:
        return trackTcp(this.context, table, entry, direction, packet, hook);
      case UDP:
        return trackUdp(this.context, table, entry, direction, packet, hook);
      case ICMP:
        return trackIcmp(this.context, table, entry, direction, packet, hook);
      case ICMPV6:
        return trackIcmpv6(this.context, table, entry, direction, packet, hook);
      case UDPLITE:
        return trackUdpLite(this.context, table, entry, direction, packet, hook);
      case SCTP:
        return trackSctp(this.context, table, entry, direction, packet, hook);
      case GRE:
        return trackGre(this.context, table, entry, direction, packet, hook);
      default:
        return trackGeneric(this.context, table, entry, direction, packet, hook);
    }
  }

  /**
   * Links the packet's entry if it is new. Returns DROP when a tuple of it is taken by then (NAT found no free one),
   * else ACCEPT.
   */
  confirm(packet: Packet): Verdict {
    const entry = packet.entry as EntryId;
    if (entry === NIL || packet.ctinfo >= ESTABLISHED_REPLY) return ACCEPT;
    const table = this.table(packet.version);
    const entries = table.entries;
    // A packet that ended its connection (a RST) still goes its way.
    if ((entries.status(entry) & (Status.CONFIRMED | Status.DYING)) !== 0) return ACCEPT;
    const links = table.links;
    // Nothing was linked since the keys were looked for, as a rule in tracking and in NAT.
    const isFree =
      entries.absentAt(entries.tuple(entry, ORIGINAL)) === links &&
      entries.absentAt(entries.tuple(entry, REPLY)) === links;
    if (!isFree && this.#hasRival(table, entry) === 1) {
      this.statistics.insertFailed++;
      // NAT said so before, if it found no free tuple.
      const exhausted = packet.reason === DropReason.NAT_EXHAUSTED;
      return this.#drop(packet, exhausted ? packet.reason : DropReason.CONFIRM_CLASH);
    }
    entries.setExpires(entry, (this.context.now + entries.expires(entry)) | 0);
    table.link(entry);
    this.statistics.insert++;
    if (this.onConfirm !== undefined) this.onConfirm(table, entry);
    return ACCEPT;
  }

  /** Whether somebody has a tuple of an entry that is not confirmed: 1 or 0. */
  #hasRival(table: ConntrackTable, entry: EntryId): 0 | 1 {
    const entries = table.entries;
    const key = this.#key;
    for (let direction: Direction = ORIGINAL; direction <= REPLY; direction++) {
      const tuple = entries.tuple(entry, direction as Direction);
      if (entries.absentAt(tuple) === table.links) continue;
      entries.getKey(entry, direction as Direction, key);
      let hash = entries.hash(tuple);
      if (hash === HASH_LATER) {
        hash = table.hashKey(key);
        entries.setHash(tuple, hash);
      }
      const rival = table.findHashed(key, hash, this.context.now);
      if (rival !== NIL && sharesZone(entries, entry, rival) === 1) return 1;
    }
    return 0;
  }

  /** The packet is over: detaches it, and gives back an entry that it began and that was never confirmed. */
  discard(packet: Packet): void {
    const entry = packet.entry as EntryId;
    if (entry === NIL) return;
    packet.entry = NIL;
    if (packet.ctinfo !== NEW && packet.ctinfo !== RELATED) return;
    const table = this.table(packet.version);
    const status = table.entries.status(entry);
    if ((status & (Status.CONFIRMED | Status.DYING)) !== 0) return;
    // An error that was attached to somebody's unconfirmed entry is RELATED too, but does not own it.
    if (packet.ctinfo === RELATED && (status & Status.EXPECTED) === 0) return;
    table.discard(entry);
  }

  #invalid(packet: Packet): Verdict {
    packet.entry = NIL;
    packet.ctinfo = INVALID;
    // What the CT target asked of tracking is done with: rules must not take the packet for a NEW one.
    packet.template = 0;
    this.statistics.invalid++;
    return ACCEPT;
  }

  #drop(packet: Packet, reason: DropReason): Verdict {
    packet.reason = reason;
    this.statistics.drop++;
    this.drops.count(reason);
    return DROP;
  }

  /**
   * Room for one more: reaps expired entries and evicts those that are not ASSURED from the first bucket, of eight
   * from the new tuple's on, that has any. Returns 1 if something was evicted.
   */
  #makeRoom(table: ConntrackTable, hash: number): 0 | 1 {
    if (this.#earlyDrop === 0) return 0;
    let bucket = table.bucketOf(hash);
    for (let i = 0; i < EVICTION_BUCKETS; i++) {
      const evicted = table.evictUnassured(bucket, this.context.now);
      if (evicted > 0) {
        this.statistics.earlyDrop += evicted;
        return 1;
      }
      bucket = (bucket + 1) & (table.bucketCount - 1);
    }
    return this.count < this.maxConnections ? 1 : 0;
  }
}

/**
 * Whether the zones of an entry and of the one that `rival` belongs to are the same in the rival's direction: 1 or 0. A
 * zone for one direction only may have the number of another connection's in the other one.
 */
function sharesZone(entries: Entries, entry: EntryId, rival: TupleId): 0 | 1 {
  const only = entries.zoneDirection(entry);
  const direction = entries.directionOf(rival);
  const zone = only === 0 || only === direction + 1 ? entries.zone(entry) : 0;
  return zone === entries.kind(rival) >>> 8 ? 1 : 0;
}

/** Zone id of a template for a direction: 0 when the zone is meant for the other one only. */
function zoneOf(template: number, direction: Direction): number {
  const only = (template >>> 17) & 3;
  return only === 0 || only === direction + 1 ? template & 0xffff : 0;
}
