/**
 * Measures one subject at one size in this process and prints the samples as a line of JSON.
 *
 *   node .build/bench/measure.js NAME SIZE [full|quick|smoke]
 */
import Benchmark from 'benchmark';
import type { Effort, Sampled, Timed } from './subject.js';
import { subjects } from './subjects.js';

/** What one process found, in the subject's unit per operation. */
export interface Samples {
  readonly samples: readonly number[];
  readonly figures?: Readonly<Record<string, number>>;
}

/** How long the samples may take, seconds, and how few they may be. */
interface Limits {
  readonly seconds: number;
  readonly least: number;
}

const LIMITS: Readonly<Record<Effort, Limits>> = {
  full: { seconds: 1, least: 10 },
  quick: { seconds: 0.3, least: 5 },
  smoke: { seconds: 0.01, least: 1 },
};

const WARM_UP = 20;
const MOST = 200;

function time(name: string, timed: Timed, limits: Limits): Samples {
  let sink = 0;
  const bench = new Benchmark(
    name,
    () => {
      sink = (sink + timed.run()) | 0;
    },
    { minSamples: limits.least, maxTime: limits.seconds },
  );
  bench.run({ async: false });
  if (bench.error) throw bench.error;
  if (!Number.isInteger(sink)) throw new Error('nothing was measured');
  const seconds = bench.stats.sample as number[];
  return { samples: seconds.map((one) => (one * 1e9) / timed.operations) };
}

async function sample(sampled: Sampled, limits: Limits): Promise<Samples> {
  const { warmUp = WARM_UP, most = MOST } = sampled;
  // Getting warm may take no longer than measuring.
  const warmMs = performance.now() + limits.seconds * 1000;
  for (let n = 0; n < warmUp && performance.now() < warmMs; n++) await sampled.sample();
  const samples: number[] = [];
  const endMs = performance.now() + limits.seconds * 1000;
  while (samples.length < most && (samples.length < limits.least || performance.now() < endMs)) {
    const one = sampled.sample();
    samples.push(typeof one === 'number' ? one : await one);
  }
  const figures = sampled.figures?.();
  return figures === undefined ? { samples } : { samples, figures };
}

/** Measures a subject; throws if anything in it went wrong. */
async function measure(name: string, size: number, limits: Limits): Promise<Samples> {
  const subject = subjects.find((candidate) => candidate.name === name);
  if (subject?.prepare === undefined) throw new Error(`no subject ${name}`);
  const prepared = await subject.prepare(size);
  const found = 'run' in prepared ? time(name, prepared, limits) : await sample(prepared, limits);
  if (found.samples.length === 0 || !found.samples.every(Number.isFinite))
    throw new Error('nothing was measured');
  return found;
}

const [name = '', size, effort = 'full'] = process.argv.slice(2);
console.log(JSON.stringify(await measure(name, Number(size), LIMITS[effort as Effort])));
