/** Disagreements as text for people: scenario, steps in the notation, what the kernel did and what conntide did. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Difference } from '../../lib/scenario/compare.js';
import { parseHex } from '../../lib/scenario/hex.js';
import { formatPacket } from '../../lib/scenario/notation.js';
import type { Trace, TracePacket } from '../../lib/scenario/trace.js';

/** Where disagreements are written: one trace file each and a summary. */
export const REPORT_DIRECTORY =
  process.env.CONNTIDE_KERNEL_REPORT ?? join(tmpdir(), 'conntide-kernel-disagreements');

/** Writes the trace, and returns the report. */
export function report(trace: Trace, difference: Difference): string {
  mkdirSync(REPORT_DIRECTORY, { recursive: true });
  const file = join(REPORT_DIRECTORY, `${trace.name}.json`);
  writeFileSync(file, traceText(trace));
  const text = `${describe(trace, difference)}file ${file}\n`;
  writeFileSync(join(REPORT_DIRECTORY, `${trace.name}.txt`), text);
  return text;
}

export function describe(trace: Trace, difference: Difference): string {
  const lines = [`## ${trace.name} (${trace.description}): ${difference.kind}`];
  for (const [name, value] of Object.entries(trace.sysctls)) lines.push(`sysctl ${name} = ${value}`);
  for (const { port, addr } of trace.sockets) lines.push(`socket udp ${addr} ${port}`);
  for (const { name, mtu } of trace.interfaces) if (mtu !== 1500) lines.push(`mtu ${name} ${mtu}`);
  if (trace.sets) lines.push(trace.sets.trimEnd());
  if (!trace.forceTracking) lines.push('tracking only if rules need it');
  for (const text of [trace.rules4, trace.rules6]) {
    for (const line of (text ?? '').split('\n')) {
      const isDefault = line === '' || line === 'COMMIT' || /^:\S+ ACCEPT \[0:0\]$/.test(line);
      if (!isDefault) lines.push(line);
    }
  }
  const last = difference.step ?? trace.steps.length - 1;
  for (const [k, step] of trace.steps.slice(0, last + 1).entries()) {
    lines.push(`#${k} +${step.t} ${step.in ?? 'wait'} < ${packetText(step.packet)}`);
    if (k === difference.step) break;
    for (const one of step.out ?? []) lines.push(`      ${sentText(one)}`);
    for (const { id, state, timeout, flags } of step.ct ?? []) {
      lines.push(`      ct ${id} ${state ?? ''} ${timeout} ${flags.join()}`);
    }
  }
  for (const pick of trace.random) lines.push(`random ${JSON.stringify(pick)}`);
  lines.push(`step ${difference.step}`, `  kernel   ${valueText(difference.expected)}`);
  lines.push(`  conntide ${valueText(difference.got)}`);
  return `${lines.join('\n')}\n`;
}

function packetText(hex: string | undefined): string {
  if (hex === undefined) return '';
  try {
    return formatPacket(parseHex(hex));
  } catch {
    return hex;
  }
}

function sentText(packet: TracePacket): string {
  return `${packet.if} > ${packetText(packet.packet)}${packet.gen ? ' (made)' : ''}`;
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return value;
  const packet = value as TracePacket | null;
  if (typeof packet?.packet === 'string') return `${sentText(packet)}  ${packet.packet}`;
  return JSON.stringify(value);
}

/** The trace as a file: the members' names are the format's. */
export function traceText(trace: Trace): string {
  const { name, description, interfaces, routes, sysctls, sockets, rules4, rules6, steps } = trace;
  const head = {
    name,
    description,
    interfaces,
    routes,
    sysctls,
    force_ct: trace.forceTracking,
    sockets,
    fixed_ports: trace.fixedPorts,
    random_dst: trace.randomDestinations,
    sets: trace.sets,
    rules4,
    rules6,
    kernel: 'linux',
    backend: 'legacy',
    slot_ms: trace.slotMs,
    dump_ms: trace.dumpMs,
  };
  const members = Object.entries(head).flatMap(([key, value]) =>
    value === undefined ? [] : [` ${JSON.stringify(key)}: ${JSON.stringify(value)}`],
  );
  members.push(` "steps": [\n${steps.map((step) => `  ${JSON.stringify(step)}`).join(',\n')}\n ]`);
  members.push(` "random": ${JSON.stringify(trace.random)}`);
  if (trace.final4 !== undefined) members.push(` "final4": ${JSON.stringify(trace.final4)}`);
  if (trace.final6 !== undefined) members.push(` "final6": ${JSON.stringify(trace.final6)}`);
  return `{\n${members.join(',\n')}\n}\n`;
}
