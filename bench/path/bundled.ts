/**
 * The same path from one bundled file, as many applications ship it: constants of other modules are then constants of
 * the same scope. Bundled by rolldown, which the test runner brings along.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../peers/floor.js';
import type { Subject } from '../subject.js';
import { roundsOf } from './established.js';

const MEASURE = fileURLToPath(new URL('../measure.js', import.meta.url));
const BUNDLE = MEASURE.replace(/\.js$/, '.bundle.js');
const ROLLDOWN = join(ROOT, 'node_modules/rolldown/bin/cli.mjs');

let isMade = false;

/** The bundle's file, made once per run. */
function bundle(): string {
  if (isMade) return BUNDLE;
  const words = [ROLLDOWN, MEASURE, '--file', BUNDLE, '--platform', 'node', '--format', 'esm'];
  const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`no bundle: ${stderr}`);
  isMade = true;
  return BUNDLE;
}

function bundled(kind: 'udp' | 'tcp', operation: string): Subject {
  return {
    name: `bundled/${kind}`,
    operation,
    group: 'path',
    sizes: [1024],
    rounds: roundsOf,
    missing: () => (existsSync(ROLLDOWN) ? undefined : 'there is no rolldown'),
    command: (size, effort) => [process.execPath, bundle(), `path/${kind}`, String(size), effort],
  };
}

export const bundledPaths: Subject[] = [
  bundled('udp', 'the same from a bundled file, UDP over IPv4'),
  bundled('tcp', 'the same from a bundled file, TCP over IPv4'),
];
