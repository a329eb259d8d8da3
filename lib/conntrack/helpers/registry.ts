/**
 * The helpers that there are, what attaches them to connections, and the step behind all hooks where they look at
 * packets. Only connections that have an extension come here.
 */
import { DropReason } from '../../counters.js';
import { ConfigurationError } from '../../errors.js';
import { CtInfo, type Packet } from '../../wire/packet.js';
import { Verdict } from '../../wire/verdict.js';
import { Direction, type EntryId, Status } from '../entries.js';
import type { Expectation } from '../expectations.js';
import type { ConntrackTable } from '../table.js';
import type { Tracker } from '../tracker.js';
import { KEY_KIND, KEY_PORTS } from '../tuples.js';
import { Call } from './call.js';
import { ftp } from './ftp.js';
import type { Helper } from './helper.js';
import { tftp } from './tftp.js';

const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17 };
const MAX_NAME = 15;

/** What helpers need of NAT. */
export interface HelperTranslator {
  /** Binds a new connection as its master is bound. */
  follow(table: ConntrackTable, entry: EntryId, expectation: Expectation): void;
  /** Shifts the sequence numbers of a packet as `entry`'s offsets say. Returns 0 if it cannot be done. */
  adjust(packet: Packet, table: ConntrackTable, entry: EntryId, direction: Direction): 0 | 1;
  /** See `HelperCall.replace`; returns 0 if the packet would be too long. */
  replace(packet: Packet, from: number, to: number, bytes: Uint8Array): 0 | 1;
  /** A random number from `first` on, of `size`. */
  pick(first: number, size: number): number;
}

export class Helpers {
  /** Set by whoever has NAT; without it nothing is translated. */
  translator: HelperTranslator | undefined = undefined;
  /** 1 while a helper names ports of its own. */
  automatic: 0 | 1 = 0;
  readonly #tracker: Tracker;
  readonly #call: Call;
  #helpers: readonly Helper[] = [ftp as Helper, tftp as Helper];

  constructor(tracker: Tracker) {
    this.#tracker = tracker;
    this.#call = new Call(tracker, this);
  }

  // ---- registration ----

  /**
   * Adds a helper. Throws a ConfigurationError if its name is no name, or taken by another one of the same protocol and
   * family. Returns a function that takes it away again: connections that have it are then left alone.
   */
  register<State>(helper: Helper<State>): () => void {
    const { name, ports = [] } = helper;
    const added = helper as Helper;
    if (!/^\S+$/.test(name) || name.length > MAX_NAME) {
      throw new ConfigurationError('value', 'not a name for a helper', {
        word: name,
        expected: `1 to ${MAX_NAME} characters without blanks`,
      });
    }
    const protocol = protocolOf(added);
    if (!(Number.isInteger(protocol) && protocol > 0 && protocol < 256)) {
      throw new ConfigurationError('value', 'not a protocol', { word: String(helper.protocol) });
    }
    for (const port of ports) {
      if (!(Number.isInteger(port) && port > 0 && port <= 0xffff)) {
        throw new ConfigurationError('value', 'not a port', { word: String(port), expected: '1 to 65535' });
      }
    }
    const rival = this.#helpers.find((one) => one.name === name && protocolOf(one) === protocol);
    if (rival !== undefined && (rival.family ?? added.family) === (added.family ?? rival.family)) {
      throw new ConfigurationError('conflict', 'there is a helper of this name already', { word: name });
    }
    this.#set([...this.#helpers, added]);
    return () => this.#set(this.#helpers.filter((one) => one !== added));
  }

  #set(helpers: readonly Helper[]): void {
    this.#helpers = helpers;
    this.automatic = helpers.some(({ ports = [] }) => ports.length > 0) ? 1 : 0;
  }

  /** The helper of a name for a family and protocol; undefined if there is none. */
  find(name: string, version: number, protocol: number): Helper | undefined {
    return this.#helpers.find(
      (one) =>
        one.name === name &&
        protocolOf(one) === protocol &&
        (one.family === undefined || one.family === version),
    );
  }

  /** Names of the helpers, with the protocols that each is for. */
  names(): Map<string, readonly number[]> {
    const names = new Map<string, readonly number[]>();
    for (const one of this.#helpers) names.set(one.name, [...(names.get(one.name) ?? []), protocolOf(one)]);
    return names;
  }

  // ---- connections ----

  /** Attaches a helper to a new connection. */
  attach(table: ConntrackTable, entry: EntryId, helper: Helper): void {
    const extension = table.extensions.extend(entry);
    extension.helper = helper;
    extension.helperState = helper.begin?.();
  }

  /** Attaches the helper that wants connections with `key`, if there is one. */
  attachByPort(table: ConntrackTable, entry: EntryId, key: Int32Array): void {
    const protocol = (key[KEY_KIND] as number) & 255;
    const port = (key[KEY_PORTS] as number) & 0xffff;
    const { version } = table;
    const wanted = this.#helpers.find(
      (one) =>
        one.ports?.includes(port) === true &&
        protocolOf(one) === protocol &&
        (one.family === undefined || one.family === version),
    );
    if (wanted !== undefined) this.attach(table, entry, wanted);
  }

  /** A new connection is the expected one: it gets its master's mark, helper and translation. */
  fulfil(table: ConntrackTable, entry: EntryId, expectation: Expectation): void {
    const { entries, extensions } = table;
    const { helper, master } = expectation;
    entries.setStatus(entry, Status.EXPECTED);
    entries.setMark(entry, expectation.table.entries.mark(master));
    extensions.extend(entry).master = expectation.table.extensions.extend(master);
    if (helper !== undefined) this.attach(table, entry, helper);
    if (expectation.follows === 1) this.translator?.follow(table, entry, expectation);
  }

  // ---- packets ----

  /**
   * What happens to a packet of a connection with an extension when all hooks are behind it: its helper reads it, then
   * its sequence numbers are shifted. `isLoopback`: 1 if it comes in again by the loopback interface, and was shifted on
   * its way out.
   */
  inspect(packet: Packet, isLoopback: 0 | 1): Verdict {
    const table = this.#tracker.table(packet.version);
    const entry = packet.entry as EntryId;
    const extension = table.extensions.of(entry);
    if (extension === undefined || packet.ctinfo === CtInfo.RELATED_REPLY) return ACCEPT;
    if (packet.version === 6 && (packet.brokenChain === 1 || packet.fragmentOffset > 0)) return ACCEPT;
    const mustShift = (table.entries.status(entry) & Status.SEQ_ADJUST) !== 0 && isLoopback === 0;
    const direction = packet.ctinfo >= CtInfo.ESTABLISHED_REPLY ? Direction.REPLY : Direction.ORIGINAL;
    const { helper } = extension;
    if (helper !== undefined && this.#helpers.includes(helper)) {
      const verdict = this.#call.run(packet, table, entry, direction, extension, helper);
      if (verdict !== ACCEPT) return this.#refuse(packet);
    }
    if (mustShift && this.translator?.adjust(packet, table, entry, direction) === 0)
      return this.#refuse(packet);
    return ACCEPT;
  }

  #refuse(packet: Packet): Verdict {
    packet.reason = DropReason.HELPER;
    return DROP;
  }
}

/** Protocol number of a helper. */
export function protocolOf({ protocol }: Helper): number {
  return typeof protocol === 'number' ? protocol : (PROTOCOLS[protocol] ?? 0);
}
