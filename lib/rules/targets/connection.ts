/**
 * Targets about the packet's connection: CONNMARK, CT, NOTRACK. Hot.
 */
import { Change } from '../../conntrack/context.js';
import type { EntryId } from '../../conntrack/entries.js';
import type { Helper } from '../../conntrack/helpers/helper.js';
import type { Timeouts } from '../../conntrack/timeouts.js';
import type { Tracker } from '../../conntrack/tracker.js';
import { ConfigurationError } from '../../errors.js';
import { CtInfo, type Packet } from '../../wire/packet.js';
import type { ConnmarkTarget as ConnmarkSpec, CtTarget } from '../ast.js';
import { CONTINUE, type Target } from '../context.js';
import type { RuleScope } from '../rows.js';

const ON = CONTINUE;
const NIL = -1;
const INVALID = CtInfo.INVALID;
const UNTRACKED = CtInfo.UNTRACKED;
const MARK_CHANGED = Change.MARK;

const SET = 0;
const SAVE = 1;
const RESTORE = 2;

export class ConnmarkTarget implements Target {
  readonly #tracker: Tracker;
  readonly #action: number;
  /** set: the value; else the packet's mask. */
  readonly #packetBits: number;
  /** Bits of the connection's mark that are written (set, save) or read (restore). */
  readonly #connectionBits: number;
  readonly #shift: number;

  constructor(spec: ConnmarkSpec, tracker: Tracker) {
    this.#tracker = tracker;
    this.#shift = spec.shift;
    if (spec.action === 'set') {
      this.#action = SET;
      this.#packetBits = spec.value | 0;
      this.#connectionBits = spec.mask | 0;
    } else {
      this.#action = spec.action === 'save' ? SAVE : RESTORE;
      this.#packetBits = spec.nfMask | 0;
      this.#connectionBits = spec.ctMask | 0;
    }
  }

  act(packet: Packet): number {
    if (packet.entry === NIL) return ON;
    const table = this.#tracker.table(packet.version);
    const entry = packet.entry as EntryId;
    const before = table.entries.mark(entry);
    if (this.#action === RESTORE) {
      packet.mark = (packet.mark & ~this.#packetBits) ^ this.#shifted(before & this.#connectionBits);
      return ON;
    }
    const mark =
      this.#action === SET
        ? this.#shifted((before & ~this.#connectionBits) ^ this.#packetBits)
        : (before & ~this.#connectionBits) ^ this.#shifted(packet.mark & this.#packetBits);
    if (mark !== before) {
      table.entries.setMark(entry, mark);
      this.#tracker.context.changed(table, entry, MARK_CHANGED);
    }
    return ON;
  }

  #shifted(value: number): number {
    const shift = this.#shift;
    return shift === 0 ? value : shift > 0 ? value << shift : (value >>> -shift) | 0;
  }
}

/** Bits of {@link Packet.template}. */
const TEMPLATE_PRESENT = 1 << 16;
const DIRECTION_SHIFT = 17;
const OPTIONS_SHIFT = 24;
/** The zone's id is the mark that the packet has when the raw table is over. */
export const ZONE_FROM_MARK = 1 << 19;

const DIRECTIONS = { both: 0, original: 1, reply: 2 } as const;

/** Leaves a template for the tracker; the first one counts. Events are told anyway: `--ctevents` has no effect. */
export class ConntrackTarget implements Target {
  readonly #template: number;

  constructor(spec: CtTarget, scope: RuleScope) {
    const { id = 0, direction = 'both' } = spec.zone ?? {};
    this.#template =
      TEMPLATE_PRESENT |
      (DIRECTIONS[direction] << DIRECTION_SHIFT) |
      (id === 'mark' ? ZONE_FROM_MARK : id) |
      (templateOf(spec, scope) << OPTIONS_SHIFT);
  }

  act(packet: Packet): number {
    if (isFresh(packet)) packet.template = this.#template;
    return ON;
  }
}

/** Number of what the rule asks for beyond a zone, 0 for nothing. Throws if something of it does not exist. */
function templateOf(spec: CtTarget, scope: RuleScope): number {
  if (spec.helper === undefined && spec.timeout === undefined) return 0;
  const helper = spec.helper === undefined ? undefined : findHelper(spec.helper, scope);
  const timeouts = spec.timeout === undefined ? undefined : findTimeouts(spec.timeout, scope);
  const number = scope.environment.tracker.templates.numberOf({ helper, timeouts });
  if (number > 0) return number;
  throw new ConfigurationError('unsupported', 'too many helpers and timeout policies in rules', {
    ...scope.rule.place,
    word: spec.helper ?? spec.timeout,
  });
}

function findHelper(word: string, { environment: { tracker }, family, rule }: RuleScope): Helper {
  const { protocol } = rule;
  const helper =
    protocol === undefined || protocol.negated
      ? undefined
      : tracker.helpers.find(word, family, protocol.number);
  if (helper !== undefined) return helper;
  throw new ConfigurationError('unknown', 'no such helper for the protocol of the rule', {
    ...rule.place,
    word,
    expected: [...tracker.helpers.names().keys()].join(', '),
  });
}

function findTimeouts(word: string, { environment: { tracker }, family, rule }: RuleScope): Timeouts {
  const policies = tracker.timeoutPolicies;
  const policy = policies.get(word);
  if (policy === undefined) {
    const expected = [...policies.names()].join(', ') || 'a timeout policy that was defined';
    throw new ConfigurationError('unknown', 'no such timeout policy', { ...rule.place, word, expected });
  }
  const { protocol } = rule;
  if (policy.family === family && protocol?.number === policy.protocol && !protocol.negated) {
    return policy.timeouts;
  }
  throw new ConfigurationError('conflict', 'the timeout policy is for other packets than the rule', {
    ...rule.place,
    word,
    expected: `a rule of IPv${policy.family} with -p ${policy.protocol}`,
  });
}

export class NotrackTarget implements Target {
  act(packet: Packet): number {
    if (isFresh(packet)) packet.ctinfo = UNTRACKED;
    return ON;
  }
}

/** Neither tracked nor decided about before. */
function isFresh(packet: Packet): boolean {
  const isNew = packet.entry === NIL && packet.ctinfo === INVALID && packet.template === 0;
  return isNew && packet.aboutUntracked === 0;
}
