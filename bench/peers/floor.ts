/** The floor in C (floor.c) as subjects beside ours: compiled when first asked for, if there is a compiler. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { roundsOf } from '../path/established.js';
import type { Effort, Subject } from '../subject.js';

/** The project's folder, from here or from where this is compiled to. */
export const ROOT: string = fileURLToPath(import.meta.url).replace(
  /(\.build\/.*)?bench\/peers\/floor\.[jt]s$/,
  '',
);

/** Compiles a program of this folder into `.build/`. Returns its file, or undefined without a compiler. */
export function compile(name: string): string | undefined {
  const source = join(ROOT, 'bench/peers', `${name}.c`);
  const file = join(ROOT, '.build', name);
  if (existsSync(file) && statSync(file).mtimeMs > statSync(source).mtimeMs) return file;
  if (spawnSync('cc', ['--version']).status !== 0) return undefined;
  mkdirSync(join(ROOT, '.build'), { recursive: true });
  const words = ['-O2', '-march=native', '-Wall', '-Wextra', '-Werror', '-o', file, source];
  const { status, stderr } = spawnSync('cc', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name}.c does not compile:\n${stderr}`);
  return file;
}

/** What cc says of itself, or undefined. */
export function compilerVersion(): string | undefined {
  const { status, stdout } = spawnSync('cc', ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}

type Mode = 'single' | 'batch' | 'new';

const SAMPLES: Readonly<Record<Mode, Readonly<Record<Effort, number>>>> = {
  single: { full: 60, quick: 20, smoke: 1 },
  batch: { full: 60, quick: 20, smoke: 1 },
  new: { full: 20, quick: 5, smoke: 1 },
};

function floor(
  name: string,
  protocol: string,
  mode: Mode,
  operation: string,
  sizes: readonly number[],
): Subject {
  return {
    name: `floor/${name}`,
    operation,
    group: mode === 'new' ? 'new' : 'path',
    sizes,
    quickSizes: name === 'udp' ? [1024, 102_400] : [1024],
    rounds: (size) => (mode === 'new' ? Math.min(2, roundsOf(size)) : roundsOf(size)),
    missing: () => (compile('floor') === undefined ? 'there is no C compiler (cc)' : undefined),
    command: (size, effort) => [
      compile('floor') as string,
      protocol,
      String(size),
      mode,
      String(SAMPLES[mode][effort]),
    ],
  };
}

const SIZES = [1024, 102_400, 1_048_576];
const ALL = [...SIZES, 10_485_760];

export const floors: Subject[] = [
  floor('udp', 'udp', 'single', 'the C floor, an established packet, UDP over IPv4, one call each', ALL),
  floor('tcp', 'tcp', 'single', 'the C floor, an established packet, TCP over IPv4, one call each', SIZES),
  floor(
    'lean',
    'lean',
    'single',
    'the C floor with the translation in the line that is found, UDP over IPv4',
    SIZES,
  ),
  floor('udp-batch', 'udp', 'batch', 'the C floor, an established packet, UDP over IPv4, 32 to a call', ALL),
];

export const newFloors: Subject[] = [
  floor('new', 'udp', 'new', 'the C floor, a UDP connection whose port is picked, and its expiry', SIZES),
];
