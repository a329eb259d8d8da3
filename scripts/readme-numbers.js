/**
 * Writes the table of bench/results/latest.json into the README, below `<!-- numbers -->`. Run it after `npm run bench`.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const MARK = '<!-- numbers -->\n';
const END = '\n## ';

const { machine, node, results } = JSON.parse(readFileSync('bench/results/latest.json', 'utf8'));

function format(ns) {
  return ns < 20 ? ns.toFixed(1) : Math.round(ns).toLocaleString('en');
}

const sizes = [...new Set(results.map(({ flows }) => flows))];
const operations = [...new Set(results.map(({ operation }) => operation))];
const rows = operations.map((operation) => {
  const cells = sizes.map((size) => {
    const found = results.find((result) => result.operation === operation && result.flows === size);
    return `${format(found.medianNs)} (${format(found.minNs)})`;
  });
  return [operation[0].toUpperCase() + operation.slice(1), ...cells];
});
const header = ['', ...sizes.map((size) => `${size.toLocaleString('en')} flows`)];
const widths = header.map((_, column) => Math.max(3, ...[header, ...rows].map((row) => row[column].length)));
const line = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
const table = [header, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('\n');

const text = `${MARK}
Nanoseconds per operation, median (and fastest) of the samples, on one core of ${machine.cpu}, Node ${node}.
\`npm run bench\` measures them on your machine, each case in a process of its own.

${table}
`;
const readme = readFileSync('README.md', 'utf8');
const from = readme.indexOf(MARK);
const to = readme.indexOf(END, from);
if (from < 0 || to < 0) throw new Error(`README.md has no ${MARK}`);
writeFileSync('README.md', readme.slice(0, from) + text + readme.slice(to));
