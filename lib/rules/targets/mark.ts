/**
 * Targets that write on the packet view only: MARK, CLASSIFY, TRACE. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { ClassifyTarget, MarkTarget as MarkSpec } from '../ast.js';
import { CONTINUE, type Target } from '../context.js';

const ON = CONTINUE;

export class MarkTarget implements Target {
  readonly #keep: number;
  readonly #value: number;

  constructor(spec: MarkSpec) {
    this.#keep = ~spec.mask;
    this.#value = spec.value | 0;
  }

  act(packet: Packet): number {
    packet.mark = (packet.mark & this.#keep) ^ this.#value;
    return ON;
  }
}

/** The scheduling class is carried, without effect. */
export class PriorityTarget implements Target {
  readonly #priority: number;

  constructor(spec: ClassifyTarget) {
    this.#priority = (spec.major << 16) | spec.minor;
  }

  act(packet: Packet): number {
    packet.priority = this.#priority;
    return ON;
  }
}

/** From the next rule on, every rule that the packet meets is told. */
export class TraceTarget implements Target {
  act(packet: Packet): number {
    packet.traced = 1;
    return ON;
  }
}
