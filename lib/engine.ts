/**
 * The engine: what happens to a packet at a hook, in netfilter's order. Hot.
 *
 *   PREROUTING   defragment, raw, track, mangle, nat (destination)
 *   INPUT        mangle, filter, security, nat (source), confirm
 *   FORWARD      mangle, filter, security
 *   OUTPUT       defragment, raw, track, mangle, nat (destination), filter, security
 *   POSTROUTING  mangle, nat (source), confirm
 *
 * A router runs PREROUTING, routes, then INPUT, or FORWARD and POSTROUTING (`network/router.ts` does); a locally sent
 * packet runs OUTPUT and POSTROUTING. Whoever runs the last hook of a packet's way, or drops the packet between two,
 * calls `release`. After a verdict of DROP the engine has done that already, and `packet.reason` says why.
 *
 * Tracking is on for a family when a rule needs it (`tracking: 'auto'`, as on Linux) or always.
 */
import { Connections } from './conntrack/connections.js';
import { type EntryId, NIL } from './conntrack/entries.js';
import type { Helpers } from './conntrack/helpers/registry.js';
import { Opening } from './conntrack/opening.js';
import { Reaper, type ReaperOptions } from './conntrack/reaper.js';
import { type Restored, restoreSnapshot, takeSnapshot } from './conntrack/snapshot.js';
import { ConntrackSysctl } from './conntrack/sysctl.js';
import type { TimeoutPolicies } from './conntrack/timeout-policies.js';
import { Tracker, type TrackerOptions } from './conntrack/tracker.js';
import { DropCounters, DropReason } from './counters.js';
import { Reassembler } from './fragments/reassembler.js';
import type { Host } from './host.js';
import { HelperNat } from './nat/helpers.js';
import { Nat } from './nat/nat.js';
import { type Random, unpredictableRandom } from './random.js';
import { Rules, type RulesObservers } from './rules/rules.js';
import { saveRuleset } from './rules/save.js';
import { SetRegistry } from './rules/sets/registry.js';
import { SharedStates } from './rules/shared.js';
import type { Pacing } from './rules/slices.js';
import { CtInfo, type Packet } from './wire/packet.js';
import { Hook, Verdict } from './wire/verdict.js';

const PREROUTING = Hook.PREROUTING;
const INPUT = Hook.INPUT;
const FORWARD = Hook.FORWARD;
const OUTPUT = Hook.OUTPUT;
const POSTROUTING = Hook.POSTROUTING;
const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const INVALID = CtInfo.INVALID;

const NO_ROUTE = DropReason.NO_ROUTE;
const NOT_REROUTED = -1;
/** Answer of {@link Engine.open} about a packet that has to be parsed and passed. */
export const NOT_OPENED = -1;

const RAW = 0;
const MANGLE = 1;
const NAT = 2;
const FILTER = 3;
const SECURITY = 4;
/** Tables that a hook of filters has, a bit each; nearly always there is but one of them. */
const FILTERING = (1 << MANGLE) | (1 << FILTER) | (1 << SECURITY);

/** Options of an {@link Engine}; only `host` must be given. */
export interface EngineOptions extends TrackerOptions {
  /** The network around: interfaces, addresses, and where REJECT's answers go. */
  readonly host: Host;
  /** Source of every random choice. Default: unpredictable. */
  readonly random?: Random;
  /** Whether connections are tracked: `auto` when a rule needs it, or `always`. Default `auto`. */
  readonly tracking?: 'auto' | 'always';
  /** What INVALID packets do when no rule decides: `pass` as on Linux (un-NATed!), or `drop`. Default `pass`. */
  readonly invalid?: 'pass' | 'drop';
  /** The background reaper's constants. */
  readonly reaper?: ReaperOptions;
  /** Where LOG, NFLOG and rule traces go. */
  readonly observers?: RulesObservers;
  /** Whether long chains are indexed; `none`: packets meet rule after rule, for comparison. Default `auto`. */
  readonly ruleIndex?: 'auto' | 'none';
  /** Wall-clock time, ms since 1970, of a packet's `nowMs`, for the time match. Default: the machine's clock. */
  readonly wallTimeMs?: (nowMs: number) => number;
}

export class Engine {
  readonly host: Host;
  readonly random: Random;
  readonly tracker: Tracker;
  readonly connections: Connections;
  /** Settings by their nf_conntrack_* names. */
  readonly sysctl: ConntrackSysctl;
  readonly reaper: Reaper;
  readonly nat: Nat;
  /** Readers of protocols that announce connections: FTP and TFTP, and those that are registered. */
  readonly helpers: Helpers;
  /** Timeouts that `-j CT --timeout` names. */
  readonly timeoutPolicies: TimeoutPolicies;
  readonly reassembler: Reassembler;
  /** The sets that rules of both families may name (`ipset`). */
  readonly sets = new SetRegistry();
  /** Who hears of LOG, NFLOG, rule traces and bindings; may be set at any time. */
  readonly observers: RulesObservers;
  readonly rules4: Rules;
  readonly rules6: Rules;
  /** Why packets were dropped, over all rooms. */
  readonly drops = new DropCounters();
  readonly #opening: Opening;
  readonly #alwaysTracking: number;
  readonly #dropInvalid: number;
  /** Interface that the packet in OUTPUT will leave by since its way was found anew. */
  #rerouted = NOT_REROUTED;

  constructor(options: EngineOptions) {
    this.host = options.host;
    this.random = options.random ?? unpredictableRandom();
    this.tracker = new Tracker(options);
    this.#opening = new Opening(this.tracker);
    this.connections = new Connections(this.tracker);
    this.sysctl = new ConntrackSysctl(this.tracker);
    this.reaper = new Reaper(this.tracker, options.reaper);
    this.nat = new Nat(this.tracker, this.host, this.random);
    this.helpers = this.tracker.helpers;
    this.timeoutPolicies = this.tracker.timeoutPolicies;
    this.helpers.translator = new HelperNat(this.nat, this.random, () => this.tracker.context.now);
    this.reassembler = new Reassembler();
    this.observers = options.observers ?? {};
    const environment = {
      tracker: this.tracker,
      nat: this.nat,
      host: this.host,
      random: this.random,
      observers: this.observers,
      shared: new SharedStates(),
      sets: this.sets,
      wallTimeMs: options.wallTimeMs,
      ruleIndex: options.ruleIndex,
    };
    this.rules4 = new Rules(4, environment);
    this.rules6 = new Rules(6, environment);
    this.#alwaysTracking = options.tracking === 'always' ? 1 : 0;
    this.#dropInvalid = options.invalid === 'drop' ? 1 : 0;
  }

  /** The rules of a family. */
  rules(version: number): Rules {
    return version === 4 ? this.rules4 : this.rules6;
  }

  /** Whether packets of a family are tracked: 1 or 0. */
  isTracking(version: number): 0 | 1 {
    return this.#alwaysTracking === 1 || this.rules(version).needsTracking === 1 ? 1 : 0;
  }

  /**
   * Replaces the tables that `text` (iptables-save form) has; the others stay. Throws a ConfigurationError, and
   * nothing has changed then.
   */
  restore(family: 4 | 6, text: string, file?: string): void {
    this.rules(family).restore(text, file);
  }

  /**
   * The same with pauses (see `Pacing`): packets in between meet the rules that there were, and the tables are exchanged
   * at once just before the promise resolves. Rejects with a ConfigurationError, and nothing has changed then.
   */
  restoreGradually(family: 4 | 6, text: string, pacing: Pacing, file?: string): Promise<void> {
    return this.rules(family).restoreGradually(text, pacing, file);
  }

  /** The rules of a family as iptables-save prints them. */
  save(family: 4 | 6, counters: 'with' | 'without' = 'without'): string {
    return saveRuleset(this.rules(family).toRuleset(), { counters });
  }

  /** All live connections as bytes, to be restored in another process or after a restart. */
  saveConnections(nowMs: number): Promise<Uint8Array> {
    return takeSnapshot(this.tracker, nowMs);
  }

  /**
   * Restores saved connections beside the live ones, each with the time that it had left. Throws a ConfigurationError,
   * and nothing has changed then.
   */
  async restoreConnections(snapshot: Uint8Array, nowMs: number): Promise<Restored> {
    const restored = await restoreSnapshot(this.tracker, snapshot, nowMs, (table, entry) => {
      this.nat.bindings(table.version).adopt(entry);
    });
    if (this.tracker.count > 0) this.reaper.start(nowMs);
    return restored;
  }

  /**
   * Runs one hook. `nowMs` is the time of the packet in milliseconds (any origin, never going back). Returns ACCEPT;
   * DROP with `packet.reason` set; or STOLEN for a fragment that waits for the rest.
   */
  run(hook: Hook, packet: Packet, nowMs: number): Verdict {
    this.tracker.begin(nowMs);
    return this.pass(hook, packet);
  }

  /**
   * PREROUTING of a packet that may begin a connection, its parsing included; see `Opening.open` for what it must be.
   * Returns the verdict of `pass`; or {@link NOT_OPENED}, and nothing was done: more is to be asked about it than rules.
   */
  open(packet: Packet, bytes: Uint8Array, start: number, hash: number): number {
    const chains = this.rules4.chains[PREROUTING] as number;
    if ((chains & (1 << RAW)) !== 0 || this.isTracking(4) === 0) return NOT_OPENED;
    if (this.#opening.open(packet, bytes, start, hash) === 0) return NOT_OPENED;
    let verdict = this.#table(MANGLE, PREROUTING, packet);
    if (verdict === ACCEPT && this.rules4.hasTable(NAT) === 1) verdict = this.#openNat(chains, packet);
    if (verdict === DROP) this.#dropped(packet);
    return verdict;
  }

  /** PREROUTING's nat table, for `open`. */
  #openNat(chains: number, packet: Packet): Verdict {
    // Somebody in TIME_WAIT may have to be asked.
    if (this.tracker.context.timeWait !== undefined) return this.#translate(PREROUTING, packet);
    if ((chains & (1 << NAT)) !== 0) {
      const verdict = this.rules4.traverse(NAT, PREROUTING, packet);
      if (verdict !== ACCEPT) return verdict;
    }
    return this.nat.keepDestination4(packet) === 1 ? ACCEPT : this.#translate(PREROUTING, packet);
  }

  /** The same at the time that the tracker was told (`tracker.begin`): for whoever runs several hooks at a time. */
  pass(hook: Hook, packet: Packet): Verdict {
    const verdict =
      hook === FORWARD
        ? this.#filter(hook, packet)
        : hook === POSTROUTING
          ? this.#finish(hook, packet)
          : this.#hook(hook, packet);
    if (verdict === DROP) this.#dropped(packet);
    return verdict;
  }

  #dropped(packet: Packet): void {
    this.drops.count(packet.reason);
    this.tracker.discard(packet);
  }

  /**
   * Does what is due by time alone: the reaper's passes. The reaper starts when tracking is first needed or connections
   * were restored, and stops when no rule needs it any more and none are left. Call it now and then, or at
   * `reaper.nextMs`; while that is past, a slice of the work is done and more is left for the next call.
   */
  tick(nowMs: number): void {
    if (this.isTracking(4) === 1 || this.isTracking(6) === 1 || this.tracker.count > 0)
      this.reaper.start(nowMs);
    else this.reaper.stop();
    this.reaper.advance(nowMs);
    this.tracker.expectations.sweep(this.tracker.timeOf(nowMs));
  }

  /** The packet's way is over: an entry that it began and that was never confirmed is given back. */
  release(packet: Packet): void {
    if (packet.entry !== NIL) this.tracker.discard(packet);
  }

  #hook(hook: Hook, packet: Packet): Verdict {
    switch (hook) {
      case PREROUTING:
        return this.#enter(hook, packet);
      case INPUT: {
        const verdict = this.#filter(hook, packet);
        return verdict === ACCEPT ? this.#leave(hook, packet) : verdict;
      }
      default: {
        // A packet of the router's own may be under way inside another one's OUTPUT.
        const before = this.#rerouted;
        this.#rerouted = NOT_REROUTED;
        let verdict = this.#enter(hook, packet);
        if (verdict === ACCEPT) verdict = this.#afterNat(hook, packet);
        if (this.#rerouted !== NOT_REROUTED) packet.outInterface = this.#rerouted;
        this.#rerouted = before;
        return verdict;
      }
    }
  }

  /** mangle, and what `#leave` does. */
  #finish(hook: Hook, packet: Packet): Verdict {
    const verdict = this.#table(MANGLE, hook, packet);
    return verdict === ACCEPT ? this.#leave(hook, packet) : verdict;
  }

  /** Defragment, raw, track, mangle, nat: what PREROUTING and OUTPUT begin with. */
  #enter(hook: Hook, packet: Packet): Verdict {
    const tracking = this.isTracking(packet.version);
    const isFragment = packet.moreFragments === 1 || packet.fragmentOffset > 0 || packet.fragmentHeader > 0;
    if (isFragment && (tracking === 1 || this.rules(packet.version).needsWhole === 1)) {
      const verdict = this.reassembler.add(packet, this.tracker.context.nowMs);
      if (verdict !== ACCEPT) return verdict;
    }
    let verdict = this.#table(RAW, hook, packet);
    if (verdict !== ACCEPT) return verdict;
    if (tracking === 1) {
      verdict = this.tracker.track(packet, hook);
      if (verdict !== ACCEPT) return verdict;
      if (this.#dropInvalid === 1 && packet.ctinfo === INVALID) {
        packet.reason = DropReason.CT_INVALID_DROPPED;
        return DROP;
      }
    }
    verdict = hook === OUTPUT ? this.#mangleOutput(packet) : this.#table(MANGLE, hook, packet);
    return verdict === ACCEPT ? this.#translate(hook, packet) : verdict;
  }

  /** mangle, filter, security. */
  #filter(hook: Hook, packet: Packet): Verdict {
    const rules = packet.version === 4 ? this.rules4 : this.rules6;
    const chains = rules.chains[hook] as number;
    if ((chains & FILTERING) === 1 << FILTER) return rules.traverse(FILTER, hook, packet);
    const verdict = this.#table(MANGLE, hook, packet);
    return verdict === ACCEPT ? this.#afterNat(hook, packet) : verdict;
  }

  /** filter, security. */
  #afterNat(hook: Hook, packet: Packet): Verdict {
    const verdict = this.#table(FILTER, hook, packet);
    return verdict === ACCEPT ? this.#table(SECURITY, hook, packet) : verdict;
  }

  /** nat, the connection's helper, confirm: what INPUT and POSTROUTING end with. */
  #leave(hook: Hook, packet: Packet): Verdict {
    const verdict = this.#translate(hook, packet);
    if (verdict !== ACCEPT || packet.entry === NIL) return verdict;
    if (this.tracker.table(packet.version).entries.extension(packet.entry as EntryId) !== 0) {
      const isLoopback = hook === INPUT && this.host.interfaceName(packet.inInterface) === 'lo' ? 1 : 0;
      if (this.tracker.helpers.inspect(packet, isLoopback) !== ACCEPT) return DROP;
    }
    return this.tracker.confirm(packet);
  }

  #table(table: number, hook: Hook, packet: Packet): Verdict {
    const rules = packet.version === 4 ? this.rules4 : this.rules6;
    return ((rules.chains[hook] as number) & (1 << table)) === 0
      ? ACCEPT
      : rules.traverse(table, hook, packet);
  }

  /** OUTPUT's mangle table: a packet whose mark, TOS or addresses it changed is routed again. */
  #mangleOutput(packet: Packet): Verdict {
    const mark = packet.mark;
    const first = packet.i32(packet.start);
    const source = packet.addresses[0] as number;
    const destination = packet.addresses[4] as number;
    const verdict = this.#table(MANGLE, OUTPUT, packet);
    if (
      verdict === ACCEPT &&
      (packet.mark !== mark ||
        packet.i32(packet.start) !== first ||
        packet.addresses[0] !== source ||
        packet.addresses[4] !== destination)
    ) {
      return this.#reroute(packet);
    }
    return verdict;
  }

  /**
   * Finds the way anew, or drops the packet that has none. The rest of the hook's rules still see the interface that it
   * was to leave by before.
   */
  #reroute(packet: Packet): Verdict {
    const out = packet.outInterface;
    this.host.reroute(packet);
    if (packet.outInterface === 0 && out !== 0) {
      packet.reason = NO_ROUTE;
      return DROP;
    }
    this.#rerouted = packet.outInterface;
    packet.outInterface = out;
    return ACCEPT;
  }

  #translate(hook: Hook, packet: Packet): Verdict {
    const rules = packet.version === 4 ? this.rules4 : this.rules6;
    if (rules.hasTable(NAT) === 0 || packet.entry === NIL) return ACCEPT;
    const before = packet.addresses[4] as number;
    const low = packet.addresses[7] as number;
    const verdict = this.nat.hook(packet, hook, rules);
    if (
      hook === OUTPUT &&
      verdict === ACCEPT &&
      (packet.addresses[4] !== before || packet.addresses[7] !== low)
    ) {
      return this.#reroute(packet);
    }
    return verdict;
  }
}
