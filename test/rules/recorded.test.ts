/**
 * Matches, targets and sets against recordings of Linux 6.18 made for them: which rules counted, packet by packet, what
 * came out, the table and the final counters. The sets' recordings have the sets as `ipset restore` read them in `tags`.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Engine } from '../../lib/engine.js';
import { readTraceFile } from '../../lib/node/trace-files.js';
import { checkTrace } from '../../lib/scenario/check.js';
import { formatFailure } from '../../lib/scenario/report.js';
import { readTrace, type Trace } from '../../lib/scenario/trace.js';

function read(name: string): Trace[] {
  const file = new URL(`recorded/${name}.jsonl.gz`, import.meta.url).pathname;
  return readTraceFile(file).map(({ text, place }) => readTrace(text, place));
}

function expectAgreement(trace: Trace): void {
  expect(formatFailure(trace, checkTrace(trace))).toEqual([]);
}

describe('rules', () => {
  test.each(read('matches').map((trace) => ({ trace, name: trace.name })))('$name', ({ trace }) => {
    expectAgreement(trace);
  });
});

describe('rules with sets', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test.each(read('sets').map((trace) => ({ trace, name: trace.name })))('$name', ({ trace }) => {
    const restore = Engine.prototype.restore;
    vi.spyOn(Engine.prototype, 'restore').mockImplementation(function (this: Engine, ...given) {
      this.sets.restore((trace.source.tags as string[]).join('\n'));
      restore.apply(this, given);
    });
    expectAgreement(trace);
  });
});
