/**
 * One rule and one packet: what the rule says. Packets are in the scenario notation, rules as iptables takes them behind
 * `-A CHAIN`; what else came with the packet is set by words: `in lan`, `mark 0x1`, `ct ESTABLISHED`.
 */
import { Tracker } from '../../lib/conntrack/tracker.js';
import { DropReason } from '../../lib/counters.js';
import { type Host, StaticHost } from '../../lib/host.js';
import { Nat } from '../../lib/nat/nat.js';
import { type Random, SeededRandom } from '../../lib/random.js';
import { Rules, type RulesObservers } from '../../lib/rules/rules.js';
import { SetRegistry } from '../../lib/rules/sets/registry.js';
import { SharedStates } from '../../lib/rules/shared.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import { Hook, type Verdict } from '../../lib/wire/verdict.js';
import { words } from '../nat/gateway.js';

export const LAN = 1;
export const WAN = 2;

export const host = new StaticHost([
  { name: 'lan0', mtu: 1500, address4: [words('10.0.0.1')[0] as number], address6: [...words('fd00:a::1')] },
  {
    name: 'wan0',
    mtu: 1400,
    address4: [words('203.0.113.1')[0] as number],
    address6: [...words('2001:db8:1::1')],
  },
]);

export interface GateOptions {
  readonly host?: Host;
  readonly random?: Random;
  readonly observers?: RulesObservers;
  readonly wallTimeMs?: (nowMs: number) => number;
  readonly ruleIndex?: 'auto' | 'none';
}

const TABLES = { raw: 0, mangle: 1, nat: 2, filter: 3, security: 4 } as const;

/** Rules and what they need, of both families. */
export class Gate {
  readonly tracker = new Tracker({ maxConnections: 64, seed: 1 });
  readonly nat: Nat;
  readonly sets = new SetRegistry();
  readonly rules4: Rules;
  readonly rules6: Rules;
  nowMs = 0;

  constructor(options: GateOptions = {}) {
    const random = options.random ?? new SeededRandom(1);
    this.nat = new Nat(this.tracker, options.host ?? host, random);
    const environment = {
      tracker: this.tracker,
      nat: this.nat,
      host: options.host ?? host,
      random,
      observers: options.observers ?? {},
      shared: new SharedStates(),
      sets: this.sets,
      wallTimeMs: options.wallTimeMs,
      ruleIndex: options.ruleIndex,
    };
    this.rules4 = new Rules(4, environment);
    this.rules6 = new Rules(6, environment);
  }

  rules(version: number): Rules {
    return version === 4 ? this.rules4 : this.rules6;
  }

  /** A table with the given rules, each `-A CHAIN ...`; chains that are not built in are made. */
  load(version: number, table: keyof typeof TABLES, rules: readonly string[], policy = 'ACCEPT'): void {
    const builtin = new Set(['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']);
    const chains = [
      ...new Set(
        rules.flatMap((rule) =>
          [...rule.matchAll(/-[Ajg] ([A-Za-z]\w*)/g)].map((found) => found[1] as string),
        ),
      ),
    ];
    const called = new Set(rules.map((rule) => /-A (\w+)/.exec(rule)?.[1]));
    const text = [
      `*${table}`,
      ...chains
        .filter((chain) => called.has(chain))
        .map((chain) => (builtin.has(chain) ? `:${chain} ${policy}` : `:${chain} -`)),
      ...rules,
      'COMMIT',
      '',
    ].join('\n');
    this.rules(version).restore(text);
  }

  /** Sends a packet through a table's chain; `at` has `now` of the gate. */
  send(packet: Packet, table: keyof typeof TABLES = 'filter', hook: number = Hook.FORWARD): Verdict {
    this.tracker.begin(this.nowMs);
    return this.rules(packet.version).traverse(TABLES[table], hook, packet);
  }
}

/** A view of a packet in the notation, forwarded from lan to wan. Throws if the packet is none. */
export function view(notation: string): Packet {
  const packet = new Packet();
  const reason = packet.parse(parsePacket(notation));
  if (reason !== DropReason.NONE) throw new Error(`not a packet (${reason}): ${notation}`);
  packet.inInterface = LAN;
  packet.outInterface = WAN;
  return packet;
}

/** What a single rule says to a packet: `match`, `miss`, or `hotdrop` (dropped as malformed whatever it says). */
export function judge(rule: string, packet: Packet, gate = new Gate()): 'match' | 'miss' | 'hotdrop' {
  gate.load(packet.version, 'filter', [`-A FORWARD ${rule} -j DROP`]);
  const verdict = gate.send(packet);
  if (verdict === 1) return 'miss';
  return packet.reason === DropReason.RULE_MALFORMED ? 'hotdrop' : 'match';
}

export { Hook };
