/**
 * What a replay came to: as text in sections, or as one object.
 */
import type { Connection } from '../conntrack/connection.js';
import { formatConnection } from '../conntrack/dump.js';
import type { InterfaceOptions } from '../network/interfaces.js';
import type { Replay } from '../scenario/replay.js';

/** What the report says about the replay's surroundings. */
export interface ReplayFacts {
  readonly input: string;
  readonly format: string;
  readonly packets: number;
  /** Time of the first packet, ms since 1970. */
  readonly firstMs?: number;
  /** Time from the first packet to the end. */
  readonly spanMs?: number;
  /** Why the capture could not be read to its end. */
  readonly damage?: string;
  readonly interfaces: readonly InterfaceOptions[];
  readonly rules?: string;
  readonly rules6?: string;
  readonly output?: string;
  readonly written?: number;
}

const FATES = {
  forwarded: 'forwarded',
  delivered: 'delivered to the router itself',
  dropped: 'dropped',
  held: 'held for reassembly',
  skipped: 'not replayed',
} as const;

/** The report as lines. */
export function formatReport(run: Replay, facts: ReplayFacts): string[] {
  const lines = [...heading(facts), '', ...verdictLines(run)];
  for (const family of [4, 6] as const) {
    const file = family === 4 ? facts.rules : facts.rules6;
    if (file === undefined) continue;
    lines.push('', `Rules of IPv${family} with [packets:bytes], ${file}`, ...indent(rulesText(run, family)));
  }
  const connections = flows(run);
  lines.push('', `Flows: ${connections.length} when the replay ended`);
  lines.push(...connections.map((connection) => `  ${formatConnection(connection)}`));
  lines.push('', ...reaperLines(run));
  if (facts.output !== undefined) {
    lines.push('', `Wrote ${count(facts.written ?? 0, 'packet')} to ${facts.output}`);
  }
  return lines;
}

function heading(facts: ReplayFacts): string[] {
  const seconds = facts.spanMs === undefined ? '' : ` over ${(facts.spanMs / 1000).toFixed(1)} s`;
  const names = facts.interfaces.map(({ name, addresses }) => `${name} ${addresses.join(' ')}`.trim());
  const lines = [
    `Replayed ${count(facts.packets, 'packet')}${seconds} from ${facts.input} (${facts.format})`,
    ...names.map((name) => `  ${name}`),
  ];
  if (facts.damage !== undefined) lines.push(`  The capture is damaged: ${facts.damage}`);
  return lines;
}

function verdictLines(run: Replay): string[] {
  const rows: [number, string, string][] = [];
  for (const [fate, label] of Object.entries(FATES)) {
    rows.push([run.counts[fate as keyof typeof FATES], label, '']);
    if (fate === 'dropped')
      for (const [name, n] of Object.entries(dropReasons(run))) rows.push([n, name, '  ']);
    if (fate === 'skipped') for (const [name, n] of run.skipped) rows.push([n, name, '  ']);
  }
  rows.push([run.generated, 'made by the router itself', '']);
  const width = Math.max(...rows.map(([n]) => String(n).length));
  const shown = rows.filter(([n, , inset]) => n > 0 || inset === '');
  return [
    'Verdicts',
    ...shown.map(([n, label, inset]) => `  ${inset}${String(n).padStart(width)}  ${label}`),
  ];
}

function dropReasons(run: Replay): Record<string, number> {
  return run.router.engine.drops.toObject();
}

function rulesText(run: Replay, family: 4 | 6): string[] {
  return run.router.engine.save(family, 'with').trimEnd().split('\n');
}

function flows(run: Replay): Connection[] {
  return Number.isNaN(run.nowMs) ? [] : run.router.engine.connections.list({}, run.nowMs);
}

function reaperLines(run: Replay): string[] {
  const report = run.router.engine.reaper.report();
  return [
    'Reaper',
    `  ${count(report.passes, 'pass', 'passes')} over ${count(report.examined, 'record')}, ` +
      `${count(report.reaped, 'expired entry', 'expired entries')} removed, ` +
      `${report.reapedOnLookup} more met and removed by lookups`,
  ];
}

function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** The report for programs. */
export function reportObject(run: Replay, facts: ReplayFacts): Record<string, unknown> {
  const { input, format, packets, firstMs, spanMs, damage, output, written } = facts;
  return {
    input,
    format,
    packets,
    ...(firstMs === undefined ? {} : { firstMs, spanMs }),
    ...(damage === undefined ? {} : { damage }),
    interfaces: facts.interfaces,
    verdicts: run.counts,
    generated: run.generated,
    drops: dropReasons(run),
    skipped: Object.fromEntries(run.skipped),
    rules: {
      ...(facts.rules === undefined ? {} : { ipv4: rulesText(run, 4) }),
      ...(facts.rules6 === undefined ? {} : { ipv6: rulesText(run, 6) }),
    },
    flows: flows(run),
    reaper: run.router.engine.reaper.report(),
    ...(output === undefined ? {} : { output, written }),
  };
}
