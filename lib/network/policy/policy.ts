/**
 * The policy of a router: who guests may talk to and who may talk to them, in a few words that compile to visible
 * chains. Cold.
 *
 * A change is complete or has not happened: entries are read, sets made, forwards applied, chains exchanged. Then every
 * connection is looked at at its next packet: those that the new policy does not allow are cut, the rest is untouched.
 * Names get their addresses from the DNS answers that guests are given (`observeDnsAnswer`), never by asking.
 */
import { EventEmitter } from 'eventemitter3';
import { Direction, Status } from '../../conntrack/entries.js';
import { TcpState } from '../../conntrack/protocols/tcp-states.js';
import { hasPorts, KEY_PORTS } from '../../conntrack/tuples.js';
import { ConfigurationError } from '../../errors.js';
import { AddressType } from '../../host.js';
import type { LogRecord } from '../../rules/environment.js';
import { type AddressWords, formatAddress } from '../../wire/address.js';
import type { RouterCore } from '../core.js';
import { type DnsAddress, readAddresses, readDns } from '../dns.js';
import type { FlowReview, ReviewedFlow } from '../flow-review.js';
import type { ForwardInput, ForwardRequest, Forwards } from '../forwards/forwards.js';
import { makeReset, sendSegment } from '../liveness/segments.js';
import type { ManagedChains } from '../managed-chains.js';
import { compilePolicy, DENIAL_GROUP, type PolicyLimits } from './chains.js';
import { checkPolicy } from './check.js';
import { DEFAULT_DENIAL_LIMITS, type Denial, type DenialLimits, Denials } from './denials.js';
import { DEFAULT_LIMITS, type DomainLimits, Domains } from './domains.js';
import { domainCovers, normalName, type PolicyEntry, protocolWord } from './entry.js';
import { readEnds } from './logged.js';
import {
  type Answer,
  judgeIn,
  judgeOut,
  judgeShield,
  NOT_ALLOWED_IN,
  type PolicyLists,
  type PolicyModel,
  type Question,
  readModel,
} from './model.js';
import { isPrivate, PROTECTED_NAMES } from './protected.js';

export type { PolicyLimits } from './chains.js';
export type { Denial, DenialLimits } from './denials.js';
export { PROTECTED, PROTECTED_NAMES } from './protected.js';

/** A policy as users write it. Entries are described in `entry.ts`. */
export interface PolicyOptions extends PolicyLists {
  /** Forwards of the policy's own; those made elsewhere stay. */
  readonly forwards?: readonly ForwardInput[];
  readonly limits?: PolicyLimits;
  /** Interfaces behind which the guests are. Default: all that no default route leaves by. */
  readonly guests?: readonly string[];
  /** How a denial looks to the one who asked. Default `reject`. */
  readonly deny?: 'reject' | 'drop';
  /** Addresses that public names may not have (10.0.0.0/8, fc00::/7, ...): `refuse` them, or `allow`. Default `refuse`. */
  readonly privateAnswers?: 'refuse' | 'allow';
  readonly domains?: Partial<DomainLimits>;
  readonly reports?: Partial<DenialLimits>;
}

/** Why an address of an answer opens nothing. */
export interface RefusedAnswer {
  readonly name: string;
  readonly address: string;
  readonly from: string;
  readonly reason: 'private' | 'protected' | 'own';
}

export interface PolicyEvents {
  denied: (denial: Denial) => void;
  /** A name of the policy was answered with an address that it may not have. */
  refused: (answer: RefusedAnswer) => void;
}

/** Who asked, as the DNS service says. */
export interface Asker {
  readonly address: string;
  /** Interface that the question came in by. */
  readonly interface: string;
}

/** What an answer opened. */
export interface Observed {
  readonly name: string;
  readonly added: readonly string[];
  readonly refused: readonly RefusedAnswer[];
}

/** A policy in force. */
interface Active {
  readonly options: PolicyOptions;
  readonly model: PolicyModel;
  /** By interface index. */
  readonly guests: ReadonlySet<number>;
  readonly reasons: ReadonlyMap<string, string>;
}

const TCP = 6;
const NEW_PER_SECOND_MAX = 10_000;

export class Policy {
  readonly events = new EventEmitter<PolicyEvents>();
  readonly denials = new Denials();
  readonly #core: RouterCore;
  readonly #chains: ManagedChains;
  readonly #review: FlowReview;
  readonly #forwards: Forwards;
  readonly #domains: Domains;
  #active: Active | undefined;
  /** Forwards that the policy made. */
  #own: readonly ForwardRequest[] = [];

  constructor(core: RouterCore, chains: ManagedChains, review: FlowReview, forwards: Forwards) {
    this.#core = core;
    this.#chains = chains;
    this.#review = review;
    this.#forwards = forwards;
    this.#domains = new Domains(core.engine.sets);
    review.add((flow) => this.#isRight(flow));
    const { observers } = core.engine;
    const before = observers.onLog;
    observers.onLog = (record) => {
      if (record.group === DENIAL_GROUP) this.#logged(record);
      else before?.(record);
    };
  }

  // ---- configuration ----

  /** The policy in force; undefined without. */
  get options(): PolicyOptions | undefined {
    return this.#active?.options;
  }

  /** Puts a policy in the place of the one before. Throws a ConfigurationError, and nothing has changed then. */
  apply(options: PolicyOptions): void {
    checkPolicy(options);
    const model = readModel(options);
    const guests = this.#guests(options.guests);
    const limits = checkLimits(options.limits ?? {});
    const names = [...model.allowOut, ...model.denyOut].flatMap(({ domain }) => domain ?? []);
    refuseProtectedNames(model.allowOut);
    const draft = this.#domains.prepare(names, { ...DEFAULT_LIMITS, ...options.domains }, this.#core.nowMs);
    const others = this.#forwards.requests.filter((request) => !this.#own.includes(request));
    const before = this.#forwards.requests;
    let hasForwards = false;
    let reasons: ReadonlyMap<string, string>;
    try {
      if (this.#own.length > 0 || (options.forwards ?? []).length > 0) {
        this.#forwards.apply([...others, ...(options.forwards ?? [])]);
        hasForwards = true;
      }
      const chains = compilePolicy(model, {
        guests: guests.map((index) => this.#core.interfaces.name(index)),
        deny: options.deny ?? 'reject',
        limits,
        setOf: draft.setOf,
      });
      this.#chains.set('policy', chains);
      reasons = chains.reasons;
    } catch (error) {
      if (hasForwards) this.#forwards.apply(before);
      draft.cancel();
      throw error;
    }
    draft.commit();
    this.#own = this.#forwards.requests.slice(others.length);
    this.#active = { options, model, guests: new Set(guests), reasons };
    this.denials.limits = { ...DEFAULT_DENIAL_LIMITS, ...options.reports };
    this.#review.mark(() => true);
  }

  /** Takes the policy away, with its chains, sets and forwards. */
  remove(): void {
    if (this.#active === undefined) return;
    const draft = this.#domains.prepare([], DEFAULT_LIMITS, this.#core.nowMs);
    this.#chains.set('policy', undefined);
    draft.commit();
    this.#active = undefined;
    const own = this.#own;
    this.#own = [];
    this.#forwards.remove((request) => own.includes(request));
  }

  #guests(names: readonly string[] | undefined): number[] {
    const { interfaces, routes } = this.#core;
    if (names !== undefined) {
      return names.map((name) => {
        const index = interfaces.find(name);
        if (index !== 0 && index !== interfaces.loopback) return index;
        throw new ConfigurationError('unknown', 'policy: no such interface', { word: name });
      });
    }
    const outward = new Set(
      ([4, 6] as const).flatMap((version) =>
        routes.list(version).flatMap((route) => (route.prefix === 0 ? [route.interface] : [])),
      ),
    );
    const found: number[] = [];
    for (let index = 1; index <= interfaces.count; index++) {
      if (index !== interfaces.loopback && !outward.has(index)) found.push(index);
    }
    if (found.length === 0) {
      throw new ConfigurationError(
        'conflict',
        'policy: every interface has a default route, none has guests',
        {
          expected: "the option 'guests'",
        },
      );
    }
    return found;
  }

  // ---- names ----

  /**
   * Takes note of a DNS message that answers a question of the guest `from`, before it is passed on. The caller vouches
   * that the guest asked this, and the gateway's own upstream answered.
   */
  observeDnsAnswer(bytes: Uint8Array, nowMs: number, from: Asker): Observed | undefined {
    const message = readDns(bytes);
    if (message === undefined || !message.isAnswer || message.code !== 0) return undefined;
    return this.observeAddresses(message.question.name, readAddresses(bytes, message), nowMs, from);
  }

  /** The same of an answer that was read already. */
  observeAddresses(
    name: string,
    addresses: readonly DnsAddress[],
    nowMs: number,
    from: Asker,
  ): Observed | undefined {
    const active = this.#active;
    if (active === undefined) return undefined;
    if (!active.guests.has(this.#core.interfaces.find(from.interface))) return undefined;
    const added: string[] = [];
    const refused: RefusedAnswer[] = [];
    for (const { version, words, ttlSeconds } of addresses) {
      const address = formatAddress(words, version);
      this.#domains.name(name, version, words);
      const reason = this.#refusal(active, name, version, words);
      if (reason === undefined) {
        if (this.#domains.learn(name, version, words, ttlSeconds, nowMs).length > 0) added.push(address);
      } else {
        refused.push({ name: normalName(name), address, from: from.address, reason });
      }
    }
    const isOurs = [...active.model.allowOut, ...active.model.denyOut].some(
      ({ domain }) => domain !== undefined && domainCovers(domain, normalName(name)),
    );
    if (isOurs) for (const answer of refused) this.events.emit('refused', answer);
    return { name: normalName(name), added, refused };
  }

  #refusal(
    { model, options }: Active,
    name: string,
    version: 4 | 6,
    words: AddressWords,
  ): RefusedAnswer['reason'] | undefined {
    const normal = normalName(name);
    if (PROTECTED_NAMES.some((protectedName) => domainCovers(protectedName, normal))) return 'protected';
    const question: Question = { version, protocol: -1, words, at: 0, port: -1 };
    if (judgeShield({ ...model, exceptions: [] }, question) !== undefined) return 'protected';
    if (options.privateAnswers === 'allow') return undefined;
    if (this.#core.engine.host.addressType(version, Int32Array.from(words), 0, 0) === AddressType.LOCAL)
      return 'own';
    return isPrivate(version, words) ? 'private' : undefined;
  }

  // ---- connections ----

  /** Whether the policy of now allows a connection of before. */
  #isRight(flow: ReviewedFlow): boolean {
    const active = this.#active;
    if (active === undefined) return true;
    const answer = this.#judge(active, flow);
    if (answer === undefined || answer.verdict === 'allow') return true;
    // The next packet from where it began meets the chains, and is told of there.
    if (flow.isReply) this.#tell(this.#denialOf(active, flow, answer));
    if ((active.options.deny ?? 'reject') === 'reject' && !answer.rule.startsWith('protect ')) {
      this.#resetEnds(flow);
    }
    return false;
  }

  /** Tells the ends of a connection that is cut; rules answer the one whose packet begins it anew. */
  #resetEnds({ table, entry, protocol, version, isReply }: ReviewedFlow): void {
    const state = table.entries.state(entry);
    if (protocol !== TCP || state < TcpState.SYN_RECV || state > TcpState.LAST_ACK) return;
    const isAnswered = !isReply && this.#core.engine.tracker.context.settings.tcpLoose === 1;
    for (const end of isAnswered ? [Direction.REPLY] : [Direction.ORIGINAL, Direction.REPLY]) {
      sendSegment(this.#core, makeReset(this.#core, table, entry, end), version);
    }
  }

  #judge({ model, guests }: Active, flow: ReviewedFlow): Answer | undefined {
    const { version, protocol, original, reply, inInterface, outInterface } = flow;
    const { loopback } = this.#core.interfaces;
    const hasPort = hasPorts(protocol) === 1;
    const asked = hasPort ? (original[KEY_PORTS] as number) & 0xffff : -1;
    const common = { version, protocol };
    if (guests.has(inInterface)) {
      const shield = judgeShield(model, { ...common, words: original, at: 4, port: asked });
      if (shield?.verdict === 'deny') return shield;
      if (outInterface !== loopback) {
        const port = hasPort ? (reply[KEY_PORTS] as number) >>> 16 : -1;
        const nowMs = this.#core.nowMs;
        const out = judgeOut(model, { ...common, words: reply, at: 0, port }, (domain, { words, at }) => {
          if (this.#domains.has(domain, version, words, at, nowMs)) return true;
          return this.#domains.hasHad(domain, formatAddress(words, version, at));
        });
        if (out.verdict === 'deny') return out;
      }
    }
    if (!guests.has(outInterface) || inInterface === loopback) return undefined;
    const isForwarded = (flow.table.entries.status(flow.entry) & Status.DST_NAT) !== 0;
    return judgeIn(model, { ...common, words: original, at: 0, port: asked }, isForwarded);
  }

  #denialOf({ guests }: Active, flow: ReviewedFlow, { rule }: Answer): Omit<Denial, 'count'> {
    const { version, original, reply, inInterface, protocol } = flow;
    const destination = formatAddress(reply, version, 0);
    const domain = this.#domains.nameOf(destination);
    return {
      direction: directionOf(rule, guests.has(inInterface)),
      interface: this.#core.interfaces.name(inInterface),
      protocol: protocolWord(protocol),
      source: formatAddress(original, version, 0),
      destination,
      ...(hasPorts(protocol) === 1 ? { port: (reply[KEY_PORTS] as number) >>> 16 } : {}),
      ...(domain === undefined ? {} : { domain }),
      rule,
      nowMs: this.#core.nowMs,
    };
  }

  // ---- reports ----

  #logged(record: LogRecord): void {
    const active = this.#active;
    const rule = active?.reasons.get(record.prefix);
    const ends = readEnds(record.bytes);
    if (active === undefined || rule === undefined || ends === undefined) return;
    const domain = this.#domains.nameOf(ends.destination);
    this.#tell({
      direction: directionOf(rule, active.guests.has(this.#core.interfaces.find(record.inInterface))),
      interface: record.inInterface,
      protocol: protocolWord(ends.protocol),
      source: ends.source,
      destination: ends.destination,
      ...(ends.port < 0 ? {} : { port: ends.port }),
      ...(domain === undefined ? {} : { domain }),
      rule,
      nowMs: this.#core.nowMs,
    });
  }

  #tell(denial: Omit<Denial, 'count'>): void {
    const told = this.denials.admit(denial);
    if (told !== undefined) this.events.emit('denied', told);
  }
}

/** From guest to guest both directions are judged: the rule says which refused it. */
function directionOf(rule: string, isFromGuest: boolean): Denial['direction'] {
  return rule === NOT_ALLOWED_IN || rule.startsWith('denyIn ') || !isFromGuest ? 'in' : 'out';
}

function checkLimits(limits: PolicyLimits): PolicyLimits {
  const check = (name: keyof PolicyLimits, most: number): void => {
    const value = limits[name];
    if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return;
    throw new ConfigurationError('value', `limits: ${name}`, {
      word: String(value),
      expected: `1 to ${most}`,
    });
  };
  check('connectionsPerSource', 0xffff_ffff);
  check('newPerSecond', NEW_PER_SECOND_MAX);
  return limits;
}

/** Entries by name never open what is protected: say so at once. */
function refuseProtectedNames(entries: readonly PolicyEntry[]): void {
  for (const { domain, text } of entries) {
    if (domain === undefined || !PROTECTED_NAMES.includes(domain)) continue;
    throw new ConfigurationError('conflict', 'allowOut: this name is of a protected service', {
      word: text,
      expected: 'its address, if guests are really to reach it',
    });
  }
}
