/**
 * Writes what bench/results/latest.json says into docs/performance.md, docs/plots and the README. Run it after
 * `npm run bench`.
 *
 *   node scripts/performance.js [--check]    --check: writes nothing; names the files that differ, exit status 1
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { plots, readmeTable, tables } from './performance/report.js';
import { replaceBetween } from './performance/table.js';

const PAGE = 'docs/performance.md';
const PLOTS = 'docs/plots';

const results = JSON.parse(readFileSync('bench/results/latest.json', 'utf8'));

/** Every file as it should be, by name. */
function files() {
  let page = readFileSync(PAGE, 'utf8');
  for (const [name, content] of Object.entries(tables(results))) page = replaceBetween(page, name, content);
  const { machine, node } = results;
  const text = [
    `Nanoseconds per packet or connection, median (and fastest) of the samples, on one core of ${machine.cpu}, Node ${node}.`,
    'All of it, with plots, and what it is compared with: [docs/performance.md](docs/performance.md).',
    '`npm run bench` measures on your machine.',
  ];
  if (results.effort === 'quick') text.push('These are of a quick run, and rough.');
  const numbers = `${text.join('\n')}\n\n${readmeTable(results)}`;
  const wanted = {
    [PAGE]: page,
    'README.md': replaceBetween(readFileSync('README.md', 'utf8'), 'numbers', numbers),
  };
  for (const [name, svg] of Object.entries(plots(results))) wanted[`${PLOTS}/${name}.svg`] = svg;
  return wanted;
}

const wanted = files();
const extra = existsSync(PLOTS)
  ? readdirSync(PLOTS)
      .map((name) => `${PLOTS}/${name}`)
      .filter((path) => !(path in wanted))
  : [];
const different = Object.entries(wanted)
  .filter(([path, text]) => !existsSync(path) || readFileSync(path, 'utf8') !== text)
  .map(([path]) => path);
if (process.argv.includes('--check')) {
  for (const path of [...different, ...extra])
    console.log(`${path} is not that of bench/results/latest.json`);
  process.exitCode = different.length + extra.length > 0 ? 1 : 0;
} else {
  mkdirSync(PLOTS, { recursive: true });
  for (const path of different) writeFileSync(path, wanted[path]);
  for (const path of extra) rmSync(path);
  console.log(different.length === 0 ? 'nothing has changed' : `written: ${different.join(', ')}`);
}
