/**
 * Runs the measurements, each case in processes of its own, prints them and writes bench/results/latest.json.
 *
 *   npm run bench -- [--quick | --smoke] [--size N]... [--rounds N] [--out FILE] [NAME-PART]...
 *
 * Cases that are compared (ours and the C floor) take turns, round by round, so that both meet the same machine. A
 * partial or quick run writes only where `--out` says.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Samples } from './measure.js';
import { compilerVersion } from './peers/floor.js';
import { type Machine, mergeFigures, printResults, type Result, summarize } from './results.js';
import { type Effort, SIZES, type Subject } from './subject.js';
import { subjects } from './subjects.js';

const LATEST = 'bench/results/latest.json';
const MEASURE = fileURLToPath(new URL('./measure.js', import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    size: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    out: { type: 'string' },
  },
});

/** One subject at one size, and what its processes found so far. */
interface Case {
  readonly subject: Subject;
  readonly size: number;
  readonly rounds: number;
  readonly found: Samples[];
}

const effort: Effort = values.smoke ? 'smoke' : values.quick ? 'quick' : 'full';
const skipped: string[] = [];

function sizesOf(subject: Subject): readonly number[] {
  if (values.size !== undefined) return values.size.map(Number);
  if (effort === 'smoke') return [subject.smokeSize ?? 1024];
  const sizes = subject.sizes ?? SIZES;
  return effort === 'quick' ? (subject.quickSizes ?? sizes.slice(0, 1)) : sizes;
}

function casesOf(subject: Subject): Case[] {
  return sizesOf(subject).flatMap((size) => {
    const why = subject.missing?.(size);
    if (why !== undefined) {
      skipped.push(`${subject.name} at ${size}: ${why}`);
      return [];
    }
    const rounds = Number(values.rounds ?? (effort === 'full' ? (subject.rounds?.(size) ?? 1) : 1));
    return [{ subject, size, rounds, found: [] }];
  });
}

/** Cases that take turns: those of a group that have the same size. */
function turnsOf(cases: readonly Case[]): Case[][] {
  const turns = new Map<string, Case[]>();
  for (const one of cases) {
    const { group, name } = one.subject;
    const key = `${group ?? name} ${one.size}`;
    turns.set(key, [...(turns.get(key) ?? []), one]);
  }
  return [...turns.values()];
}

/** One process more for a case. One that fails is told of at the end, and the others go on. */
function runProcess({ subject, size, found }: Case): void {
  const own = [process.execPath, MEASURE, subject.name, String(size), effort];
  const words = subject.command?.(size, effort) ?? own;
  const { status, stdout } = spawnSync(words[0] as string, words.slice(1), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status === 0) found.push(JSON.parse(stdout) as Samples);
  else {
    skipped.push(`${subject.name} at ${size}: failed`);
    process.exitCode = 1;
  }
}

function resultOf({ subject, size, rounds, found }: Case): Result {
  const { name, operation, unit = 'ns', axis = 'flows' } = subject;
  const figures = mergeFigures(found.map((one) => one.figures));
  const summary = summarize(found.flatMap((one) => one.samples));
  return { name, operation, unit, axis, size, rounds, ...summary, ...(figures && { figures }) };
}

function print({ name, axis, size, unit, median, min, spread, samples, figures = {} }: Result): void {
  const digits = (value: number) => value.toLocaleString('en', { maximumSignificantDigits: 4 });
  const main = `${digits(median)} (${digits(min)}) ${unit} +- ${(spread * 100).toFixed(1)} %`;
  const more = Object.entries(figures).map(([figure, value]) => `  ${figure} ${digits(value)}`);
  const where = `${name.padEnd(24)} ${size.toLocaleString('en').padStart(10)} ${axis.padEnd(8)}`;
  console.log(`${where} ${main.padStart(36)}  ${samples} samples${more.join('')}`);
}

function machine(before: number): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    load: [before, Number((loadavg()[0] as number).toFixed(2))],
  };
}

const startMs = performance.now();
const before = Number((loadavg()[0] as number).toFixed(2));
const chosen = subjects.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);
const { cpu, cores, memoryGiB, os } = machine(before);
console.log(`${cpu}, ${cores} cores, ${memoryGiB} GiB, ${os}, load ${before}`);
console.log(
  `Node ${process.versions.node} (V8 ${process.versions.v8}), ${compilerVersion() ?? 'no C compiler'}`,
);
if (before > 0.5) console.log('Other programs are running: these figures will be rough.');
console.log('median (min) +- half the distance between the quartiles\n');

const turns = turnsOf(chosen.flatMap(casesOf));
for (const why of skipped) console.log(`SKIPPED ${why}`);
const results: Result[] = [];
for (const cases of turns) {
  const most = Math.max(...cases.map(({ rounds }) => rounds));
  for (let round = 0; round < most; round++) {
    for (const one of cases) if (round < one.rounds) runProcess(one);
  }
  for (const one of cases) {
    if (one.found.length === 0) continue;
    const result = resultOf(one);
    print(result);
    results.push(result);
  }
}

const minutes = Number(((performance.now() - startMs) / 60_000).toFixed(1));
const isWhole = values.size === undefined && positionals.length === 0 && effort === 'full';
const file = values.out ?? (isWhole ? LATEST : undefined);
console.log(`\n${minutes} minutes`);
if (file !== undefined) {
  const order = new Map(subjects.map(({ name }, i) => [name, i]));
  results.sort((a, b) => (order.get(a.name) as number) - (order.get(b.name) as number) || a.size - b.size);
  const run = {
    machine: machine(before),
    date: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
    v8: process.versions.v8,
    conntide: (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version,
    compiler: compilerVersion() ?? 'none',
    effort,
    minutes,
    skipped,
    results,
  };
  writeFileSync(file, printResults(run));
  console.log(`written to ${file}`);
}
