/** How samples become figures, and how a run is kept. */
import { expect, test } from 'vitest';
import { mergeFigures, printResults, type Results, summarize } from '../../bench/results.js';

test('median, minimum and spread are of all samples, whatever their order', () => {
  const samples = [9, 1, 5, 3, 7, 100, 4, 6];
  expect(summarize(samples)).toEqual({ samples: 8, median: 6, min: 1, spread: 0.4167 });
  expect(samples[0]).toBe(9);
});

test('one sample has no spread', () => {
  expect(summarize([12.34567])).toEqual({ samples: 1, median: 12.35, min: 12.35, spread: 0 });
});

test('figures of several processes are merged by their medians', () => {
  expect(
    mergeFigures([
      { a: 3, b: 1 },
      { a: 1, b: 1 },
      { a: 2, b: 9 },
    ]),
  ).toEqual({ a: 2, b: 1 });
  expect(mergeFigures([undefined, undefined])).toBeUndefined();
});

test('a run is kept as JSON with a line for each result', () => {
  const one = { name: 'path/udp', operation: 'x', unit: 'ns', axis: 'flows', size: 1, rounds: 1 } as const;
  const run: Results = {
    machine: { cpu: 'c', cores: 2, memoryGiB: 1, os: 'o', load: [0, 1] },
    date: '2000-01-01',
    node: '20',
    v8: '11',
    conntide: '0',
    compiler: 'none',
    effort: 'full',
    minutes: 1,
    skipped: ['this: that'],
    results: [
      { ...one, ...summarize([1, 2, 3]) },
      { ...one, size: 2, ...summarize([4]), figures: { a: 1 } },
    ],
  };
  const text = printResults(run);
  expect(JSON.parse(text)).toEqual(run);
  expect(text.split('\n').filter((line) => line.includes('path/udp')).length).toBe(2);
});
