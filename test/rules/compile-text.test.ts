/** Texts compiled as they are read, against the long way over typed rules: the same programs, the same refusals. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { ConfigurationError } from '../../lib/errors.js';
import { Nat } from '../../lib/nat/nat.js';
import { SeededRandom } from '../../lib/random.js';
import type { Family } from '../../lib/rules/ast.js';
import { type CompiledRuleset, compileRuleset } from '../../lib/rules/compile.js';
import { compileText } from '../../lib/rules/compile-text.js';
import type { RuleEnvironment } from '../../lib/rules/environment.js';
import { Action, RULE_WORDS_4, RULE_WORDS_6, type TableProgram } from '../../lib/rules/program.js';
import type { KnownNames } from '../../lib/rules/restore.js';
import { restoreRuleset } from '../../lib/rules/restore.js';
import { Rules } from '../../lib/rules/rules.js';
import { SharedStates } from '../../lib/rules/shared.js';
import { finish } from '../../lib/rules/slices.js';
import { host } from './acl.js';
import { Draw } from './classify/draw.js';
import { corpus, recorded, textOf } from './text/corpus.js';

function environment(): RuleEnvironment {
  const tracker = new Tracker({ maxConnections: 64, seed: 1 });
  const random = new SeededRandom(1);
  return { tracker, nat: new Nat(tracker, host, random), host, random, observers: {} };
}

/** What a program does, in a form that can be compared: matches, targets and interfaces are numbered as they come. */
function contentOf({ family, programs }: CompiledRuleset) {
  return programs.map((program: TableProgram) => {
    const {
      source,
      words,
      matches,
      targets,
      interfaces,
      releases,
      places,
      classifier,
      impureFrom,
      ...plain
    } = program;
    const stride = family === 4 ? RULE_WORDS_4 : RULE_WORDS_6;
    const rules = Array.from({ length: places.count }, (_, i) => {
      const own = [...words.subarray(i * stride, (i + 1) * stride)];
      const [flags = 0, protocol, , , from = 0, to = 0, action, operand = 0, ...addresses] = own;
      return {
        place: places.at(i),
        words: [flags, protocol, action, ...addresses],
        matches: matches.slice(from, to).map((match) => match.constructor.name),
        impureFrom: (impureFrom[i] ?? 0) - from,
        target: action === Action.TARGET ? targets[operand]?.constructor.name : operand,
      };
    });
    const counts = [matches.length, targets.length, interfaces.length, releases.length];
    const index = classifier && [classifier.roots.length, classifier.ends];
    return { ...plain, table: source.table(), rules, counts, index };
  });
}

function atOnce(text: string, family: Family, known: KnownNames = {}) {
  const compiled = finish(compileText(text, { family, known }, environment(), new SharedStates()));
  return compiled && contentOf(compiled);
}

function longWay(text: string, family: Family, known: KnownNames = {}) {
  const ruleset = restoreRuleset(text, { family, known });
  return contentOf(finish(compileRuleset(ruleset, environment(), new SharedStates())));
}

/** The content, or the refusal. */
function outcome<T>(take: () => T): T | string {
  try {
    return take();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message;
    throw error;
  }
}

/** `undefined` is the right answer of a text that is refused. */
function expectSame(text: string, family: Family, known: KnownNames = {}): 'taken' | 'refused' {
  const expected = outcome(() => longWay(text, family, known));
  const found = atOnce(text, family, known);
  expect(found).toEqual(typeof expected === 'string' ? undefined : expected);
  return typeof expected === 'string' ? 'refused' : 'taken';
}

describe.each([4, 6] as const)('IPv%s', (family) => {
  test('random rules of several chains, in any order of the lines', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 1, max: 120 }),
        fc.nat(5),
        fc.boolean(),
        (seed, count, chains, mixed) => {
          const draw = new Draw(seed, family);
          const rules = draw.rules(count, chains);
          if (mixed) rules.sort(() => draw.int(3) - 1);
          const heads = Array.from({ length: chains }, (_, i) => `:C${chains - i} - [0:0]`);
          const text = ['*filter', ':FORWARD DROP [3:4]', ...heads, ...rules, 'COMMIT', ''].join('\n');
          expect(expectSame(text, family)).toBe('taken');
        },
      ),
      { numRuns: 60 },
    );
  });
});

/** A recorded rule that does not change rules before it. */
function isAdding(rule: string | undefined): boolean {
  return rule?.split('\n').every((line) => line.startsWith('-A ')) === true;
}

test('the recorded texts', { timeout: 60_000 }, () => {
  const texts = [...corpus, ...recorded].filter(({ rule }) => isAdding(rule));
  const outcomes = texts.map((entry) => expectSame(textOf(entry), entry.family, { sets: new Set() }));
  expect(outcomes.filter((one) => one === 'taken').length).toBeGreaterThan(300);
  expect(outcomes.filter((one) => one === 'refused').length).toBeGreaterThan(100);
});

const table = (name: string, ...lines: string[]): string => [`*${name}`, ...lines, 'COMMIT', ''].join('\n');

test.each([
  [
    'a target that is reached from a hook where it cannot work',
    table(
      'mangle',
      '-A INPUT -j DSCP --set-dscp 1',
      ':U - [0:0]',
      '-A U -j CLASSIFY --set-class 1:2',
      '-A PREROUTING -j U',
    ),
  ],
  [
    'the same by a condition of its own',
    table('mangle', '-A PREROUTING -p tcp -m tcp --tcp-flags SYN SYN -j TCPMSS --clamp-mss-to-pmtu'),
  ],
  [
    'chains in a loop',
    table('filter', ':A - [0:0]', ':B - [0:0]', '-A FORWARD -j A', '-A A -j B', '-A B -j A'),
  ],
  ['a jump to nowhere', table('filter', '-A FORWARD -j NOWHERE')],
  ['a rule for a chain that is not there', table('filter', '-A NOWHERE -j DROP')],
  [
    'the first of two faults',
    table('filter', '-A FORWARD -m ttl --ttl-eq 1 -j TTL --ttl-set 1', '-A FORWARD --nonsense'),
  ],
  ['a text that ends inside a table', '*filter\n-A FORWARD -j DROP\n'],
])('refused: %s', (_, text) => {
  expect(expectSame(text, 4)).toBe('refused');
  const rules = new Rules(4, environment());
  expect(outcome(() => rules.restore(text))).toBe(outcome(() => longWay(text, 4)));
  expect(rules.save()).toBe(new Rules(4, environment()).save());
});

test.each([
  [
    'what is behind the end of a chain is reached from nowhere',
    table('mangle', ':U - [0:0]', '-A U -j ACCEPT', '-A U -j CLASSIFY --set-class 1:2', '-A PREROUTING -j U'),
  ],
  ['so is a chain that nobody calls', table('mangle', ':U - [0:0]', '-A U -j CLASSIFY --set-class 1:2')],
  [
    'chains that are declared late',
    table('filter', '-A FORWARD -j DROP', ':A - [0:0]', '-A A -j RETURN', '-A FORWARD -g A'),
  ],
  [
    'policies and counters',
    table('filter', ':FORWARD DROP [5:6]', '-P INPUT DROP', '-N NEW', '[1:2] -A NEW -j ACCEPT'),
  ],
  [
    'several addresses',
    table('filter', '-A FORWARD -s 10.0.0.1,10.0.0.2 -d 10.1.0.0/16,10.2.0.0/16 -j DROP'),
  ],
])('taken: %s', (_, text) => {
  expect(expectSame(text, 4)).toBe('taken');
});

test.each([
  ['rules that are inserted', table('filter', '-A FORWARD -j DROP', '-I FORWARD -j ACCEPT')],
  ['rules that are deleted', table('filter', '-A FORWARD -j DROP', '-D FORWARD 1')],
  [
    'a table that comes twice',
    table('filter', '-A FORWARD -j DROP') + table('filter', '-A FORWARD -j ACCEPT'),
  ],
])('the long way is taken for %s', (_, text) => {
  expect(atOnce(text, 4)).toBeUndefined();
  const rules = new Rules(4, environment());
  rules.restore(text);
  const twin = new Rules(4, environment());
  twin.replace(restoreRuleset(text, { family: 4 }));
  expect(rules.save('with')).toBe(twin.save('with'));
});
