/** What tests with real clients need of the machine. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/**
 * What is missing for network namespaces, TUN devices, these programs and these commands, which must succeed; in
 * words. Told aloud for `subject`.
 */
export function missingFor(
  subject: string,
  programs: readonly string[],
  commands: readonly (readonly [string, ...string[]])[] = [],
): string[] {
  const missing: string[] = [];
  if (process.platform !== 'linux' || process.arch !== 'x64') missing.push('Linux on x86-64');
  if (process.getuid?.() !== 0) missing.push('root');
  if (!existsSync('/dev/net/tun')) missing.push('/dev/net/tun');
  for (const program of ['ip', 'nsenter', 'unshare', ...programs]) {
    if (spawnSync('sh', ['-c', `command -v "${program}"`]).status !== 0)
      missing.push(`the program ${program}`);
  }
  for (const [program, ...words] of commands) {
    if (spawnSync(program, words).status !== 0) missing.push([program, ...words].join(' '));
  }
  const probe = spawnSync('unshare', ['-n', 'true']);
  if (missing.length === 0 && probe.status !== 0) missing.push('the right to make network namespaces');
  if (missing.length > 0) console.warn(`SKIPPED: ${subject}; missing: ${missing.join(', ')}`);
  return missing;
}
