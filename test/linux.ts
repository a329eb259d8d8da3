/**
 * What tests with real Linux programs beside a device of ours share: what the machine must have, a network namespace of
 * the test's own, and programs that run in it.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/**
 * What is missing on this machine for devices and namespaces, and of `programs`; empty if nothing is. Says that `what`
 * is skipped then.
 */
export function missingForDevices(what: string, ...programs: string[]): readonly string[] {
  const missing = process.platform === 'linux' ? missingOnLinux(programs) : ['Linux'];
  if (missing.length > 0) console.warn(`SKIPPED: ${what}: missing ${missing.join(', ')}`);
  return missing;
}

function missingOnLinux(programs: readonly string[]): string[] {
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('root');
  if (!existsSync('/dev/net/tun')) missing.push('/dev/net/tun');
  for (const program of ['ip', 'unshare', ...programs]) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) missing.push(program);
  }
  if (missing.length === 0 && spawnSync('unshare', ['-n', 'true']).status !== 0) missing.push('namespaces');
  return missing;
}

/** Puts this thread, and the programs that it starts, into a new network namespace with loopback alone. */
export async function enterNamespace(): Promise<void> {
  const { unshareNetwork } = await import('./kernel/libc.js');
  unshareNetwork();
  ip('link', 'set', 'lo', 'up');
}

/** Runs `ip`; what it prints. Throws if it fails. */
export function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8' });
}

/** Runs a program without blocking this thread, which has packets to answer; what it printed to both of its outputs. */
export function run(program: string, ...words: string[]): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words);
    let output = '';
    child.stdout.on('data', (text) => (output += text));
    child.stderr.on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}
