/**
 * What forwards and the policy compile to is iptables text: the real iptables-restore takes it, sets included, and the
 * real iptables-save prints the same rules in the same order.
 */
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { PolicyLab } from '../network/policy/lab.js';
import { missingNeeds } from './needs.js';

const missing = missingNeeds();

/** Rules chain by chain; the order of tables and the counters of policies are the kernel's own. */
function tables(text: string): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const block of text.split('COMMIT\n')) {
    const lines = block.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const name = lines.shift();
    if (name !== undefined) found[name] = lines.map((line) => line.replace(/ \[\d+:\d+\]$/, ''));
  }
  return found;
}

function restoreInKernel(family: 4 | 6, sets: string, rules: string): string {
  const program = family === 4 ? 'iptables-legacy' : 'ip6tables-legacy';
  const script = [
    `printf '%s' "$SETS" | ipset restore`,
    `printf '%s' "$RULES" | ${program}-restore`,
    `${program}-save`,
  ].join(' && ');
  const { stdout, stderr, status } = spawnSync('unshare', ['-n', 'sh', '-c', script], {
    encoding: 'utf8',
    env: { ...process.env, SETS: sets, RULES: rules },
  });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout;
}

describe.skipIf(missing.length > 0)(`the kernel (needs: ${missing.join(', ') || 'all there'})`, () => {
  test.each([4, 6] as const)('takes the chains of forwards and a policy for IPv%i as they are', (family) => {
    const lab = new PolicyLab({
      allowOut: [
        '93.184.216.0/24',
        'tcp/443',
        'sctp/9',
        'udplite/10-12',
        'icmp',
        'icmpv6',
        '[2001:db8::/32]:443',
        '169.254.169.254:80',
        'example.com:443',
        '*.example.org',
        'gre',
      ],
      denyOut: ['0.0.0.0/0', 'ads.example.com', 'fd00::/8'],
      allowIn: ['198.51.100.0/24:8080', 'tcp/22-23'],
      denyIn: ['198.51.100.66', '2001:db8:6::/48'],
      forwards: [
        { protocol: 'tcp', spec: '8080-8090:10.0.0.2/80-90', hairpin: 'on' },
        'udp [::]/53:[fd00:a::2]/5353',
        'tcp [2001:db8:1::1]/1000-1010:[fd00:a::2]/2000-2010',
        'tcp 203.0.113.1%wan/22:10.0.0.2',
      ],
      limits: { connectionsPerSource: 10, newPerSecond: 5 },
    });
    lab.answer('example.com', [{ type: 'A', value: [93, 184, 216, 34] }]);
    const saved = lab.save(family);
    expect(tables(restoreInKernel(family, lab.router.engine.sets.save(lab.nowMs), saved))).toEqual(
      tables(saved),
    );
  });
});
