/** Programs of the machine, run in the network namespace that this thread is in. */
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a program printed. Throws with what it complained about if it fails. */
export function run(program: string, words: readonly string[], input: string): string {
  const lock = join(tmpdir(), `conntide-xtables-${process.pid}.lock`);
  const { status, stdout, stderr, error } = spawnSync(program, words, {
    input,
    encoding: 'utf8',
    env: { ...process.env, XTABLES_LOCKFILE: lock },
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ${words.join(' ')}: ${stderr}\n${input}`);
  return stdout;
}
