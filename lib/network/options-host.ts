/** What IPv4 options ask the router: its addresses, and the time. */
import { AddressType } from '../host.js';
import type { Packet } from '../wire/packet.js';
import type { RouterCore } from './core.js';
import type { OptionsHost } from './options.js';

export class RouterOptionsHost implements OptionsHost {
  readonly #core: RouterCore;
  readonly #scratch = new Int32Array(4);

  constructor(core: RouterCore) {
    this.#core = core;
  }

  addressTowardsSource(packet: Packet): number {
    const core = this.#core;
    if (core.passages.of(packet)?.routeType === AddressType.LOCAL) return packet.addresses[4] as number;
    if (core.sourceFor(4, packet.addresses, 0, this.#scratch) === 1) return this.#scratch[0] as number;
    return core.interfaces.select4(packet.inInterface, packet.addresses[0] as number);
  }

  addressTowardsDestination(packet: Packet): number {
    const core = this.#core;
    if (core.sourceFor(4, packet.addresses, 4, this.#scratch) === 1) return this.#scratch[0] as number;
    return core.interfaces.select4(packet.outInterface, packet.addresses[4] as number);
  }

  isElsewhere(address: number): 0 | 1 {
    this.#scratch[0] = address;
    return this.#core.host.addressType(4, this.#scratch, 0, 0) === AddressType.UNICAST ? 1 : 0;
  }

  timeOfDayMs(): number {
    return Math.floor(this.#core.nowMs);
  }
}
