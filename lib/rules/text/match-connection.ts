/**
 * Matches of connection tracking: conntrack, state, connbytes, connlimit, connmark, connlabel, mark, helper. Cold.
 */

import {
  type ConnbytesMatch,
  type ConnlabelMatch,
  type ConnlimitMatch,
  type ConntrackMatch,
  CtState,
  CtStatus,
  type HelperMatch,
  type MarkMatch,
  type NumberRange,
  type StateMatch,
  type TupleAddressCondition,
} from '../ast.js';
import { formatAddress, maskPrefix, prefixMask } from './address.js';
import { compact, flag, type GivenOption, match, type Reader, say, sayIf, takes } from './grammar.js';
import { protocolNumber } from './names.js';
import { UINT32_MAX } from './numbers.js';
import {
  bitNames,
  formatMark,
  formatRange,
  type MaskedAddress,
  markMask,
  maskedCondition,
  maskedHost,
  number,
  oneOf,
  portOrRange,
  range,
  rangeCondition,
  string,
  valueCondition,
} from './values.js';
import { quoteString } from './words.js';

/** In the order of printing. */
const STATES = {
  INVALID: CtState.INVALID,
  NEW: CtState.NEW,
  RELATED: CtState.RELATED,
  ESTABLISHED: CtState.ESTABLISHED,
  UNTRACKED: CtState.UNTRACKED,
};
const CT_STATES = { ...STATES, SNAT: CtState.SNAT, DNAT: CtState.DNAT };
const STATUSES = {
  NONE: 0,
  EXPECTED: CtStatus.EXPECTED,
  SEEN_REPLY: CtStatus.SEEN_REPLY,
  ASSURED: CtStatus.ASSURED,
  CONFIRMED: CtStatus.CONFIRMED,
};

/** Names between commas; any case, and a beginning of a name will do. */
function stateList(names: Readonly<Record<string, number>>): Reader<number> {
  return (text, { where }) =>
    text.split(',').reduce((bits, part) => {
      const name = Object.keys(names).find((key) => part !== '' && key.startsWith(part.toUpperCase()));
      if (name === undefined) {
        return where.refuse(
          'value',
          `unknown state '${part}'`,
          `${Object.keys(names).join(', ')} between commas`,
        );
      }
      return bits | names[name]!;
    }, 0);
}

const protocol: Reader<number> = (text, { where }) =>
  protocolNumber(text) ?? where.refuse('value', 'unknown protocol', 'a protocol name or 0-255');

const NEGATABLE = { negation: 'allowed' } as const;

function tupleAddress(given: GivenOption<MaskedAddress> | undefined): TupleAddressCondition | undefined {
  return given && { ...given.value, negated: given.negated };
}

function bits(given: GivenOption<number> | undefined) {
  return given && { bits: given.value, negated: given.negated };
}

export const conntrack = match({
  name: 'conntrack',
  options: {
    ctstate: takes(stateList(CT_STATES), NEGATABLE),
    ctproto: takes(protocol, NEGATABLE),
    ctorigsrc: takes(maskedHost, NEGATABLE),
    ctorigdst: takes(maskedHost, NEGATABLE),
    ctreplsrc: takes(maskedHost, NEGATABLE),
    ctrepldst: takes(maskedHost, NEGATABLE),
    ctorigsrcport: takes(portOrRange, NEGATABLE),
    ctorigdstport: takes(portOrRange, NEGATABLE),
    ctreplsrcport: takes(portOrRange, NEGATABLE),
    ctrepldstport: takes(portOrRange, NEGATABLE),
    ctstatus: takes(stateList(STATUSES), NEGATABLE),
    ctexpire: takes(range(UINT32_MAX), NEGATABLE),
    ctdir: takes(oneOf({ ORIGINAL: 'original', REPLY: 'reply' } as const, 'any-case')),
  },
  anyOf: [
    'ctstate',
    'ctproto',
    'ctorigsrc',
    'ctorigdst',
    'ctreplsrc',
    'ctrepldst',
    'ctorigsrcport',
    'ctorigdstport',
    'ctreplsrcport',
    'ctrepldstport',
    'ctstatus',
    'ctexpire',
    'ctdir',
  ],
  build: (given): ConntrackMatch =>
    compact<ConntrackMatch>({
      kind: 'conntrack',
      state: bits(given.ctstate),
      protocol: valueCondition(given.ctproto),
      originalSource: tupleAddress(given.ctorigsrc),
      originalDestination: tupleAddress(given.ctorigdst),
      replySource: tupleAddress(given.ctreplsrc),
      replyDestination: tupleAddress(given.ctrepldst),
      originalSourcePorts: rangeCondition(given.ctorigsrcport),
      originalDestinationPorts: rangeCondition(given.ctorigdstport),
      replySourcePorts: rangeCondition(given.ctreplsrcport),
      replyDestinationPorts: rangeCondition(given.ctrepldstport),
      status: bits(given.ctstatus),
      expireSeconds: rangeCondition(given.ctexpire),
      direction: given.ctdir?.value,
    }),
  print: (spec, family) => {
    const sayAddress = (name: string, condition: TupleAddressCondition | undefined): string | undefined => {
      if (condition === undefined) return undefined;
      // Linux prints no mask that is not a prefix.
      const prefix = maskPrefix(condition.mask, family) ?? (family === 4 ? 32 : 128);
      const mask = prefix === (family === 4 ? 32 : 128) ? '' : `/${prefix}`;
      return say(name, formatAddress(condition.written, family) + mask, condition.negated);
    };
    const sayRange = (name: string, condition: (NumberRange & { negated: boolean }) | undefined) =>
      condition && say(name, formatRange(condition), condition.negated);
    return [
      spec.state && say('ctstate', bitNames(CT_STATES, spec.state.bits), spec.state.negated),
      say('ctproto', spec.protocol?.value, spec.protocol?.negated),
      sayAddress('ctorigsrc', spec.originalSource),
      sayAddress('ctorigdst', spec.originalDestination),
      sayAddress('ctreplsrc', spec.replySource),
      sayAddress('ctrepldst', spec.replyDestination),
      sayRange('ctorigsrcport', spec.originalSourcePorts),
      sayRange('ctorigdstport', spec.originalDestinationPorts),
      sayRange('ctreplsrcport', spec.replySourcePorts),
      sayRange('ctrepldstport', spec.replyDestinationPorts),
      spec.status && say('ctstatus', bitNames(STATUSES, spec.status.bits) || 'NONE', spec.status.negated),
      sayRange('ctexpire', spec.expireSeconds),
      say('ctdir', spec.direction?.toUpperCase()),
    ];
  },
});

export const state = match({
  name: 'state',
  options: { state: takes(stateList(STATES), { negation: 'allowed', presence: 'required' }) },
  build: (given): StateMatch => ({ kind: 'state', bits: given.state!.value, negated: given.state!.negated }),
  print: (spec) => [say('state', bitNames(STATES, spec.bits), spec.negated)],
});

function markMatch(kind: MarkMatch['kind']) {
  return match({
    name: kind,
    options: { mark: takes(markMask, { negation: 'allowed', presence: 'required' }) },
    build: (given): MarkMatch => ({ kind, ...maskedCondition(given.mark!) }),
    print: (spec) => [say('mark', formatMark(spec), spec.negated)],
  });
}
export const mark = markMatch('mark');
export const connmark = markMatch('connmark');

const UINT64_MAX = 2 ** 64;

/** `a`, `a:` and `a:b`; without an end the range is open. */
const byteRange: Reader<NumberRange> = (text, reading) => {
  const { low, high } = range(UINT64_MAX)(text, reading);
  const open = !text.includes(':') || high >= UINT64_MAX;
  if (!open && low > high) reading.where.refuse('value', 'range is reversed', 'low:high');
  return { low, high: open ? Number.POSITIVE_INFINITY : high };
};

export const connbytes = match({
  name: 'connbytes',
  options: {
    connbytes: takes(byteRange, { negation: 'allowed', presence: 'required' }),
    'connbytes-mode': takes(oneOf({ packets: 'packets', bytes: 'bytes', avgpkt: 'avgpkt' } as const), {
      presence: 'required',
    }),
    'connbytes-dir': takes(oneOf({ original: 'original', reply: 'reply', both: 'both' } as const), {
      presence: 'required',
    }),
  },
  build: (given): ConnbytesMatch => {
    const range = rangeCondition(given.connbytes)!;
    return {
      kind: 'connbytes',
      ...range,
      // Linux negates by crossing the ends, so a single value cannot be negated: it matches itself.
      negated: range.negated && range.low !== range.high,
      what: given['connbytes-mode']!.value,
      direction: given['connbytes-dir']!.value,
    };
  },
  print: ({ low, high, negated, what, direction }) => [
    say('connbytes', high === Number.POSITIVE_INFINITY ? low : `${low}:${high}`, negated),
    say('connbytes-mode', what),
    say('connbytes-dir', direction),
  ],
});

export const connlimit = match({
  name: 'connlimit',
  options: {
    'connlimit-upto': takes(number(0, UINT32_MAX), { negation: 'allowed', excludes: ['connlimit-above'] }),
    'connlimit-above': takes(number(0, UINT32_MAX), NEGATABLE),
    'connlimit-mask': takes(number(0, 128)),
    'connlimit-saddr': flag({ excludes: ['connlimit-daddr'] }),
    'connlimit-daddr': flag(),
  },
  anyOf: ['connlimit-upto', 'connlimit-above'],
  build: (given, { family }): ConnlimitMatch => {
    const above = given['connlimit-above'];
    const asked = (above ?? given['connlimit-upto'])!;
    const full = family === 4 ? 32 : 128;
    return {
      kind: 'connlimit',
      compare: (above !== undefined) === asked.negated ? 'upto' : 'above',
      limit: asked.value,
      mask: prefixMask(Math.min(full, given['connlimit-mask']?.value ?? full), family),
      side: given['connlimit-daddr'] === undefined ? 'source' : 'destination',
    };
  },
  print: ({ compare, limit, mask, side }, family) => [
    say(`connlimit-${compare}`, limit),
    say('connlimit-mask', maskPrefix(mask, family) ?? formatAddress(mask, family)),
    sayIf('connlimit-saddr', side === 'source'),
    sayIf('connlimit-daddr', side === 'destination'),
  ],
});

export const helper = match({
  name: 'helper',
  options: { helper: takes(string(0, 29, 'cut'), { negation: 'allowed', presence: 'required' }) },
  build: (given): HelperMatch => ({
    kind: 'helper',
    name: given.helper!.value,
    negated: given.helper!.negated,
  }),
  print: (spec) => [say('helper', quoteString(spec.name), spec.negated)],
});

/** Labels by number; the names of connlabel.conf are not read. Printed in quotes, as iptables-save does. */
export const connlabel = match({
  name: 'connlabel',
  options: {
    label: takes(number(0, 127), { negation: 'allowed', presence: 'required' }),
    set: flag(),
  },
  build: (given): ConnlabelMatch => ({
    kind: 'connlabel',
    label: given.label!.value,
    set: given.set !== undefined,
    negated: given.label!.negated,
  }),
  print: (spec) => [say('label', `"${spec.label}"`, spec.negated), sayIf('set', spec.set)],
});
