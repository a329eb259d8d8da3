/** The walk that tells is the twin of the usual one: over all recordings of Linux it decides the same. */
import { describe, expect, test } from 'vitest';
import { type ConsideredRule, ExplainingWalk } from '../../../lib/rules/explain/walk.js';
import { compareRun } from '../../../lib/scenario/compare.js';
import { runTrace } from '../../../lib/scenario/run.js';
import type { Trace } from '../../../lib/scenario/trace.js';
import { EXCEPTIONS, GROUPS, readGroup } from '../../scenario/traces.js';

/** Runs a trace by the walk that tells. */
function explained(trace: Trace) {
  const considered: ConsideredRule[] = [];
  const run = runTrace(trace, ({ engine }) => {
    const { tracker, host } = engine;
    const listener = {
      onEnter: () => {},
      onConsidered: (rule: ConsideredRule) => considered.push(rule),
      onTarget: () => {},
      onLeave: () => {},
    };
    const walk = new ExplainingWalk({ tracker, host, listener });
    engine.rules4.walkWith(walk);
    engine.rules6.walkWith(walk);
  });
  return { run, considered };
}

/** How often each rule was said to match, by the names that hits have. */
function matched(considered: readonly ConsideredRule[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { family, table, chain, number, isMatched } of considered) {
    if (!isMatched || number === 'return') continue;
    const name = `${family}:${table}/${chain}/${number === 'policy' ? 'P' : number}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

function recordedHits(trace: Trace): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { hits = {} } of trace.steps) {
    for (const [name, count] of Object.entries(hits)) counts[name] = (counts[name] ?? 0) + count;
  }
  return counts;
}

describe.each(GROUPS)('%s', (group) => {
  const traces = readGroup(group).filter(({ name }) => EXCEPTIONS[name] === undefined);

  test('the rules that it says matched counted on Linux; the others have a reason, and packets go the same way', () => {
    for (const trace of traces) {
      const { run, considered } = explained(trace);
      expect(compareRun(trace, run), trace.name).toBeNull();
      expect(matched(considered), trace.name).toEqual(recordedHits(trace));
      for (const { isMatched, reason, text } of considered) {
        if (isMatched) continue;
        // Of every match there is more to say than that it does not hold.
        if (!/\S/.test(reason ?? '') || /undefined|NaN|does not hold/.test(reason as string)) {
          throw new Error(`${trace.name}: no reason for ${text}: ${reason}`);
        }
      }
    }
  });
});
