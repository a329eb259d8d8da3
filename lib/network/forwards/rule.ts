/**
 * A forwarding rule: where it listens, and where what comes there goes. Cold.
 *
 * Rules that listen on different interfaces belong to different tables; one without an interface belongs to all. No two
 * rules of one protocol may want the same packet, so it does not matter which is asked first.
 */
import { type AddressWords, formatAddress } from '../../wire/address.js';

/** Protocols that can be forwarded. */
export type ForwardProtocol = 'tcp' | 'udp';

/** Inclusive. */
export interface Ports {
  readonly first: number;
  readonly last: number;
}

export interface ForwardTarget {
  readonly version: 4 | 6;
  readonly address: AddressWords;
}

/** A rule as a spec gives it. */
export interface ForwardRule extends Ports {
  /** Undefined: both families (`*`). */
  readonly version: 4 | 6 | undefined;
  /** Undefined: every address of the router. */
  readonly address: AddressWords | undefined;
  /** Name of the interface that packets come in by; '' for any. */
  readonly interface: string;
  /** Undefined: the host that forwards go to when nothing else is said. */
  readonly target: ForwardTarget | undefined;
  /** Port that `first` becomes; the others follow. */
  readonly targetFirst: number;
  /** `best`: ports that are taken are left out. */
  readonly effort: 'firm' | 'best';
  /** `scan`: only ports that the target has open, looked for now and then. */
  readonly ports: 'fixed' | 'scan';
}

/** `192.0.2.1%eth0:22-80 -> 10.0.0.2:32-90`, as error messages name rules. */
export function formatForward(rule: ForwardRule): string {
  const from = rule.interface === '' ? '' : `%${rule.interface}`;
  const listen =
    rule.address !== undefined
      ? formatHost(rule.address, rule.version as 4 | 6, from)
      : rule.version === undefined
        ? `*${from}`
        : rule.version === 4
          ? `0.0.0.0${from}`
          : `[::]${from}`;
  const length = rule.last - rule.first;
  const target = formatPorts({ first: rule.targetFirst, last: rule.targetFirst + length });
  const host = rule.target === undefined ? '' : `${formatHost(rule.target.address, rule.target.version)}:`;
  return `${listen}:${formatPorts(rule)} -> ${host}${target}`;
}

function formatHost(words: AddressWords, version: 4 | 6, behind = ''): string {
  const text = formatAddress(words, version);
  return `${version === 6 ? `[${text}]` : text}${behind}`;
}

export function formatPorts({ first, last }: Ports): string {
  return first === last ? String(first) : `${first}-${last}`;
}

/** What decides whether rules want the same packet. */
export type Listening = Ports & Pick<ForwardRule, 'version' | 'address' | 'interface'>;

function overlaps(a: Listening, b: Listening): boolean {
  return (
    a.first <= b.last &&
    b.first <= a.last &&
    (a.version === undefined || b.version === undefined || a.version === b.version) &&
    (a.interface === '' || b.interface === '' || a.interface === b.interface) &&
    (a.address === undefined || b.address === undefined || isSame(a.address, b.address))
  );
}

/** The first two rules that want the same packet; undefined if there are none. The rules are of one protocol. */
export function findOverlap<R extends Listening>(rules: readonly R[]): readonly [R, R] | undefined {
  const order = rules.map((rule, index) => ({ rule, index })).sort((a, b) => a.rule.first - b.rule.first);
  let open: typeof order = [];
  for (const next of order) {
    open = open.filter(({ rule }) => rule.last >= next.rule.first);
    const other = open.find(({ rule }) => overlaps(rule, next.rule));
    if (other !== undefined) {
      return other.index < next.index ? [other.rule, next.rule] : [next.rule, other.rule];
    }
    open.push(next);
  }
  return undefined;
}

export function isSame(a: AddressWords, b: AddressWords): boolean {
  return a.every((word, i) => word === b[i]);
}
