/**
 * The flow cache of one family: packets of established flows about which everything is decided go the short way.
 *
 * A packet of an established connection that went the long way and was only forwarded, by rules that ask for nothing but
 * the flow (`rules/record.ts`), leaves a path (`paths.ts`) at its connection's tuple. The next ones of that direction are
 * parsed, tracked, translated and counted by `forward4.ts` or `forward6.ts` alone. Packets, table and counters are the
 * same as without (the tests run both side by side); only expired entries that a lookup would have met stay until the
 * reaper comes.
 *
 * Whatever a path was made from is watched by numbers that change with it: rules, routes, addresses, settings. When one
 * does, every path is forgotten and learned anew.
 */
import type { Entries, EntryId, TupleId } from '../../conntrack/entries.js';
import { Direction, NIL as NOBODY, Status } from '../../conntrack/entries.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import type { Engine } from '../../engine.js';
import type { Rules, RulesObservers } from '../../rules/rules.js';
import { CtInfo } from '../../wire/packet.js';
import type { Interfaces } from '../interfaces.js';
import type { Passage, PassageLearner, Passages } from '../passage.js';
import type { Routes } from '../routes.js';
import { Forward4 } from './forward4.js';
import { Forward6 } from './forward6.js';
import { Paths } from './paths.js';
import { Prefetch } from './prefetch.js';
import { Shortcut } from './shortcut.js';

const NONE = Shortcut.NONE;
const ESTABLISHED = CtInfo.ESTABLISHED;
const ESTABLISHED_REPLY = CtInfo.ESTABLISHED_REPLY;
const CONFIRMED = Status.CONFIRMED;
const NAT_TABLE = 2;
const TCP = 6;
const UDP = 17;
const NIL = NOBODY as TupleId;
/** Header of a packet without options or extension headers, bytes. */
const PLAIN_BYTES = { 4: 20, 6: 40 } as const;
/** Most rules that may count a packet of a path. */
const MOST_RULES = 256;

/** What forwards the packets of known flows. */
interface Forward {
  endOffset: number;
  hash: number;
  forward(inInterface: number, bytes: Uint8Array, start: number, guess: TupleId): number;
}

/** What a flow cache needs of the router. */
export interface FlowCacheRouter {
  readonly engine: Engine;
  readonly interfaces: Interfaces;
  readonly routes: Routes;
  readonly passages: Passages;
}

export class FlowCache implements PassageLearner {
  readonly #router: FlowCacheRouter;
  readonly #version: 4 | 6;
  readonly #rules: Rules;
  readonly #routes: Routes;
  readonly #observers: RulesObservers;
  readonly #paths: Paths;
  readonly #prefetch = new Prefetch();
  readonly #recorded = new Int32Array(MOST_RULES);
  #table: ConntrackTable | undefined;
  #forward: Forward | undefined;
  /** Sum of the numbers that change with what paths are made from. */
  #seen = 0;
  /** Whether nothing is known: 1 or 0. */
  #isStale: 0 | 1 = 1;
  /** Passage of the packet that is learned from, and how many were taken until then. */
  #learner: Passage | undefined;
  #taken = 0;

  constructor(router: FlowCacheRouter, version: 4 | 6) {
    this.#router = router;
    this.#version = version;
    this.#rules = router.engine.rules(version);
    this.#routes = router.routes;
    this.#observers = router.engine.observers;
    this.#paths = new Paths(this.#rules);
    this.#rules.beforeReading = () => this.#paths.settle();
    router.engine.tracker.eachTable((table) => {
      if (table.version !== version) return;
      this.#table = table;
      const { context } = router.engine.tracker;
      this.#forward =
        version === 4 ? new Forward4(context, table, this.#paths) : new Forward6(context, table, this.#paths);
    });
  }

  /** One past the last byte of the packet that was forwarded last. */
  get endOffset(): number {
    return (this.#forward as Forward).endOffset;
  }

  /** Hash of the tuple of the packet that may begin a connection, as `table.linkedHash` would have it. */
  get hash(): number {
    return (this.#forward as Forward).hash;
  }

  /**
   * Forwards the packet at `start` in place if its way is known: the interface that it leaves by. Otherwise a
   * {@link Shortcut}, and the packet is as it was. The tracker knows the time. `place` is the packet's in those that were
   * prefetched, -1 if it is not one of them.
   */
  forward(inInterface: number, bytes: Uint8Array, start: number, place: number): number {
    const forward = this.#forward;
    if (forward === undefined || this.#observers.onRule !== undefined) return NONE;
    const seen = (this.#rules.generation + this.#routes.generation) | 0;
    if (seen !== this.#seen || this.#isStale === 1) this.#forget(seen);
    const guess = place < 0 ? NIL : this.#prefetch.tupleAt(place, this.#table as ConntrackTable);
    return forward.forward(inInterface, bytes, start, guess);
  }

  /** Touches what `packets[from, to)` will look for, see `prefetch.ts`; returns 0 if that is not worth while. */
  prefetch(packets: readonly Uint8Array[], from: number, to: number, start: number): 0 | 1 {
    return this.#table === undefined ? 0 : this.#prefetch.touch(this.#table, packets, from, to, start);
  }

  /** Packets that went the short way, ever. */
  get forwarded(): number {
    this.#paths.settle();
    return this.#paths.settled;
  }

  /** Settings have changed: nothing is known any more. */
  forget(): void {
    this.#isStale = 1;
  }

  #forget(seen: number): void {
    this.#paths.settle();
    if (this.#paths.renew() === 1) this.#wipe();
    this.#seen = seen;
    this.#isStale = 0;
  }

  #wipe(): void {
    const { entries } = this.#table as ConntrackTable;
    for (let slot = 0; slot < entries.slots.highWater; slot++) {
      const entry = entries.entryOfSlot(slot);
      entries.setFlowPath(entries.tuple(entry, Direction.ORIGINAL), 0);
      entries.setFlowPath(entries.tuple(entry, Direction.REPLY), 0);
    }
  }

  // ---- learning ----

  /** The passage goes the long way, and what its packet meets is noted. */
  begin(passage: Passage): void {
    if (this.#learner !== undefined || this.#paths.isFull === 1) return;
    this.#learner = passage;
    passage.learner = this;
    this.#taken = this.#router.passages.taken;
    this.#rules.startRecording(this.#recorded);
  }

  /** The passage's packet is about to leave, forwarded as it is. */
  learn(passage: Passage): void {
    if (this.#learner !== passage) return;
    this.#learner = undefined;
    const count = this.#rules.stopRecording();
    // Packets that were under way inside this one met rules, too.
    if (count < 0 || count > MOST_RULES || this.#taken !== this.#router.passages.taken) return;
    const packet = passage.packet;
    const { entries } = this.#table as ConntrackTable;
    const isReply = packet.ctinfo === ESTABLISHED_REPLY;
    if (packet.entry === NIL || (!isReply && packet.ctinfo !== ESTABLISHED)) return;
    if (packet.transport !== packet.start + PLAIN_BYTES[this.#version] || packet.fragmentMaxBytes > 0) return;
    if (packet.protocol !== TCP && packet.protocol !== UDP) return;
    this.#remember(entries, packet.entry as EntryId, isReply ? 1 : 0, passage, count);
  }

  #remember(entries: Entries, entry: EntryId, direction: Direction, passage: Passage, count: number): void {
    const packet = passage.packet;
    const tuple = entries.tuple(entry, direction);
    if ((entries.status(entry) & CONFIRMED) === 0 || entries.kind(tuple) !== packet.protocol) return;
    const { inInterface, outInterface } = packet;
    const mtu = this.#router.interfaces.mtu(outInterface);
    const translates = this.#rules.hasTable(NAT_TABLE);
    entries.setFlowPath(
      tuple,
      this.#paths.reference(inInterface, outInterface, translates, mtu, this.#recorded, count),
    );
  }

  /** The passage is over, whatever became of its packet. */
  end(passage: Passage): void {
    if (this.#learner !== passage) return;
    this.#learner = undefined;
    this.#rules.stopRecording();
  }
}
