/**
 * SET: adds packets to sets, removes them, and takes marks from the elements found. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { SetReference, SetTarget } from '../ast.js';
import { CONTINUE, type RuleContext, type Target } from '../context.js';
import { sourceBits } from '../matches/set.js';
import type { RuleScope } from '../rows.js';
import { useSet } from '../sets/registry.js';
import { type AddOptions, addToSet, removeFromSet, type SetHandle, SetQuery, testSet } from '../sets/set.js';

const ON = CONTINUE;

class SetUse {
  readonly handle: SetHandle;
  readonly query = new SetQuery();

  constructor(reference: SetReference, scope: RuleScope) {
    this.handle = useSet(reference.name, scope);
    this.query.dimensions = reference.sides.length;
    this.query.sources = sourceBits(reference.sides);
  }

  ask(packet: Packet, context: RuleContext): SetQuery {
    this.query.packet = packet;
    this.query.context = context;
    return this.query;
  }
}

export class SetChangeTarget implements Target {
  readonly #add: SetUse | undefined;
  readonly #remove: SetUse | undefined;
  readonly #map: SetUse | undefined;
  readonly #mapsMark: boolean;
  readonly #mapsPriority: boolean;
  readonly #options: AddOptions;

  constructor(spec: SetTarget, scope: RuleScope) {
    this.#add = spec.add && new SetUse(spec.add, scope);
    this.#remove = spec.remove && new SetUse(spec.remove, scope);
    this.#map = spec.map && new SetUse(spec.map, scope);
    this.#mapsMark = spec.map?.mark === true;
    this.#mapsPriority = spec.map?.priority === true;
    this.#options = { exist: spec.exist, timeoutSeconds: spec.timeoutSeconds };
  }

  act(packet: Packet, context: RuleContext): number {
    if (this.#add !== undefined) {
      addToSet(this.#add.handle.set, this.#add.ask(packet, context), this.#options);
    }
    if (this.#remove !== undefined) {
      removeFromSet(this.#remove.handle.set, this.#remove.ask(packet, context));
    }
    if (this.#map !== undefined) this.#copy(this.#map, packet, context);
    return ON;
  }

  #copy(map: SetUse, packet: Packet, context: RuleContext): void {
    const query = map.ask(packet, context);
    if (testSet(map.handle.set, query) === 0 || query.found === undefined) return;
    const { found } = query;
    if (this.#mapsMark) packet.mark = (packet.mark & ~found.markMask) ^ found.mark;
    if (this.#mapsPriority) packet.priority = found.priority;
  }
}
