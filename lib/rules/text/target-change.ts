/**
 * Targets that change the packet, its marks or its tracking: MARK, CONNMARK, CT, NOTRACK, TTL, HL, TOS, DSCP, ECN,
 * TCPMSS, TCPOPTSTRIP, CHECKSUM, CLASSIFY, SET. Cold.
 */

import {
  type ClassifyTarget,
  type ConnmarkTarget,
  CtEvent,
  type CtTarget,
  type DscpTarget,
  type EcnTarget,
  type MarkTarget,
  type PlainTarget,
  type SetTarget,
  type TcpmssTarget,
  type TcpoptstripTarget,
  type TosTarget,
  type TtlTarget,
} from '../ast.js';
import {
  compact,
  flag,
  type GivenOption,
  Hook,
  type KernelContext,
  type Reader,
  say,
  sayIf,
  takes,
  target,
} from './grammar.js';
import { hex, UINT32_MAX, wholeNumber } from './numbers.js';
import { formatSetReference, missingSet, setReference } from './set-references.js';
import { DSCP_CLASSES, formatTos, tosMask } from './tos.js';
import { bitList, bitNames, markMask, number, oneOf, string } from './values.js';

const TCP = 6;
const MARK_ACTIONS = ['set-xmark', 'set-mark', 'and-mark', 'or-mark', 'xor-mark'] as const;
const word = number(0, UINT32_MAX);

/** Each excludes the ones behind it. */
function onlyOne<K extends string>(names: readonly K[], name: K): { excludes: readonly string[] } {
  return { excludes: names.slice(names.indexOf(name) + 1) };
}

interface Masked {
  readonly value: number;
  readonly mask: number;
}
type GivenMasked = GivenOption<Masked> | undefined;
type GivenNumber = GivenOption<number> | undefined;

/** The five spellings of mark = (mark & ~mask) ^ value. `set` clears what it sets as well. */
function markChange(
  set: GivenMasked,
  xset: GivenMasked,
  and: GivenNumber,
  or: GivenNumber,
  xor: GivenNumber,
): Masked | undefined {
  if (set !== undefined) return { value: set.value.value, mask: (set.value.mask | set.value.value) >>> 0 };
  if (xset !== undefined) return xset.value;
  if (and !== undefined) return { value: 0, mask: ~and.value >>> 0 };
  if (or !== undefined) return { value: or.value, mask: or.value };
  return xor && { value: xor.value, mask: 0 };
}

function formatChange({ value, mask }: Masked): string {
  return `${hex(value)}/${hex(mask)}`;
}

export const mark = target({
  name: 'MARK',
  options: {
    'set-xmark': takes(markMask, onlyOne(MARK_ACTIONS, 'set-xmark')),
    'set-mark': takes(markMask, onlyOne(MARK_ACTIONS, 'set-mark')),
    'and-mark': takes(word, onlyOne(MARK_ACTIONS, 'and-mark')),
    'or-mark': takes(word, onlyOne(MARK_ACTIONS, 'or-mark')),
    'xor-mark': takes(word),
  },
  anyOf: MARK_ACTIONS,
  build: (given): MarkTarget => ({
    kind: 'MARK',
    ...markChange(
      given['set-mark'],
      given['set-xmark'],
      given['and-mark'],
      given['or-mark'],
      given['xor-mark'],
    )!,
  }),
  print: (spec) => [say('set-xmark', formatChange(spec))],
});

const CONNMARK_ACTIONS = [...MARK_ACTIONS, 'save-mark', 'restore-mark'] as const;

export const connmark = target({
  name: 'CONNMARK',
  options: {
    'set-xmark': takes(markMask, onlyOne(CONNMARK_ACTIONS, 'set-xmark')),
    'set-mark': takes(markMask, onlyOne(CONNMARK_ACTIONS, 'set-mark')),
    'and-mark': takes(word, onlyOne(CONNMARK_ACTIONS, 'and-mark')),
    'or-mark': takes(word, onlyOne(CONNMARK_ACTIONS, 'or-mark')),
    'xor-mark': takes(word, onlyOne(CONNMARK_ACTIONS, 'xor-mark')),
    'save-mark': flag(onlyOne(CONNMARK_ACTIONS, 'save-mark')),
    'restore-mark': flag(),
    'left-shift-mark': takes(number(0, 255), { excludes: ['right-shift-mark'] }),
    'right-shift-mark': takes(number(0, 255)),
    ctmask: takes(word),
    nfmask: takes(word),
    mask: takes(word, { excludes: ['ctmask', 'nfmask'] }),
  },
  anyOf: CONNMARK_ACTIONS,
  build: (given): ConnmarkTarget => {
    const shift = (given['left-shift-mark']?.value ?? 0) - (given['right-shift-mark']?.value ?? 0);
    const mask = given.mask?.value;
    const change = markChange(
      given['set-mark'],
      given['set-xmark'],
      given['and-mark'],
      given['or-mark'],
      given['xor-mark'],
    );
    if (change !== undefined) {
      // A --mask of its own takes the place of the mask of the value.
      return { kind: 'CONNMARK', action: 'set', shift, value: change.value, mask: mask ?? change.mask };
    }
    return {
      kind: 'CONNMARK',
      action: given['save-mark'] === undefined ? 'restore' : 'save',
      shift,
      nfMask: given.nfmask?.value ?? mask ?? UINT32_MAX,
      ctMask: given.ctmask?.value ?? mask ?? UINT32_MAX,
    };
  },
  print: (spec) => [
    ...(spec.action === 'set'
      ? [say('set-xmark', formatChange(spec))]
      : [`--${spec.action}-mark`, say('nfmask', hex(spec.nfMask)), say('ctmask', hex(spec.ctMask))]),
    spec.shift > 0 ? say('left-shift-mark', spec.shift) : undefined,
    spec.shift < 0 ? say('right-shift-mark', -spec.shift) : undefined,
  ],
  check: ({ shift }) => (Math.abs(shift) > 31 ? 'marks shift by less than 32 bits' : undefined),
});

const zone: Reader<number | 'mark'> = (text, { where }) =>
  text === 'mark'
    ? 'mark'
    : (wholeNumber(text, 0, 65535) ?? where.refuse('value', 'not a zone', '0-65535 or mark'));

const EVENTS = {
  new: CtEvent.NEW,
  related: CtEvent.RELATED,
  destroy: CtEvent.DESTROY,
  reply: CtEvent.REPLY,
  assured: CtEvent.ASSURED,
  protoinfo: CtEvent.PROTOINFO,
  helper: CtEvent.HELPER,
  mark: CtEvent.MARK,
  natseqinfo: CtEvent.NATSEQINFO,
  secmark: CtEvent.SECMARK,
};

export const ct = target({
  name: 'CT',
  tables: ['raw'],
  options: {
    notrack: flag(),
    helper: takes(string(1, 15)),
    timeout: takes(string(1, 31)),
    ctevents: takes(bitList(EVENTS, 'exact')),
    expevents: takes(bitList({ new: CtEvent.NEW }, 'exact')),
    zone: takes(zone),
    'zone-orig': takes(zone),
    'zone-reply': takes(zone),
  },
  build: (given): CtTarget => {
    const directions = [given['zone-orig'] && 'original', given['zone-reply'] && 'reply'].filter(Boolean);
    // The last one given says which zone; two directions are both.
    const zones = [given.zone, given['zone-orig'], given['zone-reply']].filter(
      (option) => option !== undefined,
    );
    const last = zones.sort((a, b) => a.where.column - b.where.column).at(-1)?.value;
    const direction = directions.length === 1 ? (directions[0] as 'original' | 'reply') : 'both';
    return compact<CtTarget>({
      kind: 'CT',
      notrack: given.notrack !== undefined,
      zone: last === undefined || last === 0 ? undefined : { id: last, direction },
      helper: given.helper?.value,
      timeout: given.timeout?.value,
      events: given.ctevents?.value,
      expectEvents: given.expevents?.value,
    });
  },
  print: ({ notrack, zone, helper, timeout, events, expectEvents }) => [
    sayIf('notrack', notrack),
    say('helper', helper),
    say('timeout', timeout),
    events === undefined ? undefined : say('ctevents', bitNames(EVENTS, events)),
    expectEvents === undefined ? undefined : say('expevents', bitNames(EVENTS, expectEvents)),
    zone && say({ both: 'zone', original: 'zone-orig', reply: 'zone-reply' }[zone.direction], zone.id),
  ],
  check: ({ helper, timeout }, { rule, known }) => {
    if (timeout !== undefined && known.timeouts?.has(timeout) === false)
      return `no timeout policy '${timeout}'`;
    if (helper === undefined) return undefined;
    if (rule.protocol === undefined || rule.protocol.negated)
      return 'a helper belongs to a protocol: give -p before it';
    const protocols = known.helpers?.get(helper);
    const missing = known.helpers !== undefined && protocols?.includes(rule.protocol.number) !== true;
    return missing ? `no helper '${helper}' for this protocol` : undefined;
  },
});

export const notrack = target({
  name: 'NOTRACK',
  tables: ['raw'],
  options: {},
  build: (): PlainTarget => ({ kind: 'NOTRACK' }),
  print: () => [],
});

const HOP_ACTIONS = ['set', 'dec', 'inc'] as const;

function hopTarget(kind: TtlTarget['kind'], prefix: 'ttl' | 'hl') {
  return target({
    name: kind,
    family: kind === 'TTL' ? 4 : 6,
    tables: ['mangle'],
    options: {
      [`${prefix}-set`]: takes(number(0, 255), { excludes: [`${prefix}-inc`, `${prefix}-dec`] }),
      [`${prefix}-dec`]: takes(number(1, 255), { excludes: [`${prefix}-inc`] }),
      [`${prefix}-inc`]: takes(number(1, 255)),
    },
    anyOf: HOP_ACTIONS.map((action) => `${prefix}-${action}`),
    build: (given): TtlTarget => {
      const action = HOP_ACTIONS.find((name) => given[`${prefix}-${name}`] !== undefined)!;
      return { kind, action, value: given[`${prefix}-${action}`]!.value };
    },
    print: ({ action, value }) => [say(`${prefix}-${action}`, value)],
  });
}
export const ttl = hopTarget('TTL', 'ttl');
export const hl = hopTarget('HL', 'hl');

const byte = number(0, 255);
const TOS_ACTIONS = ['set-tos', 'and-tos', 'or-tos', 'xor-tos'] as const;

export const tos = target({
  name: 'TOS',
  tables: ['mangle'],
  options: {
    'set-tos': takes(tosMask(0x3f), onlyOne(TOS_ACTIONS, 'set-tos')),
    'and-tos': takes(byte, onlyOne(TOS_ACTIONS, 'and-tos')),
    'or-tos': takes(byte, onlyOne(TOS_ACTIONS, 'or-tos')),
    'xor-tos': takes(byte),
  },
  anyOf: TOS_ACTIONS,
  build: (given): TosTarget => {
    const change = markChange(
      undefined,
      given['set-tos'],
      given['and-tos'],
      given['or-tos'],
      given['xor-tos'],
    )!;
    return { kind: 'TOS', value: change.value, mask: change.mask & 255 };
  },
  print: (spec) => [say('set-tos', formatTos(spec))],
});

export const dscp = target({
  name: 'DSCP',
  tables: ['mangle'],
  options: {
    'set-dscp': takes(number(0, 63), { excludes: ['set-dscp-class'] }),
    'set-dscp-class': takes(oneOf(DSCP_CLASSES, 'any-case')),
  },
  anyOf: ['set-dscp', 'set-dscp-class'],
  build: (given): DscpTarget => ({
    kind: 'DSCP',
    value: (given['set-dscp'] ?? given['set-dscp-class'])!.value,
  }),
  print: (spec) => [say('set-dscp', hex(spec.value, 2))],
});

const ECN_ALL = ['ecn-tcp-remove', 'ecn-tcp-cwr', 'ecn-tcp-ece', 'ecn-ip-ect'] as const;

export const ecn = target({
  name: 'ECN',
  family: 4,
  tables: ['mangle'],
  options: {
    'ecn-tcp-remove': flag({ excludes: ['ecn-tcp-cwr', 'ecn-tcp-ece'] }),
    'ecn-tcp-cwr': takes(number(0, 1)),
    'ecn-tcp-ece': takes(number(0, 1)),
    'ecn-ip-ect': takes(number(0, 3)),
  },
  anyOf: ECN_ALL,
  build: (given): EcnTarget => {
    const removed = given['ecn-tcp-remove'] === undefined ? undefined : 0;
    return compact<EcnTarget>({
      kind: 'ECN',
      ip: given['ecn-ip-ect']?.value,
      ece: removed ?? (given['ecn-tcp-ece']?.value as 0 | 1 | undefined),
      cwr: removed ?? (given['ecn-tcp-cwr']?.value as 0 | 1 | undefined),
    });
  },
  print: ({ ip, ece, cwr }) => [
    ...(ece === 0 && cwr === 0 ? ['--ecn-tcp-remove'] : [say('ecn-tcp-ece', ece), say('ecn-tcp-cwr', cwr)]),
    say('ecn-ip-ect', ip),
  ],
  check: ({ ece, cwr }, { rule }) =>
    (ece !== undefined || cwr !== undefined) && !(rule.protocol?.number === TCP && !rule.protocol.negated)
      ? 'ECN changes TCP flags of rules with -p tcp only'
      : undefined,
});

const SYN = 2;
/** IP and TCP headers take the rest of 65535 bytes. */
const MSS_MAX = { 4: 65515, 6: 65495 } as const;

function asksForSyn({ rule }: KernelContext): boolean {
  return rule.matches.some(
    (match) =>
      match.kind === 'tcp' &&
      match.flags !== undefined &&
      !match.flags.negated &&
      (match.flags.value & SYN) !== 0,
  );
}

export const tcpmss = target({
  name: 'TCPMSS',
  protocols: [TCP],
  options: {
    'set-mss': takes((text, reading) => number(0, MSS_MAX[reading.family])(text, reading), {
      excludes: ['clamp-mss-to-pmtu'],
    }),
    'clamp-mss-to-pmtu': flag(),
  },
  anyOf: ['set-mss', 'clamp-mss-to-pmtu'],
  build: (given): TcpmssTarget => ({ kind: 'TCPMSS', mss: given['set-mss']?.value ?? 'clamp-to-pmtu' }),
  print: ({ mss }) => [mss === 'clamp-to-pmtu' ? '--clamp-mss-to-pmtu' : say('set-mss', mss)],
  check: ({ mss }, context) => {
    if (mss === 'clamp-to-pmtu' && (context.hooks & (Hook.PREROUTING | Hook.INPUT)) !== 0) {
      return 'the path MTU is known in FORWARD, OUTPUT and POSTROUTING only';
    }
    return asksForSyn(context)
      ? undefined
      : 'TCPMSS changes SYN packets only: give --tcp-flags SYN,RST SYN or --syn';
  },
});

const TCP_OPTIONS: Readonly<Record<string, number>> = {
  wscale: 3,
  mss: 2,
  'sack-permitted': 4,
  sack: 5,
  timestamp: 8,
  md5: 19,
};

const optionList: Reader<readonly number[]> = (text, { where }) => {
  const kinds = new Set<number>();
  for (const part of text.split(',')) {
    const kind = TCP_OPTIONS[part] ?? wholeNumber(part, 2, 255);
    if (kind === undefined)
      return where.refuse(
        'value',
        `not a TCP option '${part}'`,
        `2-255, ${Object.keys(TCP_OPTIONS).join(', ')}`,
      );
    if (kinds.has(kind)) where.refuse('value', `TCP option named twice '${part}'`);
    kinds.add(kind);
  }
  return [...kinds].sort((a, b) => a - b);
};

export const tcpoptstrip = target({
  name: 'TCPOPTSTRIP',
  protocols: [TCP],
  tables: ['mangle'],
  options: { 'strip-options': takes(optionList) },
  build: (given): TcpoptstripTarget => ({
    kind: 'TCPOPTSTRIP',
    options: given['strip-options']?.value ?? [],
  }),
  print: ({ options }) => [options.length === 0 ? undefined : say('strip-options', options.join(','))],
});

export const checksum = target({
  name: 'CHECKSUM',
  tables: ['mangle'],
  options: { 'checksum-fill': flag({ presence: 'required' }) },
  build: (): PlainTarget => ({ kind: 'CHECKSUM' }),
  print: () => ['--checksum-fill'],
});

const classId: Reader<{ readonly major: number; readonly minor: number }> = (text, { where }) => {
  const match = /^([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})$/.exec(text);
  return match === null
    ? where.refuse('value', 'not a class', 'major:minor, each up to ffff')
    : { major: Number.parseInt(match[1]!, 16), minor: Number.parseInt(match[2]!, 16) };
};

export const classify = target({
  name: 'CLASSIFY',
  hooks: Hook.OUTPUT | Hook.FORWARD | Hook.POSTROUTING,
  options: { 'set-class': takes(classId, { presence: 'required' }) },
  build: (given): ClassifyTarget => ({ kind: 'CLASSIFY', ...given['set-class']!.value }),
  print: ({ major, minor }) => {
    const format = (value: number): string => value.toString(16).padStart(4, '0');
    return [say('set-class', `${format(major)}:${format(minor)}`)];
  },
});

export const set = target({
  name: 'SET',
  options: {
    'add-set': takes(setReference),
    'del-set': takes(setReference),
    'map-set': takes(setReference, { excludes: ['add-set', 'del-set'] }),
    exist: flag({ requires: ['add-set'] }),
    timeout: takes(word, { requires: ['add-set'] }),
    'map-mark': flag({ requires: ['map-set'] }),
    'map-prio': flag({ requires: ['map-set'] }),
    'map-queue': flag({ requires: ['map-set'] }),
  },
  anyOf: ['add-set', 'del-set', 'map-set'],
  build: (given): SetTarget => {
    const map = given['map-set']?.value;
    return compact<SetTarget>({
      kind: 'SET',
      add: given['add-set']?.value,
      remove: given['del-set']?.value,
      map: map && {
        ...map,
        mark: given['map-mark'] !== undefined,
        priority: given['map-prio'] !== undefined,
        queue: given['map-queue'] !== undefined,
      },
      exist: given.exist !== undefined,
      timeoutSeconds: given.timeout?.value,
    });
  },
  print: ({ add, remove, map, exist, timeoutSeconds }) => [
    say('add-set', add && formatSetReference(add)),
    sayIf('exist', exist),
    say('timeout', timeoutSeconds),
    say('del-set', remove && formatSetReference(remove)),
    say('map-set', map && formatSetReference(map)),
    sayIf('map-mark', map?.mark === true),
    sayIf('map-prio', map?.priority === true),
    sayIf('map-queue', map?.queue === true),
  ],
  check: ({ add, remove, map }, { table, hooks, known }) => {
    const missing = missingSet([add?.name, remove?.name, map?.name], known);
    if (missing !== undefined) return missing;
    if (map !== undefined && table !== 'mangle') return 'SET --map-set belongs in the mangle table';
    return map?.priority === true && (hooks & ~(Hook.OUTPUT | Hook.FORWARD | Hook.POSTROUTING)) !== 0
      ? 'SET --map-prio belongs in FORWARD, OUTPUT and POSTROUTING'
      : undefined;
  },
});
