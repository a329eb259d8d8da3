/**
 * A typed ruleset to text as iptables-legacy-save prints it, without the comment lines. Cold.
 */

import type { CounterSpec, Ruleset, TableName } from './ast.js';
import { formatRule } from './text/print-rule.js';

export interface SaveOptions {
  /** `with` puts counters before each rule (`iptables-save -c`); those of policies are always printed. */
  readonly counters: 'with' | 'without';
  /** The kernel lists the table that was made last first. */
  readonly tables?: 'newest-first' | 'oldest-first';
  /**
   * Live counters of a rule (index from 0 in its chain) or of a chain's policy; where it gives undefined, and
   * without it, those of the ruleset are printed.
   */
  readonly countersOf?: (table: TableName, chain: string, rule: number | 'policy') => CounterSpec | undefined;
}

export function saveRuleset(ruleset: Ruleset, options: SaveOptions): string {
  const { counters, countersOf, tables = 'newest-first' } = options;
  const ordered = tables === 'newest-first' ? [...ruleset.tables].reverse() : ruleset.tables;
  const lines: string[] = [];
  for (const table of ordered) {
    lines.push(`*${table.name}`);
    for (const chain of table.chains) {
      const own = chain.policy === undefined;
      const count = own ? undefined : (countersOf?.(table.name, chain.name, 'policy') ?? chain.counters);
      lines.push(`:${chain.name} ${chain.policy ?? '-'} ${formatCounters(count)}`);
    }
    for (const chain of table.chains) {
      chain.rules.forEach((rule, index) => {
        const text = formatRule(chain.name, rule, ruleset.family);
        const count = counters === 'with' && (countersOf?.(table.name, chain.name, index) ?? rule.counters);
        lines.push(count === false ? text : `${formatCounters(count)} ${text}`);
      });
    }
    lines.push('COMMIT');
  }
  return lines.map((line) => `${line}\n`).join('');
}

function formatCounters(counters: CounterSpec | undefined): string {
  return counters === undefined ? '[0:0]' : `[${counters.packets}:${counters.bytes}]`;
}
