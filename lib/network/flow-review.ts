/**
 * Judges connections at their next packet after the rules that let them be have changed: forwards and the policy mark
 * what may be affected, and say of each marked one whether it is still right. Cold: one call per marked connection.
 *
 * A connection that is not right any more ends with the reason RULE_CHANGED. A packet of its original direction then
 * begins a new connection by the rules of now; a reply is dropped.
 */
import { Direction, type EntryId, Status } from '../conntrack/entries.js';
import type { ConntrackTable } from '../conntrack/table.js';
import type { FlowReviewer } from '../conntrack/tracker.js';
import { KEY_PORTS, KEY_WORDS } from '../conntrack/tuples.js';
import type { Packet } from '../wire/packet.js';
import type { RouterCore } from './core.js';
import { leadsOn } from './icmp-errors.js';

const TCP = 6;
const REPLY_CTINFO = 3;

/** A connection under review. Borrowed: valid during the call. */
export interface ReviewedFlow {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly table: ConntrackTable;
  readonly entry: EntryId;
  /** [KEY_WORDS] keys of both directions. */
  readonly original: Int32Array;
  readonly reply: Int32Array;
  /** Interfaces of packets of the original direction, `lo` for the router's own; 0: unknown. */
  readonly inInterface: number;
  readonly outInterface: number;
  readonly isReply: boolean;
}

/** Says whether a connection is still right. */
export type Reviewer = (flow: ReviewedFlow) => boolean;

export class FlowReview implements FlowReviewer {
  readonly #core: RouterCore;
  readonly #reviewers: Reviewer[] = [];
  readonly #original = new Int32Array(KEY_WORDS);
  readonly #reply = new Int32Array(KEY_WORDS);

  constructor(core: RouterCore) {
    this.#core = core;
    core.engine.tracker.reviewer = this;
  }

  add(reviewer: Reviewer): void {
    this.#reviewers.push(reviewer);
  }

  /** Marks the live connections that `isAffected`; returns how many. */
  mark(isAffected: (table: ConntrackTable, entry: EntryId) => boolean): number {
    let marked = 0;
    for (const table of this.#core.engine.tracker.tables()) {
      const { entries } = table;
      for (let slot = 0; slot < entries.slots.highWater; slot++) {
        const entry = entries.entryOfSlot(slot);
        if ((entries.status(entry) & (Status.CONFIRMED | Status.DYING)) !== Status.CONFIRMED) continue;
        if (!isAffected(table, entry)) continue;
        entries.setStatus(entry, Status.REVIEW);
        marked++;
      }
    }
    return marked;
  }

  review(packet: Packet, table: ConntrackTable, entry: EntryId): 0 | 1 {
    const { entries } = table;
    entries.getKey(entry, Direction.ORIGINAL, this.#original);
    entries.getKey(entry, Direction.REPLY, this.#reply);
    const isReply = packet.ctinfo >= REPLY_CTINFO;
    const flow: ReviewedFlow = {
      version: table.version as 4 | 6,
      protocol: entries.protocol(entry),
      table,
      entry,
      original: this.#original,
      reply: this.#reply,
      inInterface: isReply
        ? this.#towards(table.version, this.#original)
        : packet.inInterface || this.#core.interfaces.loopback,
      outInterface: isReply
        ? packet.inInterface || this.#core.interfaces.loopback
        : this.#isTaken(table.version, entries.protocol(entry))
          ? this.#core.interfaces.loopback
          : this.#towards(table.version, this.#reply),
      isReply,
    };
    for (const isRight of this.#reviewers) if (!isRight(flow)) return 0;
    return 1;
  }

  /** Whether a program of ours has the flow, in the name of whom it was meant for (TPROXY). */
  #isTaken(version: number, protocol: number): boolean {
    if (protocol !== TCP) return false;
    const ports = this.#original[KEY_PORTS] as number;
    return this.#core.ports.flows.find(version, this.#original, ports >>> 16, ports & 0xffff) !== undefined;
  }

  /** Interface by which packets to a key's source leave. */
  #towards(version: number, key: Int32Array): number {
    const { routes } = this.#core;
    return leadsOn(routes.find(version, key, 0, 0)) ? routes.interface : 0;
  }
}
