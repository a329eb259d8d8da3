/**
 * UDP super-packets for the router itself, behind INPUT: sockets get the datagrams, one by one. TCP ones stay whole.
 */
import { DropReason } from '../../counters.js';
import { ChecksumState } from '../../wire/packet.js';
import type { RouterCore } from '../core.js';
import type { Passage } from '../passage.js';
import { Segmenter, type SegmentSink } from './segmenter.js';

/** Takes a packet that is for the router. */
export type Deliver = (passage: Passage) => void;

class Arrival implements SegmentSink {
  readonly #core: RouterCore;
  readonly #deliver: Deliver;
  readonly #whole: Passage;

  constructor(core: RouterCore, deliver: Deliver, whole: Passage) {
    this.#core = core;
    this.#deliver = deliver;
    this.#whole = whole;
  }

  segment(bytes: Uint8Array, start: number, end: number): void {
    const { passages } = this.#core;
    const passage = passages.take(1);
    if (passage === undefined) return;
    const packet = passage.packet;
    const whole = this.#whole.packet;
    if (packet.parse(bytes, start, end - start) === DropReason.NONE) {
      packet.inInterface = whole.inInterface;
      packet.packetType = whole.packetType;
      packet.mark = whole.mark;
      packet.socket = whole.socket;
      packet.entry = whole.entry;
      packet.ctinfo = whole.ctinfo;
      packet.checksumState = ChecksumState.UNNECESSARY;
      passage.routeType = this.#whole.routeType;
      this.#deliver(passage);
    }
    passages.give();
  }
}

/** Cuts a UDP super-packet and delivers its datagrams. */
export function deliverSegments(core: RouterCore, passage: Passage, deliver: Deliver): void {
  new Segmenter().cut(passage.packet, new Arrival(core, deliver, passage));
}
