/** Measures one subject at one size in this process and prints the result as a line of JSON. */
import Benchmark from 'benchmark';
import { subjects } from './subjects.js';

/** Result of one case; times in nanoseconds per operation. */
export interface Measured {
  readonly name: string;
  readonly operation: string;
  readonly flows: number;
  readonly samples: number;
  readonly medianNs: number;
  readonly minNs: number;
  /** Half the distance between the quartiles, as a share of the median. */
  readonly spread: number;
}

async function measure(name: string, flows: number): Promise<Measured> {
  const subject = subjects.find((candidate) => candidate.name === name);
  if (subject === undefined) throw new Error(`no subject ${name}`);
  const prepared = await subject.prepare(flows);
  let sink = 0;
  const bench = new Benchmark(
    name,
    () => {
      sink = (sink + prepared.run()) | 0;
    },
    { minSamples: 30, maxTime: 2 },
  );
  bench.run({ async: false });
  if (bench.error) throw bench.error;
  const samples = (bench.stats.sample as number[]).map((seconds) => (seconds * 1e9) / prepared.operations);
  samples.sort((a, b) => a - b);
  if (!Number.isInteger(sink) || samples.length === 0) throw new Error('nothing was measured');
  const quantile = (q: number) => samples[Math.min(samples.length - 1, Math.floor(q * samples.length))]!;
  const medianNs = quantile(0.5);
  return {
    name,
    operation: subject.operation,
    flows,
    samples: samples.length,
    medianNs,
    minNs: samples[0]!,
    spread: (quantile(0.75) - quantile(0.25)) / 2 / medianNs,
  };
}

const [name, flows] = process.argv.slice(2);
console.log(JSON.stringify(await measure(name ?? '', Number(flows))));
