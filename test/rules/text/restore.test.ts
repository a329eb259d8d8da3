import { describe, expect, it } from 'vitest';
import { ConfigurationError, type ErrorPlace } from '../../../lib/errors.js';
import type { Family, RuleSpec, Ruleset } from '../../../lib/rules/ast.js';
import { restoreRuleset } from '../../../lib/rules/restore.js';
import { saveRuleset } from '../../../lib/rules/save.js';

function inTable(table: string, ...lines: string[]): string {
  return [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
}

function restore(text: string, family: Family = 4): Ruleset {
  return restoreRuleset(text, { family, file: 'rules.v4' });
}

function rulesOf(ruleset: Ruleset, chain: string): readonly RuleSpec[] {
  return ruleset.tables.flatMap(({ chains }) => chains).find(({ name }) => name === chain)?.rules ?? [];
}

/** Rules of FORWARD as saved, after the lines. */
function forward(...lines: string[]): string[] {
  const saved = saveRuleset(restore(inTable('filter', ...lines)), { counters: 'with' });
  return saved.split('\n').filter((line) => line.includes('-A FORWARD'));
}

function refusal(text: string, family: Family = 4): ConfigurationError {
  try {
    restore(text, family);
  } catch (error) {
    if (error instanceof ConfigurationError) return error;
    throw error;
  }
  throw new Error('the text was taken');
}

describe('a refusal names the place', () => {
  const cases: readonly [what: string, table: string, line: string, code: string, place: ErrorPlace][] = [
    ['an unknown match', 'filter', '-A FORWARD -m nosuch', 'unknown', { column: 15, word: 'nosuch' }],
    ['an unknown target', 'filter', '-A FORWARD -p tcp -j NOSUCH', 'unknown', { column: 22, word: 'NOSUCH' }],
    ['an unknown option', 'filter', '-A FORWARD -p udp --syn', 'unknown', { column: 19, word: '--syn' }],
    ['an unknown chain', 'filter', '-A NOCHAIN -p tcp', 'unknown', { column: 4, word: 'NOCHAIN' }],
    ['a chain that is not there to go to', 'filter', '-A FORWARD -g X', 'unknown', { column: 15, word: 'X' }],
    [
      'a value out of range',
      'filter',
      '-A FORWARD -p tcp --dport 65536',
      'value',
      { column: 27, word: '65536' },
    ],
    ['a value in quotes', 'filter', '-A FORWARD -s "not here"', 'value', { column: 15, word: 'not here' }],
    ['an option given twice', 'filter', '-A FORWARD -p tcp -p udp', 'conflict', { column: 19, word: '-p' }],
    ['what cannot be negated', 'filter', '-A FORWARD ! -j DROP', 'syntax', { column: 12, word: '!' }],
    [
      'a match without its option',
      'filter',
      '-A FORWARD -m state -j DROP',
      'conflict',
      { column: 15, word: 'state' },
    ],
    [
      'a match without use here',
      'filter',
      '-A FORWARD -m cpu --cpu 0',
      'unsupported',
      { column: 15, word: 'cpu' },
    ],
    ['an outgoing interface too early', 'filter', '-A INPUT -o eth0', 'conflict', { column: 10, word: '-o' }],
    [
      'an open quote',
      'filter',
      '-A FORWARD -m comment --comment "a b',
      'syntax',
      { column: 33, word: '"a b' },
    ],
    ['a word that is no option', 'filter', '-A FORWARD tcp', 'syntax', { column: 12, word: 'tcp' }],
    ['a missing value', 'filter', '-A FORWARD -p', 'syntax', { column: 12, word: '-p' }],
    ['a policy that is none', 'filter', ':FORWARD REJECT [0:0]', 'value', { column: 10, word: 'REJECT' }],
    ['broken counters', 'filter', '[1:x] -A FORWARD', 'syntax', { column: 1, word: '[1:x]' }],
    [
      'a target in the wrong table',
      'filter',
      '[1:2] -A FORWARD -j MASQUERADE',
      'conflict',
      { column: 7, word: '-A' },
    ],
    [
      'a target in the wrong hook',
      'nat',
      '-A PREROUTING -j SNAT --to-source 1.1.1.1',
      'conflict',
      { column: 1, word: '-A' },
    ],
  ];
  it.each(cases)('of %s', (_, table, line, code, place) => {
    const error = refusal(`# first\n*mangle\nCOMMIT\n\n${inTable(table, line)}`);
    expect(error.code).toBe(code);
    expect(error.place).toMatchObject({ file: 'rules.v4', line: 6, ...place });
    expect(error.message).toContain(`rules.v4:6:${place.column}: `);
  });

  it('says what was expected', () => {
    expect(refusal(inTable('filter', '-A FORWARD -j LOG --log-level loud')).place.expected).toContain(
      'warning',
    );
    expect(refusal(inTable('filter', '-A FORWARD -m conntrack --ctstate OLD')).place.expected).toContain(
      'NEW',
    );
    expect(refusal(inTable('filter', '-A FORWARD -p tcp --dpot 80')).place.expected).toContain(
      '--destination-port',
    );
  });

  it('of a table that is not committed, behind the last line', () => {
    expect(refusal('*filter\n-A FORWARD\n').place).toMatchObject({ line: 3, expected: 'COMMIT' });
  });

  it('of an unknown table', () => {
    expect(refusal('*filer\nCOMMIT\n').place).toMatchObject({ line: 1, column: 2, word: 'filer' });
  });

  it('of a line outside of tables', () => {
    expect(refusal('*filter\nCOMMIT\n-A FORWARD\n').place).toMatchObject({ line: 3, expected: '*TABLE' });
  });
});

describe('what the kernel refuses', () => {
  it('a loop of jumps that a hook reaches, at the jump that closes it', () => {
    const error = refusal(inTable('filter', '-N X', '-N Y', '-A FORWARD -j X', '-A X -j Y', '-A Y -g X'));
    expect(error.place.line).toBe(6);
  });

  it('not a loop that no hook reaches', () => {
    expect(restore(inTable('filter', '-N X', '-A X -j X')).tables).toHaveLength(1);
  });

  it('not a loop behind a rule that ends the chain for every packet', () => {
    expect(() =>
      restore(inTable('filter', '-N X', '-A FORWARD -j X', '-A X -j RETURN', '-A X -j X')),
    ).not.toThrow();
    expect(() =>
      restore(inTable('filter', '-N X', '-A FORWARD -j X', '-A X -f -j RETURN', '-A X -j X')),
    ).toThrow();
  });

  it('a target by the hooks that lead to the chain it stands in', () => {
    const dnat = '-A X -j DNAT --to-destination 10.0.0.1';
    expect(() => restore(inTable('nat', '-N X', dnat, '-A PREROUTING -j X', '-A OUTPUT -j X'))).not.toThrow();
    expect(() =>
      restore(inTable('nat', '-N X', dnat, '-A PREROUTING -j X', '-A POSTROUTING -j X')),
    ).toThrow();
  });

  it('ten thousand chains one behind the other are no problem', () => {
    const lines = Array.from({ length: 10_000 }, (_, i) => `:C${i} - [0:0]`);
    const jumps = Array.from({ length: 9_999 }, (_, i) => `-A C${i} -j C${i + 1}`);
    expect(restore(inTable('filter', ...lines, '-A FORWARD -j C0', ...jumps)).tables[0]?.chains).toHaveLength(
      10_003,
    );
  });
});

describe('commands', () => {
  it('insert before the first rule or at a number', () => {
    expect(forward('-A FORWARD -p tcp', '-I FORWARD -p udp', '-I FORWARD 2 -p icmp')).toEqual([
      '[0:0] -A FORWARD -p udp',
      '[0:0] -A FORWARD -p icmp',
      '[0:0] -A FORWARD -p tcp',
    ]);
  });

  it('replace and delete by number and by rule', () => {
    expect(forward('-A FORWARD -p tcp', '-R FORWARD 1 -p udp')).toEqual(['[0:0] -A FORWARD -p udp']);
    expect(forward('-A FORWARD -p tcp --syn', '-D FORWARD 1')).toEqual([]);
    expect(
      forward('-A FORWARD -p tcp --syn', '-D FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN'),
    ).toEqual([]);
  });

  it('several addresses make several rules', () => {
    expect(forward('-A FORWARD -s 10.0.0.1,10.0.0.2 -d 1.1.1.1,2.2.2.2')).toHaveLength(4);
  });

  it('a renamed chain keeps the rules that lead to it', () => {
    expect(forward(':X - [0:0]', '-A FORWARD -j X', '-E X Y')).toEqual(['[0:0] -A FORWARD -j Y']);
  });

  it('counters of rules and policies are read, and zeroed by -Z', () => {
    expect(forward(':FORWARD DROP [5:600]', '[3:40] -A FORWARD -p tcp')).toEqual([
      '[3:40] -A FORWARD -p tcp',
    ]);
    expect(forward('-A FORWARD -p tcp -c 3 40')).toEqual(['[3:40] -A FORWARD -p tcp']);
    expect(forward('[3:40] -A FORWARD -p tcp', '-Z FORWARD')).toEqual(['[0:0] -A FORWARD -p tcp']);
  });

  it('a line for the other family says nothing', () => {
    expect(forward('-A FORWARD -6 -p tcp', '-A FORWARD -4 -p udp')).toEqual(['[0:0] -A FORWARD -p udp']);
  });

  it('a table named twice begins anew but keeps its policies', () => {
    const text =
      inTable('filter', ':FORWARD DROP [0:0]', '-A FORWARD -p tcp') + inTable('filter', '-A INPUT -p udp');
    const ruleset = restore(text);
    expect(ruleset.tables).toHaveLength(1);
    expect(ruleset.tables[0]?.chains[1]).toMatchObject({ name: 'FORWARD', policy: 'DROP', rules: [] });
  });
});

describe('typed rules', () => {
  it('addresses are words in host order, masked', () => {
    const [rule] = rulesOf(restore(inTable('filter', '-A INPUT ! -s 10.1.2.3/24 -d 1.2.3.4')), 'INPUT');
    expect(rule?.source).toEqual({ words: [0x0a010200, 0, 0, 0], mask: [-256, 0, 0, 0], negated: true });
    expect(rule?.destination).toEqual({ words: [0x01020304, 0, 0, 0], mask: [-1, 0, 0, 0], negated: false });
  });

  it('a condition that says nothing is absent, its negation is not', () => {
    const [rule, never] = rulesOf(
      restore(inTable('filter', '-A INPUT -s 0/0 -i + -p all', '-A INPUT ! -s 0/0 ! -i +')),
      'INPUT',
    );
    expect(Object.keys(rule ?? {}).sort()).toEqual(['matches', 'place', 'target']);
    expect(never).toMatchObject({
      source: { mask: [0, 0, 0, 0], negated: true },
      inInterface: { name: '', wildcard: true, negated: true },
    });
  });

  it('the match of the protocol comes where its first option stands', () => {
    const [rule] = rulesOf(
      restore(inTable('filter', '-A INPUT -p tcp -m mark --mark 1 --dport 80:90')),
      'INPUT',
    );
    expect(rule?.protocol).toEqual({ number: 6, negated: false });
    expect(rule?.matches).toEqual([
      { kind: 'mark', value: 1, mask: 0xffffffff, negated: false },
      { kind: 'tcp', destinationPorts: { low: 80, high: 90, negated: false } },
    ]);
  });

  it('every rule knows its line', () => {
    const [rule] = rulesOf(restore(inTable('filter', '', '# no rule', '  -A INPUT -p tcp')), 'INPUT');
    expect(rule?.place).toMatchObject({ file: 'rules.v4', line: 4, column: 3 });
  });
});

describe('tables', () => {
  it('are saved newest first as the kernel lists them, or as they came', () => {
    const ruleset = restore(`${inTable('mangle')}${inTable('filter')}`);
    const names = (tables: 'newest-first' | 'oldest-first'): string[] =>
      saveRuleset(ruleset, { counters: 'without', tables }).match(/^\*\w+/gm) ?? [];
    expect(names('newest-first')).toEqual(['*filter', '*mangle']);
    expect(names('oldest-first')).toEqual(['*mangle', '*filter']);
  });

  it('list the chains that a text left out, and user chains by name', () => {
    const saved = saveRuleset(restore(inTable('filter', ':b - [0:0]', ':a - [0:0]', ':Z - [7:8]')), {
      counters: 'with',
    });
    expect(saved).toBe(
      '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n' +
        ':Z - [0:0]\n:a - [0:0]\n:b - [0:0]\nCOMMIT\n',
    );
  });

  it('take live counters where they are given', () => {
    const saved = saveRuleset(restore(inTable('raw', '[1:2] -A OUTPUT', '-A OUTPUT -j DROP')), {
      counters: 'with',
      countersOf: (_, chain, rule) =>
        chain === 'OUTPUT' && rule !== 0 ? { packets: 9, bytes: 10 } : undefined,
    });
    expect(saved).toContain(
      ':PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [9:10]\n[1:2] -A OUTPUT\n[9:10] -A OUTPUT -j DROP',
    );
  });

  it('names of sets are checked where sets are known', () => {
    const text = inTable('filter', '-A INPUT -m set --match-set blocked src');
    const known = (...names: string[]) => ({ family: 4, known: { sets: new Set(names) } }) as const;
    expect(() => restoreRuleset(text, known('blocked'))).not.toThrow();
    expect(() => restoreRuleset(text, known('other'))).toThrow("no set 'blocked'");
  });
});
