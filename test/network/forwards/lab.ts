/**
 * A router with three networks for tests of forwards and the policy: lan 10.0.0.0/24, wan 203.0.113.0/24 (the default
 * route) and dmz 10.0.1.0/24, with IPv6 beside.
 */
import { FlowReview } from '../../../lib/network/flow-review.js';
import { Forwards, type ForwardsOptions } from '../../../lib/network/forwards/forwards.js';
import { ManagedChains } from '../../../lib/network/managed-chains.js';
import { Router } from '../../../lib/network/router.js';
import { SeededRandom } from '../../../lib/random.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';

export const MASQUERADE = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';

export class Lab {
  readonly router: Router;
  readonly chains: ManagedChains;
  readonly review: FlowReview;
  /** Time of the next packet, ms. */
  nowMs = 1000;
  #sent: string[] = [];

  constructor(rules = MASQUERADE) {
    this.router = new Router({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
        { name: 'dmz', addresses: ['10.0.1.1/24', 'fd00:b::1/64'] },
      ],
      routes: ['default dev wan', '-6 default dev wan'],
      maxConnections: 1024,
      seed: 1,
      tracking: 'always',
      random: new SeededRandom(1),
    });
    this.router.onTransmit = (index, bytes) => {
      this.#sent.push(`${this.router.interfaces.name(index)}: ${formatPacket(bytes)}`);
    };
    if (rules !== '') this.router.engine.restore(4, rules);
    this.chains = new ManagedChains(this.router.engine);
    this.review = new FlowReview(this.router);
  }

  forwards(options: ForwardsOptions = {}): Forwards {
    return new Forwards(this.router, this.chains, this.review, options);
  }

  /** What leaves the router when `packet` (in the notation) comes in by an interface. */
  send(from: 'lan' | 'wan' | 'dmz' | 'local', packet: string): string[] {
    this.#sent = [];
    const bytes = parsePacket(packet);
    if (from === 'local') this.router.sendLocal(bytes, this.nowMs);
    else this.router.receive(this.router.interfaceIndex(from), bytes, this.nowMs);
    this.nowMs += 10;
    return this.#sent;
  }

  /** Live connections as `tcp 10.0.0.2:5000 > 1.1.1.1:80`, by their original tuples. */
  flows(): string[] {
    return this.router.engine.connections.list({}, this.nowMs).map(({ protocolName, original }) => {
      const { source, sourcePort, destination, destinationPort } = original;
      return `${protocolName} ${source}:${sourcePort} > ${destination}:${destinationPort}`;
    });
  }

  save(family: 4 | 6 = 4, counters: 'with' | 'without' = 'without'): string {
    return this.router.engine.save(family, counters);
  }
}
