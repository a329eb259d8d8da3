/**
 * Telling a packet's way: what each hook, table and rule said to it, what conntrack and NAT decided, where it went. Cold.
 *
 * An explainer watches one router. It sends packets by the walk that tells (`rules/explain`) and puts itself before the
 * few methods of the engine that decide something; routers that nobody explains know nothing of it.
 */
import { type Connection, readConnection } from '../conntrack/connection.js';
import { type EntryId, NIL, Status } from '../conntrack/entries.js';
import { DROP_REASON_NAMES, type DropReason } from '../counters.js';
import { describePort } from '../network/local/registry.js';
import type { Router } from '../network/router.js';
import {
  type ConsideredRule,
  ExplainingWalk,
  type RuleOutcome,
  type WalkListener,
} from '../rules/explain/walk.js';
import type { TableProgram } from '../rules/program.js';
import type { RulesObservers } from '../rules/rules.js';
import type { Packet } from '../wire/packet.js';
import { HOOK_NAMES, Hook, Verdict } from '../wire/verdict.js';
import { bindingWords, endOf, natWords } from './explain-nat.js';
import { confirmWords, findConnection, trackWords } from './explain-track.js';
import type {
  ExplainedFate,
  Explanation,
  HookStage,
  Outgoing,
  RuleStep,
  Stage,
  Step,
  TableStep,
} from './explanation.js';
import { formatHex } from './hex.js';
import { formatPacket } from './notation.js';

const VERDICTS = ['DROP', 'ACCEPT', 'STOLEN', 'QUEUE'] as const;

const OUTCOMES = {
  accept: 'accepted',
  drop: 'dropped',
  return: 'back behind the rule that led here',
  jump: 'on in chain',
  goto: 'on, for good, in chain',
  next: 'counted, and on',
  steal: 'taken',
  queue: 'queued',
} as const;

const SAID: ReadonlyMap<number, string> = new Map<number, string>([
  [Verdict.DROP, OUTCOMES.drop],
  [Verdict.ACCEPT, OUTCOMES.accept],
  [Verdict.STOLEN, OUTCOMES.steal],
  [Verdict.QUEUE, OUTCOMES.queue],
]);

/** What a match led to; where it is another chain, its name is the last word of the rule. */
function outcomeWords(outcome: RuleOutcome, text: string): string {
  const words = OUTCOMES[outcome];
  return outcome === 'jump' || outcome === 'goto' ? `${words} ${text.split(' ').at(-1)}` : words;
}

type Open<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

/** A packet's way as far as it has come. */
class Journey {
  readonly packet: string;
  readonly in: string;
  readonly stages: Stage[] = [];
  readonly out: Outgoing[] = [];
  hook = -1;
  steps: Step[] = [];
  /** Tables under way; a target may begin another walk. */
  readonly tables: Open<TableStep>[] = [];
  fate: ExplainedFate | undefined;
  reason: string | undefined;
  place: string | undefined;
  connection: Connection | undefined;
  before = '';

  constructor(packet: string, inName: string) {
    this.packet = packet;
    this.in = inName;
  }

  finish(answers: readonly Explanation[]): Explanation {
    const { packet, stages, out, reason, place, connection } = this;
    const last = stages.findLast((stage) => stage.stage === 'hook') as HookStage | undefined;
    const left = this.in === 'local' ? 'sent' : 'forwarded';
    const fate = this.fate ?? (out.length > 0 ? left : last?.verdict === 'STOLEN' ? 'held' : 'delivered');
    return {
      packet,
      in: this.in,
      stages,
      fate,
      ...(reason === undefined ? {} : { reason }),
      ...(place === undefined ? {} : { place }),
      out,
      ...(connection === undefined ? {} : { connection }),
      answers,
    };
  }
}

export class Explainer implements WalkListener {
  readonly #router: Router;
  #journeys: Journey[] = [];
  readonly #current = new Map<Packet, Journey>();
  #latest: Journey | undefined;

  /** Watches the router from now on. `observers` are told of rules as those of the router were until now. */
  constructor(router: Router, observers?: RulesObservers) {
    this.#router = router;
    const { engine } = router;
    const { tracker, host, rules4, rules6 } = engine;
    const walk = new ExplainingWalk({ tracker, host, listener: this, ...(observers && { observers }) });
    rules4.walkWith(walk);
    rules6.walkWith(walk);
    this.#watchEngine();
    this.#watchRouter();
  }

  /** A packet that comes in by an interface (from 1). */
  receive(interfaceIndex: number, bytes: Uint8Array, nowMs: number): Explanation {
    const name = this.#router.interfaces.name(interfaceIndex);
    return this.#explain(bytes, name, () => {
      this.#router.receive(interfaceIndex, bytes.slice(), nowMs);
      return 0;
    });
  }

  /** A packet that the router itself sends. */
  sendLocal(bytes: Uint8Array, nowMs: number): Explanation {
    return this.#explain(bytes, 'local', () => this.#router.sendLocal(bytes.slice(), nowMs));
  }

  #explain(bytes: Uint8Array, inName: string, send: () => number): Explanation {
    this.#journeys = [];
    this.#current.clear();
    this.#latest = undefined;
    const before = this.#drops();
    const errno = send();
    const first = this.#journeys[0];
    const isMain = first !== undefined && first.in === inName;
    const main = isMain ? first : new Journey(formatPacket(bytes), inName);
    const answers = isMain ? this.#journeys.slice(1) : this.#journeys;
    if (main.fate === undefined && main.stages.length === 0) {
      const drop = this.#drops().findIndex(
        (count, reason) => reason > 0 && count > (before[reason] as number),
      );
      main.fate = errno === 0 ? 'dropped' : 'refused';
      main.reason = errno === 0 ? (DROP_REASON_NAMES[drop] ?? 'unknown') : `error ${errno}`;
    }
    return main.finish(answers.map((one) => one.finish([])));
  }

  #drops(): number[] {
    return DROP_REASON_NAMES.map((_, reason) => this.#router.engine.drops.get(reason as DropReason));
  }

  // ---- before the methods that decide ----

  #watchEngine(): void {
    const { engine } = this.#router;
    const { tracker, nat, reassembler } = engine;
    const pass = engine.pass.bind(engine);
    engine.pass = (hook, packet) => {
      const journey = this.#begin(hook, packet);
      const verdict = pass(hook, packet);
      this.#end(journey, hook, verdict, packet);
      return verdict;
    };
    const track = tracker.track.bind(tracker);
    tracker.track = (packet, hook) => {
      const known = findConnection(tracker, packet);
      const wasAttached = packet.entry !== NIL;
      const verdict = track(packet, hook);
      this.#step(packet, trackWords(tracker, packet, { known, wasAttached, verdict }));
      return verdict;
    };
    const confirm = tracker.confirm.bind(tracker);
    tracker.confirm = (packet) => {
      const { entries } = tracker.table(packet.version);
      const wasConfirmed = (entries.status(packet.entry as EntryId) & Status.CONFIRMED) !== 0;
      const verdict = confirm(packet);
      if (!wasConfirmed) this.#step(packet, confirmWords(tracker, packet, verdict));
      return verdict;
    };
    const hookOfNat = nat.hook.bind(nat);
    nat.hook = (packet, hook, rules) => {
      const manip = hook === Hook.POSTROUTING || hook === Hook.INPUT ? 0 : 1;
      const wasBound = nat.isBound(packet, manip) === 1;
      const before = endOf(packet, manip);
      const verdict = hookOfNat(packet, hook, rules);
      this.#step(packet, natWords({ packet, manip, wasBound, before, verdict }));
      return verdict;
    };
    const add = reassembler.add.bind(reassembler);
    reassembler.add = (packet, nowMs) => {
      const verdict = add(packet, nowMs);
      const text =
        verdict === Verdict.ACCEPT
          ? `the last fragment: whole now, ${packet.lengthBytes} bytes`
          : verdict === Verdict.STOLEN
            ? 'a fragment: kept until the rest comes'
            : `a fragment that does not fit: ${DROP_REASON_NAMES[packet.reason]}`;
      this.#step(packet, { step: 'defragment', text });
      return verdict;
    };
  }

  #watchRouter(): void {
    const router = this.#router;
    const drop = router.drop.bind(router);
    router.drop = (passage, reason) => {
      const journey = this.#current.get(passage.packet);
      if (journey !== undefined) {
        journey.stages.push({ stage: 'route', text: `dropped by the router: ${DROP_REASON_NAMES[reason]}` });
        journey.fate = 'dropped';
        journey.reason = DROP_REASON_NAMES[reason];
        this.#keepConnection(journey, passage.packet);
      }
      drop(passage, reason);
    };
    const { host } = router;
    const reroute = host.reroute.bind(host);
    host.reroute = (packet) => {
      reroute(packet);
      const out = router.interfaces.name(packet.outInterface);
      const text = out === '' ? 'no way there: dropped' : `routed again, to leave by ${out}`;
      this.#step(packet as Packet, { step: 'reroute', text });
    };
    const transmit = router.onTransmit;
    router.onTransmit = (index, bytes, origin) => {
      this.#latest?.out.push({
        interface: router.interfaces.name(index),
        packet: formatPacket(bytes),
        bytes: formatHex(bytes),
      });
      transmit(index, bytes, origin);
    };
  }

  #begin(hook: Hook, packet: Packet): Journey {
    let journey = this.#current.get(packet);
    const isLooped = hook === Hook.PREROUTING && journey?.hook === Hook.POSTROUTING;
    if (journey === undefined || ((hook === Hook.PREROUTING || hook === Hook.OUTPUT) && !isLooped)) {
      const inName = hook === Hook.OUTPUT ? 'local' : this.#router.interfaces.name(packet.inInterface);
      journey = new Journey(formatPacket(packet.copyBytes()), inName);
      this.#journeys.push(journey);
      this.#current.set(packet, journey);
    }
    journey.hook = hook;
    journey.steps = [];
    const out = this.#router.interfaces.name(packet.outInterface);
    if (hook === Hook.FORWARD) journey.stages.push({ stage: 'route', text: `forwarded, to leave by ${out}` });
    if (hook === Hook.INPUT) journey.stages.push({ stage: 'route', text: 'for the router itself' });
    if (hook === Hook.OUTPUT)
      journey.stages.push({ stage: 'route', text: `sent by the router, to leave by ${out}` });
    if (
      (hook === Hook.PREROUTING || hook === Hook.OUTPUT) &&
      this.#router.engine.isTracking(packet.version) === 0
    ) {
      const text = `connections are not tracked: no rule of IPv${packet.version} needs it`;
      journey.steps.push({ step: 'tracking', text });
    }
    this.#latest = journey;
    return journey;
  }

  #end(journey: Journey, hook: Hook, verdict: Verdict, packet: Packet): void {
    const steps = journey.steps;
    journey.stages.push({
      stage: 'hook',
      hook: HOOK_NAMES[hook] as string,
      steps,
      verdict: VERDICTS[verdict] as (typeof VERDICTS)[number],
    });
    this.#keepConnection(journey, packet);
    this.#latest = journey;
    if (verdict !== Verdict.DROP) return;
    journey.fate = 'dropped';
    journey.reason = DROP_REASON_NAMES[packet.reason];
    const last = steps.findLast((step) => step.step === 'table') as TableStep | undefined;
    const rule = last?.rules.at(-1);
    if (last?.verdict === 'DROP' && rule !== undefined) {
      journey.place = `${last.table}/${rule.chain} ${rule.number}`;
    }
  }

  /** Keeps a copy of the packet's connection while it is attached. */
  #keepConnection(journey: Journey, packet: Packet): void {
    const { tracker } = this.#router.engine;
    const table = tracker.table(packet.version === 6 ? 6 : 4);
    if (packet.entry === NIL || packet.version === 0) return;
    const entry = packet.entry as EntryId;
    if ((table.entries.status(entry) & Status.CONFIRMED) === 0) return;
    journey.connection = readConnection(table, entry, tracker.context.now);
  }

  #step(packet: Packet, step: Step | undefined): void {
    if (step !== undefined) this.#current.get(packet)?.steps.push(step);
  }

  // ---- told by the walk ----

  onEnter(program: TableProgram, _hook: number, packet: Packet): void {
    this.#current
      .get(packet)
      ?.tables.push({ step: 'table', table: program.source.name, rules: [], verdict: 'DROP' });
  }

  onConsidered(rule: ConsideredRule, packet: Packet): void {
    const journey = this.#current.get(packet);
    const { chain, number, text, isMatched, label, reason, outcome } = rule;
    if (journey === undefined) return;
    if (isMatched && outcome === undefined) journey.before = this.#look(packet).join('\n');
    journey.tables.at(-1)?.rules.push({
      chain,
      number,
      text,
      matched: isMatched,
      trace: label,
      ...(reason === undefined ? {} : { reason }),
      ...(outcome === undefined ? {} : { outcome: outcomeWords(outcome, text) }),
    });
  }

  onTarget(said: number, packet: Packet): void {
    const journey = this.#current.get(packet);
    const rule = journey?.tables.at(-1)?.rules.at(-1) as Open<RuleStep> | undefined;
    if (journey === undefined || rule === undefined) return;
    rule.outcome = SAID.get(said) ?? 'done, and on';
    const before = journey.before.split('\n');
    const effects = this.#look(packet).filter((line) => !before.includes(line));
    if (effects.length > 0) rule.effects = effects;
  }

  onLeave(verdict: Verdict, packet: Packet): void {
    const journey = this.#current.get(packet);
    const table = journey?.tables.pop();
    if (table === undefined) return;
    table.verdict = VERDICTS[verdict] as (typeof VERDICTS)[number];
    journey?.steps.push(table as TableStep);
  }

  #socketOf(packet: Packet): string {
    const found = this.#router.ports.byId(packet.socket);
    return found === undefined ? 'closed' : `${found.request.owner}, ${describePort(found.request)}`;
  }

  /** What targets change of a packet, a line each. */
  #look(packet: Packet): string[] {
    return [
      `mark is 0x${(packet.mark >>> 0).toString(16)}`,
      ...(packet.socket === 0 ? [] : [`the socket that takes it is ${this.#socketOf(packet)}`]),
      ...bindingWords(this.#router.engine.tracker, packet),
      `the packet is ${formatPacket(packet.copyBytes())}`,
    ];
  }
}
