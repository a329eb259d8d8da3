/**
 * Matches of packet bytes and of sets: string, u32, set. Cold.
 */

import type { SetCounterCondition, SetMatch, StringMatch, U32Match, U32Test } from '../ast.js';
import { compact, flag, type GivenOption, match, type Reader, say, sayIf, takes } from './grammar.js';
import { hex, takeNumber, UINT32_MAX } from './numbers.js';
import { formatSetReference, missingSet, setReference } from './set-references.js';
import { number, oneOf } from './values.js';
import { quoteAlways } from './words.js';

const PATTERN_MAX = 128;
const BACKSLASH = 0x5c;
const BAR = '|';

const plainPattern: Reader<readonly number[]> = (text, { where }) =>
  bounded([...new TextEncoder().encode(text)], where);

function bounded<W extends { refuse: (code: 'value', message: string, expected?: string) => never }>(
  bytes: readonly number[],
  where: W,
): readonly number[] {
  return bytes.length === 0 || bytes.length > PATTERN_MAX
    ? where.refuse('value', 'pattern too short or too long', `1 to ${PATTERN_MAX} bytes`)
    : bytes;
}

/** Text with hex bytes between bars: `|0d 0a|Host`. */
const hexPattern: Reader<readonly number[]> = (text, { where }) => {
  const bytes: number[] = [];
  const pieces = text.split(BAR);
  if (pieces.length % 2 === 0) return where.refuse('value', 'hex bytes without an end', `a closing ${BAR}`);
  pieces.forEach((piece, i) => {
    if (i % 2 === 0) {
      bytes.push(...new TextEncoder().encode(piece.replace(/\\(.)/g, '$1')));
    } else if (/^(?: *[0-9a-fA-F]{2})* *$/.test(piece)) {
      for (const pair of piece.matchAll(/[0-9a-fA-F]{2}/g)) bytes.push(Number.parseInt(pair[0], 16));
    } else {
      where.refuse('value', `not hex bytes '${piece}'`, 'pairs of hex digits');
    }
  });
  return bounded(bytes, where);
};

function sayPattern({ pattern, negated }: StringMatch): string | undefined {
  const printable = pattern.every((byte) => byte >= 0x20 && byte < 0x7f);
  if (printable && pattern[pattern.length - 1] !== BACKSLASH) {
    return say('string', quoteAlways(String.fromCharCode(...pattern), /["\\]/g), negated);
  }
  const digits = pattern.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return say('hex-string', `"${BAR}${digits}${BAR}"`, negated);
}

export const string = match({
  name: 'string',
  options: {
    algo: takes(oneOf({ bm: 'bm', kmp: 'kmp' } as const), { presence: 'required' }),
    string: takes(plainPattern, { negation: 'allowed', excludes: ['hex-string'] }),
    'hex-string': takes(hexPattern, { negation: 'allowed' }),
    from: takes(number(0, 65535)),
    to: takes(number(0, 65535)),
    icase: flag(),
  },
  anyOf: ['string', 'hex-string'],
  build: (given): StringMatch => {
    const pattern = (given.string ?? given['hex-string'])!;
    return {
      kind: 'string',
      algorithm: given.algo!.value,
      pattern: pattern.value,
      negated: pattern.negated,
      from: given.from?.value ?? 0,
      to: given.to?.value ?? 65535,
      ignoreCase: given.icase !== undefined,
    };
  },
  print: (spec) => [
    sayPattern(spec),
    say('algo', spec.algorithm),
    say('from', spec.from || undefined),
    say('to', spec.to === 65535 ? undefined : spec.to),
    sayIf('icase', spec.ignoreCase),
  ],
  check: ({ from, to }) => (from > to ? 'string --from lies behind --to' : undefined),
});

/** tests joined by &&; each: location = ranges; location: number, then & << >> @ with numbers. */
const u32Tests: Reader<readonly U32Test[]> = (text, { where }) => {
  let rest = text.trimStart();
  const operand = (): number => {
    const taken = takeNumber(rest);
    if (taken === undefined || taken.value > UINT32_MAX) {
      return where.refuse(
        'value',
        `u32 at character ${text.length - rest.length + 1}`,
        'a number up to 0xffffffff',
      );
    }
    rest = taken.rest.trimStart();
    return taken.value;
  };
  const eat = (token: string): boolean => {
    if (!rest.startsWith(token)) return false;
    rest = rest.slice(token.length).trimStart();
    return true;
  };
  const test = (): U32Test => {
    const location: U32Test['location'][number][] = [{ operator: 'start', operand: operand() }];
    while (!eat('=')) {
      const operator = (['&', '<<', '>>', '@'] as const).find((symbol) => eat(symbol));
      if (operator === undefined) {
        where.refuse('value', `u32 at character ${text.length - rest.length + 1}`, '&, <<, >>, @ or =');
      }
      location.push({ operator: operator!, operand: operand() });
    }
    const ranges: U32Test['ranges'][number][] = [];
    do {
      const low = operand();
      ranges.push({ low, high: eat(':') ? operand() : low });
    } while (eat(','));
    return { location, ranges };
  };
  const tests = [test()];
  while (eat('&&')) tests.push(test());
  if (rest !== '') where.refuse('value', `u32 at character ${text.length - rest.length + 1}`, "',' or '&&'");
  const long = tests.length > 10 || tests.some((one) => one.location.length > 11 || one.ranges.length > 10);
  return long ? where.refuse('value', 'u32 too long', 'at most 10 tests of 10 steps and 10 ranges') : tests;
};

function formatU32({ location, ranges }: U32Test): string {
  const path = location.map(
    ({ operator, operand }) => `${operator === 'start' ? '' : operator}${hex(operand)}`,
  );
  const list = ranges.map(({ low, high }) => (low === high ? hex(low) : `${hex(low)}:${hex(high)}`));
  return `${path.join('')}=${list.join(',')}`;
}

export const u32 = match({
  name: 'u32',
  options: { u32: takes(u32Tests, { negation: 'allowed', presence: 'required' }) },
  build: (given): U32Match => ({ kind: 'u32', tests: given.u32!.value, negated: given.u32!.negated }),
  print: ({ tests, negated }) => [say('u32', `"${tests.map(formatU32).join('&&')}"`, negated)],
  check: ({ tests }) =>
    tests.some((test) =>
      test.location.some(
        ({ operator, operand }) => (operator === '<<' || operator === '>>') && operand >= 32,
      ),
    )
      ? 'u32 shifts by less than 32 bits'
      : undefined,
});

const NEGATABLE = { negation: 'allowed' } as const;
const COUNT = number(0, Number.MAX_SAFE_INTEGER);
type GivenCount = GivenOption<number> | undefined;

function counter(eq: GivenCount, lt: GivenCount, gt: GivenCount): SetCounterCondition | undefined {
  if (eq !== undefined) return { compare: eq.negated ? 'ne' : 'eq', value: eq.value };
  if (lt !== undefined) return { compare: 'lt', value: lt.value };
  return gt && { compare: 'gt', value: gt.value };
}

function sayCounter(name: string, condition: SetCounterCondition | undefined): string | undefined {
  if (condition === undefined) return undefined;
  const { compare, value } = condition;
  return say(`${name}-${compare === 'ne' ? 'eq' : compare}`, value, compare === 'ne');
}

export const set = match({
  name: 'set',
  options: {
    'match-set': takes(setReference, { negation: 'allowed', presence: 'required' }),
    'return-nomatch': flag(),
    'update-counters': flag(NEGATABLE),
    'update-subcounters': flag(NEGATABLE),
    'packets-eq': takes(COUNT, { negation: 'allowed', excludes: ['packets-lt', 'packets-gt'] }),
    'packets-lt': takes(COUNT, { excludes: ['packets-gt'] }),
    'packets-gt': takes(COUNT),
    'bytes-eq': takes(COUNT, { negation: 'allowed', excludes: ['bytes-lt', 'bytes-gt'] }),
    'bytes-lt': takes(COUNT, { excludes: ['bytes-gt'] }),
    'bytes-gt': takes(COUNT),
  },
  build: (given): SetMatch => {
    const reference = given['match-set']!;
    return compact<SetMatch>({
      kind: 'set',
      ...reference.value,
      negated: reference.negated,
      returnNomatch: given['return-nomatch'] !== undefined,
      updateCounters: given['update-counters']?.negated !== true,
      updateSubcounters: given['update-subcounters']?.negated !== true,
      packets: counter(given['packets-eq'], given['packets-lt'], given['packets-gt']),
      bytes: counter(given['bytes-eq'], given['bytes-lt'], given['bytes-gt']),
    });
  },
  print: (spec) => [
    say('match-set', formatSetReference(spec), spec.negated),
    sayIf('return-nomatch', spec.returnNomatch),
    spec.updateCounters ? undefined : '! --update-counters',
    spec.updateSubcounters ? undefined : '! --update-subcounters',
    sayCounter('packets', spec.packets),
    sayCounter('bytes', spec.bytes),
  ],
  check: ({ name }, { known }) => missingSet([name], known),
});
