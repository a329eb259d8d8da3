/**
 * A policy compiled to a list of rules in the order in which they are asked, and what the list says of a connection: the
 * slow twin of the chains, for connections that the chains have let pass already and for reports. Cold.
 *
 *   shield  1 entries of allowOut that lie within what is protected   2 protected: denied
 *   out     1 allowOut   2 denyOut   3 denied if there is an allowOut and no denyOut, else allowed
 *   in      1 denyIn   2 allowIn   3 without allowIn: what a forward or DNAT rule leads here   4 denied
 *
 * `shield` judges what a guest sends, by the address that it wrote; `out` what is forwarded for it, by where it goes;
 * `in` what goes to a guest, by where it comes from and the port that was asked for. From guest to guest both must
 * allow it.
 */
import { ConfigurationError } from '../../errors.js';
import { contains, isWithin, type Network, type PolicyEntry, parseEntry, readNetwork } from './entry.js';
import { PROTECTED, withEmbedded } from './protected.js';

export interface PolicyLists {
  readonly allowOut?: readonly string[];
  readonly denyOut?: readonly string[];
  readonly allowIn?: readonly string[];
  readonly denyIn?: readonly string[];
  /** Addresses and prefixes that guests do not reach unless an entry of allowOut lies within them. */
  readonly protect?: readonly string[];
}

export interface PolicyModel {
  /** Exceptions to what is protected. */
  readonly exceptions: readonly PolicyEntry[];
  readonly protected: readonly { readonly text: string; readonly network: Network }[];
  readonly allowOut: readonly PolicyEntry[];
  readonly denyOut: readonly PolicyEntry[];
  /** What becomes of that which no entry names. */
  readonly restOut: 'allow' | 'deny';
  readonly allowIn: readonly PolicyEntry[];
  readonly denyIn: readonly PolicyEntry[];
  /** What becomes of forwarded connections that no entry names. */
  readonly forwardedIn: 'allow' | 'deny';
}

export function readModel(lists: PolicyLists): PolicyModel {
  const read = (list: 'allowOut' | 'denyOut' | 'allowIn' | 'denyIn') =>
    (lists[list] ?? []).map((text) => parseEntry(text, list));
  const allowOut = read('allowOut');
  const denyOut = read('denyOut').map(widen);
  const allowIn = read('allowIn');
  const denyIn = read('denyIn').map(widen);
  for (const { domain, text } of [...allowIn, ...denyIn]) {
    if (domain === undefined) continue;
    throw new ConfigurationError('unsupported', 'who comes in has no name, only an address', {
      word: text,
      expected: 'an address or a prefix',
    });
  }
  const shielded = (lists.protect ?? PROTECTED).flatMap((text) => {
    const network = readNetwork(text, (message, expected) => {
      throw new ConfigurationError('value', `protect: ${message}`, { word: text, expected });
    });
    if (network === undefined) {
      throw new ConfigurationError('value', 'protect: not an address', {
        word: text,
        expected: 'ADDRESS/PREFIX',
      });
    }
    return withEmbedded([network]).map((one) => ({ text, network: one }));
  });
  const isException = ({ network }: PolicyEntry) =>
    network !== undefined && shielded.some((one) => isWithin(network, one.network));
  return {
    exceptions: allowOut.filter(isException),
    protected: shielded,
    allowOut,
    denyOut,
    restOut: lists.allowOut !== undefined && lists.denyOut === undefined ? 'deny' : 'allow',
    allowIn,
    denyIn,
    forwardedIn: lists.allowIn === undefined ? 'allow' : 'deny',
  };
}

/** Whoever denies 0.0.0.0/0 means everything: IPv6 must not be the way around. */
function widen(entry: PolicyEntry): PolicyEntry {
  const { network } = entry;
  return network?.version === 4 && network.prefix === 0 ? { ...entry, network: undefined } : entry;
}

/** What reports say of that which no entry names. */
export const NOT_ALLOWED_OUT = 'not in allowOut';
export const NOT_ALLOWED_IN = 'not in allowIn';

/** What is asked of a policy. Words as `Packet.addresses` has them. */
export interface Question {
  readonly version: 4 | 6;
  readonly protocol: number;
  /** [4] at `at`: of `out` the destination, of `in` the source. */
  readonly words: ArrayLike<number>;
  readonly at: number;
  /** Destination port; -1 without. Of `in` the one that was asked for. */
  readonly port: number;
}

export interface Answer {
  readonly verdict: 'allow' | 'deny';
  /** The entry that decided, with its list: `denyOut 0.0.0.0/0`, `protect 169.254.169.254/32`, `allowOut: nothing fits`. */
  readonly rule: string;
}

/** Whether an address is one of a domain's. */
export type DomainTest = (domain: string, question: Question) => boolean;

/** What the shield says: undefined if it does not care. */
export function judgeShield(model: PolicyModel, question: Question): Answer | undefined {
  const { version, words, at } = question;
  const shield = model.protected.find(
    ({ network }) => network.version === version && contains(network, words, at),
  );
  if (shield === undefined) return undefined;
  const exception = model.exceptions.find((entry) => fits(entry, question, () => false));
  if (exception !== undefined) return { verdict: 'allow', rule: `allowOut ${exception.text}` };
  return { verdict: 'deny', rule: `protect ${shield.text}` };
}

export function judgeOut(model: PolicyModel, question: Question, isOf: DomainTest): Answer {
  const find = (entries: readonly PolicyEntry[]) => entries.find((entry) => fits(entry, question, isOf));
  const allowed = find(model.allowOut);
  if (allowed !== undefined) return { verdict: 'allow', rule: `allowOut ${allowed.text}` };
  const denied = find(model.denyOut);
  if (denied !== undefined) return { verdict: 'deny', rule: `denyOut ${denied.text}` };
  if (model.restOut === 'deny') return { verdict: 'deny', rule: NOT_ALLOWED_OUT };
  return { verdict: 'allow', rule: 'not in denyOut' };
}

export function judgeIn(model: PolicyModel, question: Question, isForwarded: boolean): Answer {
  const find = (entries: readonly PolicyEntry[]) =>
    entries.find((entry) => fits(entry, question, () => false));
  const denied = find(model.denyIn);
  if (denied !== undefined) return { verdict: 'deny', rule: `denyIn ${denied.text}` };
  const allowed = find(model.allowIn);
  if (allowed !== undefined) return { verdict: 'allow', rule: `allowIn ${allowed.text}` };
  if (isForwarded && model.forwardedIn === 'allow') return { verdict: 'allow', rule: 'forwarded' };
  return { verdict: 'deny', rule: NOT_ALLOWED_IN };
}

/** Protocols that belong to one family: ICMP and ICMPv6. */
const FAMILY_OF: ReadonlyMap<number, 4 | 6> = new Map([
  [1, 4],
  [58, 6],
]);

/** Whether a protocol is one of a family's. */
export function isOfFamily(protocol: number, version: 4 | 6): boolean {
  return (FAMILY_OF.get(protocol) ?? version) === version;
}

function fits(entry: PolicyEntry, question: Question, isOf: DomainTest): boolean {
  const { protocols, network, domain, ports } = entry;
  if (protocols !== undefined) {
    if (!protocols.includes(question.protocol) || !isOfFamily(question.protocol, question.version))
      return false;
  }
  if (ports !== undefined && !(question.port >= ports.low && question.port <= ports.high)) return false;
  if (network !== undefined) {
    return network.version === question.version && contains(network, question.words, question.at);
  }
  return domain === undefined || isOf(domain, question);
}
