/**
 * bitmap:port: TCP and UDP ports of a range. Hot.
 */
import { type ElementFields, elementHolds, SetElement, type SetExtensions } from './element.js';
import { barePort } from './ports.js';
import { type AddOptions, NO, type PacketSet, type SetQuery, YES } from './set.js';

const PORT = 5;

export interface PortSetOptions extends SetExtensions {
  readonly first: number;
  readonly last: number;
}

export class PortSet implements PacketSet {
  readonly options: PortSetOptions;
  readonly dimensions = 1;
  readonly family = 0;
  readonly hasExceptions = false;
  /** By port - first. */
  readonly #elements: (SetElement | undefined)[];

  constructor(options: PortSetOptions) {
    this.options = options;
    this.#elements = new Array<SetElement | undefined>(options.last - options.first + 1).fill(undefined);
  }

  *elements(): Iterable<SetElement> {
    for (const element of this.#elements) if (element !== undefined) yield element;
  }

  test(query: SetQuery): number {
    const { packet, options } = query;
    const element = this.find(barePort(packet, query.sources & 1));
    if (element === undefined) return NO;
    if (!elementHolds(element, this.options, options, packet.end - packet.start, query.nowMs)) return NO;
    query.found = element;
    return YES;
  }

  add(query: SetQuery, options: AddOptions): boolean {
    const { packet } = query;
    const port = barePort(packet, query.sources & 1);
    if (!this.has(port)) return false;
    const counted = { packets: 1, bytes: packet.end - packet.start, timeoutSeconds: options.timeoutSeconds };
    return this.insert(port, counted, options.exist, query.nowMs);
  }

  remove(query: SetQuery): boolean {
    return this.delete(barePort(query.packet, query.sources & 1), query.nowMs);
  }

  /** Whether a port lies in the set's range. */
  has(port: number): boolean {
    return port >= this.options.first && port <= this.options.last;
  }

  find(port: number): SetElement | undefined {
    return this.has(port) ? this.#elements[port - this.options.first] : undefined;
  }

  /** Adds a port of the range; false if it is there already and not to be written anew. */
  insert(port: number, fields: ElementFields, exist: boolean, nowMs: number): boolean {
    let element = this.find(port);
    if (element !== undefined && !exist && !element.hasExpired(nowMs)) return false;
    element ??= new SetElement(Int32Array.of(0, 0, 0, 0, 0, port));
    element.write(fields, this.options, nowMs);
    this.#elements[port - this.options.first] = element;
    return true;
  }

  delete(port: number, nowMs: number): boolean {
    const element = this.find(port);
    if (element === undefined) return false;
    this.#elements[port - this.options.first] = undefined;
    return !element.hasExpired(nowMs);
  }

  clear(): void {
    this.#elements.fill(undefined);
  }

  clone(): PortSet {
    const copy = new PortSet(this.options);
    for (const element of this.elements()) {
      copy.#elements[(element.key[PORT] as number) - this.options.first] = element.clone();
    }
    return copy;
  }
}
