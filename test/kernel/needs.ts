/** What the live oracle needs of the machine. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const PROGRAMS = [
  'ip',
  'iptables-legacy-restore',
  'iptables-legacy-save',
  'ip6tables-legacy-restore',
  'ip6tables-legacy-save',
  'ipset',
];

/** What is missing, in words; empty if the kernel can be asked. */
export function missingNeeds(): string[] {
  const missing: string[] = [];
  if (process.platform !== 'linux' || process.arch !== 'x64') missing.push('Linux on x86-64');
  if (process.getuid?.() !== 0) missing.push('root');
  if (!existsSync('/dev/net/tun')) missing.push('/dev/net/tun');
  if (!existsSync('/proc/self/ns/net')) missing.push('network namespaces');
  for (const program of PROGRAMS) {
    if (spawnSync(program, ['-V']).error !== undefined) missing.push(`the program ${program}`);
  }
  const probe = spawnSync('unshare', ['-n', 'true']);
  if (missing.length === 0 && probe.status !== 0) missing.push('the right to make network namespaces');
  return missing;
}
