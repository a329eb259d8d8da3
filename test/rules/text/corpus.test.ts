import { describe, expect, it } from 'vitest';
import { type CorpusEntry, corpus, exceptions, outcome, recorded } from './corpus.js';

function nameOf({ family, table, rule, what }: CorpusEntry): string {
  return `IPv${family} ${table}: ${what ?? rule}`;
}

describe('a text is taken or refused, and saved, as by iptables-legacy', () => {
  it.each(corpus.map((entry) => [nameOf(entry), entry] as const))('%s', (_, entry) => {
    expect(outcome(entry)).toEqual(entry.saved);
  });

  it('holds for the recorded rules, but for the exceptions', () => {
    const differing = recorded.filter((entry) => {
      const ours = outcome(entry);
      return JSON.stringify(ours) !== JSON.stringify(entry.saved);
    });
    expect(differing.map(nameOf).sort()).toEqual(Object.keys(exceptions).sort());
  });

  it('every exception has its reason', () => {
    for (const reason of Object.values(exceptions)) expect(reason).toMatch(/\w+ \w+/);
  });
});
