/** What the running kernel asks for the same: kernel.c as subjects, for root, in network namespaces of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Effort, Subject } from '../subject.js';
import { compile } from './floor.js';

const LIMIT = '/proc/sys/net/netfilter/nf_conntrack_max';

function missing(flows: number): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'this needs root on Linux';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  for (const program of ['ip', 'iptables-restore']) {
    if (spawnSync(program, ['-V']).status !== 0) return `there is no ${program}`;
  }
  if (compile('kernel') === undefined) return 'there is no C compiler (cc)';
  const limit = existsSync(LIMIT) ? Number(readFileSync(LIMIT, 'utf8')) : flows;
  if (flows * 1.05 > limit) return `nf_conntrack_max is ${limit}; this run changes no such setting`;
  return undefined;
}

type Mode = 'established' | 'new';

const SAMPLES: Readonly<Record<Mode, Readonly<Record<Effort, number>>>> = {
  established: { full: 150, quick: 20, smoke: 1 },
  new: { full: 20, quick: 5, smoke: 1 },
};

function kernel(mode: Mode, operation: string, sizes: readonly number[]): Subject {
  return {
    name: `kernel/${mode}`,
    operation,
    sizes,
    quickSizes: [1024],
    missing: (size) => missing(mode === 'new' ? 262_144 / 1.05 : size),
    command: (size, effort) => [
      compile('kernel') as string,
      String(size),
      mode,
      String(SAMPLES[mode][effort]),
    ],
  };
}

export const kernels: Subject[] = [
  kernel(
    'established',
    'what conntrack and MASQUERADE add to an established UDP packet that Linux forwards',
    [1024, 102_400, 204_800, 1_048_576],
  ),
  kernel('new', 'what they add to the first packet of a UDP connection whose port must be picked', [1024]),
];
