import { describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../../lib/errors.js';
import { ForwardsError } from '../../../lib/network/forwards/errors.js';
import { findOverlap, formatForward } from '../../../lib/network/forwards/rule.js';
import { parseForward } from '../../../lib/network/forwards/spec.js';

function read(spec: string) {
  const rules = parseForward(spec);
  return {
    rules: rules.map(formatForward),
    ports: rules.reduce((sum, { first, last }) => sum + last - first + 1, 0),
    effort: [...new Set(rules.map(({ effort }) => effort))],
    scan: rules.some(({ ports }) => ports === 'scan'),
  };
}

describe('a port-forward spec', () => {
  it.each<[string, number, string[]]>([
    ['22', 1, ['*:22 -> 22']],
    ['22:23', 1, ['*:22 -> 23']],
    ['22,25', 2, ['*:22 -> 22', '*:25 -> 25']],
    ['22-80:32-90', 59, ['*:22-80 -> 32-90']],
    ['192.0.2.1/22', 1, ['192.0.2.1:22 -> 22']],
    ['192.0.2.1%eth0/22', 1, ['192.0.2.1%eth0:22 -> 22']],
    ['%eth0/22', 1, ['*%eth0:22 -> 22']],
    ['0.0.0.0/5000:192.0.2.5/6000', 1, ['0.0.0.0:5000 -> 192.0.2.5:6000']],
    ['2000-5000,~3000-3010', 2990, ['*:2000-2999 -> 2000-2999', '*:3011-5000 -> 3011-5000']],
    ['192.0.2.1/20-30,~25', 10, ['192.0.2.1:20-24 -> 20-24', '192.0.2.1:26-30 -> 26-30']],
    ['*/22', 1, ['*:22 -> 22']],
    ['/22', 1, ['*:22 -> 22']],
    ['::/53', 1, ['[::]:53 -> 53']],
    ['0.0.0.0/53', 1, ['0.0.0.0:53 -> 53']],
    ['[::]/22:[2001:db8::1]/80', 1, ['[::]:22 -> [2001:db8::1]:80']],
    ['[::]/22:2001:db8::1', 1, ['[::]:22 -> [2001:db8::1]:22']],
    ['fd00::1/22', 1, ['[fd00::1]:22 -> 22']],
    ['8080:10.0.0.2/80', 1, ['0.0.0.0:8080 -> 10.0.0.2:80']],
    ['8080:[fd00::2]/80', 1, ['[::]:8080 -> [fd00::2]:80']],
    ['22,8080:10.0.0.2/80', 2, ['*:22 -> 22', '0.0.0.0:8080 -> 10.0.0.2:80']],
    ['none', 0, []],
  ])('%s is %i ports', (spec, ports, rules) => {
    const found = read(spec);
    expect(found.rules).toEqual(rules);
    expect(found.ports).toBe(ports);
    expect(found.effort.includes('best')).toBe(false);
    expect(found.scan).toBe(false);
  });

  it.each<[string, number, string[]]>([
    [
      '127.0.0.6/all:192.0.2.6',
      37303,
      ['127.0.0.6:1-32767 -> 192.0.2.6:1-32767', '127.0.0.6:61000-65535 -> 192.0.2.6:61000-65535'],
    ],
    ['~6000', 37302, ['*:1-5999 -> 1-5999', '*:6001-32767 -> 6001-32767', '*:61000-65535 -> 61000-65535']],
    ['all', 37303, ['*:1-32767 -> 1-32767', '*:61000-65535 -> 61000-65535']],
    [
      'all,~9999',
      37302,
      ['*:1-9998 -> 1-9998', '*:10000-32767 -> 10000-32767', '*:61000-65535 -> 61000-65535'],
    ],
  ])('%s is %i ports, those of them that are free', (spec, ports, rules) => {
    expect(read(spec)).toEqual({ rules, ports, effort: ['best'], scan: false });
  });

  it('all,33000 is the union of both', () => {
    const found = read('all,33000');
    expect(found.rules).toEqual(['*:33000 -> 33000', '*:1-32767 -> 1-32767', '*:61000-65535 -> 61000-65535']);
    expect(found.ports).toBe(37304);
    expect(found.effort).toEqual(['firm', 'best']);
  });

  it('all beside a port that goes elsewhere leaves that one out', () => {
    expect(read('all,22:2222').rules).toEqual([
      '*:22 -> 2222',
      '*:1-21 -> 1-21',
      '*:23-32767 -> 23-32767',
      '*:61000-65535 -> 61000-65535',
    ]);
  });

  it.each<[string, number, string[], string[]]>([
    ['auto', 37303, ['*:1-32767 -> 1-32767', '*:61000-65535 -> 61000-65535'], ['best']],
    ['[::1]/8000-8010,auto', 11, ['[::1]:8000-8010 -> 8000-8010'], ['firm']],
    ['8000-8010,auto,~8005', 10, ['*:8000-8004 -> 8000-8004', '*:8006-8010 -> 8006-8010'], ['firm']],
  ])('%s looks for open ports among %i', (spec, ports, rules, effort) => {
    expect(read(spec)).toEqual({ rules, ports, effort, scan: true });
  });

  it.each([
    ['22-80:32-91', /different lengths \('32-91'\); expected 59 ports/],
    ['22-80:32', /different lengths/],
    ['5000:192.0.2.5', /both \('192\.0\.2\.5'\); expected 0\.0\.0\.0\/\.\.\./],
    ['%eth0/53:192.0.2.5/53', /both \('192\.0\.2\.5'\); expected 0\.0\.0\.0%eth0\/\.\.\./],
    ['22:2001:db8::1', /expected \[::\]\/\.\.\./],
    ['*/8080:10.0.0.2/80', /listens in both/],
    ['all:192.0.2.5', /listens in both/],
    ['22,~22', /forwards nothing/],
    ['22:2001:db8::1/80', /brackets/],
    ['[::]/22:2001:db8::1/80', /brackets/],
    ['2001:db8::1/22', /brackets/],
    [' 22', /not a port/],
    ['+22', /not a port/],
    ['0', /not a port/],
    ['22:0', /not a port/],
    ['65536', /not a port/],
    ['80-70', /ends before it begins/],
    ['22:', /not an address/],
    ['22,', /not a port/],
    ['', /empty/],
    ['65530-65535:65535-65540', /not a port/],
    ['0.0.0.0/22:[2001:db8::1]/80', /two families/],
    ['[::]/22:192.0.2.1/80', /two families/],
    ['0.0.0.0/22:224.0.0.1/80', /nobody can be reached/],
    ['[::]/22:[ff02::1]/80', /nobody can be reached/],
    ['0.0.0.0/22:0.0.0.0/80', /nobody can be reached/],
    ['%/22', /interface/],
    ['%sixteen-letters-/22', /interface/],
    ['auto:22', /not a port/],
    ['~22:23', /not a port/],
    ['all,all', /'all' twice/],
    ['none,22', /not a port/],
    ['256.0.0.1/22', /./],
    ['0x16', /not a port/],
    ['022000', /not a port/],
  ])("'%s' is refused", (spec, message) => {
    expect(() => parseForward(spec)).toThrow(ConfigurationError);
    expect(() => parseForward(spec)).toThrow(message);
  });

  it('names the column of what is wrong', () => {
    const error = catchError(() => parseForward('192.0.2.1/22,80-70'));
    expect(error.place).toMatchObject({ column: 14, word: '80-70' });
  });

  it('that names a port twice is refused, naming both rules', () => {
    const error = catchError(() => parseForward('22:23,22')) as ForwardsError;
    expect(error).toBeInstanceOf(ForwardsError);
    expect(error.errno).toBe('EEXIST');
    expect(error.message).toContain("'*:22 -> 23' and '*:22 -> 22'");
  });
});

describe('rules of two specs', () => {
  const clash = (a: string, b: string) => findOverlap([...parseForward(a), ...parseForward(b)]) !== undefined;

  it.each<[string, string, boolean]>([
    ['1.2.3.4/22', '22', true],
    ['22', '22', true],
    ['10-20', '20-30', true],
    ['10-30', '15', true],
    ['10-19', '20-30', false],
    ['%eth0/22', '22', true],
    ['%eth0/22', '%eth1/22', false],
    ['%eth0/22', '%eth0/22', true],
    ['::/53', '0.0.0.0/53', false],
    ['::/53', '53', true],
    ['1.2.3.4/22', '1.2.3.5/22', false],
    ['1.2.3.4%eth0/22', '0.0.0.0/22', true],
  ])('%s and %s want the same packets: %s', (a, b, expected) => {
    expect(clash(a, b)).toBe(expected);
    expect(clash(b, a)).toBe(expected);
  });
});

function catchError(run: () => unknown): ConfigurationError {
  try {
    run();
  } catch (error) {
    return error as ConfigurationError;
  }
  throw new Error('nothing was thrown');
}
