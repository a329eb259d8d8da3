/**
 * The connection table as traces record it: read after each step, numbered, and told as changes. Cold.
 *
 * Entries are numbered c1, c2, ... by first appearance of family, protocol, original tuple and zone; a tuple that
 * comes back has its number again. A reading lists entries known before, then new ones, each sorted by that key. An
 * entry is told again if anything but its age changed: a timeout that fits pure ageing (within 20 ms, as a recorder
 * outside the kernel sees it) is no change.
 */
import { readTuple } from '../conntrack/connection.js';
import { Direction, type EntryId, Status } from '../conntrack/entries.js';
import { protocolName, protocolNumber, stateName } from '../conntrack/protocols/names.js';
import type { ConntrackTable } from '../conntrack/table.js';
import type { Tracker } from '../conntrack/tracker.js';
import type { TraceEntry, TraceTuple } from './trace.js';

/** An entry as it was at one reading. */
export interface Reading {
  readonly entry: TraceEntry;
  /** When it will have expired, in the trace's milliseconds, exact. */
  readonly expiresMs: number;
}

/** What changed since the reading before. */
export interface TableChange {
  readonly ct: readonly TraceEntry[];
  readonly gone: readonly string[];
  /** The whole table, by id. */
  readonly readings: ReadonlyMap<string, Reading>;
}

const TCP = 6;
const SCTP = 132;
/** How far a timeout may be off pure ageing without counting as a change, ms. */
const AGEING_SLACK_MS = 20;
const DRIFT_MS = 10;

/** What was last told of an entry: all but the timeout, and between which moments it expires. */
interface Told {
  readonly text: string;
  readonly lowMs: number;
  readonly highMs: number;
}

interface Found {
  readonly key: string;
  readonly entry: Omit<TraceEntry, 'id'>;
  readonly expiresMs: number;
}

export class TableRecorder {
  readonly #ids = new Map<string, string>();
  /** Step in which an entry was first seen, by family and generation. */
  readonly #born = new Map<string, number>();
  #told = new Map<string, Told>();

  /** Reads the table at `nowMs` (of the trace), after step `step`. */
  read(tracker: Tracker, nowMs: number, step: number): TableChange {
    const found = this.#find(tracker, nowMs, step);
    const rank = (one: Found) => (this.#ids.has(one.key) ? '0' : '1') + one.key;
    found.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    const told = new Map<string, Told>();
    const readings = new Map<string, Reading>();
    const ct: TraceEntry[] = [];
    for (const { key, entry, expiresMs } of found) {
      const id = this.#ids.get(key) ?? `c${this.#ids.size + 1}`;
      this.#ids.set(key, id);
      const whole = { id, ...entry };
      readings.set(id, { entry: whole, expiresMs });
      const { timeout, ...rest } = entry;
      const text = JSON.stringify(rest);
      const highMs = nowMs + (timeout as number) * 1000;
      const aged = agedOnly(this.#told.get(id), text, highMs);
      if (aged === undefined) {
        ct.push(whole);
        told.set(id, { text, lowMs: highMs - 1000 - DRIFT_MS, highMs: highMs + DRIFT_MS });
      } else {
        told.set(id, aged);
      }
    }
    const gone = [...this.#told.keys()]
      .filter((id) => !told.has(id))
      .sort((a, b) => numberOf(a) - numberOf(b));
    this.#told = told;
    return { ct, gone, readings };
  }

  #find(tracker: Tracker, nowMs: number, step: number): Found[] {
    const found: Found[] = [];
    const now = tracker.timeOf(nowMs);
    for (const table of tracker.tables()) {
      const { entries } = table;
      for (let slot = 0; slot < entries.slots.highWater; slot++) {
        const entry = entries.entryOfSlot(slot);
        const isLive = (entries.status(entry) & (Status.CONFIRMED | Status.DYING)) === Status.CONFIRMED;
        if (!isLive || entries.hasExpired(entry, now) === 1) continue;
        const generation = `${table.version}:${entries.generation(entry)}`;
        const born = this.#born.get(generation) ?? step;
        this.#born.set(generation, born);
        const leftMs = (entries.expires(entry) - now) | 0;
        const read = readEntry(table, entry, leftMs, born, tracker.context.settings.accounting === 1);
        found.push({ key: keyOf(read), entry: read, expiresMs: nowMs + leftMs });
      }
    }
    return found;
  }
}

/** What is now to be remembered of an entry that merely aged; undefined if it changed or is new. */
function agedOnly(before: Told | undefined, text: string, highMs: number): Told | undefined {
  if (before === undefined || before.text !== text) return undefined;
  const low = Math.max(highMs - 1000, before.lowMs);
  const high = Math.min(highMs, before.highMs);
  if (low >= high + AGEING_SLACK_MS) return undefined;
  return { text, lowMs: low - DRIFT_MS, highMs: high + DRIFT_MS };
}

function numberOf(id: string): number {
  return Number(id.slice(1));
}

function readEntry(
  table: ConntrackTable,
  entry: EntryId,
  leftMs: number,
  born: number,
  isAccounting: boolean,
): Omit<TraceEntry, 'id'> {
  const { entries } = table;
  const protocol = entries.protocol(entry);
  const status = entries.status(entry);
  const state = entries.state(entry);
  const zone = entries.zoneDirection(entry) === 0 ? entries.zone(entry) : 0;
  const { ORIGINAL, REPLY } = Direction;
  return {
    l3: table.version === 4 ? 'ipv4' : 'ipv6',
    l4: nameOf(protocol),
    timeout: Math.floor(leftMs / 1000) + 1,
    ...(protocol === TCP
      ? {
          state: stateName(protocol, state) ?? String(state),
          tcp: [
            entries.tdScale(entry, ORIGINAL),
            entries.tdScale(entry, REPLY),
            entries.tdFlags(entry, ORIGINAL),
            entries.tdFlags(entry, REPLY),
          ],
        }
      : {}),
    ...(protocol === SCTP ? { state: `SCTP:${state}` } : {}),
    orig: traceTuple(table, entry, ORIGINAL),
    reply: traceTuple(table, entry, REPLY),
    flags: [
      ...((status & Status.SEEN_REPLY) === 0 ? ['UNREPLIED'] : []),
      ...((status & Status.ASSURED) === 0 ? [] : ['ASSURED']),
    ],
    status,
    mark: entries.mark(entry) >>> 0,
    ...(zone === 0 ? {} : { zone }),
    ...(isAccounting
      ? {
          acct: [
            entries.packets(entry, ORIGINAL),
            entries.bytes(entry, ORIGINAL),
            entries.packets(entry, REPLY),
            entries.bytes(entry, REPLY),
          ],
        }
      : {}),
    born,
  };
}

function traceTuple(table: ConntrackTable, entry: EntryId, direction: Direction): TraceTuple {
  const tuple = readTuple(table, entry, direction);
  const { source: src, destination: dst } = tuple;
  if (tuple.type !== undefined) {
    return { src, dst, type: tuple.type, code: tuple.code as number, id: tuple.id as number };
  }
  const sport = tuple.sourcePort ?? tuple.sourceKey;
  if (sport === undefined) return { src, dst };
  return { src, dst, sport, dport: (tuple.destinationPort ?? tuple.destinationKey) as number };
}

/** The key that ids go by, in the form that recordings are sorted by. */
function keyOf({ l3, l4, orig, zone }: Omit<TraceEntry, 'id'>): string {
  const numbers = [orig.sport, orig.dport, orig.type, orig.code, orig.id].map((value) => value ?? -1);
  const texts = [l3, l4, orig.src, orig.dst].map((text) => `'${text}'`);
  return `(${[...texts, ...numbers, zone ?? 0].join(', ')})`;
}

/** Name of a protocol that has one, else its number. */
function nameOf(protocol: number): string {
  const name = protocolName(protocol);
  return protocolNumber(name) === undefined ? String(protocol) : name;
}
