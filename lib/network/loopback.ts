/**
 * Loopback prefixes: addresses that never leave the host, whole prefixes of them. 127.0.0.0/8 and ::1/128 always are;
 * configuration may add more, as for a network that must be reachable from nowhere. The predicates are hot.
 *
 * On any interface but loopback a packet with such a source or destination is a martian; on loopback every address of
 * a prefix is local (AnyIP), which `Routes` sees to.
 */
import { ConfigurationError } from '../errors.js';
import { type AddressWords, maskWords, parseAddress, prefixMask } from '../wire/address.js';
import { isLoopback4, isLoopback6 } from './scope.js';

/** A prefix in numbers. */
export interface LoopbackPrefix {
  readonly version: 4 | 6;
  readonly words: AddressWords;
  readonly prefix: number;
}

/** Words of a row: network 0-3, mask 4-7. */
const ROW = 8;
const MULTICAST4 = 224;
const MULTICAST6 = 0xff;

export class LoopbackPrefixes {
  /** Those that configuration added. */
  added: readonly LoopbackPrefix[];
  #rows4: Int32Array;
  #rows6: Int32Array;

  /** From text: `fd00:1009:bacc::/48`. Throws a ConfigurationError. */
  constructor(texts: readonly string[]) {
    this.added = texts.map(parsePrefix);
    this.#rows4 = rowsOf(this.added, 4);
    this.#rows6 = rowsOf(this.added, 6);
  }

  /** Takes the prefixes of another. */
  follow(other: LoopbackPrefixes): void {
    this.added = other.added;
    this.#rows4 = other.#rows4;
    this.#rows6 = other.#rows6;
  }

  /** Prefixes of IPv4 that configuration added. */
  get addedCount4(): number {
    return this.#rows4.length / ROW;
  }

  /** Whether an IPv4 address is in one of the prefixes. */
  covers4(word: number): boolean {
    if (isLoopback4(word)) return true;
    const rows = this.#rows4;
    for (let row = 0; row < rows.length; row += ROW) {
      if (((word ^ (rows[row] as number)) & (rows[row + 4] as number)) === 0) return true;
    }
    return false;
  }

  /** Whether the IPv6 address at `words[at]` is in one of the prefixes. */
  covers6(words: Int32Array, at: number): boolean {
    if (isLoopback6(words, at)) return true;
    const rows = this.#rows6;
    for (let row = 0; row < rows.length; row += ROW) {
      let difference = 0;
      for (let i = 0; i < 4; i++) {
        difference |= ((words[at + i] as number) ^ (rows[row + i] as number)) & (rows[row + 4 + i] as number);
      }
      if (difference === 0) return true;
    }
    return false;
  }

  /** The one or the other. */
  covers(version: number, words: Int32Array, at: number): boolean {
    return version === 4 ? this.covers4(words[at] as number) : this.covers6(words, at);
  }
}

function rowsOf(prefixes: readonly LoopbackPrefix[], version: 4 | 6): Int32Array {
  const own = prefixes.filter((one) => one.version === version);
  return Int32Array.from(own.flatMap(({ words, prefix }) => [...words, ...prefixMask(prefix, version)]));
}

function parsePrefix(text: string): LoopbackPrefix {
  const fail = (why: string): never => {
    throw new ConfigurationError('value', `loopback prefix: ${why}`, {
      word: text,
      expected: 'a prefix, as 127.0.0.0/8 or fd00:1009:bacc::/48',
    });
  };
  const [host = '', length, rest] = text.split('/');
  const version = host.includes(':') ? 6 : 4;
  const words = parseAddress(host, version);
  const bits = version === 4 ? 32 : 128;
  const prefix = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (words === undefined || rest !== undefined || !(prefix >= 1 && prefix <= bits))
    return fail('not a prefix');
  const network = maskWords(words, prefixMask(prefix, version));
  if (network.some((word, i) => word !== words[i])) return fail('host bits are set');
  const first = words[0] >>> 24;
  if (version === 4 ? first >= MULTICAST4 || first === 0 : first === MULTICAST6) {
    return fail('these addresses are for groups, or nobody');
  }
  return { version, words, prefix };
}
