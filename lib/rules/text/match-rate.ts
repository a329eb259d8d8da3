/**
 * Matches that count or keep time: limit, hashlimit, statistic, quota, recent, time. Cold.
 */

import type {
  HashlimitMatch,
  LimitMatch,
  QuotaMatch,
  RecentMatch,
  StatisticMatch,
  TimeMatch,
} from '../ast.js';
import { formatAddress, parseAddress } from './address.js';
import { byteRate, formatByteRate, formatBytes, parseBytes } from './byte-rates.js';
import { DAY_NAMES, dateTime, formatDate, formatTime, monthDays, timeOfDay, weekDays } from './calendar.js';
import { compact, flag, type GivenOption, match, type Reader, say, sayIf, takes } from './grammar.js';
import { UINT32_MAX } from './numbers.js';
import { burstOverflows, formatRate, parseRate, type Rate } from './rates.js';
import { maskOr, number, oneOf, string } from './values.js';
import { quoteString } from './words.js';

const LIMIT_TICKS = 10_000;
const HASHLIMIT_TICKS = 1_000_000;

export const limit = match({
  name: 'limit',
  options: {
    limit: takes((text, { where }) => parseRate(text, LIMIT_TICKS, where)),
    'limit-burst': takes(number(0, 10_000)),
  },
  build: (given): LimitMatch => ({
    kind: 'limit',
    average: given.limit?.value.interval ?? 12_000_000,
    burst: given['limit-burst']?.value ?? 5,
  }),
  print: ({ average, burst }) => [
    say('limit', formatRate(average, LIMIT_TICKS).text),
    burst === 5 ? undefined : say('limit-burst', burst),
  ],
  check: ({ average, burst }) =>
    burstOverflows(average, burst, 'limit') ? 'the burst does not fit: give a smaller one' : undefined,
});

type HashlimitRate =
  | { readonly unit: 'packets'; readonly rate: Rate }
  | { readonly unit: 'bytes'; readonly average: number };

const hashlimitRate: Reader<HashlimitRate> = (text, { where }) => {
  const bytes = byteRate(text, where);
  if (bytes !== undefined) return { unit: 'bytes', average: bytes };
  return { unit: 'packets', rate: parseRate(text, HASHLIMIT_TICKS, where) };
};

const HASHLIMIT_KEYS = ['srcip', 'srcport', 'dstip', 'dstport'] as const;

const hashlimitKeys: Reader<HashlimitMatch['keys']> = (text, { where }) => {
  const parts = text.split(',');
  const unknown = parts.find((part) => !HASHLIMIT_KEYS.some((key) => key === part));
  if (unknown !== undefined) where.refuse('value', `unknown key '${unknown}'`, HASHLIMIT_KEYS.join(', '));
  return HASHLIMIT_KEYS.filter((key) => parts.includes(key));
};

/** Entries without a packet for this long go; by the rate if not given. */
const BYTE_EXPIRE_MS = 15_000;
const BYTE_BURST_EXPIRE_MS = 60_000;

function ownExpireMs({ unit, burst, average }: HashlimitMatch): number {
  if (unit === 'bytes') return burst === 0 ? BYTE_EXPIRE_MS : BYTE_BURST_EXPIRE_MS;
  return formatRate(average, HASHLIMIT_TICKS).unitSeconds * 1000;
}

export const hashlimit = match({
  name: 'hashlimit',
  options: {
    'hashlimit-upto': takes(hashlimitRate, {
      negation: 'allowed',
      aka: ['hashlimit'],
      excludes: ['hashlimit-above'],
    }),
    'hashlimit-above': takes(hashlimitRate, { negation: 'allowed' }),
    'hashlimit-burst': takes((text, { where }) => parseBytes(text, where)),
    'hashlimit-mode': takes(hashlimitKeys),
    'hashlimit-name': takes(string(1, 254), { presence: 'required' }),
    'hashlimit-htable-size': takes(number(0, UINT32_MAX)),
    'hashlimit-htable-max': takes(number(0, UINT32_MAX)),
    'hashlimit-htable-gcinterval': takes(number(0, UINT32_MAX)),
    'hashlimit-htable-expire': takes(number(0, UINT32_MAX)),
    'hashlimit-srcmask': takes(number(0, 128)),
    'hashlimit-dstmask': takes(number(0, 128)),
    'hashlimit-rate-match': flag(),
    'hashlimit-rate-interval': takes(number(1, UINT32_MAX)),
  },
  anyOf: ['hashlimit-upto', 'hashlimit-above'],
  build: (given, { family, where }): HashlimitMatch => {
    const above = given['hashlimit-above'];
    const asked = (above ?? given['hashlimit-upto'])!;
    const rate = asked.value;
    const full = family === 4 ? 32 : 128;
    const burst = given['hashlimit-burst'];
    const expire = given['hashlimit-htable-expire']?.value;
    const prefix = (option: GivenOption<number> | undefined): number => {
      if (option !== undefined && option.value > full)
        option.where.refuse('value', 'prefix too long', `0-${full}`);
      return option?.value ?? full;
    };
    const base = {
      kind: 'hashlimit' as const,
      name: given['hashlimit-name']!.value,
      compare: (above !== undefined) === asked.negated ? ('upto' as const) : ('above' as const),
      keys: given['hashlimit-mode']?.value ?? [],
      sourcePrefix: prefix(given['hashlimit-srcmask']),
      destinationPrefix: prefix(given['hashlimit-dstmask']),
      size: given['hashlimit-htable-size']?.value ?? 0,
      max: given['hashlimit-htable-max']?.value ?? 0,
      gcIntervalMs: given['hashlimit-htable-gcinterval']?.value ?? 1000,
      rateMatch: given['hashlimit-rate-match'] !== undefined,
      rateIntervalSeconds: given['hashlimit-rate-interval']?.value ?? 1,
    };
    if (rate.unit === 'bytes') {
      const average = rate.average;
      if (burst !== undefined && burst.value < average)
        burst.where.refuse('value', 'burst too small', `>= ${average}b`);
      // Kept as a whole number of seconds at the rate.
      const bytes = Math.ceil((burst?.value ?? 0) / average) * average;
      const expireMs = expire ?? (bytes === 0 ? BYTE_EXPIRE_MS : BYTE_BURST_EXPIRE_MS);
      return { ...base, unit: 'bytes', average, burst: bytes, expireMs };
    }
    const packets = burst?.value ?? 5;
    if (packets < 1 || packets > 1_000_000)
      (burst?.where ?? where).refuse('value', 'burst out of range', '1-1000000');
    const expireMs = expire ?? rate.rate.unitSeconds * 1000;
    return { ...base, unit: 'packets', average: rate.rate.interval, burst: packets, expireMs };
  },
  print: (spec, family) => {
    const full = family === 4 ? 32 : 128;
    const bytes = spec.unit === 'bytes';
    return [
      say(
        `hashlimit-${spec.compare}`,
        bytes ? formatByteRate(spec.average) : formatRate(spec.average, HASHLIMIT_TICKS).text,
      ),
      bytes
        ? say('hashlimit-burst', spec.burst === 0 ? undefined : formatBytes(spec.burst))
        : say('hashlimit-burst', spec.burst),
      spec.keys.length > 0 ? say('hashlimit-mode', spec.keys.join(',')) : undefined,
      say('hashlimit-name', quoteString(spec.name)),
      say('hashlimit-htable-size', spec.size || undefined),
      say('hashlimit-htable-max', spec.max || undefined),
      say('hashlimit-htable-gcinterval', spec.gcIntervalMs === 1000 ? undefined : spec.gcIntervalMs),
      say('hashlimit-htable-expire', spec.expireMs === ownExpireMs(spec) ? undefined : spec.expireMs),
      say('hashlimit-srcmask', spec.sourcePrefix === full ? undefined : spec.sourcePrefix),
      say('hashlimit-dstmask', spec.destinationPrefix === full ? undefined : spec.destinationPrefix),
      sayIf('hashlimit-rate-match', spec.rateMatch),
      spec.rateMatch && spec.rateIntervalSeconds !== 1
        ? say('hashlimit-rate-interval', spec.rateIntervalSeconds)
        : undefined,
    ];
  },
  check: ({ unit, average, burst }) =>
    unit === 'packets' && burstOverflows(average, burst, 'hashlimit')
      ? 'the burst does not fit: give a smaller one'
      : undefined,
});

const PROBABILITY_ONE = 2 ** 31;

const probability: Reader<number> = (text, { where }) => {
  const value = /^\s*\+?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  return value >= 0 && value <= 1
    ? Math.round(value * PROBABILITY_ONE)
    : where.refuse('value', 'not a probability', 'number from 0 to 1');
};

export const statistic = match({
  name: 'statistic',
  options: {
    mode: takes(oneOf({ random: 'random', nth: 'nth' } as const), { presence: 'required' }),
    probability: takes(probability, { negation: 'allowed', excludes: ['every', 'packet'] }),
    every: takes(number(1, UINT32_MAX), { negation: 'allowed', requires: ['packet'] }),
    packet: takes(number(0, UINT32_MAX)),
  },
  build: (given, { where }): StatisticMatch => {
    if (given.mode!.value === 'random') {
      const chance =
        given.probability ?? where.refuse('conflict', 'random mode needs a probability', '--probability');
      return { kind: 'statistic', mode: 'random', probability: chance.value, negated: chance.negated };
    }
    const every = given.every ?? where.refuse('conflict', 'nth mode needs a count', '--every');
    const packet = given.packet!;
    if (packet.value >= every.value)
      packet.where.refuse('value', 'packet out of range', `0-${every.value - 1}`);
    return {
      kind: 'statistic',
      mode: 'nth',
      every: every.value,
      packet: packet.value,
      negated: every.negated,
    };
  },
  print: (spec) =>
    spec.mode === 'random'
      ? ['--mode random', say('probability', (spec.probability / PROBABILITY_ONE).toFixed(11), spec.negated)]
      : ['--mode nth', say('every', spec.every, spec.negated), say('packet', spec.packet)],
});

export const quota = match({
  name: 'quota',
  options: { quota: takes(number(0, 2 ** 64), { negation: 'allowed', presence: 'required' }) },
  build: (given): QuotaMatch => ({ kind: 'quota', bytes: given.quota!.value, negated: given.quota!.negated }),
  print: (spec) => [
    say(
      'quota',
      spec.bytes >= 2 ** 64 ? '18446744073709551615' : BigInt(spec.bytes).toString(),
      spec.negated,
    ),
  ],
});

const RECENT_ACTIONS = ['set', 'rcheck', 'update', 'remove'] as const;

export const recent = match({
  name: 'recent',
  options: {
    set: flag({ negation: 'allowed', excludes: ['rcheck', 'update', 'remove', 'rttl'] }),
    rcheck: flag({ negation: 'allowed', excludes: ['update', 'remove'] }),
    update: flag({ negation: 'allowed', excludes: ['remove'] }),
    remove: flag({ negation: 'allowed', excludes: ['rttl'] }),
    seconds: takes(number(1, UINT32_MAX)),
    reap: flag({ requires: ['seconds'] }),
    hitcount: takes(number(0, UINT32_MAX)),
    rttl: flag(),
    name: takes(string(0, 199)),
    rsource: flag(),
    rdest: flag(),
    mask: takes(
      (text, { family, where }) =>
        parseAddress(text, family) ??
        where.refuse('value', 'not a mask', `a mask as an IPv${family} address`),
    ),
  },
  anyOf: RECENT_ACTIONS,
  build: (given, { family }): RecentMatch => {
    const action = RECENT_ACTIONS.find((name) => given[name] !== undefined)!;
    return {
      kind: 'recent',
      action,
      negated: given[action]!.negated,
      name: given.name?.value ?? 'DEFAULT',
      side: given.rdest === undefined ? 'source' : 'destination',
      mask: maskOr(given.mask, family),
      seconds: given.seconds?.value ?? 0,
      reap: given.reap !== undefined,
      hitCount: given.hitcount?.value ?? 0,
      ttl: given.rttl !== undefined,
    };
  },
  print: (spec, family) => [
    say(spec.action, '', spec.negated),
    say('seconds', spec.seconds || undefined),
    sayIf('reap', spec.reap),
    say('hitcount', spec.hitCount || undefined),
    sayIf('rttl', spec.ttl),
    say('name', spec.name),
    say('mask', formatAddress(spec.mask, family)),
    spec.side === 'source' ? '--rsource' : '--rdest',
  ],
  check: ({ action, seconds, hitCount, name }) => {
    if ((action === 'set' || action === 'remove') && (seconds !== 0 || hitCount !== 0)) {
      return `recent --${action} asks for neither --seconds nor --hitcount`;
    }
    if (hitCount > 65535) return 'recent --hitcount goes up to 65535';
    return name === '' || name.includes('/') ? 'recent --name is a file name' : undefined;
  },
});

const DATE_MAX = 2 ** 31 - 1;
const DAY_END = 86399;
const ALL_MONTH_DAYS = 0xfffffffe;
const ALL_WEEK_DAYS = 0xfe;

export const time = match({
  name: 'time',
  options: {
    timestart: takes(timeOfDay),
    timestop: takes(timeOfDay),
    weekdays: takes(weekDays, { negation: 'allowed' }),
    monthdays: takes(monthDays, { negation: 'allowed' }),
    datestart: takes(dateTime),
    datestop: takes(dateTime),
    utc: flag({ excludes: ['localtz', 'kerneltz'] }),
    localtz: flag({ excludes: ['kerneltz'] }),
    kerneltz: flag(),
    contiguous: flag(),
  },
  build: (given, { where }): TimeMatch => {
    const days = (option: GivenOption<number> | undefined, all: number): number =>
      option === undefined ? all : (option.negated ? all & ~option.value : option.value) >>> 0;
    const dayStart = given.timestart?.value ?? 0;
    const dayStop = given.timestop?.value ?? DAY_END;
    if (given.contiguous !== undefined && dayStart < dayStop) {
      where.refuse('conflict', '--contiguous says something only where the stop lies before the start');
    }
    return compact<TimeMatch>({
      kind: 'time',
      dateStart: given.datestart?.value ?? 0,
      dateStop: given.datestop?.value ?? DATE_MAX,
      dayStart,
      dayStop,
      monthDays: days(given.monthdays, ALL_MONTH_DAYS),
      weekDays: days(given.weekdays, ALL_WEEK_DAYS),
      zone: given.localtz !== undefined || given.kerneltz !== undefined ? 'kernel' : 'utc',
      contiguous: given.contiguous !== undefined,
    });
  },
  print: (spec) => {
    const clock = spec.dayStart !== 0 || spec.dayStop !== DAY_END;
    const list = (bits: number, count: number, name: (day: number) => string): string =>
      Array.from({ length: count }, (_, i) => i + 1)
        .filter((day) => ((bits >>> day) & 1) === 1)
        .map(name)
        .join(',');
    return [
      clock ? say('timestart', formatTime(spec.dayStart)) : undefined,
      clock ? say('timestop', formatTime(spec.dayStop)) : undefined,
      spec.monthDays >>> 0 === ALL_MONTH_DAYS
        ? undefined
        : say('monthdays', list(spec.monthDays, 31, String)),
      spec.weekDays === ALL_WEEK_DAYS
        ? undefined
        : say(
            'weekdays',
            list(spec.weekDays, 7, (day) => DAY_NAMES[day - 1]!),
          ),
      spec.dateStart === 0 ? undefined : say('datestart', formatDate(spec.dateStart)),
      say('datestop', formatDate(spec.dateStop)),
      sayIf('kerneltz', spec.zone === 'kernel'),
      sayIf('contiguous', spec.contiguous),
    ];
  },
});
