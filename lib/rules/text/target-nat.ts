/**
 * Targets of address translation: SNAT, DNAT, MASQUERADE, REDIRECT, NETMAP. Cold.
 */

import type {
  AddressRange,
  MasqueradeTarget,
  NatTarget,
  NetmapTarget,
  NumberRange,
  RedirectTarget,
} from '../ast.js';
import { formatAddress, formatMask, fullMask, maskPrefix, parseAddress } from './address.js';
import { compact, flag, Hook, type Reader, type Reading, say, sayIf, takes, target } from './grammar.js';
import { portNumber } from './names.js';
import { wholeNumber } from './numbers.js';
import { maskedAddress } from './values.js';

/** TCP, UDP, SCTP, DCCP, ICMP: what has ports or an id that can be chosen. */
const PORT_PROTOCOLS = [6, 17, 132, 33, 1];

interface Ports {
  readonly ports: NumberRange;
  readonly basePort?: number;
}

/** `port`, `low-high`, and with a base `low-high/base`. */
function readPorts(text: string, { where, protocol }: Reading, shift: 'with-base' | 'without-base'): Ports {
  if (protocol === undefined || !PORT_PROTOCOLS.includes(protocol.number)) {
    where.refuse(
      'conflict',
      'ports need a protocol that has them, given before',
      '-p tcp, udp, sctp or dccp',
    );
  }
  const single = portNumber(text);
  if (single !== undefined) return { ports: { low: single, high: single } };
  const match = /^([^-/]+)-([^-/]+)(?:\/(.+))?$/.exec(text);
  const low = match === null ? undefined : wholeNumber(match[1]!, 0, 65535);
  const high = match === null ? undefined : wholeNumber(match[2]!, 0, 65535);
  if (low === undefined || high === undefined || low > high) {
    return where.refuse('value', 'not a port range', 'port or low-high');
  }
  const base = match?.[3];
  if (base === undefined) return { ports: { low, high } };
  const basePort = shift === 'with-base' ? portNumber(base) : undefined;
  if (basePort === undefined || basePort === 0) {
    where.refuse(
      'value',
      `no port to shift from '${base}'`,
      shift === 'with-base' ? '1-65535' : 'none: only DNAT shifts',
    );
  }
  return { ports: { low, high }, basePort: basePort! };
}

interface NatRange extends Partial<Ports> {
  readonly addresses?: AddressRange;
}

/** `address[-address][:ports]`; IPv6 addresses before ports stand in brackets; `:ports` alone keeps the address. */
function natRange(shift: 'with-base' | 'without-base'): Reader<NatRange> {
  return (text, reading) => {
    const { family, where } = reading;
    let addresses = text;
    let ports: string | undefined;
    if (family === 6 && text.startsWith('[')) {
      const end = text.indexOf(']');
      if (end < 0) where.refuse('value', 'address without an end', 'a closing ]');
      addresses = text.slice(1, end);
      if (text[end + 1] === ':') ports = text.slice(end + 2);
      else if (end + 1 < text.length)
        where.refuse('value', 'nothing but ports may follow the address', ']:port');
    } else {
      const colon = text.indexOf(':');
      if (colon === 0 && (family === 4 || !text.startsWith('::'))) {
        return readPorts(text.slice(1), reading, shift);
      }
      if (family === 4 && colon > 0) {
        addresses = text.slice(0, colon);
        ports = text.slice(colon + 1);
      }
    }
    const dash = addresses.indexOf('-');
    const ends = dash < 0 ? [addresses] : [addresses.slice(0, dash), addresses.slice(dash + 1)];
    const [low, high = low] = ends.map(
      (part) =>
        parseAddress(part, family) ??
        where.refuse('value', `not an address '${part}'`, `an IPv${family} address`),
    );
    const range = { addresses: { low: low!, high: high! } };
    return ports === undefined ? range : { ...range, ...readPorts(ports, reading, shift) };
  };
}

function formatPorts({ low, high }: NumberRange): string {
  return low === high ? String(low) : `${low}-${high}`;
}

function formatNatRange({ addresses, ports, basePort }: NatTarget, family: 4 | 6): string {
  let text = '';
  if (addresses !== undefined) {
    const low = formatAddress(addresses.low, family);
    const high = formatAddress(addresses.high, family);
    text = low === high ? low : `${low}-${high}`;
    if (family === 6 && ports !== undefined) text = `[${text}]`;
  }
  if (ports === undefined) return text;
  return `${text}:${formatPorts(ports)}${basePort === undefined ? '' : `/${basePort}`}`;
}

export const snat = target({
  name: 'SNAT',
  tables: ['nat'],
  hooks: Hook.POSTROUTING | Hook.INPUT,
  options: {
    'to-source': takes(natRange('without-base'), { presence: 'required' }),
    random: flag(),
    'random-fully': flag(),
    persistent: flag(),
  },
  build: (given): NatTarget =>
    compact<NatTarget>({
      kind: 'SNAT',
      addresses: given['to-source']!.value.addresses,
      ports: given['to-source']!.value.ports,
      basePort: undefined,
      random: given.random !== undefined,
      randomFully: given['random-fully'] !== undefined,
      persistent: given.persistent !== undefined,
    }),
  print: (spec, family) => [
    say('to-source', formatNatRange(spec, family)),
    sayIf('random', spec.random),
    sayIf('random-fully', spec.randomFully),
    sayIf('persistent', spec.persistent),
  ],
});

export const dnat = target({
  name: 'DNAT',
  tables: ['nat'],
  hooks: Hook.PREROUTING | Hook.OUTPUT,
  options: {
    'to-destination': takes(natRange('with-base'), { presence: 'required' }),
    random: flag(),
    persistent: flag(),
  },
  build: (given): NatTarget =>
    compact<NatTarget>({
      kind: 'DNAT',
      addresses: given['to-destination']!.value.addresses,
      ports: given['to-destination']!.value.ports,
      basePort: given['to-destination']!.value.basePort,
      random: given.random !== undefined,
      randomFully: false,
      persistent: given.persistent !== undefined,
    }),
  print: (spec, family) => [
    say('to-destination', formatNatRange(spec, family)),
    sayIf('random', spec.random),
    sayIf('persistent', spec.persistent),
  ],
});

const portsOnly: Reader<NumberRange> = (text, reading) => readPorts(text, reading, 'without-base').ports;

export const masquerade = target({
  name: 'MASQUERADE',
  tables: ['nat'],
  hooks: Hook.POSTROUTING,
  options: { 'to-ports': takes(portsOnly), random: flag(), 'random-fully': flag() },
  build: (given): MasqueradeTarget =>
    compact<MasqueradeTarget>({
      kind: 'MASQUERADE',
      ports: given['to-ports']?.value,
      random: given.random !== undefined,
      randomFully: given['random-fully'] !== undefined,
    }),
  print: (spec) => [
    spec.ports && say('to-ports', formatPorts(spec.ports)),
    sayIf('random', spec.random),
    sayIf('random-fully', spec.randomFully),
  ],
});

export const redirect = target({
  name: 'REDIRECT',
  tables: ['nat'],
  hooks: Hook.PREROUTING | Hook.OUTPUT,
  options: { 'to-ports': takes(portsOnly), random: flag() },
  build: (given): RedirectTarget =>
    compact<RedirectTarget>({
      kind: 'REDIRECT',
      ports: given['to-ports']?.value,
      random: given.random !== undefined,
    }),
  print: (spec) => [spec.ports && say('to-ports', formatPorts(spec.ports)), sayIf('random', spec.random)],
});

export const netmap = target({
  name: 'NETMAP',
  tables: ['nat'],
  hooks: Hook.PREROUTING | Hook.INPUT | Hook.OUTPUT | Hook.POSTROUTING,
  options: { to: takes(maskedAddress, { presence: 'required' }) },
  build: (given, { family }): NetmapTarget => {
    const { written, words, mask } = given.to!.value;
    // A mask that is no prefix makes a single address.
    return maskPrefix(mask, family) === undefined
      ? { kind: 'NETMAP', words: written, mask: fullMask(family) }
      : { kind: 'NETMAP', words, mask };
  },
  print: ({ words, mask }, family) => [say('to', formatAddress(words, family) + formatMask(mask, family))],
});
