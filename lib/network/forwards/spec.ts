/**
 * Port-forward specs in passt's grammar, its faults mended. Cold.
 *
 *     spec   := "none" | [ listen "/" ] chunk { "," chunk }
 *     listen := [ addr | "*" ] [ "%" ifname ]
 *     chunk  := "all" [ ":" taddr ] | "auto" | "~" range | range [ ":" target ]
 *     target := taddr [ "/" range ] | range
 *     range  := port [ "-" port ]           port := 1..65535, digits only
 *
 * Excludes and `auto` are read first, and excludes always win. Without a chunk that includes ports it is all of them
 * but the ephemeral ones, as far as they are free; chunks that name ports take them out of an `all` beside them.
 * A spec that names no listen address but a whole target (`8080:10.0.0.2/80`) listens in the target's family.
 * IPv6 addresses that ports follow stand in brackets; so does a listen address that could be read as a port and a target.
 */
import { ConfigurationError, type ConfigurationErrorCode } from '../../errors.js';
import { type AddressWords, isZero, parseAddress } from '../../wire/address.js';
import { overlapError } from './errors.js';
import { type ForwardRule, type ForwardTarget, findOverlap, formatForward, type Ports } from './rule.js';

/** Ports that Linux picks from for its own connections (net.ipv4.ip_local_port_range). */
export const EPHEMERAL_PORTS: Ports = { first: 32768, last: 60999 };

export interface SpecOptions {
  /** Ports that specs without a range leave out. Default: Linux's. */
  readonly ephemeral?: Ports;
  /** Named in errors. Default `tcp`. */
  readonly protocol?: string;
}

const LAST_PORT = 65535;
const PORT_FORM = 'a port from 1 to 65535';
const INTERFACE_NAME_MAX = 15;

/** The rules that a spec stands for; none for `none`. Throws a ConfigurationError that names the column and the word. */
export function parseForward(text: string, options: SpecOptions = {}): ForwardRule[] {
  if (text === 'none') return [];
  const spec = new Spec(text, options.ephemeral ?? EPHEMERAL_PORTS);
  const rules = spec.read();
  const overlap = findOverlap(rules);
  if (overlap !== undefined) {
    const [first, second] = overlap;
    const port = Math.max(first.first, second.first);
    const protocol = options.protocol ?? 'tcp';
    throw overlapError(protocol, formatForward(first), formatForward(second), port, { word: text });
  }
  return rules;
}

interface Listen {
  readonly version: 4 | 6 | undefined;
  readonly address: AddressWords | undefined;
  readonly interface: string;
  /** False if the spec says nothing of where to listen. */
  readonly isGiven: boolean;
}

interface Include {
  readonly ports: Ports;
  readonly targetFirst: number;
  readonly target: ForwardTarget | undefined;
  readonly version: 4 | 6 | undefined;
  readonly effort: ForwardRule['effort'];
}

const NOWHERE: Listen = { version: undefined, address: undefined, interface: '', isGiven: false };

class Spec {
  readonly #text: string;
  readonly #ephemeral: Ports;
  readonly #excludes: Ports[] = [];
  readonly #includes: Include[] = [];
  #all: { readonly target: ForwardTarget | undefined; readonly version: 4 | 6 | undefined } | undefined;
  #scan: ForwardRule['ports'] = 'fixed';

  constructor(text: string, ephemeral: Ports) {
    this.#text = text;
    this.#ephemeral = ephemeral;
  }

  read(): ForwardRule[] {
    const text = this.#text;
    if (text === '') this.#refuse('syntax', 'the spec is empty', 0, '', "ports, 'all', 'auto' or 'none'");
    const slash = headEnd(text);
    const head = slash < 0 ? undefined : text.slice(0, slash);
    const listen = head === undefined ? undefined : this.#listen(head);
    let at = listen === undefined ? 0 : slash + 1;
    for (const chunk of text.slice(at).split(',')) {
      this.#chunk(chunk, at, listen ?? NOWHERE);
      at += chunk.length + 1;
    }
    const rules = this.#rules(listen ?? NOWHERE);
    if (rules.length === 0) {
      this.#refuse('value', 'the spec forwards nothing', 0, text, 'a port that is not excluded');
    }
    return rules;
  }

  #rules(listen: Listen): ForwardRule[] {
    const includes = [...this.#includes];
    const all =
      this.#all ?? (includes.length === 0 ? { target: undefined, version: listen.version } : undefined);
    if (all !== undefined) {
      const left = without(
        [{ first: 1, last: LAST_PORT }],
        [this.#ephemeral, ...includes.map(({ ports }) => ports)],
      );
      for (const ports of left) includes.push({ ...all, ports, targetFirst: ports.first, effort: 'best' });
    }
    return includes.flatMap(({ ports, targetFirst, target, version, effort }) =>
      without([ports], this.#excludes).map((range) => ({
        ...range,
        version,
        address: listen.address,
        interface: listen.interface,
        target,
        targetFirst: targetFirst + range.first - ports.first,
        effort,
        ports: this.#scan,
      })),
    );
  }

  /** Undefined if `head` is no listen part but the beginning of a chunk with a target. */
  #listen(head: string): Listen | undefined {
    const percent = head.indexOf('%');
    const host = percent < 0 ? head : head.slice(0, percent);
    const name = percent < 0 ? '' : head.slice(percent + 1);
    const ports = /^\d+(-\d+)?:/.exec(host);
    if (percent < 0 && ports !== null) {
      if (parseAddress(host, 6) !== undefined) {
        this.#refuse('syntax', 'a port and a target, or an IPv6 address?', 0, head, '[ADDRESS] in brackets');
      }
      return undefined;
    }
    if (percent < 0 && /^(all:|\d)/.test(host) && parseAddress(host, 4) === undefined) return undefined;
    if (percent >= 0 && (name === '' || name.length > INTERFACE_NAME_MAX || /[\s/,:%]/.test(name))) {
      this.#refuse('value', 'not the name of an interface', percent + 1, name, 'at most 15 characters');
    }
    if (host === '' || host === '*') return { ...NOWHERE, interface: name, isGiven: true };
    const { version, address } = this.#address(host, 0);
    return { version, address: isZero(address) ? undefined : address, interface: name, isGiven: true };
  }

  #chunk(chunk: string, at: number, listen: Listen): void {
    if (chunk === 'auto') {
      this.#scan = 'scan';
    } else if (chunk.startsWith('~')) {
      this.#excludes.push(this.#range(chunk.slice(1), at + 1));
    } else if (chunk === 'all' || chunk.startsWith('all:')) {
      if (this.#all !== undefined) this.#refuse('conflict', "'all' twice", at, chunk, "one 'all'");
      if (chunk === 'all') {
        this.#all = { target: undefined, version: listen.version };
        return;
      }
      const target = this.#address(chunk.slice(4), at + 4);
      this.#all = { target, version: this.#family(listen, target, at + 4, chunk.slice(4), '') };
    } else {
      this.#include(chunk, at, listen);
    }
  }

  #include(chunk: string, at: number, listen: Listen): void {
    const colon = chunk.indexOf(':');
    const ports = this.#range(colon < 0 ? chunk : chunk.slice(0, colon), at);
    const common = { ports, version: listen.version, effort: 'firm' as const };
    if (colon < 0) {
      this.#includes.push({ ...common, target: undefined, targetFirst: ports.first });
      return;
    }
    const text = chunk.slice(colon + 1);
    const start = at + colon + 1;
    if (/^\d+(-.*)?$/.test(text)) {
      const first = this.#targetPorts(text, start, ports);
      this.#includes.push({ ...common, target: undefined, targetFirst: first });
      return;
    }
    const slash = text.indexOf('/');
    const host = slash < 0 ? text : text.slice(0, slash);
    const target = this.#address(host, start);
    if (slash >= 0 && target.version === 6 && !host.startsWith('[')) {
      this.#refuse('syntax', 'an IPv6 address with a port', start, host, '[ADDRESS] in brackets');
    }
    const rest = slash < 0 ? '' : text.slice(slash + 1);
    const first = slash < 0 ? ports.first : this.#targetPorts(rest, start + slash + 1, ports);
    const version = this.#family(listen, target, start, host, rest);
    this.#includes.push({ ...common, version, target, targetFirst: first });
  }

  /** The family that a rule with a target listens in. */
  #family(listen: Listen, target: ForwardTarget, at: number, word: string, ports: string): 4 | 6 {
    if (isZero(target.address) || isMulticast(target)) {
      this.#refuse('value', 'nobody can be reached at this address', at, word, 'the address of a host');
    }
    const any = target.version === 4 ? '0.0.0.0' : '[::]';
    if (listen.version === undefined && (listen.isGiven || ports === '')) {
      this.#refuse(
        'conflict',
        'a target is of one family, and the spec listens in both',
        at,
        word,
        `${any}${listen.interface === '' ? '' : `%${listen.interface}`}/...`,
      );
    }
    if (listen.version !== undefined && listen.version !== target.version) {
      this.#refuse(
        'conflict',
        'listen address and target are of two families',
        at,
        word,
        `IPv${listen.version}`,
      );
    }
    return target.version;
  }

  /** The first port of a target range, which is as long as `ports`. */
  #targetPorts(text: string, at: number, ports: Ports): number {
    const range = this.#range(text, at);
    if (range.last - range.first !== ports.last - ports.first) {
      const count = ports.last - ports.first + 1;
      this.#refuse(
        'value',
        'the ranges are of different lengths',
        at,
        text,
        `${count} port${count > 1 ? 's' : ''}`,
      );
    }
    return range.first;
  }

  #range(text: string, at: number): Ports {
    const dash = text.indexOf('-');
    const first = this.#port(dash < 0 ? text : text.slice(0, dash), at);
    const last = dash < 0 ? first : this.#port(text.slice(dash + 1), at + dash + 1);
    if (last < first) this.#refuse('value', 'the range ends before it begins', at, text, 'FIRST-LAST');
    return { first, last };
  }

  #port(text: string, at: number): number {
    const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
    if (!(port >= 1 && port <= LAST_PORT)) this.#refuse('value', 'not a port', at, text, PORT_FORM);
    return port;
  }

  #address(text: string, at: number): ForwardTarget {
    const bracketed = /^\[(.*)\]$/.exec(text)?.[1];
    const version = bracketed !== undefined || text.includes(':') ? 6 : 4;
    const address = parseAddress(bracketed ?? text, version);
    if (address === undefined) this.#refuse('value', 'not an address', at, text, 'an IPv4 or [IPv6] address');
    return { version, address };
  }

  #refuse(code: ConfigurationErrorCode, message: string, at: number, word: string, expected: string): never {
    throw new ConfigurationError(code, `forward '${this.#text}': ${message}`, {
      column: at + 1,
      word,
      expected,
    });
  }
}

/** Where the text before the first slash ends, brackets skipped; -1 if there is none before the first comma. */
function headEnd(text: string): number {
  const slash = text.indexOf('/');
  const comma = text.indexOf(',');
  return comma >= 0 && comma < slash ? -1 : slash;
}

function isMulticast({ version, address }: ForwardTarget): boolean {
  return version === 4 ? address[0] >>> 28 === 14 : address[0] >>> 24 === 0xff;
}

/** What is left of ranges when others are taken out, in order. */
export function without(ranges: readonly Ports[], taken: readonly Ports[]): Ports[] {
  let left = [...ranges];
  for (const { first, last } of taken) {
    left = left.flatMap((range) => {
      if (last < range.first || first > range.last) return [range];
      const parts: Ports[] = [];
      if (range.first < first) parts.push({ first: range.first, last: first - 1 });
      if (range.last > last) parts.push({ first: last + 1, last: range.last });
      return parts;
    });
  }
  return left;
}
