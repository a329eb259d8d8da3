/**
 * Targets that hand the packet to somebody outside: NFQUEUE, TEE. Hot until there is a listener.
 */
import { DropReason } from '../../counters.js';
import type { Packet } from '../../wire/packet.js';
import { Verdict } from '../../wire/verdict.js';
import type { Family, NfqueueTarget, TeeTarget as TeeSpec } from '../ast.js';
import { CONTINUE, type RuleContext, type Target } from '../context.js';
import type { RulesObservers } from '../environment.js';

const ON = CONTINUE;
const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const RULE_DROP = DropReason.RULE_DROP;
const RULE_QUEUE_UNHEARD = DropReason.RULE_QUEUE_UNHEARD;

/** Asks the listener at once; flows are spread over several queues by their addresses. */
export class QueueTarget implements Target {
  readonly #first: number;
  readonly #count: number;
  readonly #bypass: boolean;
  readonly #observers: RulesObservers;

  constructor(spec: NfqueueTarget, observers: RulesObservers) {
    this.#first = spec.queues.low;
    this.#count = spec.queues.high - spec.queues.low + 1;
    this.#bypass = spec.bypass;
    this.#observers = observers;
  }

  act(packet: Packet, context: RuleContext): number {
    if (this.#observers.onQueue === undefined) {
      if (this.#bypass) return ACCEPT;
      packet.reason = RULE_QUEUE_UNHEARD;
      return DROP;
    }
    const verdict = this.#observers.onQueue(this.#queue(packet), packet, context.hook);
    if (verdict === DROP) packet.reason = RULE_DROP;
    return verdict;
  }

  /** The same for both directions of a flow. */
  #queue(packet: Packet): number {
    let sum = packet.protocol;
    for (let i = 0; i < 8; i++) sum = Math.imul(sum, 1) + (packet.addresses[i] as number);
    return this.#first + ((Math.imul(sum | 0, 0x9e3779b1) >>> 16) % this.#count);
  }
}

/** Gives the listener a copy for the gateway; the packet goes on. */
export class TeeTarget implements Target {
  readonly #gateway: Int32Array;
  readonly #family: Family;
  readonly #observers: RulesObservers;

  constructor(spec: TeeSpec, family: Family, observers: RulesObservers) {
    this.#gateway = Int32Array.from(spec.gateway);
    this.#family = family;
    this.#observers = observers;
  }

  act(packet: Packet): number {
    if (this.#observers.onTee !== undefined) {
      this.#observers.onTee(packet.copyBytes(), this.#gateway, this.#family);
    }
    return ON;
  }
}
