/**
 * Round trip through the real programs: what we save, iptables-legacy-restore --test accepts, and when it is restored,
 * iptables-legacy-save prints the same but for comment lines. Rulesets of all recordings, the corpus's rules (many in
 * one file; a file that does not come back is looked at rule by rule), and random ones, each in a network namespace of
 * its own. Environment: CONNTIDE_KERNEL_SEED which random ones, CONNTIDE_KERNEL_RULESETS how many.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readTraceFile } from '../../lib/node/trace-files.js';
import type { Family } from '../../lib/rules/ast.js';
import { restoreRuleset } from '../../lib/rules/restore.js';
import { saveRuleset } from '../../lib/rules/save.js';
import { readTrace } from '../../lib/scenario/trace.js';
import { type CorpusEntry, corpus, recorded, textOf } from '../rules/text/corpus.js';
import { Dice } from './generate/dice.js';
import { generateScenario } from './generate/scenario.js';
import { missingNeeds } from './needs.js';

const SEED = Number(process.env.CONNTIDE_KERNEL_SEED ?? 1);
const RULESETS = Number(process.env.CONNTIDE_KERNEL_RULESETS ?? 150);
/** Rules of the corpus that are restored in one file. */
const BATCH = 40;

const missing = missingNeeds();
if (missing.length > 0) console.warn(`SKIPPED: round trip through iptables; missing: ${missing.join(', ')}`);

/** Rules that iptables does not take back from itself, or takes only where it knows a name: the reason of each. */
const EXCEPTIONS = JSON.parse(
  readFileSync(new URL('restore-exceptions.json', import.meta.url), 'utf8'),
) as Record<string, string>;

interface Rules {
  readonly name: string;
  readonly family: Family;
  readonly text: string;
  /** As `ipset restore` reads them. */
  readonly sets?: string;
}

/** How a ruleset came back from the real programs; undefined if it is the same. */
async function roundTrip({ family, text, sets, name }: Rules): Promise<string | undefined> {
  const { unshareNetwork } = await import('./libc.js');
  const { run } = await import('./programs.js');
  const ruleset = restoreRuleset(text, { family, file: name });
  const given = saveRuleset(ruleset, { counters: 'with', tables: 'oldest-first' });
  const expected = saveRuleset(ruleset, { counters: 'with' });
  const program = family === 4 ? 'iptables-legacy' : 'ip6tables-legacy';
  try {
    unshareNetwork();
    if (sets !== undefined) run('ipset', ['restore'], sets);
    run(`${program}-restore`, ['--test', '-c'], given);
    run(`${program}-restore`, ['-c'], given);
    const printed = run(`${program}-save`, ['-c'], '');
    const saved = printed.replace(/^#.*\n/gm, '');
    return saved === expected ? undefined : firstDifference(expected, saved);
  } catch (error) {
    return (error as Error).message.split('\n', 2).join(' ');
  }
}

function firstDifference(expected: string, saved: string): string {
  const [ours, theirs] = [expected.split('\n'), saved.split('\n')];
  const at = ours.findIndex((line, i) => line !== theirs[i]);
  return `conntide saves ${ours[at]}; iptables ${theirs[at]}`;
}

/** What did not come back, by name. */
async function failures(all: readonly Rules[]): Promise<Record<string, string>> {
  const failed: Record<string, string> = {};
  for (const rules of all) {
    const difference = await roundTrip(rules);
    if (difference !== undefined) failed[rules.name] = difference;
  }
  return failed;
}

/** The rulesets of a folder of recordings, with their final counters where they have them. */
function recordings(folder: string): Rules[] {
  const from = new URL(`../${folder}/`, import.meta.url).pathname;
  const files = readdirSync(from).filter((name) => name.endsWith('.jsonl.gz'));
  const traces = files.flatMap((file) =>
    readTraceFile(from + file).map(({ text, place }) => readTrace(text, place)),
  );
  const seen = new Set<string>();
  return traces.flatMap(({ name, source, ...trace }) =>
    ([4, 6] as const).flatMap((family): Rules[] => {
      const text = trace[`final${family}`] ?? trace[`rules${family}`];
      if (!text || seen.has(text)) return [];
      seen.add(text);
      const lines = source.tags as readonly string[] | undefined;
      const sets = lines?.some((line) => line.startsWith('create ')) ? `${lines.join('\n')}\n` : undefined;
      return [{ name: `${name} IPv${family}`, family, text, ...(sets === undefined ? {} : { sets }) }];
    }),
  );
}

/** The entry as a ruleset, or undefined if we refuse it. */
function ruleset(entry: CorpusEntry): Rules | undefined {
  const { family, table, rule, what } = entry;
  const text = textOf(entry);
  try {
    restoreRuleset(text, { family });
    const sets = setsOf(text);
    return { name: `IPv${family} ${table}: ${what ?? rule}`, family, text, ...(sets === '' ? {} : { sets }) };
  } catch {
    return undefined;
  }
}

/** Sets for the names that rules have. */
function setsOf(text: string): string {
  const names = new Set([...text.matchAll(/--(?:match|add|del|map)-set (\S+)/g)].map(([, name]) => name));
  return [...names].map((name) => `create ${name} hash:ip\n`).join('');
}

function shuffled<T>(dice: Dice, values: readonly T[]): T[] {
  const order = [...values];
  for (let i = order.length - 1; i > 0; i--) {
    const j = dice.below(i + 1);
    [order[i], order[j]] = [order[j] as T, order[i] as T];
  }
  return order;
}

/** Single rules of one table and family in files of several. */
function* batches(entries: readonly CorpusEntry[]): Generator<readonly CorpusEntry[]> {
  const groups = new Map<string, CorpusEntry[]>();
  for (const entry of shuffled(new Dice(SEED), entries)) {
    // Rules about chains go alone: they may say the same chain twice.
    const isAlone = !/^-A [^\n]*$/.test(entry.rule ?? '') || /UC|\bSET\b|--match-set/.test(entry.rule ?? '');
    const group = isAlone ? `${groups.size}` : `${entry.family} ${entry.table}`;
    groups.set(group, [...(groups.get(group) ?? []), entry]);
  }
  for (const group of groups.values()) {
    for (let i = 0; i < group.length; i += BATCH) yield group.slice(i, i + BATCH);
  }
}

describe.skipIf(missing.length > 0)('what we save, iptables restores and saves as it is', () => {
  test.each([['traces'], ['traces-own'], ['rules/recorded']])('rulesets of test/%s', async (folder) => {
    const all = recordings(folder);
    expect(all.length).toBeGreaterThan(0);
    expect(await failures(all)).toEqual({});
    console.log(`round trip: ${all.length} rulesets of test/${folder}`);
  });

  test('the corpus, but for the exceptions', async () => {
    const taken = [...corpus, ...recorded].filter((entry) => ruleset(entry) !== undefined);
    const failed: Record<string, string> = {};
    for (const batch of batches(taken)) {
      const { family, table } = batch[0] as CorpusEntry;
      const together = `*${table}\n:UC - [0:0]\n${batch.map(({ rule }) => rule).join('\n')}\nCOMMIT\n`;
      const isSame =
        batch.length > 1 && (await roundTrip({ name: 'batch', family, text: together })) === undefined;
      if (!isSame) Object.assign(failed, await failures(batch.map((entry) => ruleset(entry) as Rules)));
    }
    const unexpected = Object.entries(failed).filter(([name]) => EXCEPTIONS[name] === undefined);
    expect(Object.fromEntries(unexpected)).toEqual({});
    expect(Object.keys(failed).sort(), 'exceptions that are none any more').toEqual(
      Object.keys(EXCEPTIONS).sort(),
    );
    console.log(`round trip: ${taken.length} rules and files of the corpus`);
  });

  test(`${RULESETS} random rulesets`, async () => {
    const all = Array.from({ length: RULESETS }, (_, index): Rules => {
      const { rules4, rules6, sets } = generateScenario(SEED, index);
      const family = rules4 === undefined ? 6 : 4;
      const text = rules4 ?? rules6 ?? '';
      return { name: `seed ${SEED} index ${index}`, family, text, ...(sets === undefined ? {} : { sets }) };
    });
    expect(await failures(all.filter(({ text }) => text !== ''))).toEqual({});
  });
});
