/**
 * Compiles a ruleset's typed objects into programs. Throws a ConfigurationError and leaves nothing behind, so that the
 * rules in force stay until the new ones are complete. Cold.
 *
 * What a rule may use in which table and hook is checked where the text is read; here only what the walk relies on:
 * chains exist, calls do not come back to themselves. Texts have a shorter way, see `compile-text.ts`.
 */
import type { Family, Ruleset, TableSpec } from './ast.js';
import type { RuleEnvironment } from './environment.js';
import type { TableProgram } from './program.js';
import { TableRows } from './rows.js';
import type { Release, SharedStates } from './shared.js';

/** Rules compiled between two interruptions. */
const SLICE = 64;

export interface CompiledRuleset {
  readonly family: Family;
  readonly programs: readonly TableProgram[];
}

/**
 * Compiles in slices: yields where it may be interrupted. Whoever has the result lets go of what its programs share; so
 * does this, if it is ended before (`return` of the generator).
 */
export function* compileRuleset(
  ruleset: Ruleset,
  environment: RuleEnvironment,
  shared: SharedStates,
): Generator<void, CompiledRuleset> {
  const { family } = ruleset;
  const releases: Release[] = [];
  let isComplete = false;
  try {
    const programs: TableProgram[] = [];
    for (const table of ruleset.tables) {
      const rows = new TableRows(table.name, family, environment, shared, releases);
      programs.push(yield* compileTable(table, rows));
    }
    isComplete = true;
    return { family, programs };
  } finally {
    if (!isComplete) for (const release of releases) release();
  }
}

function* compileTable(table: TableSpec, rows: TableRows): Generator<void, TableProgram> {
  let done = 0;
  for (const { name, rules } of table.chains) {
    for (const rule of rules) {
      rows.add(rule, name);
      if (++done % SLICE === 0) yield;
    }
  }
  return yield* rows.finish(table.chains, { name: table.name, table: () => table });
}
