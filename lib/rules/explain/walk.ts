/**
 * A walk that tells: the cold twin of `../walk.ts`. It decides the same by asking the same matches and targets once
 * each, in the same order, and gives its listener every rule that it looks at, with the first condition that does not
 * hold. Put in place with `Rules.walkWith`; no packet that walks the usual way pays for it.
 *
 * What it does not do: it looks no further than the first condition that fails, as the usual walk does, since matches
 * may have a memory (limit, recent) or draw lots.
 */
import type { Tracker } from '../../conntrack/tracker.js';
import { DropReason } from '../../counters.js';
import type { Host } from '../../host.js';
import type { Packet } from '../../wire/packet.js';
import { Hook, Verdict } from '../../wire/verdict.js';
import type { ChainSpec, Family, MatchSpec, RuleSpec } from '../ast.js';
import { CONTINUE, type Match, RuleContext, type Target } from '../context.js';
import type { RulePlace, RulesObservers } from '../environment.js';
import { findTransport6 } from '../headers6.js';
import type { InterfaceTest } from '../interfaces.js';
import { Action, RULE_WORDS_4, RULE_WORDS_6, type TableProgram } from '../program.js';
import { formatRule } from '../text/print-rule.js';
import type { Walk } from '../walk.js';
import type { ReasonScope } from './asked.js';
import { addressReason, interfaceReason, protocolReason } from './base.js';
import { matchReason } from './reasons.js';

/** A rule, policy or end of a chain that a packet came to. */
export interface ConsideredRule extends RulePlace {
  readonly family: Family;
  /** The rule as iptables-save prints it, without `-A CHAIN`; of a policy its verdict; of a chain's end ''. */
  readonly text: string;
  readonly isMatched: boolean;
  /** What Linux's TRACE calls it: `filter:FORWARD:rule:2`. */
  readonly label: string;
  /** Of a rule that did not match: the first condition that does not hold, in words. */
  readonly reason?: string;
  /** Of one that matched: what became of the packet. `next`: it goes on behind the rule. */
  readonly outcome?: RuleOutcome;
}

export type RuleOutcome = 'accept' | 'drop' | 'return' | 'jump' | 'goto' | 'next' | 'steal' | 'queue';

/** What is told of a walk. The packet is borrowed. */
export interface WalkListener {
  /** A walk through the table's chain at `hook` begins. */
  onEnter(program: TableProgram, hook: number, packet: Packet): void;
  /** A rule was looked at; if it matched, before its target acts. */
  onConsidered(rule: ConsideredRule, packet: Packet): void;
  /** A target acted that is no plain verdict: what it said, CONTINUE (-1) or a verdict. */
  onTarget(said: number, packet: Packet): void;
  onLeave(verdict: Verdict, packet: Packet): void;
}

export interface ExplainingWalkOptions {
  readonly tracker: Tracker;
  readonly host: Host;
  /** Those of the rules, who are told as by the usual walk. */
  readonly observers?: RulesObservers;
  readonly listener: WalkListener;
}

/** Matches that are compiled to nothing. */
const SILENT: ReadonlySet<MatchSpec['kind']> = new Set(['comment']);

const OUTCOMES: Readonly<Record<number, RuleOutcome>> = {
  [Action.NEXT]: 'next',
  [Action.ACCEPT]: 'accept',
  [Action.DROP]: 'drop',
  [Action.RETURN]: 'return',
  [Action.JUMP]: 'jump',
  [Action.GOTO]: 'goto',
  [Action.POLICY_ACCEPT]: 'accept',
  [Action.POLICY_DROP]: 'drop',
};

/** Rules of a table in the order of their records; the ends of chains have none. */
interface Row {
  readonly chain: ChainSpec;
  readonly rule?: RuleSpec;
}

export class ExplainingWalk implements Walk {
  readonly #tracker: Tracker;
  readonly #host: Host;
  readonly #observers: RulesObservers;
  readonly #listener: WalkListener;
  readonly #rows = new WeakMap<TableProgram, readonly Row[]>();

  constructor(options: ExplainingWalkOptions) {
    this.#tracker = options.tracker;
    this.#host = options.host;
    this.#observers = options.observers ?? {};
    this.#listener = options.listener;
  }

  run(program: TableProgram, hook: number, packet: Packet): Verdict {
    this.#listener.onEnter(program, hook, packet);
    const verdict = this.#walk(program, hook, packet);
    this.#listener.onLeave(verdict, packet);
    return verdict;
  }

  #walk(program: TableProgram, hook: number, packet: Packet): Verdict {
    const context = this.#context(program, hook, packet);
    const scope: ReasonScope = { tracker: this.#tracker, host: this.#host, packet, context };
    const stride = packet.version === 4 ? RULE_WORDS_4 : RULE_WORDS_6;
    const stack: number[] = [];
    let rule = program.starts[hook] as number;
    for (;;) {
      const reason = this.#missing(program, rule, scope);
      if (context.hotdrop === 1) {
        this.#tell(program, rule, packet, reason ?? 'it is dropped');
        packet.reason = DropReason.RULE_MALFORMED;
        return Verdict.DROP;
      }
      if (reason !== undefined) {
        this.#tell(program, rule, packet, reason);
        rule++;
        continue;
      }
      program.packets[rule]!++;
      program.bytes[rule]! += packet.end - packet.start;
      this.#tell(program, rule, packet);
      const place = program.places.at(rule);
      this.#observers.onRule?.(place, packet, hook);
      if (packet.traced === 1) this.#observers.onTrace?.(place, packet, hook);
      const at = rule * stride;
      const operand = program.words[at + 7] as number;
      switch (program.words[at + 6]) {
        case Action.NEXT:
          rule++;
          break;
        case Action.ACCEPT:
        case Action.POLICY_ACCEPT:
          return Verdict.ACCEPT;
        case Action.DROP:
          packet.reason = DropReason.RULE_DROP;
          return Verdict.DROP;
        case Action.RETURN:
          rule = stack.pop() ?? (program.policies[hook] as number);
          break;
        case Action.JUMP:
          stack.push(rule + 1);
          rule = operand;
          break;
        case Action.GOTO:
          rule = operand;
          break;
        case Action.TARGET: {
          const said = (program.targets[operand] as Target).act(packet, context);
          this.#listener.onTarget(said, packet);
          if (said !== CONTINUE) return this.#said(said, packet, context);
          this.#fill(context, program, hook, packet);
          rule++;
          break;
        }
        default:
          packet.reason = DropReason.RULE_POLICY;
          return Verdict.DROP;
      }
    }
  }

  #said(said: number, packet: Packet, context: RuleContext): Verdict {
    if (context.hotdrop === 0) return said as Verdict;
    packet.reason = DropReason.RULE_MALFORMED;
    return Verdict.DROP;
  }

  #context(program: TableProgram, hook: number, packet: Packet): RuleContext {
    const context = new RuleContext();
    this.#fill(context, program, hook, packet);
    return context;
  }

  /** A target may have moved the header. */
  #fill(context: RuleContext, program: TableProgram, hook: number, packet: Packet): void {
    const time = this.#tracker.context;
    context.now = time.now;
    context.nowMs = time.nowMs;
    context.hook = hook;
    context.table = program.index;
    context.hotdrop = 0;
    context.transport = packet.transport;
    context.protocol = packet.protocol;
    context.fragmentOffset = packet.version === 4 ? packet.fragmentOffset >>> 3 : packet.fragmentOffset;
    if (packet.version === 6 && (packet.brokenChain === 1 || packet.fragmentOffset > 0)) {
      findTransport6(packet, context);
    }
  }

  /** The first condition of a rule that does not hold, in words; undefined if all hold. */
  #missing(program: TableProgram, index: number, scope: ReasonScope): string | undefined {
    const { rule } = this.#row(program, index);
    if (rule === undefined) return undefined;
    const { packet, context } = scope;
    const family = packet.version as Family;
    const words = program.words;
    const at = index * (family === 4 ? RULE_WORDS_4 : RULE_WORDS_6);
    const { inInterface, outInterface, protocol, fragment } = rule;
    const base =
      addressReason('source', rule.source, packet, family) ??
      addressReason('destination', rule.destination, packet, family) ??
      (inInterface &&
        interfaceReason('in', inInterface, context.hook === Hook.OUTPUT ? 0 : packet.inInterface, {
          test: program.interfaces[words[at + 2] as number] as InterfaceTest,
          host: this.#host,
        })) ??
      (outInterface &&
        interfaceReason('out', outInterface, context.hook <= Hook.INPUT ? 0 : packet.outInterface, {
          test: program.interfaces[words[at + 3] as number] as InterfaceTest,
          host: this.#host,
        })) ??
      protocolReason(protocol, context);
    if (base !== undefined) return base;
    if (fragment === 'fragment' && context.fragmentOffset === 0) return 'it is not a later fragment';
    if (fragment === 'not-fragment' && context.fragmentOffset !== 0) return 'it is a later fragment';
    const specs = rule.matches.filter(({ kind }) => !SILENT.has(kind));
    const from = words[at + 4] as number;
    for (let i = from; i < (words[at + 5] as number); i++) {
      if ((program.matches[i] as Match).matches(packet, context) === 1) continue;
      return matchReason(specs[i - from] as MatchSpec, scope);
    }
    return undefined;
  }

  #tell(program: TableProgram, index: number, packet: Packet, reason?: string): void {
    const { chain, rule } = this.#row(program, index);
    const place = program.places.at(index);
    const family = packet.version as Family;
    const action = program.words[index * (family === 4 ? RULE_WORDS_4 : RULE_WORDS_6) + 6] as number;
    const outcome = OUTCOMES[action];
    const text =
      rule === undefined
        ? (chain.policy ?? '')
        : formatRule(chain.name, rule, family).slice(`-A ${chain.name}`.length).trim();
    this.#listener.onConsidered(
      {
        ...place,
        family,
        text,
        isMatched: reason === undefined,
        label: traceLabel(place.table, chain, rule, place.number),
        ...(reason === undefined ? {} : { reason }),
        ...(reason !== undefined || outcome === undefined ? {} : { outcome }),
      },
      packet,
    );
  }

  #row(program: TableProgram, index: number): Row {
    let rows = this.#rows.get(program);
    if (rows === undefined) {
      rows = program.source
        .table()
        .chains.flatMap((chain) => [...chain.rules.map((rule) => ({ chain, rule })), { chain }]);
      this.#rows.set(program, rows);
    }
    return rows[index] as Row;
  }
}

/**
 * A rule's name in the kernel's log. A rule without conditions whose target is a verdict is called like the end of a
 * chain, which is how the kernel tells ends.
 */
function traceLabel(
  table: string,
  chain: ChainSpec,
  rule: RuleSpec | undefined,
  number: RulePlace['number'],
): string {
  const end = chain.policy === undefined ? 'return' : 'policy';
  if (rule === undefined) return `${table}:${chain.name}:${end}:${chain.rules.length + 1}`;
  return `${table}:${chain.name}:${isPlainVerdict(rule) ? end : 'rule'}:${number}`;
}

function isPlainVerdict(rule: RuleSpec): boolean {
  const { source, destination, inInterface, outInterface, protocol, fragment, matches, target } = rule;
  const { kind } = target;
  const isVerdict =
    kind === 'ACCEPT' || kind === 'DROP' || kind === 'RETURN' || (kind === 'NFQUEUE' && 'verdict' in target);
  const condition = source ?? destination ?? inInterface ?? outInterface ?? protocol ?? fragment;
  return isVerdict && matches.length === 0 && condition === undefined;
}
