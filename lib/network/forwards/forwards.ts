/**
 * The forwards of a router: one set, replaced as a whole or not at all. Cold, but for what a new connection costs.
 *
 * Life of a change: specs are read, rules that want the same packets are refused, ports are taken in the register, the
 * chains are exchanged, and only then the old ports are let go. Any failure before leaves everything as it was.
 *
 * A connection remembers the index of the forward that made it, and the index's generation. Forwards that are the same
 * before and after a change keep both, and their connections are not touched. Connections of others are looked at at
 * their next packet: one that a new forward would send to the same place stays, the rest end as RULE_CHANGED. So do
 * those that began before there was a forward for them: a talkative peer is not left on what was there before.
 */
import { Direction, type EntryId, Status } from '../../conntrack/entries.js';
import type { ConntrackTable } from '../../conntrack/table.js';
import { KEY_PORTS } from '../../conntrack/tuples.js';
import { ConfigurationError } from '../../errors.js';
import { AddressType } from '../../host.js';
import type { RulePlace } from '../../rules/environment.js';
import { formatAddress, parseAddress } from '../../wire/address.js';
import type { Packet } from '../../wire/packet.js';
import type { RouterCore } from '../core.js';
import type { FlowReview, ReviewedFlow } from '../flow-review.js';
import { leadsOn } from '../icmp-errors.js';
import { type Names, refuseOther, refuseUnknown } from '../known.js';
import type { Reservation } from '../local/registry.js';
import type { ManagedChains } from '../managed-chains.js';
import { type ActiveForward, type ForwardRequest, identityOf, targetPort } from './active.js';
import { compileForwards, placeKey } from './chains.js';
import { overlapError, takenError } from './errors.js';
import { FlowRules } from './flows.js';
import { PortIndex } from './port-index.js';
import { PortDraft, servicesOf } from './ports.js';
import { type ForwardProtocol, type ForwardRule, findOverlap, formatForward, type Ports } from './rule.js';
import { parseForward } from './spec.js';

export type { ForwardRequest } from './active.js';
export { type ForwardFailure, ForwardsError } from './errors.js';
export type { ForwardProtocol } from './rule.js';

/** Asks which ports are open at a target: what `auto` forwards. */
export type PortScan = (target: {
  readonly protocol: ForwardProtocol;
  readonly version: 4 | 6;
  readonly address: string;
}) => Iterable<number>;

export interface ForwardsOptions {
  /** Where specs without a target address lead; one address per family. */
  readonly to?: string | readonly string[];
  readonly hairpin?: 'on' | 'off';
  /** Ports that `all` and exclude-only specs leave out. Default: Linux's ephemeral range. */
  readonly ephemeral?: Ports;
  /**
   * How many free ports a spec needs that takes what it gets: one in each contiguous block (`per-rule`), or one
   * anywhere (`any`). Default `per-rule`.
   */
  readonly usable?: 'per-rule' | 'any';
  /** Needed for specs with `auto`. */
  readonly scan?: PortScan;
}

/** A forward as `list` shows it: a copy. */
export interface ForwardDescription {
  readonly request: ForwardRequest;
  readonly family: 4 | 6;
  readonly protocol: ForwardProtocol;
  /** `0.0.0.0%eth0:8080 -> 10.0.0.2:80` */
  readonly rule: string;
  /** Ports that are forwarded now. */
  readonly ports: readonly Ports[];
  readonly index: number;
  readonly generation: number;
}

/** A forward that was asked for, to be taken back. */
export interface ForwardHandle {
  readonly request: ForwardRequest;
  /** Takes it away; twice does nothing. */
  remove(): void;
}

/** `tcp 8080:10.0.0.2/80` or the same as an object. */
export type ForwardInput = string | ForwardRequest;

const REQUEST: Names<ForwardRequest> = { protocol: true, spec: true, from: true, to: true, hairpin: true };

interface Place {
  forward: ActiveForward | undefined;
  identity: string;
  generation: number;
}

export class Forwards {
  readonly #core: RouterCore;
  readonly #chains: ManagedChains;
  readonly #review: FlowReview;
  readonly #options: ForwardsOptions;
  readonly #flows = new FlowRules();
  #requests: readonly ForwardRequest[] = [];
  /** By index; a place that is empty keeps its generation. */
  #places: readonly Place[] = [];
  /** Place of each forward in force, and which of them has a port. */
  #indices: ReadonlyMap<ActiveForward | undefined, number> = new Map();
  #index = new PortIndex([]);
  #held: ReadonlyMap<string, Reservation> = new Map();
  #ruleIndices: ReadonlyMap<string, readonly (number | undefined)[]> = new Map();

  constructor(core: RouterCore, chains: ManagedChains, review: FlowReview, options: ForwardsOptions = {}) {
    this.#core = core;
    this.#chains = chains;
    this.#review = review;
    this.#options = options;
    review.add((flow) => this.#isRight(flow));
    const { observers } = core.engine;
    const before = observers.onBind;
    observers.onBind = (place, packet) => {
      before?.(place, packet);
      this.#bound(place, packet);
    };
  }

  // ---- configuration ----

  /** Adds a forward to those that there are. Throws a ConfigurationError, and nothing has changed then. */
  add(
    protocol: ForwardProtocol,
    spec: string,
    options: Omit<ForwardRequest, 'protocol' | 'spec'> = {},
  ): ForwardHandle {
    const request: ForwardRequest = { ...options, protocol, spec };
    this.apply([...this.#requests, request]);
    return { request, remove: () => this.remove((one) => one === request) };
  }

  /**
   * Puts a new set in the place of the old one. Throws a {@link ForwardsError} that lists each port that cannot be had,
   * or another ConfigurationError; nothing has changed then.
   */
  apply(forwards: readonly ForwardInput[]): void {
    const requests = forwards.map(readRequest);
    const planned = requests.flatMap((request) => this.#plan(request));
    refuseOverlaps(planned);
    const draft = new PortDraft(this.#core.ports, this.#held);
    this.#install(this.#takePorts(planned, draft));
    this.#held = draft.commit();
    this.#requests = requests;
  }

  /** Takes away the forwards that `isIt`; returns how many. */
  remove(isIt: (request: ForwardRequest) => boolean): number {
    const kept = this.#requests.filter((request) => !isIt(request));
    const removed = this.#requests.length - kept.length;
    if (removed > 0) this.apply(kept);
    return removed;
  }

  /** Looks again for open ports, for specs with `auto`, and for ports that have become free. */
  scan(): void {
    this.apply(this.#requests);
  }

  /** What was asked for. */
  get requests(): readonly ForwardRequest[] {
    return this.#requests;
  }

  list(): ForwardDescription[] {
    return this.#places.flatMap(({ forward, generation }, index) =>
      forward === undefined
        ? []
        : [
            {
              request: forward.request,
              family: forward.version,
              protocol: forward.protocol,
              rule: describe(forward),
              ports: forward.usable,
              index,
              generation,
            },
          ],
    );
  }

  // ---- from specs to forwards ----

  #plan(request: ForwardRequest): ActiveForward[] {
    const { protocol, spec } = request;
    const { ephemeral, scan } = this.#options;
    const rules = parseForward(spec, { protocol, ...(ephemeral === undefined ? {} : { ephemeral }) });
    if (scan === undefined && rules.some(({ ports }) => ports === 'scan')) {
      throw new ConfigurationError('conflict', `forward '${spec}': nobody says which ports are open`, {
        word: 'auto',
        expected: "the option 'scan'",
      });
    }
    return rules.flatMap((rule) => {
      const families = rule.version === undefined ? ([4, 6] as const) : [rule.version];
      const found = families.flatMap((version) => this.#aim(request, rule, version) ?? []);
      if (found.length === 0) {
        throw new ConfigurationError('value', `forward '${spec}': no target`, {
          word: spec,
          expected: `a target address, or the option 'to'`,
        });
      }
      return found;
    });
  }

  /** The rule in one family; undefined if nothing says where it leads there. */
  #aim(request: ForwardRequest, rule: ForwardRule, version: 4 | 6): ActiveForward | undefined {
    const { interfaces, routes } = this.#core;
    const target = rule.target?.address ?? defaultTarget(request.to ?? this.#options.to, version);
    if (target === undefined) return undefined;
    const name = rule.interface === '' ? (request.from ?? '') : rule.interface;
    const interfaceIndex = name === '' ? 0 : interfaces.find(name);
    if (name !== '' && interfaceIndex === 0) {
      throw new ConfigurationError('unknown', `forward '${request.spec}': no such interface`, { word: name });
    }
    const type = routes.find(version, Int32Array.from(target), 0, 0);
    const isReachable = leadsOn(type) && routes.interface !== interfaces.loopback;
    if (!isReachable) {
      throw new ConfigurationError('value', `forward '${request.spec}': no way to the target`, {
        word: formatAddress(target, version),
        expected: 'the address of another host, with a route to it',
      });
    }
    return {
      first: rule.first,
      last: rule.last,
      request,
      rule: { ...rule, interface: name },
      version,
      protocol: request.protocol,
      interface: name,
      interfaceIndex,
      address: rule.address,
      target,
      targetInterface: interfaces.name(routes.interface),
      targetInterfaceIndex: routes.interface,
      targetFirst: rule.targetFirst,
      hairpin: request.hairpin ?? this.#options.hairpin ?? 'off',
      usable: [],
    };
  }

  /** Takes the ports of all; throws with a list of those that cannot be had but must be. */
  #takePorts(planned: readonly ActiveForward[], draft: PortDraft): ActiveForward[] {
    const ready = planned.map((forward) => ({
      ...forward,
      usable: draft.take(forward, this.#candidates(forward)),
    }));
    const isFree = (one: ActiveForward) => one.usable.length > 0;
    const isStarved = (one: ActiveForward): boolean => {
      if (one.rule.ports === 'scan' || isFree(one)) return false;
      if (this.#options.usable !== 'any') return true;
      return !ready.some((other) => other.request === one.request && isFree(other));
    };
    const starved = new Set(
      ready
        .filter((one) => one.rule.effort === 'best' && isStarved(one))
        .map((one) => formatForward(one.rule)),
    );
    const firm = new Set(
      planned.filter(({ rule }) => rule.effort === 'firm').map(({ rule }) => formatForward(rule)),
    );
    const [first, ...more] = draft.failures.filter(({ rule }) => firm.has(rule) || starved.has(rule));
    if (first !== undefined) throw takenError([first, ...more]);
    return ready;
  }

  #candidates({ rule, protocol, version, target, first, last, targetFirst }: ActiveForward): Ports[] {
    if (rule.ports === 'fixed') return [{ first, last }];
    const address = formatAddress(target, version);
    const open = [...(this.#options.scan?.({ protocol, version, address }) ?? [])];
    const ports = [...new Set(open.map((port) => port - targetFirst + first))]
      .filter((port) => Number.isInteger(port) && port >= first && port <= last)
      .sort((a, b) => a - b);
    const ranges: { first: number; last: number }[] = [];
    for (const port of ports) {
      const before = ranges.at(-1);
      if (before?.last === port - 1) before.last = port;
      else ranges.push({ first: port, last: port });
    }
    return ranges;
  }

  // ---- into force ----

  #install(forwards: readonly ActiveForward[]): void {
    const { ports, interfaces } = this.#core;
    const index = new PortIndex(forwards);
    const chains = compileForwards(forwards, servicesOf(ports, index, interfaces), interfaces);
    this.#chains.set('forwards', chains);
    this.#index = index;
    const places = arrange(this.#places, forwards);
    const before = this.#places;
    this.#places = places;
    const indices = new Map(places.map(({ forward }, index) => [forward, index]));
    this.#indices = indices;
    this.#ruleIndices = new Map(
      [...chains.places].map(([key, rules]) => [key, rules.map((rule) => indices.get(rule))]),
    );
    const gone = before.some(
      ({ generation, forward }, i) => forward !== undefined && places[i]?.generation !== generation,
    );
    const added = places.filter(
      ({ forward, generation }, i) => forward !== undefined && before[i]?.generation !== generation,
    );
    if (gone || added.length > 0) {
      this.#mark(new PortIndex(added.map(({ forward }) => forward as ActiveForward)));
    }
  }

  /** Marks the connections of forwards that are no more, and those that a new forward may want. */
  #mark(added: PortIndex): void {
    this.#review.mark((table, entry) => {
      const remembered = this.#flows.recall(table, entry);
      if (remembered !== undefined)
        return this.#places[remembered.index]?.generation !== remembered.generation;
      const { entries } = table;
      if ((entries.status(entry) & Status.DST_NAT) !== 0) return false;
      const protocol = entries.protocol(entry);
      const port = entries.ports(entries.tuple(entry, Direction.ORIGINAL)) & 0xffff;
      return added.at(table.version, protocol, port).length > 0;
    });
  }

  // ---- connections ----

  #bound(place: RulePlace, packet: Packet): void {
    if (place.table !== 'nat' || typeof place.number !== 'number') return;
    const index = this.#ruleIndices.get(placeKey(packet.version, place.chain))?.[place.number - 1];
    if (index === undefined) return;
    const { generation } = this.#places[index] as Place;
    this.#flows.remember(this.#core.engine.tracker.table(packet.version), packet.entry as EntryId, {
      index,
      generation,
    });
  }

  /** The forward that made a connection; undefined if none of those in force did. */
  forwardOf(table: ConntrackTable, entry: EntryId): ForwardDescription | undefined {
    const remembered = this.#flows.recall(table, entry);
    if (remembered === undefined) return undefined;
    return this.list().find(
      ({ index, generation }) => index === remembered.index && generation === remembered.generation,
    );
  }

  /** Whether a connection is as the forwards of now would make it. */
  #isRight(flow: ReviewedFlow): boolean {
    const { table, entry } = flow;
    const remembered = this.#flows.recall(table, entry);
    if (remembered !== undefined && this.#places[remembered.index]?.generation === remembered.generation)
      return true;
    if (remembered === undefined && (table.entries.status(entry) & Status.DST_NAT) !== 0) return true;
    const { reply, original, version, protocol } = flow;
    const wanting = this.#index
      .at(version, protocol, (original[KEY_PORTS] as number) & 0xffff)
      .find((forward) => this.#wants(forward, flow));
    const index = this.#indices.get(wanting);
    const place = index === undefined ? undefined : this.#places[index];
    if (index === undefined || place?.forward === undefined) return remembered === undefined;
    const isThere =
      place.forward.target.every((word, i) => word === reply[i]) &&
      (reply[KEY_PORTS] as number) >>> 16 ===
        targetPort(place.forward, (original[KEY_PORTS] as number) & 0xffff);
    if (isThere) this.#flows.remember(table, entry, { index, generation: place.generation });
    return isThere;
  }

  /** Whether the first packet of the connection would meet the forward, which has its port. */
  #wants(forward: ActiveForward, flow: ReviewedFlow): boolean {
    const { original, inInterface, version } = flow;
    const { loopback } = this.#core.interfaces;
    if (inInterface === loopback && forward.hairpin === 'off') return false;
    if (forward.interfaceIndex !== 0) {
      if (forward.interfaceIndex !== inInterface) return false;
    } else if (forward.hairpin === 'off' && inInterface === forward.targetInterfaceIndex) return false;
    if (forward.address !== undefined) return forward.address.every((word, i) => word === original[4 + i]);
    return this.#core.engine.host.addressType(version, original, 4, 0) === AddressType.LOCAL;
  }
}

/** Gives each forward a place: the one that it had if it is the same, else a free one with a new generation. */
function arrange(before: readonly Place[], forwards: readonly ActiveForward[]): Place[] {
  const wanted = new Map(forwards.map((forward) => [identityOf(forward), forward]));
  const places = before.map((place): Place => {
    const forward = place.forward === undefined ? undefined : wanted.get(place.identity);
    if (forward === undefined) {
      // An empty place has a generation that no connection remembers.
      const generation = place.forward === undefined ? place.generation : place.generation + 1;
      return { forward: undefined, identity: '', generation };
    }
    wanted.delete(place.identity);
    return { ...place, forward };
  });
  let free = 0;
  for (const [identity, forward] of wanted) {
    while (places[free]?.forward !== undefined) free++;
    places[free] = { forward, identity, generation: (places[free]?.generation ?? 0) + 1 };
  }
  return places;
}

function readRequest(input: ForwardInput): ForwardRequest {
  const isText = typeof input === 'string';
  const space = isText ? input.indexOf(' ') : 0;
  const protocol = isText ? input.slice(0, Math.max(0, space)) : input.protocol;
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw new ConfigurationError('unknown', 'forward: no such protocol', {
      word: isText ? input : protocol,
      expected: "tcp or udp and a spec, as 'tcp 8080:10.0.0.2/80'",
    });
  }
  if (isText) return { protocol, spec: input.slice(space + 1) };
  refuseUnknown('forward', input, REQUEST);
  refuseOther('forward: hairpin', input.hairpin, ['on', 'off']);
  if (typeof input.spec !== 'string') {
    throw new ConfigurationError('value', 'forward: no spec', {
      word: String(input.spec),
      expected: "ports and a target, as '8080:10.0.0.2/80'",
    });
  }
  return input;
}

function refuseOverlaps(forwards: readonly ActiveForward[]): void {
  for (const protocol of ['tcp', 'udp'] as const) {
    const overlap = findOverlap(forwards.filter((forward) => forward.protocol === protocol));
    if (overlap === undefined) continue;
    const [first, second] = overlap;
    throw overlapError(
      protocol,
      formatForward(first.rule),
      formatForward(second.rule),
      Math.max(first.first, second.first),
      { word: second.request.spec },
    );
  }
}

function defaultTarget(to: string | readonly string[] | undefined, version: 4 | 6) {
  const texts = to === undefined ? [] : typeof to === 'string' ? [to] : to;
  for (const text of texts) {
    const family = text.includes(':') ? 6 : 4;
    const words = parseAddress(text, family);
    if (words === undefined) throw new ConfigurationError('value', 'forward: not an address', { word: text });
    if (family === version) return words;
  }
  return undefined;
}

function describe(forward: ActiveForward): string {
  const { rule, version, target } = forward;
  return formatForward({ ...rule, version, target: { version, address: target } });
}
