/**
 * The recordings made once more: does the running kernel still do what the files say? CONNTIDE_KERNEL_TRACES names a
 * directory of trace files, CONNTIDE_KERNEL_ONLY a pattern for their names. Left out: files with random picks, which
 * would come out otherwise, and those that set what is the whole machine's.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readTrace, type Trace } from '../../lib/scenario/trace.js';
import { KernelRouter } from './kernel-router.js';
import { missingNeeds } from './needs.js';
import { record } from './recorder.js';

const DIRECTORY = process.env.CONNTIDE_KERNEL_TRACES;
const ONLY = new RegExp(process.env.CONNTIDE_KERNEL_ONLY ?? '');
/** A busy machine shifts times by a clock tick now and then. */
const TRIES = 4;

const missing = missingNeeds();
const reason =
  missing.length > 0
    ? `missing: ${missing.join(', ')}`
    : DIRECTORY === undefined
      ? 'CONNTIDE_KERNEL_TRACES'
      : '';

function recordAgain(trace: Trace): Trace {
  const router = new KernelRouter(trace);
  try {
    return record(trace, router, 'nominal').trace;
  } finally {
    router.close();
  }
}

function recorded({ steps, final4, final6 }: Trace): string[] {
  return [...steps.map((step) => JSON.stringify(step)), final4 ?? '', final6 ?? ''];
}

describe.skipIf(reason !== '')('a recording made again is the same', () => {
  for (const file of reason === '' ? readdirSync(DIRECTORY as string).sort() : []) {
    if (!file.endsWith('.json') || !ONLY.test(file)) continue;
    const trace = readTrace(readFileSync(join(DIRECTORY as string, file), 'utf8'), file);
    if (trace.random.length > 0 || 'net.netfilter.nf_conntrack_max' in trace.sysctls) continue;
    test(trace.name, { retry: TRIES - 1 }, () => {
      expect(recorded(recordAgain(trace))).toEqual(recorded(trace));
    });
  }
});
