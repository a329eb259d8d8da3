/**
 * Runs the measurements, each case in a process of its own, prints them and writes bench/results/latest.json.
 *
 *   npm run bench -- [--flows N]... [NAME-PART]...
 *
 * Without arguments every subject at 1 Ki, 100 Ki and 1 Mi flows. A partial run prints and writes nothing.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Measured } from './measure.js';
import { subjects } from './subjects.js';

const SIZES = [1024, 102_400, 1_048_576];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { flows: { type: 'string', multiple: true } },
});
const sizes = values.flows?.map(Number) ?? SIZES;
const chosen = subjects.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);

const machine = {
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  os: `${type()} ${release()}`,
};
console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}`);
console.log(
  `Node ${process.versions.node} (V8 ${process.versions.v8}); ns per operation: median (min) +- quartiles`,
);

const measured: Measured[] = [];
for (const { name, operation } of chosen) {
  console.log(`\n${name}: ${operation}`);
  for (const flows of sizes) {
    const script = fileURLToPath(new URL('./measure.js', import.meta.url));
    const output = execFileSync(process.execPath, [script, name, String(flows)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const result = JSON.parse(output) as Measured;
    measured.push(result);
    const figures = `${result.medianNs.toFixed(1)} (${result.minNs.toFixed(1)}) +- ${(result.spread * 100).toFixed(1)} %`;
    console.log(`  ${String(flows).padStart(9)} flows  ${figures.padStart(30)}  ${result.samples} samples`);
  }
}

if (values.flows === undefined && positionals.length === 0) {
  mkdirSync('bench/results', { recursive: true });
  const file = 'bench/results/latest.json';
  const node = process.versions.node;
  writeFileSync(file, `${JSON.stringify({ machine, node, results: measured }, null, 2)}\n`);
  console.log(`\nwritten to ${file}`);
}
