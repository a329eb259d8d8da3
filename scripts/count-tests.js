/**
 * Counts the tests in reports of vitest's JSON reporter: `N passed, N failed, N skipped` over all files.
 *
 *   node scripts/count-tests.js REPORT...                  exit status 1 if one failed, or none ran
 *   node scripts/count-tests.js --skipped-files REPORT...  files that have skipped tests, one per line
 *
 * A test that is in several reports counts once: by its worst outcome, and as skipped only if it never ran. A file
 * that could not be loaded counts as one failure.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const RANK = { skipped: 0, passed: 1, failed: 2 };

/** Outcome by test, keyed by file and name. */
function readOutcomes(reports) {
  const outcomes = new Map();
  const note = (file, name, outcome) => {
    const key = `${file}\n${name}`;
    const known = outcomes.get(key);
    if (known === undefined || RANK[outcome] > RANK[known.outcome]) outcomes.set(key, { file, outcome });
  };
  for (const report of reports) {
    for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) {
      const path = relative(process.cwd(), file.name);
      const seen = new Map();
      for (const { fullName, status } of file.assertionResults) {
        const repeated = seen.get(fullName) ?? 0;
        seen.set(fullName, repeated + 1);
        const outcome = status === 'passed' || status === 'failed' ? status : 'skipped';
        note(path, `${fullName}#${repeated}`, outcome);
      }
      const told = file.assertionResults.some(({ status }) => status === 'failed');
      if (file.status === 'failed' && !told) note(path, '', 'failed');
    }
  }
  return [...outcomes.values()];
}

const words = process.argv.slice(2);
const listFiles = words[0] === '--skipped-files';
const outcomes = readOutcomes(listFiles ? words.slice(1) : words);
if (listFiles) {
  const files = new Set(outcomes.filter(({ outcome }) => outcome === 'skipped').map(({ file }) => file));
  for (const file of files) console.log(file);
} else {
  const count = (wanted) => outcomes.filter(({ outcome }) => outcome === wanted).length;
  console.log(`${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
  process.exitCode = count('failed') > 0 || count('passed') === 0 ? 1 : 0;
}
