/**
 * Targets that decide or report: REJECT, LOG, NFLOG, NFQUEUE, TRACE, AUDIT, TEE. Cold.
 */

import {
  type AuditTarget,
  LogFlag,
  type LogTarget,
  type NflogTarget,
  type NfqueueTarget,
  type NumberRange,
  type PlainTarget,
  type RejectTarget,
  type TeeTarget,
} from '../ast.js';
import { formatAddress, isZero } from './address.js';
import { compact, flag, Hook, type Reader, say, sayIf, takes, target } from './grammar.js';
import { wholeNumber } from './numbers.js';
import { address, number, oneOf, string } from './values.js';
import { quoteString } from './words.js';

type RejectWith = RejectTarget['with'];
/** Name and its short form, in the order in which a beginning of a name is looked up. */
const REJECT_4: readonly (readonly [RejectWith, string])[] = [
  ['icmp-net-unreachable', 'net-unreach'],
  ['icmp-host-unreachable', 'host-unreach'],
  ['icmp-port-unreachable', 'port-unreach'],
  ['icmp-proto-unreachable', 'proto-unreach'],
  ['icmp-net-prohibited', 'net-prohib'],
  ['icmp-host-prohibited', 'host-prohib'],
  ['tcp-reset', 'tcp-rst'],
  ['icmp-admin-prohibited', 'admin-prohib'],
];
const REJECT_6: readonly (readonly [RejectWith, string])[] = [
  ['icmp6-no-route', 'no-route'],
  ['icmp6-adm-prohibited', 'adm-prohibited'],
  ['icmp6-addr-unreachable', 'addr-unreach'],
  ['icmp6-port-unreachable', 'port-unreach'],
  ['tcp-reset', 'tcp-reset'],
  ['icmp6-policy-fail', 'policy-fail'],
  ['icmp6-reject-route', 'reject-route'],
];

const rejectWith: Reader<RejectWith> = (text, { family, where }) => {
  const table = family === 4 ? REJECT_4 : REJECT_6;
  const wanted = text.toLowerCase();
  const found = table.find(([name, short]) => name.startsWith(wanted) || short.startsWith(wanted));
  return found?.[0] ?? where.refuse('value', 'unknown reject type', table.map(([name]) => name).join(', '));
};

export const reject = target({
  name: 'REJECT',
  tables: ['filter'],
  hooks: Hook.INPUT | Hook.FORWARD | Hook.OUTPUT,
  options: { 'reject-with': takes(rejectWith) },
  build: (given, { family }): RejectTarget => ({
    kind: 'REJECT',
    with: given['reject-with']?.value ?? (family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable'),
  }),
  print: (spec) => [say('reject-with', spec.with)],
  check: (spec, { rule }) =>
    spec.with === 'tcp-reset' && !(rule.protocol?.number === 6 && !rule.protocol.negated)
      ? 'tcp-reset answers rules with -p tcp only'
      : undefined,
});

const LOG_LEVELS = ['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug'];
const LOG_LEVEL_DEFAULT = 4;

const logLevel: Reader<number> = (text, { where }) => {
  const named = LOG_LEVELS.indexOf(text === 'panic' ? 'emerg' : text);
  const level = named < 0 ? wholeNumber(text, 0, 7) : named;
  return level ?? where.refuse('value', 'unknown log level', `0-7 or ${LOG_LEVELS.join(', ')}`);
};

/** Longer ones are cut; a line end would forge log lines. */
function prefix(high: number): Reader<string> {
  return (text, reading) =>
    text.includes('\n')
      ? reading.where.refuse('value', 'no line ends in a prefix')
      : string(1, high, 'cut')(text, reading);
}

/** Printed with a short name for the letters that iptables prints bare. */
const sayString = (name: string, text: string) => say(name, text === '' ? undefined : quoteString(text));

export const log = target({
  name: 'LOG',
  options: {
    'log-level': takes(logLevel),
    'log-prefix': takes(prefix(29)),
    'log-tcp-sequence': flag(),
    'log-tcp-options': flag(),
    'log-ip-options': flag(),
    'log-uid': flag(),
    'log-macdecode': flag(),
  },
  build: (given): LogTarget => ({
    kind: 'LOG',
    level: given['log-level']?.value ?? LOG_LEVEL_DEFAULT,
    prefix: given['log-prefix']?.value ?? '',
    flags:
      (given['log-tcp-sequence'] ? LogFlag.TCP_SEQUENCE : 0) |
      (given['log-tcp-options'] ? LogFlag.TCP_OPTIONS : 0) |
      (given['log-ip-options'] ? LogFlag.IP_OPTIONS : 0) |
      (given['log-uid'] ? LogFlag.UID : 0) |
      (given['log-macdecode'] ? LogFlag.MAC_DECODE : 0),
  }),
  print: ({ level, prefix, flags }) => [
    sayString('log-prefix', prefix),
    level === LOG_LEVEL_DEFAULT ? undefined : say('log-level', level),
    sayIf('log-tcp-sequence', (flags & LogFlag.TCP_SEQUENCE) !== 0),
    sayIf('log-tcp-options', (flags & LogFlag.TCP_OPTIONS) !== 0),
    sayIf('log-ip-options', (flags & LogFlag.IP_OPTIONS) !== 0),
    sayIf('log-uid', (flags & LogFlag.UID) !== 0),
    sayIf('log-macdecode', (flags & LogFlag.MAC_DECODE) !== 0),
  ],
});

export const nflog = target({
  name: 'NFLOG',
  options: {
    'nflog-group': takes(number(0, 65535)),
    'nflog-prefix': takes(prefix(63)),
    'nflog-range': takes(number(0, 0xffffffff), { excludes: ['nflog-size'] }),
    'nflog-size': takes(number(0, 0xffffffff)),
    'nflog-threshold': takes(number(0, 65535)),
  },
  build: (given): NflogTarget => {
    const range = given['nflog-range']?.value;
    const size = given['nflog-size']?.value;
    return compact<NflogTarget>({
      kind: 'NFLOG',
      group: given['nflog-group']?.value ?? 0,
      prefix: given['nflog-prefix']?.value ?? '',
      copyLength:
        size !== undefined
          ? { option: 'size', bytes: size }
          : range !== undefined && range > 0
            ? { option: 'range', bytes: range }
            : undefined,
      threshold: given['nflog-threshold']?.value ?? 0,
    });
  },
  print: ({ group, prefix, copyLength, threshold }) => [
    sayString('nflog-prefix', prefix),
    say('nflog-group', group || undefined),
    copyLength && say(`nflog-${copyLength.option}`, copyLength.bytes),
    say('nflog-threshold', threshold || undefined),
  ],
});

const queueRange: Reader<NumberRange> = (text, { where }) => {
  const [low, high, ...more] = text.split(':').map((part) => wholeNumber(part, 0, 65535));
  return low === undefined || high === undefined || more.length > 0 || low >= high
    ? where.refuse('value', 'not a range of queues', 'low:high')
    : { low, high };
};

export const nfqueue = target({
  name: 'NFQUEUE',
  options: {
    'queue-num': takes(number(0, 65535), { excludes: ['queue-balance'] }),
    'queue-balance': takes(queueRange),
    'queue-bypass': flag(),
    'queue-cpu-fanout': flag({ requires: ['queue-balance'] }),
  },
  build: (given): NfqueueTarget => {
    const only = given['queue-num']?.value ?? 0;
    return {
      kind: 'NFQUEUE',
      queues: given['queue-balance']?.value ?? { low: only, high: only },
      bypass: given['queue-bypass'] !== undefined,
      cpuFanout: given['queue-cpu-fanout'] !== undefined,
    };
  },
  print: ({ queues, bypass, cpuFanout }) => [
    queues.low === queues.high
      ? say('queue-num', queues.low)
      : say('queue-balance', `${queues.low}:${queues.high}`),
    sayIf('queue-bypass', bypass),
    sayIf('queue-cpu-fanout', cpuFanout),
  ],
  check: ({ queues }) => (queues.high - queues.low > 65534 ? 'too many queues to balance over' : undefined),
});

export const trace = target({
  name: 'TRACE',
  tables: ['raw'],
  options: {},
  build: (): PlainTarget => ({ kind: 'TRACE' }),
  print: () => [],
});

export const audit = target({
  name: 'AUDIT',
  options: {
    type: takes(oneOf({ accept: 'accept', drop: 'drop', reject: 'reject' } as const), {
      presence: 'required',
    }),
  },
  build: (given): AuditTarget => ({ kind: 'AUDIT', type: given.type!.value }),
  print: (spec) => [say('type', spec.type)],
});

export const tee = target({
  name: 'TEE',
  options: { gateway: takes(address, { presence: 'required' }), oif: takes(string(1, 15)) },
  build: (given): TeeTarget =>
    compact<TeeTarget>({ kind: 'TEE', gateway: given.gateway!.value, outInterface: given.oif?.value }),
  print: ({ gateway, outInterface }, family) => [
    say('gateway', formatAddress(gateway, family)),
    say('oif', outInterface),
  ],
  check: ({ gateway }) => (isZero(gateway) ? 'TEE needs a gateway that is an address' : undefined),
});
