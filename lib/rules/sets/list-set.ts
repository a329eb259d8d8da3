/**
 * list:set: other sets, asked one after the other. Hot.
 */
import { type ElementFields, elementHolds, SetElement, type SetExtensions } from './element.js';
import {
  type AddOptions,
  addToSet,
  NO,
  type PacketSet,
  removeFromSet,
  type SetHandle,
  type SetQuery,
  testSet,
  YES,
} from './set.js';

export interface ListSetOptions extends SetExtensions {
  /** Most members. */
  readonly size: number;
}

export interface ListMember {
  readonly handle: SetHandle;
  readonly element: SetElement;
}

const NO_KEY = new Int32Array(6);

export class ListSet implements PacketSet {
  readonly options: ListSetOptions;
  readonly dimensions = 1;
  readonly family = 0;
  readonly hasExceptions = false;
  #members: ListMember[] = [];

  constructor(options: ListSetOptions) {
    this.options = options;
  }

  get members(): readonly ListMember[] {
    return this.#members;
  }

  /** The first member that has the packet; what is asked of counters is asked of the list's own. */
  test(query: SetQuery): number {
    const { packet } = query;
    const own = query.options;
    const members = this.#members;
    for (let i = 0; i < members.length; i++) {
      const { handle, element } = members[i] as ListMember;
      if (element.hasExpired(query.nowMs)) continue;
      query.options = own.ofMembers ?? own;
      const has = testSet(handle.set, query);
      query.options = own;
      if (has === 0) continue;
      if (elementHolds(element, this.options, own, packet.end - packet.start, query.nowMs)) return YES;
    }
    return NO;
  }

  add(query: SetQuery, options: AddOptions): boolean {
    return this.#members.some(
      ({ handle, element }) => !element.hasExpired(query.nowMs) && addToSet(handle.set, query, options),
    );
  }

  remove(query: SetQuery): boolean {
    return this.#members.some(
      ({ handle, element }) => !element.hasExpired(query.nowMs) && removeFromSet(handle.set, query),
    );
  }

  indexOf(name: string): number {
    return this.#members.findIndex(({ handle }) => handle.name === name);
  }

  /** Adds a member in front of place `at` (undefined: at the end). */
  insert(handle: SetHandle, fields: ElementFields, at: number | undefined, nowMs: number): void {
    const element = new SetElement(NO_KEY);
    element.write(fields, this.options, nowMs);
    this.#members.splice(at ?? this.#members.length, 0, { handle, element });
  }

  removeAt(index: number): void {
    this.#members.splice(index, 1);
  }

  clear(): void {
    this.#members = [];
  }

  clone(): ListSet {
    const copy = new ListSet(this.options);
    copy.#members = this.#members.map(({ handle, element }) => ({ handle, element: element.clone() }));
    return copy;
  }
}
