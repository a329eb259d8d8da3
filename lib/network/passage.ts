/**
 * A packet's passage through the router: its view, how it was routed, and what its IPv4 options ask for. Hot, reused.
 *
 * Packets that the router makes while another one is under way (ICMP errors, resets) take a passage of their own from
 * the pool; they nest, so the pool is a stack.
 */
import { Packet } from '../wire/packet.js';

/** Learns from a packet's passage which way its flow takes. */
export interface PassageLearner {
  learn(passage: Passage): void;
}

export class Passage {
  readonly packet: Packet;
  /** Type of the route, an AddressType; 0 while not routed. */
  routeType = 0;
  /** 1 if it came in by an interface, 0 if the router itself sent it. */
  isInput = 0;
  /** Interface that it leaves by whatever routes say, as its sender is bound to it; 0 without. */
  oif = 0;
  /** IPv4: offset from the IP header of the record route option, 0 without. */
  recordRoute = 0;
  /** 1 if record route has a field for us, which the way out fills. */
  recordRouteNeedsAddress = 0;
  /** IPv4: offset of the timestamp option, 0 without. */
  timestamp = 0;
  timestampNeedsAddress = 0;
  timestampNeedsTime = 0;
  /** IPv4: offset of the source route option, 0 without. */
  sourceRoute = 0;
  /** IPv4: offset of the security label option (CIPSO), 0 without. */
  label = 0;
  /** 1 if option bytes were changed and the header checksum is yet to follow. */
  optionsChanged = 0;

  /** Told before the packet leaves as it is, if its way is worth to be remembered. */
  learner: PassageLearner | undefined = undefined;

  constructor(packet = new Packet()) {
    this.packet = packet;
  }

  /** Forgets what the passage before left; its view was cleared when it ended. */
  begin(isInput: number): void {
    this.routeType = 0;
    this.isInput = isInput;
    this.oif = 0;
    this.learner = undefined;
    this.forgetOptions();
  }

  forgetOptions(): void {
    this.recordRoute = 0;
    this.recordRouteNeedsAddress = 0;
    this.timestamp = 0;
    this.timestampNeedsAddress = 0;
    this.timestampNeedsTime = 0;
    this.sourceRoute = 0;
    this.label = 0;
    this.optionsChanged = 0;
  }
}

/** Packets that may be under way inside one another: an error about a reply to a looped packet, and some room. */
const DEPTH = 12;

/** The passages under way, innermost last. */
export class Passages {
  readonly #pool: Passage[] = Array.from({ length: DEPTH }, () => new Passage());
  #depth = 0;
  /** Passages taken so far. */
  taken = 0;

  /** A fresh passage, or undefined when too many are nested (packets of a router that talks to itself). */
  take(isInput: number): Passage | undefined {
    if (this.#depth >= this.#pool.length) return undefined;
    const passage = this.#pool[this.#depth++] as Passage;
    this.taken++;
    passage.begin(isInput);
    return passage;
  }

  /** Gives back the passage that was taken last. */
  give(): void {
    this.#depth--;
    (this.#pool[this.#depth] as Passage).packet.clear();
  }

  /**
   * Gives back everything down to `outermost`, because a callback of the user's threw while it was under way. `release`
   * lets go what a packet holds.
   */
  unwind(outermost: Passage, release: (packet: Packet) => void): void {
    for (let isDone = false; !isDone && this.#depth > 0; ) {
      const passage = this.#pool[this.#depth - 1] as Passage;
      isDone = passage === outermost;
      // A copy holds the connection of the packet that it is of.
      const below = isDone ? undefined : this.#pool[this.#depth - 2];
      if (below?.packet.entry !== passage.packet.entry) release(passage.packet);
      this.give();
    }
  }

  /** The passage of a view that is under way, or undefined. */
  of(packet: Packet): Passage | undefined {
    for (let i = this.#depth - 1; i >= 0; i--) {
      const passage = this.#pool[i] as Passage;
      if (passage.packet === packet) return passage;
    }
    return undefined;
  }
}
