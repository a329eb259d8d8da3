import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Family, Ruleset } from '../../../lib/rules/ast.js';
import { restoreRuleset } from '../../../lib/rules/restore.js';
import { saveRuleset } from '../../../lib/rules/save.js';
import { type CorpusEntry, corpus, outcome, recorded } from './corpus.js';

/** Without the places of the rules, which no saved text keeps. */
function withoutPlaces(ruleset: Ruleset): unknown {
  return JSON.parse(JSON.stringify(ruleset, (key, value: unknown) => (key === 'place' ? undefined : value)));
}

const IN_ORDER = { counters: 'with', tables: 'oldest-first' } as const;

/** Single rules that are taken here, by what they belong to. */
const taken = [...corpus, ...recorded].filter(
  (entry) => /^-A.*$/.test(entry.rule ?? '') && outcome(entry) !== null,
);
const groups = new Map<string, CorpusEntry[]>();
for (const entry of taken) {
  const group = `${entry.family} ${entry.table}`;
  groups.set(group, [...(groups.get(group) ?? []), entry]);
}

/** What iptables prints not at all or not to the byte, and so forgets: negated ranges of everything, byte bursts. */
function hidesCondition({ rule = '' }: CorpusEntry): boolean {
  return /! --\w+ (:|0:65535)(?= |$)|! -o \+|! --ahspi :|! --espspi :|--hashlimit-burst \d+[km]b|-i "|--ctorigsrc [\d.]+\/\d+\./.test(
    rule,
  );
}

function fileOf(entries: readonly CorpusEntry[]): string {
  return `*${entries[0]?.table}\n:UC - [0:0]\n${entries.map(({ rule }) => rule).join('\n')}\nCOMMIT\n`;
}

describe('a saved ruleset restores to itself', () => {
  it.each([...groups])('IPv%s, any of the recorded rules together', (_, entries) => {
    const { family } = entries[0] as CorpusEntry;
    const alone = entries.filter((entry) => !/-[jgA] UC/.test(entry.rule ?? '') && !hidesCondition(entry));
    fc.assert(
      fc.property(fc.subarray(alone, { minLength: 1 }), fc.nat(), (chosen, packets) => {
        const first = restoreRuleset(fileOf(chosen).replace(/^-A/gm, `[${packets}:${packets}] -A`), {
          family,
        });
        const saved = saveRuleset(first, IN_ORDER);
        const second = restoreRuleset(saved, { family });
        expect(saveRuleset(second, IN_ORDER)).toBe(saved);
        expect(withoutPlaces(second)).toEqual(withoutPlaces(first));
      }),
      { numRuns: 10, seed: 4 },
    );
  });
});

interface TraceRules {
  readonly name: string;
  readonly rules4?: string;
  readonly rules6?: string;
  readonly final4?: string;
  readonly final6?: string;
}

const folder = new URL('../../traces/', import.meta.url);
const traces = readdirSync(folder)
  .filter((file) => file.endsWith('.jsonl.gz'))
  .flatMap((file) =>
    gunzipSync(readFileSync(new URL(file, folder)))
      .toString()
      .trim()
      .split('\n'),
  )
  .map((line) => JSON.parse(line) as TraceRules)
  .flatMap((trace) =>
    ([4, 6] as const)
      .map((family) => ({
        name: trace.name,
        family,
        rules: trace[`rules${family}`],
        final: trace[`final${family}`],
      }))
      .filter((entry): entry is { name: string; family: Family; rules: string; final: string } =>
        Boolean(entry.rules && entry.final),
      ),
  );

const zeroed = (text: string): string => text.replace(/\[\d+:\d+\]/g, '[0:0]');

describe('the rules of the traces', () => {
  it('are there', () => {
    expect(traces.length).toBeGreaterThan(200);
  });

  it('are saved as Linux saved them, tables in its order', () => {
    for (const { name, family, rules, final } of traces) {
      const saved = saveRuleset(restoreRuleset(rules, { family, file: name }), { counters: 'with' });
      expect(saved, name).toBe(zeroed(final));
    }
  });

  it('keep their counters', () => {
    for (const { name, family, final } of traces) {
      expect(saveRuleset(restoreRuleset(final, { family, file: name }), IN_ORDER), name).toBe(final);
    }
  });
});
