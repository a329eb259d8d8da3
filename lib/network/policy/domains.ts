/**
 * Names of a policy, and the addresses that DNS answers gave them: one timed set of each family for each name, filled by
 * answers that pass the gateway's DNS service and by nothing else. Cold.
 *
 * Bounded everywhere: addresses per name (the one that would go first gives way), names that are remembered for
 * reports, times to live. An address stays known for a while after its time in the set is over: connections that began
 * in time are not cut by a change of the policy.
 */
import { ConfigurationError } from '../../errors.js';
import type { HashSet } from '../../rules/sets/hash-set.js';
import type { SetRegistry } from '../../rules/sets/registry.js';
import { type AddressWords, formatAddress } from '../../wire/address.js';
import { domainCovers, normalName } from './entry.js';

export interface DomainLimits {
  /** Bounds of the time that an address stays in a set, whatever the answer says, seconds. */
  readonly leastTtlSeconds: number;
  readonly mostTtlSeconds: number;
  /** Addresses of a name, in each family. */
  readonly addressesPerName: number;
}

export const DEFAULT_LIMITS: DomainLimits = {
  leastTtlSeconds: 60,
  mostTtlSeconds: 3600,
  addressesPerName: 256,
};

/** Names that answers gave addresses, for reports. */
const REMEMBERED_NAMES = 4096;
const SET_NAME_MAX = 31;
const SET_PREFIX = 'ct';

interface Domain {
  readonly domain: string;
  /** Sets by family. */
  readonly sets: { readonly 4: string; readonly 6: string };
  /** When an address left its set or will, ms; oldest first. */
  readonly known: Map<string, number>;
}

export class Domains {
  readonly #sets: SetRegistry;
  #limits: DomainLimits = DEFAULT_LIMITS;
  #domains: ReadonlyMap<string, Domain> = new Map();
  /** The last name that was found to have an address, oldest first. */
  readonly #names = new Map<string, string>();

  constructor(sets: SetRegistry) {
    this.#sets = sets;
  }

  /**
   * Makes the sets of `domains` that are not there yet. The returned function takes away those that are not wanted any
   * more, when no rule names them. Throws a ConfigurationError, and nothing has changed then.
   */
  prepare(
    domains: readonly string[],
    limits: DomainLimits,
    nowMs: number,
  ): { readonly setOf: (domain: string, version: 4 | 6) => string; commit(): void; cancel(): void } {
    const before = this.#domains;
    const next = new Map<string, Domain>();
    const taken = new Set([...this.#sets.names]);
    const made: string[] = [];
    for (const domain of new Set(domains)) {
      const old = before.get(domain);
      const one = old ?? {
        domain,
        sets: { 4: setName(domain, 4, taken), 6: setName(domain, 6, taken) },
        known: new Map(),
      };
      next.set(domain, one);
      if (old === undefined) made.push(one.sets[4], one.sets[6]);
    }
    const lines = [...next.values()]
      .filter(({ domain }) => !before.has(domain))
      .flatMap(({ sets }) => [createLine(sets[4], 'inet', limits), createLine(sets[6], 'inet6', limits)]);
    this.#sets.restore(lines.join(''), nowMs);
    const destroy = (names: readonly string[]) =>
      this.#sets.restore(names.map((name) => `destroy ${name}\n`).join(''), nowMs);
    return {
      setOf: (domain, version) => (next.get(domain) as Domain).sets[version],
      commit: () => {
        this.#domains = next;
        this.#limits = limits;
        destroy(
          [...before.values()]
            .filter(({ domain }) => !next.has(domain))
            .flatMap(({ sets }) => [sets[4], sets[6]]),
        );
      },
      cancel: () => destroy(made),
    };
  }

  /** Puts an address that `name` was found to have into the sets of the domains that mean it; returns those. */
  learn(name: string, version: 4 | 6, words: AddressWords, ttlSeconds: number, nowMs: number): string[] {
    const normal = normalName(name);
    const text = formatAddress(words, version);
    const { leastTtlSeconds, mostTtlSeconds, addressesPerName } = this.#limits;
    // Never 0: to a set that means for ever.
    const seconds = Math.max(1, Math.min(mostTtlSeconds, Math.max(leastTtlSeconds, ttlSeconds)));
    const found: string[] = [];
    for (const { domain, sets, known } of this.#domains.values()) {
      if (!domainCovers(domain, normal)) continue;
      const set = this.#sets.find(sets[version])?.set as HashSet | undefined;
      if (set === undefined) continue;
      const key = Int32Array.of(...words, 0, 0);
      const there = set.find(key);
      const untilMs = nowMs + seconds * 1000;
      if (there === undefined || there.expiresMs < untilMs) {
        set.insert(key, { timeoutSeconds: seconds }, true, nowMs);
      }
      known.delete(text);
      known.set(text, untilMs);
      if (known.size > 2 * addressesPerName) known.delete(known.keys().next().value as string);
      found.push(domain);
    }
    return found;
  }

  /** Remembers whose address it is, for reports. */
  name(name: string, version: 4 | 6, words: AddressWords): void {
    const text = formatAddress(words, version);
    this.#names.delete(text);
    this.#names.set(text, normalName(name));
    if (this.#names.size > REMEMBERED_NAMES) this.#names.delete(this.#names.keys().next().value as string);
  }

  /** The name that was last found to have the address. */
  nameOf(address: string): string | undefined {
    return this.#names.get(address);
  }

  /** Whether a domain of the policy has, or lately had, the address. */
  hasHad(domain: string, address: string): boolean {
    return this.#domains.get(domain)?.known.has(address) ?? false;
  }

  /** Whether a domain of the policy has the address now. */
  has(domain: string, version: 4 | 6, words: ArrayLike<number>, at: number, nowMs: number): boolean {
    const one = this.#domains.get(domain);
    const set =
      one === undefined ? undefined : (this.#sets.find(one.sets[version])?.set as HashSet | undefined);
    const key = Int32Array.of(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!, 0, 0);
    return set?.find(key)?.hasExpired(nowMs) === false;
  }
}

function createLine(name: string, family: string, limits: DomainLimits): string {
  const { addressesPerName, leastTtlSeconds } = limits;
  return `create ${name} hash:ip family ${family} hashsize 64 maxelem ${addressesPerName} timeout ${leastTtlSeconds} forceadd\n`;
}

/** `ct4-example.com`, shortened and numbered where it must be; added to `taken`. */
function setName(domain: string, version: 4 | 6, taken: Set<string>): string {
  const base = `${SET_PREFIX}${version}-${domain.replace('*', '_')}`;
  for (let number = 0; number < 0xffff; number++) {
    const end = number === 0 ? '' : `~${number}`;
    const name = `${base.slice(0, SET_NAME_MAX - end.length)}${end}`;
    if (taken.has(name)) continue;
    taken.add(name);
    return name;
  }
  throw new ConfigurationError('conflict', 'too many names that begin alike', { word: domain });
}
