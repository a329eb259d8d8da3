/**
 * One element of a set, and what may be known about it: the extensions of ipset. Hot on lookups.
 */

const TICK_MS = 4;

/** What the elements of a set carry; from the set's `create` line. */
export interface SetExtensions {
  /** Seconds that new elements live unless they say otherwise; undefined: elements have no timeout, 0: no end. */
  readonly timeoutSeconds: number | undefined;
  readonly counters: boolean;
  readonly comment: boolean;
  readonly skbinfo: boolean;
}

/** What an element is added with. */
export interface ElementFields {
  /** Seconds; undefined: the set's own. */
  readonly timeoutSeconds?: number | undefined;
  readonly packets?: number | undefined;
  readonly bytes?: number | undefined;
  readonly comment?: string | undefined;
  /** Networks only: the element is an exception. */
  readonly nomatch?: boolean | undefined;
  readonly mark?: number | undefined;
  readonly markMask?: number | undefined;
  readonly priority?: number | undefined;
  readonly queue?: number | undefined;
}

export class SetElement {
  /** [6] address, prefix length, protocol << 16 | port; what the type does not use is 0. */
  readonly key: Int32Array;
  /** The last tick of Linux's clock (4 ms) at which it is there, in ms; Infinity: it stays. */
  expiresMs = Number.POSITIVE_INFINITY;
  packets = 0;
  bytes = 0;
  comment = '';
  nomatch = 0;
  mark = 0;
  markMask = 0;
  priority = 0;
  queue = 0;

  constructor(key: Int32Array) {
    this.key = key.slice();
  }

  /** Writes every extension anew, as adding an element that is there already does. */
  write(fields: ElementFields, extensions: SetExtensions, nowMs: number): void {
    const seconds = fields.timeoutSeconds ?? extensions.timeoutSeconds ?? 0;
    this.expiresMs = seconds === 0 ? Number.POSITIVE_INFINITY : tickOf(nowMs) + seconds * 1000;
    this.packets = fields.packets ?? 0;
    this.bytes = fields.bytes ?? 0;
    this.comment = fields.comment ?? '';
    this.nomatch = fields.nomatch === true ? 1 : 0;
    this.mark = (fields.mark ?? 0) | 0;
    this.markMask = (fields.markMask ?? -1) | 0;
    this.priority = fields.priority ?? 0;
    this.queue = fields.queue ?? 0;
  }

  hasExpired(nowMs: number): boolean {
    return this.expiresMs < tickOf(nowMs);
  }

  /** A copy for another set. */
  clone(): SetElement {
    return Object.assign(new SetElement(this.key), { ...this, key: this.key.slice() });
  }
}

function tickOf(nowMs: number): number {
  return nowMs - (nowMs % TICK_MS);
}

/** How a rule compares a counter. */
export interface CounterTest {
  readonly compare: 'eq' | 'ne' | 'lt' | 'gt';
  readonly value: number;
}

/** What a rule asks of the element it finds, and what it leaves there. One per rule. */
export interface LookupOptions {
  /** `! --update-counters` */
  readonly keepsCounters: boolean;
  /** An exception counts as found, and only that. */
  readonly returnsNomatch: boolean;
  readonly packets: CounterTest | undefined;
  readonly bytes: CounterTest | undefined;
  /** What a list asks of its members; undefined: the same. */
  readonly ofMembers: LookupOptions | undefined;
}

export const PLAIN_LOOKUP: LookupOptions = {
  keepsCounters: false,
  returnsNomatch: false,
  packets: undefined,
  bytes: undefined,
  ofMembers: undefined,
};

/**
 * Whether a found element counts: not expired, and its counters, which this packet is added to first, are as asked.
 */
export function elementHolds(
  element: SetElement,
  extensions: SetExtensions,
  options: LookupOptions,
  packetBytes: number,
  nowMs: number,
): boolean {
  if (element.hasExpired(nowMs)) return false;
  if (!extensions.counters) return true;
  if (!options.keepsCounters) {
    element.packets++;
    element.bytes += packetBytes;
  }
  return passes(options.packets, element.packets) && passes(options.bytes, element.bytes);
}

function passes(test: CounterTest | undefined, count: number): boolean {
  if (test === undefined) return true;
  switch (test.compare) {
    case 'eq':
      return count === test.value;
    case 'ne':
      return count !== test.value;
    case 'lt':
      return count < test.value;
    default:
      return count > test.value;
  }
}
