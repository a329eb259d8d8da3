/**
 * Who may talk to whom through a gateway: its forwards and its policy, the chains that they are, and the DNS answers
 * that give the policy's names their addresses. Cold.
 */
import type { EventEmitter } from 'eventemitter3';
import { FlowReview } from './flow-review.js';
import { type ForwardInput, Forwards, type ForwardsOptions } from './forwards/forwards.js';
import type { GatewayEvents } from './gateway-events.js';
import { ManagedChains } from './managed-chains.js';
import { Policy, type PolicyOptions } from './policy/policy.js';
import type { Router } from './router.js';

export interface AccessOptions {
  /** Forwards from the start: `tcp 8080:10.0.0.2/80`. */
  readonly forwards?: readonly ForwardInput[];
  /** What holds for all forwards. */
  readonly forwarding?: ForwardsOptions;
  readonly policy?: PolicyOptions;
}

export class GatewayAccess {
  /** Our chains among the user's rules. */
  readonly chains: ManagedChains;
  readonly forwards: Forwards;
  readonly policy: Policy;

  constructor(router: Router, events: EventEmitter<GatewayEvents>, options: AccessOptions) {
    this.chains = new ManagedChains(router.engine);
    const review = new FlowReview(router);
    this.forwards = new Forwards(router, this.chains, review, options.forwarding);
    this.policy = new Policy(router, this.chains, review, this.forwards);
    this.policy.events.on('denied', (denial) => events.emit('denied', denial));
    this.policy.events.on('refused', (answer) => events.emit('refused', answer));
    events.on('dns', ({ client, question, addresses }) => {
      this.policy.observeAddresses(question.name, addresses, router.nowMs, client);
    });
    if (options.forwards !== undefined) this.forwards.apply(options.forwards);
    if (options.policy !== undefined) this.policy.apply(options.policy);
  }
}
