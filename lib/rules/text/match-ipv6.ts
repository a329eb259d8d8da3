/**
 * Matches of IPv6 extension headers: ipv6header, frag, rt, hbh, dst. Cold.
 */

import {
  type AddressWords,
  type FragMatch,
  Ipv6Header,
  type Ipv6headerMatch,
  type OptionsHeaderMatch,
  type RtMatch,
} from '../ast.js';
import { formatAddress, parseAddress } from './address.js';
import { compact, flag, match, type Reader, say, sayIf, takes } from './grammar.js';
import { protocolNumber } from './names.js';
import { takeNumber, UINT32_MAX } from './numbers.js';
import {
  bitNames,
  closedRange,
  formatRange,
  isOpen,
  number,
  range,
  rangeCondition,
  valueCondition,
} from './values.js';

const NEGATABLE = { negation: 'allowed' } as const;

/** In the order of printing, by the names that are printed. */
const HEADERS = {
  'hop-by-hop': Ipv6Header.HOP_BY_HOP,
  'ipv6-opts': Ipv6Header.DESTINATION,
  'ipv6-route': Ipv6Header.ROUTING,
  'ipv6-frag': Ipv6Header.FRAGMENT,
  ah: Ipv6Header.AH,
  esp: Ipv6Header.ESP,
  'ipv6-nonxt': Ipv6Header.NONE,
  protocol: Ipv6Header.PROTOCOL,
};
const HEADER_NAMES: Readonly<Record<string, number>> = {
  ...HEADERS,
  hop: Ipv6Header.HOP_BY_HOP,
  dst: Ipv6Header.DESTINATION,
  route: Ipv6Header.ROUTING,
  frag: Ipv6Header.FRAGMENT,
  auth: Ipv6Header.AH,
  none: Ipv6Header.NONE,
  prot: Ipv6Header.PROTOCOL,
};
const HEADER_NUMBERS: ReadonlyMap<number, number> = new Map([
  [0, Ipv6Header.HOP_BY_HOP],
  [60, Ipv6Header.DESTINATION],
  [43, Ipv6Header.ROUTING],
  [44, Ipv6Header.FRAGMENT],
  [51, Ipv6Header.AH],
  [50, Ipv6Header.ESP],
  [59, Ipv6Header.NONE],
  [255, Ipv6Header.PROTOCOL],
]);

const headerList: Reader<number> = (text, { where }) =>
  text.split(',').reduce((bits, part) => {
    const bit = HEADER_NAMES[part] ?? HEADER_NUMBERS.get(protocolNumber(part) ?? -1);
    return bit === undefined
      ? where.refuse('value', `unknown header '${part}'`, Object.keys(HEADER_NAMES).join(', '))
      : bits | bit;
  }, 0);

export const ipv6header = match({
  name: 'ipv6header',
  family: 6,
  options: { header: takes(headerList, { negation: 'allowed', presence: 'required' }), soft: flag() },
  build: (given): Ipv6headerMatch => ({
    kind: 'ipv6header',
    bits: given.header!.value,
    negated: given.header!.negated,
    soft: given.soft !== undefined,
  }),
  print: ({ bits, negated, soft }) => [say('header', bitNames(HEADERS, bits), negated), sayIf('soft', soft)],
});

export const frag = match({
  name: 'frag',
  family: 6,
  options: {
    fragid: takes(range(UINT32_MAX), NEGATABLE),
    fraglen: takes(number(0, UINT32_MAX), NEGATABLE),
    fragres: flag(),
    fragfirst: flag(),
    fragmore: flag({ excludes: ['fraglast'] }),
    fraglast: flag(),
  },
  build: (given): FragMatch =>
    compact<FragMatch>({
      kind: 'frag',
      id: closedRange(given.fragid, UINT32_MAX),
      length: valueCondition(given.fraglen),
      reserved: given.fragres !== undefined,
      first: given.fragfirst !== undefined,
      more: given.fragmore !== undefined,
      last: given.fraglast !== undefined,
    }),
  print: ({ id, length, reserved, first, more, last }) => [
    id && !isOpen(id, UINT32_MAX) ? say('fragid', formatRange(id), id.negated) : undefined,
    say('fraglen', length?.value, length?.negated),
    sayIf('fragres', reserved),
    sayIf('fragfirst', first),
    sayIf('fragmore', more),
    sayIf('fraglast', last),
  ],
});

const RT_ADDRESSES_MAX = 16;

const addressList: Reader<readonly AddressWords[]> = (text, { where }) => {
  const addresses = text
    .split(',')
    .map((part) => parseAddress(part, 6) ?? where.refuse('value', 'not an IPv6 address'));
  if (addresses.length > RT_ADDRESSES_MAX)
    where.refuse('value', 'too many addresses', `at most ${RT_ADDRESSES_MAX}`);
  return addresses;
};

export const rt = match({
  name: 'rt',
  family: 6,
  options: {
    'rt-type': takes(number(0, UINT32_MAX), NEGATABLE),
    'rt-segsleft': takes(range(UINT32_MAX), NEGATABLE),
    'rt-len': takes(number(0, UINT32_MAX), NEGATABLE),
    'rt-0-res': flag({ requires: ['rt-type'] }),
    'rt-0-addrs': takes(addressList, { requires: ['rt-type'] }),
    'rt-0-not-strict': flag({ requires: ['rt-0-addrs'] }),
  },
  build: (given): RtMatch => {
    const type = valueCondition(given['rt-type']);
    const typed = given['rt-0-res'] ?? given['rt-0-addrs'];
    if (typed !== undefined && (type?.value !== 0 || type.negated)) {
      typed.where.refuse('conflict', 'only for routing headers of type 0', '--rt-type 0 before it');
    }
    return compact<RtMatch>({
      kind: 'rt',
      type,
      segmentsLeft: rangeCondition(given['rt-segsleft']),
      length: valueCondition(given['rt-len']),
      reserved: given['rt-0-res'] !== undefined,
      addresses: given['rt-0-addrs']?.value ?? [],
      notStrict: given['rt-0-not-strict'] !== undefined,
    });
  },
  print: ({ type, segmentsLeft, length, reserved, addresses, notStrict }) => [
    say('rt-type', type?.value, type?.negated),
    segmentsLeft && say('rt-segsleft', formatRange(segmentsLeft), segmentsLeft.negated),
    say('rt-len', length?.value, length?.negated),
    sayIf('rt-0-res', reserved),
    addresses.length > 0
      ? say('rt-0-addrs', addresses.map((words) => formatAddress(words, 6)).join(','))
      : undefined,
    sayIf('rt-0-not-strict', notStrict),
  ],
});

const OPTIONS_MAX = 16;

/** `type` or `type:length`, one byte each (higher bits are cut as Linux cuts them); length 255 says any. */
const optionList: Reader<OptionsHeaderMatch['options']> = (text, { where }) => {
  const parts = text.split(',');
  if (parts.length > OPTIONS_MAX) where.refuse('value', 'too many options', `at most ${OPTIONS_MAX}`);
  const byte = (part: string): number => {
    const number = takeNumber(part);
    return number?.rest === ''
      ? number.value & 255
      : where.refuse('value', 'not an option', 'type or type:length');
  };
  return parts.map((part) => {
    const colon = part.indexOf(':');
    const length = colon < 0 ? 255 : byte(part.slice(colon + 1));
    return { type: byte(colon < 0 ? part : part.slice(0, colon)), length: length === 255 ? null : length };
  });
};

function optionsHeader(kind: OptionsHeaderMatch['kind']) {
  return match({
    name: kind,
    family: 6,
    options: {
      [`${kind}-len`]: takes(number(0, UINT32_MAX), NEGATABLE),
      [`${kind}-opts`]: takes(optionList),
    },
    build: (given): OptionsHeaderMatch => {
      const length = given[`${kind}-len`];
      const options = given[`${kind}-opts`];
      return compact<OptionsHeaderMatch>({
        kind,
        length: length && { value: length.value as number, negated: length.negated },
        options: (options?.value as OptionsHeaderMatch['options'] | undefined) ?? [],
      });
    },
    print: ({ length, options }) => [
      say(`${kind}-len`, length?.value, length?.negated),
      options.length > 0
        ? say(
            `${kind}-opts`,
            options.map((o) => (o.length === null ? o.type : `${o.type}:${o.length}`)).join(','),
          )
        : undefined,
    ],
  });
}
export const hbh = optionsHeader('hbh');
export const dst = optionsHeader('dst');
