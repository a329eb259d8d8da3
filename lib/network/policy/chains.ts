/**
 * A policy as chains. Cold.
 *
 *   mangle  CONNTIDE-PROTECT  new connections of guests, by the address that they wrote: CONNTIDE-SHIELD
 *   filter  CONNTIDE-POLICY   new connections from guests: CONNTIDE-OUT, to guests: CONNTIDE-IN, then CONNTIDE-LIMITS
 *   filter  CONNTIDE-DENY     how a denial looks to the one who asked
 *
 * What the policy allows goes back to the user's own rules, which may still refuse it. Each denial is logged (NFLOG)
 * with a prefix that names what decided. Rules of names ask a set; all else is plain iptables.
 */
import { formatAddress } from '../../wire/address.js';
import { type ChainJump, type ChainText, type Contribution, MANAGED_PREFIX } from '../managed-chains.js';
import type { Network, PolicyEntry } from './entry.js';
import { isOfFamily, NOT_ALLOWED_IN, NOT_ALLOWED_OUT, type PolicyModel } from './model.js';

/** NFLOG's group of denials. */
export const DENIAL_GROUP = 25_460;
/** Bytes of a denied packet that the report is made from. */
const LOGGED_BYTES = 128;
const LOG_PREFIX = 'conntide ';
/** Longest prefix of NFLOG. */
const PREFIX_MAX = 63;

const PROTECT = `${MANAGED_PREFIX}PROTECT`;
const SHIELD = `${MANAGED_PREFIX}SHIELD`;
const POLICY = `${MANAGED_PREFIX}POLICY`;
const OUT = `${MANAGED_PREFIX}OUT`;
const IN = `${MANAGED_PREFIX}IN`;
const LIMITS = `${MANAGED_PREFIX}LIMITS`;
const CONNECTIONS = `${MANAGED_PREFIX}LIMIT-CONNS`;
const RATE = `${MANAGED_PREFIX}LIMIT-RATE`;
const DENY = `${MANAGED_PREFIX}DENY`;

export interface PolicyLimits {
  /** Connections that one source may have at a time. */
  readonly connectionsPerSource?: number;
  /** New connections of one source in a second; as many may come at once. */
  readonly newPerSecond?: number;
}

export interface ChainSettings {
  /** Names of the interfaces behind which the guests are. */
  readonly guests: readonly string[];
  /** How a denial looks: a reset or an ICMP error, or nothing. */
  readonly deny: 'reject' | 'drop';
  readonly limits: PolicyLimits;
  /** Name of a domain's set. */
  readonly setOf: (domain: string, version: 4 | 6) => string;
}

export interface PolicyChains extends Contribution {
  /** What decided, by the prefix of the log. */
  readonly reasons: ReadonlyMap<string, string>;
}

export function compilePolicy(model: PolicyModel, settings: ChainSettings): PolicyChains {
  const chains: ChainText[] = [];
  const jumps: ChainJump[] = [];
  const reasons = new Map<string, string>();
  for (const family of [4, 6] as const) {
    const text = new FamilyChains(family, model, settings, reasons);
    for (const [table, name, rules] of text.chains()) chains.push({ family, table, name, rules });
    jumps.push({ family, table: 'mangle', from: 'PREROUTING', to: PROTECT });
    jumps.push({ family, table: 'filter', from: 'FORWARD', to: POLICY });
  }
  return { chains, jumps, reasons };
}

type Chain = readonly ['mangle' | 'filter', string, readonly string[]];

/** The chains of one family. */
class FamilyChains {
  readonly #family: 4 | 6;
  readonly #model: PolicyModel;
  readonly #settings: ChainSettings;
  readonly #reasons: Map<string, string>;

  constructor(family: 4 | 6, model: PolicyModel, settings: ChainSettings, reasons: Map<string, string>) {
    this.#family = family;
    this.#model = model;
    this.#settings = settings;
    this.#reasons = reasons;
  }

  chains(): Chain[] {
    const { guests, limits } = this.#settings;
    const hasLimits = limits.connectionsPerSource !== undefined || limits.newPerSecond !== undefined;
    return [
      [
        'mangle',
        PROTECT,
        [
          '-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN',
          ...guests.map((name) => `-i ${name} -j ${SHIELD}`),
        ],
      ],
      ['mangle', SHIELD, this.#shield()],
      [
        'filter',
        POLICY,
        [
          '-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN',
          // INVALID packets are not translated: they would show the guests' addresses outside.
          ...guests.flatMap((name) =>
            ['-i', '-o'].map((side) => `${side} ${name} -m conntrack --ctstate INVALID -j DROP`),
          ),
          ...guests.map((name) => `-i ${name} -j ${OUT}`),
          ...guests.map((name) => `-o ${name} -j ${IN}`),
          // Connections are counted by their first packet: one that nobody answers sends many that are NEW.
          ...(hasLimits ? [`-m conntrack --ctstate NEW ! --ctstatus CONFIRMED -j ${LIMITS}`] : []),
        ],
      ],
      ['filter', OUT, this.#out()],
      ['filter', IN, this.#in()],
      ...(hasLimits ? this.#limits() : []),
      ['filter', DENY, this.#deny()],
    ];
  }

  #shield(): string[] {
    const { exceptions, protected: shielded } = this.#model;
    return [
      ...exceptions.flatMap((entry) => this.#towards(entry)).map((rule) => `${rule}-j RETURN`),
      ...shielded
        .filter(({ network }) => network.version === this.#family)
        .flatMap(({ text, network }) =>
          this.#refuse(`-d ${formatNetwork(network)} `, `protect ${text}`, 'DROP'),
        ),
    ];
  }

  #out(): string[] {
    const { allowOut, denyOut, restOut } = this.#model;
    return [
      ...allowOut.flatMap((entry) => this.#towards(entry)).map((rule) => `${rule}-j RETURN`),
      ...denyOut.flatMap((entry) =>
        this.#towards(entry).flatMap((rule) => this.#refuse(rule, `denyOut ${entry.text}`, DENY)),
      ),
      ...(restOut === 'deny' ? this.#refuse('', NOT_ALLOWED_OUT, DENY) : []),
    ];
  }

  #in(): string[] {
    const { allowIn, denyIn, forwardedIn } = this.#model;
    return [
      ...denyIn.flatMap((entry) =>
        this.#from(entry).flatMap((rule) => this.#refuse(rule, `denyIn ${entry.text}`, DENY)),
      ),
      ...allowIn.flatMap((entry) => this.#from(entry)).map((rule) => `${rule}-j RETURN`),
      ...(forwardedIn === 'allow' ? ['-m conntrack --ctstate DNAT -j RETURN'] : []),
      ...this.#refuse('', NOT_ALLOWED_IN, DENY),
    ];
  }

  #limits(): Chain[] {
    const { connectionsPerSource: most, newPerSecond: rate } = this.#settings.limits;
    const bits = this.#family === 4 ? 32 : 128;
    const asked: string[] = [];
    const chains: Chain[] = [];
    if (rate !== undefined) {
      // The name has the rate in it: a table of hashlimit keeps the settings that it was made with.
      const name = `ct-new-${rate}-${this.#family}`;
      asked.push(
        `-m hashlimit --hashlimit-above ${rate}/sec --hashlimit-burst ${rate} --hashlimit-mode srcip --hashlimit-name ${name} -j ${RATE}`,
      );
      chains.push(['filter', RATE, this.#refuse('', `limits newPerSecond ${rate}`, DENY)]);
    }
    if (most !== undefined) {
      asked.push(
        `-m connlimit --connlimit-above ${most} --connlimit-mask ${bits} --connlimit-saddr -j ${CONNECTIONS}`,
      );
      chains.push(['filter', CONNECTIONS, this.#refuse('', `limits connectionsPerSource ${most}`, DENY)]);
    }
    return [['filter', LIMITS, asked], ...chains];
  }

  #deny(): string[] {
    if (this.#settings.deny === 'drop') return ['-j DROP'];
    const error = this.#family === 4 ? 'icmp-admin-prohibited' : 'icmp6-adm-prohibited';
    return ['-p tcp -j REJECT --reject-with tcp-reset', `-j REJECT --reject-with ${error}`];
  }

  /** Logs what `rule` matches and refuses it. */
  #refuse(rule: string, reason: string, how: string): string[] {
    const prefix = `${LOG_PREFIX}${reason}`.slice(0, PREFIX_MAX);
    this.#reasons.set(prefix, reason);
    const log = `-j NFLOG --nflog-prefix "${prefix}" --nflog-size ${LOGGED_BYTES} --nflog-group ${DENIAL_GROUP}`;
    return [`${rule}${log}`, `${rule}-j ${how}`];
  }

  /** Conditions for packets to what the entry means; none in a family that it does not mean. */
  #towards({ network, domain, protocols, ports }: PolicyEntry): string[] {
    if (network !== undefined && network.version !== this.#family) return [];
    const address = network === undefined || network.prefix === 0 ? '' : `-d ${formatNetwork(network)} `;
    const set =
      domain === undefined ? '' : `-m set --match-set ${this.#settings.setOf(domain, this.#family)} dst `;
    return this.#protocols(protocols).map((protocol) => {
      const match = ports === undefined ? '' : portMatch(protocol as number, ports.low, ports.high);
      return `${address}${protocol === undefined ? '' : `-p ${protocol} `}${match}${set}`;
    });
  }

  /** Conditions for packets from what the entry means, to the ports that were asked for. */
  #from({ network, protocols, ports }: PolicyEntry): string[] {
    if (network !== undefined && network.version !== this.#family) return [];
    const address = network === undefined || network.prefix === 0 ? '' : `-s ${formatNetwork(network)} `;
    const port = ports === undefined ? '' : `-m conntrack --ctorigdstport ${ports.low}:${ports.high} `;
    return this.#protocols(protocols).map(
      (protocol) => `${address}${protocol === undefined ? '' : `-p ${protocol} `}${port}`,
    );
  }

  #protocols(numbers: readonly number[] | undefined): readonly (number | undefined)[] {
    return numbers === undefined ? [undefined] : numbers.filter((number) => isOfFamily(number, this.#family));
  }
}

function portMatch(protocol: number, low: number, high: number): string {
  const range = low === high ? String(low) : `${low}:${high}`;
  if (protocol === 6) return `-m tcp --dport ${range} `;
  if (protocol === 17) return `-m udp --dport ${range} `;
  return `-m multiport --dports ${range} `;
}

function formatNetwork({ version, words, prefix }: Network): string {
  return `${formatAddress(words, version)}/${prefix}`;
}
