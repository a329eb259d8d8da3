/**
 * `conntide scenario`: runs scenario and trace files and says how they compare with what was recorded.
 *
 * Exit status: 0 all pass, 1 some differ, 2 bad usage or unreadable input. With `--json` every file is one line, in the
 * order of the paths, and the last line has the totals.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { ConfigurationError } from '../errors.js';
import { fileError, writeBytes } from '../node/files.js';
import { findTraceFiles, readTraceFile, type TraceText } from '../node/trace-files.js';
import { checkTrace, errorDifference, type TraceResult } from '../scenario/check.js';
import { hasRecording } from '../scenario/compare.js';
import { formatRecording } from '../scenario/record.js';
import { formatFailure } from '../scenario/report.js';
import { readTrace, type Trace } from '../scenario/trace.js';
import { type Console, ExitStatus } from './console.js';
import { PROGRAM } from './version.js';

interface Options {
  readonly json?: boolean;
  readonly record?: string;
}

/** The `scenario` command; `finish` is told the exit status. */
export function scenarioCommand(out: Console, finish: (status: ExitStatus) => void): Command {
  return new Command('scenario')
    .summary('run recorded scenarios and compare')
    .description(
      'Runs scenario files on a router with their interfaces, routes, settings and rules, and compares packets,\n' +
        'connection entries and rule counters with what the file recorded.',
    )
    .argument('<path...>', 'files (.json, .jsonl, .jsonl.gz), or folders of them')
    .option('--json', 'one JSON object per file, and a last one with the totals')
    .option('--record <dir>', 'write what the engine did, in the format of the files')
    .action((paths: string[], options: Options) => finish(runScenarios(paths, options, out)));
}

function runScenarios(paths: readonly string[], options: Options, out: Console): ExitStatus {
  const files = paths.flatMap(findTraceFiles);
  if (files.length === 0) {
    throw new ConfigurationError('io', 'no scenario files there', {
      file: paths.join(', '),
      expected: 'files that end in .json, .jsonl or .jsonl.gz',
    });
  }
  if (options.record !== undefined) makeFolder(options.record);
  let passed = 0;
  let failed = 0;
  let unreadable = 0;
  for (const file of files) {
    for (const one of texts(file)) {
      const { trace, result } = 'result' in one ? one : check(one, options);
      if (trace === undefined) unreadable++;
      if (result.difference === null) passed++;
      else failed++;
      report(out, options, trace, result);
    }
  }
  if (options.json) out.line(JSON.stringify({ passed, failed }));
  else out.line(`${passed} passed, ${failed} failed`);
  if (unreadable > 0) return ExitStatus.BAD_INPUT;
  return failed > 0 ? ExitStatus.DIFFERENT : ExitStatus.GOOD;
}

interface Checked {
  /** Absent when the file could not be read. */
  readonly trace?: Trace;
  readonly result: TraceResult;
}

/** The scenarios of a file; or, when it cannot be read, what is to be reported in their place. */
function texts(file: string): readonly (TraceText | Checked)[] {
  try {
    return readTraceFile(file);
  } catch (error) {
    return [{ result: { name: file, difference: errorDifference(error) } }];
  }
}

function check({ place, name, text }: TraceText, options: Options): Checked {
  let trace: Trace;
  try {
    trace = readTrace(text, place);
  } catch (error) {
    return { result: { name, difference: errorDifference(error) } };
  }
  const result = checkTrace(trace);
  if (options.record === undefined || result.run === undefined) return { trace, result };
  writeBytes(join(options.record, `${trace.name}.json`), formatRecording(trace, result.run, PROGRAM));
  // A scenario that is only to be recorded has done all that it was for.
  return hasRecording(trace) ? { trace, result } : { trace, result: { ...result, difference: null } };
}

function report(out: Console, options: Options, trace: Trace | undefined, result: TraceResult): void {
  const { name, difference } = result;
  if (options.json) {
    out.line(JSON.stringify({ name, pass: difference === null, difference }));
  } else if (difference !== null) {
    const lines =
      trace === undefined ? [`FAIL ${name}`, `  ${difference.got}`] : formatFailure(trace, result);
    for (const line of lines) out.line(line);
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw fileError(error, folder);
  }
}
