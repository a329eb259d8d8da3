/**
 * A datagram that came to a local endpoint, as its reader sees it. Cold.
 */
import type { Tracker } from '../../conntrack/tracker.js';
import type { Packet } from '../../wire/packet.js';
import { payloadOf } from './datagram.js';
import { originalDestination } from './flows.js';
import { type SocketAddress, type SocketWords, socketAddress } from './socket-address.js';

/** Its bytes are a copy and belong to whoever gets it. */
export class Datagram {
  readonly bytes: Uint8Array;
  readonly version: 4 | 6;
  /** Interface that it came in by. */
  readonly interface: string;
  /** Source, destination and original destination: [12] words. */
  readonly #words = new Int32Array(12);
  readonly #ports: readonly [number, number, number];

  constructor(packet: Packet, tracker: Tracker, interfaceName: string) {
    const at = packet.transport;
    this.bytes = payloadOf(packet).slice();
    this.version = packet.version as 4 | 6;
    this.interface = interfaceName;
    const original = new Int32Array(4);
    const port = originalDestination(tracker, packet, original);
    this.#words.set(packet.addresses);
    this.#words.set(original, 8);
    this.#ports = [packet.u16(at), packet.u16(at + 2), port];
  }

  /** Whom an answer goes to; NAT may have moved the port, to keep two flows of one client apart. */
  get from(): SocketAddress {
    return this.#end(0);
  }

  /** Where it arrived: an address of ours, or a group. */
  get to(): SocketAddress {
    return this.#end(1);
  }

  /** Where its flow was sent to before NAT redirected it, as SO_ORIGINAL_DST tells; `to` if nothing did. */
  get originalDst(): SocketAddress {
    return this.#end(2);
  }

  /** An end in words: 0 source, 1 destination. */
  endWords(i: 0 | 1): SocketWords {
    const words = this.#words;
    const at = 4 * i;
    return {
      version: this.version,
      words: [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!],
      port: this.#ports[i],
    };
  }

  #end(i: 0 | 1 | 2): SocketAddress {
    return socketAddress(this.#words, this.version, 4 * i, this.#ports[i]);
  }
}
