/**
 * The walk of a packet through a table: rule after rule, with jumps on a stack of its own. In long runs of rules it goes
 * from one candidate of the index to the next (`classify/`); without an index it looks at every rule in the order in
 * which they stand, and is the slow twin of itself. Hot.
 *
 * A packet is counted at a rule when all its conditions hold and before its target acts, as in Linux. RETURN without an
 * open jump leads to the policy of the chain that the walk began in; `goto` opens no jump. A walk that another walk's
 * target begins (an answer sent by REJECT) uses the stack above the outer one's.
 */
import type { Tracker } from '../conntrack/tracker.js';
import { DropReason } from '../counters.js';
import type { Packet } from '../wire/packet.js';
import { Verdict } from '../wire/verdict.js';
import { Candidates, EVERY_RULE } from './classify/candidates.js';
import type { Classifier } from './classify/classifier.js';
import type { Match, Target } from './context.js';
import { CONTINUE, RuleContext } from './context.js';
import type { RulePlace, RulesObservers } from './environment.js';
import { findTransport6 } from './headers6.js';
import type { InterfaceTest } from './interfaces.js';
import type { TableProgram } from './program.js';
import { WalkRecord } from './record.js';

// The layout and the codes of `program.ts`; kept here because imported bindings cost time.
const RULE_WORDS_4 = 12;
const RULE_WORDS_6 = 24;
const SOURCE = 1;
const SOURCE_NEGATED = 2;
const DESTINATION = 4;
const DESTINATION_NEGATED = 8;
const IN = 16;
const IN_NEGATED = 32;
const OUT = 64;
const OUT_NEGATED = 128;
const PROTOCOL = 256;
const PROTOCOL_NEGATED = 512;
const FRAGMENT = 1024;
const NOT_FRAGMENT = 2048;
const INDEXED = 4096;
const RUN_SHIFT = 13;
const ACTION_NEXT = 0;
const ACTION_ACCEPT = 1;
const ACTION_DROP = 2;
const ACTION_RETURN = 3;
const ACTION_JUMP = 4;
const ACTION_GOTO = 5;
const ACTION_TARGET = 6;
const ACTION_POLICY_ACCEPT = 7;
const ON = CONTINUE;
const ALL_RULES = EVERY_RULE;
const NO_CANDIDATE = -1;

const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const INPUT = 1;
const OUTPUT = 3;
const RULE_DROP = DropReason.RULE_DROP;
const RULE_POLICY = DropReason.RULE_POLICY;
const RULE_MALFORMED = DropReason.RULE_MALFORMED;

/** How many walks inside one another the stack has room for before it grows. */
const SPARE_WALKS = 4;

/** A packet's way through a table's chain at a hook; DROP comes with `packet.reason`. */
export interface Walk {
  run(program: TableProgram, hook: number, packet: Packet): Verdict;
}

export class RuleWalk implements Walk {
  /** Of the walks that are taken while it is open. */
  readonly record = new WalkRecord();
  readonly #candidates = new Candidates();
  readonly #context = new RuleContext();
  readonly #tracker: Tracker;
  readonly #observers: RulesObservers;
  #stack = new Int32Array(0);
  #depth = 0;
  /** First free place of the stack: not 0 while a target acts. */
  #base = 0;

  constructor(tracker: Tracker, observers: RulesObservers) {
    this.#tracker = tracker;
    this.#observers = observers;
  }

  /** Makes room for as many open jumps. Walks that are under way keep the stack that they have. */
  reserve(depth: number): void {
    this.#depth = Math.max(this.#depth, depth);
    const needed = this.#base + this.#depth;
    if (this.#stack.length < needed) this.#stack = new Int32Array(needed * SPARE_WALKS);
  }

  /** The packet's way through the table's chain at `hook`, which exists. DROP comes with `packet.reason`. */
  run(program: TableProgram, hook: number, packet: Packet): Verdict {
    const context = this.#context;
    const time = this.#tracker.context;
    const now = time.now;
    context.nowMs = time.nowMs;
    this.#enter(context, program, hook, packet, now);
    const words = program.words;
    const matches = program.matches;
    const base = this.#base;
    if (base + program.depth > this.#stack.length) this.reserve(program.depth);
    const stack = this.#stack;
    const classifier = program.classifier;
    const candidates = this.#candidates;
    let gate = 0;
    let candidate = NO_CANDIDATE;
    if (classifier !== undefined) {
      gate = INDEXED;
      candidates.forget();
    }
    const record = this.record;
    const isRecording = record.isOpen;
    const stride = packet.version === 4 ? RULE_WORDS_4 : RULE_WORDS_6;
    const inInterface = hook === OUTPUT ? 0 : packet.inInterface;
    const outInterface = hook <= INPUT ? 0 : packet.outInterface;
    let top = base;
    let rule = program.starts[hook] as number;
    let verdict: number = DROP;
    walk: while (context.hotdrop === 0) {
      const at = rule * stride;
      const flags = words[at] as number;
      if ((flags & gate) !== 0 && rule !== candidate) {
        candidate = candidates.next(
          classifier as Classifier,
          flags >>> RUN_SHIFT,
          rule,
          packet,
          context,
          inInterface,
          outInterface,
        );
        if (candidate === ALL_RULES) gate = 0;
        else rule = candidate;
        continue;
      }
      if (flags !== 0 && this.#holds(program, at, flags, packet, context, inInterface, outInterface) === 0) {
        rule++;
        continue;
      }
      const to = words[at + 5] as number;
      let i = words[at + 4] as number;
      while (i < to && (matches[i] as Match).matches(packet, context) === 1) i++;
      if (i < to) {
        if (isRecording === 1 && i >= (program.impureFrom[rule] as number)) record.spoil();
        rule++;
        continue;
      }
      if (isRecording === 1) {
        if (program.isFlowPure[rule] === 1) record.add(program.index, rule);
        else record.spoil();
      }
      program.packets[rule] = (program.packets[rule] as number) + 1;
      program.bytes[rule] = (program.bytes[rule] as number) + (packet.end - packet.start);
      if (this.#observers.onRule !== undefined || packet.traced === 1) {
        if (isRecording === 1) record.spoil();
        this.#tell(program.places.at(rule), packet, hook);
      }
      switch (words[at + 6]) {
        case ACTION_NEXT:
          rule++;
          break;
        case ACTION_ACCEPT:
        case ACTION_POLICY_ACCEPT:
          verdict = ACCEPT;
          break walk;
        case ACTION_DROP:
          packet.reason = RULE_DROP;
          break walk;
        case ACTION_RETURN:
          rule = top === base ? (program.policies[hook] as number) : (stack[--top] as number);
          break;
        case ACTION_JUMP:
          stack[top++] = rule + 1;
          rule = words[at + 7] as number;
          break;
        case ACTION_GOTO:
          rule = words[at + 7] as number;
          break;
        case ACTION_TARGET: {
          this.#base = top;
          const said = (program.targets[words[at + 7] as number] as Target).act(packet, context);
          this.#base = base;
          if (said !== ON) {
            verdict = said;
            break walk;
          }
          // The target may have moved the header, or begun another walk.
          context.nowMs = time.nowMs;
          this.#enter(context, program, hook, packet, now);
          if (classifier !== undefined) {
            gate = INDEXED;
            candidate = NO_CANDIDATE;
            candidates.forget();
          }
          rule++;
          break;
        }
        default:
          packet.reason = RULE_POLICY;
          break walk;
      }
    }
    if (context.hotdrop === 1) {
      context.hotdrop = 0;
      if (isRecording === 1) record.spoil();
      packet.reason = RULE_MALFORMED;
      return DROP;
    }
    return verdict as Verdict;
  }

  #enter(context: RuleContext, program: TableProgram, hook: number, packet: Packet, now: number): void {
    context.now = now;
    context.hook = hook;
    context.table = program.index;
    context.hotdrop = 0;
    context.transport = packet.transport;
    context.protocol = packet.protocol;
    if (packet.version === 4) {
      context.fragmentOffset = packet.fragmentOffset >>> 3;
    } else {
      context.fragmentOffset = packet.fragmentOffset;
      if (packet.brokenChain === 1 || packet.fragmentOffset > 0) findTransport6(packet, context);
    }
  }

  /** Whether the rule's base conditions hold: 1 or 0. In Linux's order, for the sake of hotdrop. */
  #holds(
    program: TableProgram,
    at: number,
    flags: number,
    packet: Packet,
    context: RuleContext,
    inInterface: number,
    outInterface: number,
  ): 0 | 1 {
    const words = program.words;
    const addresses = packet.addresses;
    if (packet.version === 4) {
      if ((flags & SOURCE) !== 0) {
        const same = ((addresses[0] as number) & (words[at + 9] as number)) === words[at + 8];
        if (same === ((flags & SOURCE_NEGATED) !== 0)) return 0;
      }
      if ((flags & DESTINATION) !== 0) {
        const same = ((addresses[4] as number) & (words[at + 11] as number)) === words[at + 10];
        if (same === ((flags & DESTINATION_NEGATED) !== 0)) return 0;
      }
    } else {
      if ((flags & SOURCE) !== 0) {
        const negated = (flags & SOURCE_NEGATED) === 0 ? 0 : 1;
        if (isInside(addresses, 0, words, at + 8) === negated) return 0;
      }
      if ((flags & DESTINATION) !== 0) {
        const negated = (flags & DESTINATION_NEGATED) === 0 ? 0 : 1;
        if (isInside(addresses, 4, words, at + 16) === negated) return 0;
      }
    }
    if ((flags & IN) !== 0) {
      const test = program.interfaces[words[at + 2] as number] as InterfaceTest;
      if (test.matches(inInterface) === ((flags & IN_NEGATED) === 0 ? 0 : 1)) return 0;
    }
    if ((flags & OUT) !== 0) {
      const test = program.interfaces[words[at + 3] as number] as InterfaceTest;
      if (test.matches(outInterface) === ((flags & OUT_NEGATED) === 0 ? 0 : 1)) return 0;
    }
    if ((flags & PROTOCOL) !== 0) {
      if (context.protocol < 0) {
        context.hotdrop = 1;
        return 0;
      }
      if ((context.protocol === words[at + 1]) === ((flags & PROTOCOL_NEGATED) !== 0)) return 0;
    }
    if ((flags & FRAGMENT) !== 0 && context.fragmentOffset === 0) return 0;
    if ((flags & NOT_FRAGMENT) !== 0 && context.fragmentOffset !== 0) return 0;
    return 1;
  }

  #tell(place: RulePlace, packet: Packet, hook: number): void {
    this.#observers.onRule?.(place, packet, hook);
    if (packet.traced === 1) this.#observers.onTrace?.(place, packet, hook);
  }
}

/** Whether the IPv6 address at `from` is (address & mask) == words, whose words stand at `at`, the mask behind: 1 or 0. */
function isInside(addresses: Int32Array, from: number, words: Int32Array, at: number): 0 | 1 {
  for (let i = 0; i < 4; i++) {
    if (((addresses[from + i] as number) & (words[at + 4 + i] as number)) !== words[at + i]) return 0;
  }
  return 1;
}
