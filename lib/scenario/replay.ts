/**
 * A recording through a router: each packet enters at the time and by the interface it was recorded with, and the
 * capture's clock drives timeouts, fragment timers and the reaper. Cold.
 *
 * Time does not go back: a packet that is stamped earlier than the one before it enters at that one's time.
 */
import type { CapturedPacket } from '../capture/capture.js';
import { type Connection, readConnection } from '../conntrack/connection.js';
import { type EntryId, NIL, Status, type TupleId } from '../conntrack/entries.js';
import { KEY_WORDS, packKey } from '../conntrack/tuples.js';
import { DROP_REASON_NAMES, DropReason } from '../counters.js';
import type { InterfaceOptions } from '../network/interfaces.js';
import { Router, type RouterOptions } from '../network/router.js';
import type { RulePlace } from '../rules/rules.js';
import { CtInfo, Packet } from '../wire/packet.js';
import { IngressFinder } from './ingress.js';

/** What became of a recorded packet. */
export type Fate = 'forwarded' | 'delivered' | 'dropped' | 'held' | 'skipped';

/** A recorded packet's way, as far as it is known. */
export interface Passed {
  readonly fate: Fate;
  /** Why it was dropped (a drop reason's name) or skipped. */
  readonly reason?: string;
  /** The IP packet as it was recorded; absent for what was skipped. Borrowed. */
  readonly bytes?: Uint8Array;
  /** Name of the interface that it came in by. */
  readonly inInterface?: string;
  /** The rule or policy that it was last counted at. */
  readonly place?: RulePlace;
  /** How it stands to its connection, in the rules' words. */
  readonly state?: string;
  /** Its connection, if it has one. */
  readonly connection?: Connection;
  /** Packets that left the router on its account, in order. */
  readonly sent: readonly Sent[];
  /** Packets that left it before, in the time since the last one. */
  readonly late: readonly Sent[];
}

/** A packet that left the router. */
export interface Sent {
  /** Place of the interface in the list, from 0. */
  readonly interface: number;
  readonly origin: 'forwarded' | 'generated';
  readonly bytes: Uint8Array;
}

export interface ReplayOptions extends Omit<RouterOptions, 'interfaces'> {
  readonly interfaces: readonly InterfaceOptions[];
  /** Interface (from 1) that leads to sources which no subnet has. Default: the last one. */
  readonly uplink?: number;
}

const STATE_NAMES: ReadonlyMap<number, string> = new Map<number, string>([
  [CtInfo.INVALID, 'INVALID'],
  [CtInfo.ESTABLISHED, 'ESTABLISHED'],
  [CtInfo.RELATED, 'RELATED'],
  [CtInfo.NEW, 'NEW'],
  [CtInfo.ESTABLISHED_REPLY, 'ESTABLISHED'],
  [CtInfo.RELATED_REPLY, 'RELATED'],
  [CtInfo.UNTRACKED, 'UNTRACKED'],
]);

export class Replay {
  readonly router: Router;
  readonly counts: Record<Fate, number> = { forwarded: 0, delivered: 0, dropped: 0, held: 0, skipped: 0 };
  /** Packets that the router made itself. */
  generated = 0;
  /** Recorded packets that did not enter, by reason. */
  readonly skipped = new Map<string, number>();
  /** Time of the last packet, ms since 1970; NaN before the first. */
  nowMs = Number.NaN;
  readonly #names: readonly string[];
  readonly #ingress: IngressFinder;
  readonly #view = new Packet();
  readonly #key = new Int32Array(KEY_WORDS);
  #sent: Sent[] = [];
  #place: RulePlace | undefined;
  #state = '';
  #entry = NIL;

  constructor(options: ReplayOptions) {
    this.#names = options.interfaces.map(({ name }) => name);
    this.#ingress = new IngressFinder(options.interfaces, options.uplink ?? options.interfaces.length);
    this.router = new Router({ ...options, observers: { ...options.observers, onRule: this.#onRule } });
    this.router.onTransmit = (index, bytes, origin) => {
      this.#sent.push({ interface: index - 1, origin, bytes: bytes.slice() });
    };
  }

  /** Notes the rule that the recorded packet (not one the router makes about it) was counted at. */
  readonly #onRule = (place: RulePlace, packet: Packet): void => {
    if (packet.inInterface === 0) return;
    this.#place = place;
    this.#state = STATE_NAMES.get(packet.ctinfo) ?? '';
    this.#entry = packet.entry;
  };

  /** Lets a recorded packet enter. */
  feed(packet: CapturedPacket): Passed {
    const late = this.advance(packet.timeMs);
    const ingress = this.#ingress.find(packet);
    if ('skipped' in ingress) {
      this.counts.skipped++;
      this.skipped.set(ingress.skipped, (this.skipped.get(ingress.skipped) ?? 0) + 1);
      return { fate: 'skipped', reason: ingress.skipped, sent: [], late };
    }
    this.#place = undefined;
    this.#state = '';
    this.#entry = NIL;
    const bytes = ingress.bytes.slice();
    const version = this.#view.parse(bytes.slice()) === DropReason.NONE ? this.#view.version : 0;
    const isFragment = version !== 0 && (this.#view.fragmentOffset > 0 || this.#view.moreFragments === 1);
    const before = this.#drops();
    this.router.receive(ingress.interface, bytes, this.nowMs);
    const reason = this.#newDrop(before);
    const sent = this.#takeSent();
    const fate = fateOf(sent, reason, isFragment);
    this.counts[fate]++;
    const connection = version === 0 ? undefined : this.#connection(version);
    const name = this.#names[ingress.interface - 1];
    return {
      fate,
      sent,
      late,
      bytes: ingress.bytes,
      ...(fate === 'dropped' && reason !== undefined ? { reason } : {}),
      ...(name === undefined ? {} : { inInterface: name }),
      ...(this.#place === undefined ? {} : { place: this.#place }),
      ...(this.#state === '' ? {} : { state: this.#state }),
      ...(connection === undefined ? {} : { connection }),
    };
  }

  /** Lets time go by up to `timeMs`; returns what the router sent meanwhile. */
  advance(timeMs: number): readonly Sent[] {
    if (!(timeMs <= this.nowMs)) {
      if (Number.isNaN(this.nowMs)) this.router.engine.reaper.start(timeMs);
      this.nowMs = timeMs;
      this.router.advance(timeMs);
      this.router.engine.reaper.finish(timeMs);
    }
    return this.#takeSent();
  }

  #takeSent(): Sent[] {
    const sent = this.#sent;
    this.#sent = [];
    for (const { origin } of sent) if (origin === 'generated') this.generated++;
    return sent;
  }

  #drops(): number[] {
    return DROP_REASON_NAMES.map((_, reason) => this.router.engine.drops.get(reason as DropReason));
  }

  /** Name of the reason that was counted since `before`. */
  #newDrop(before: readonly number[]): string | undefined {
    const reason = this.#drops().findIndex((count, i) => i > 0 && count > (before[i] as number));
    return reason < 0 ? undefined : DROP_REASON_NAMES[reason];
  }

  /** The connection of the packet in the view, by its tuple, or by the entry that the rules saw. */
  #connection(version: number): Connection | undefined {
    const { tracker } = this.router.engine;
    const view = this.#view;
    const table = tracker.table(version);
    const { protocol, transport, end, addresses } = view;
    const hasKey = packKey(this.#key, addresses, protocol, view, transport, end, 0) === 1;
    const { now } = tracker.context;
    const tuple = hasKey ? table.find(this.#key, now) : NIL;
    const entry = tuple === NIL ? this.#entry : table.entries.entryOf(tuple as TupleId);
    if (entry === NIL || (table.entries.status(entry as EntryId) & Status.CONFIRMED) === 0) return undefined;
    return readConnection(table, entry as EntryId, now);
  }
}

function fateOf(sent: readonly Sent[], reason: string | undefined, isFragment: boolean): Fate {
  if (sent.some(({ origin }) => origin === 'forwarded')) return 'forwarded';
  if (reason !== undefined) return 'dropped';
  return isFragment && sent.length === 0 ? 'held' : 'delivered';
}
